"""Power flow by power-grid-model: any topology, any number of islands and sources.

The model is built once and then updated in place with what changed. Not for unbalanced states.
power-grid-model 1.12 knows no generating units that hold a voltage and no phase shift off the clock: for networks that
have some the direct solver stands in.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from power_grid_model import DatasetType, PowerGridModel
from power_grid_model.errors import IterationDiverge, SparseMatrixError  # type: ignore[attr-defined]

from twin.network.model import Bools, Consumers, Floats, Ints, Network
from twin.network.topology import Topology
from twin.solvers import grid_model_mapping as mapping
from twin.solvers.grid_model_mapping import Table
from twin.solvers.inputs import check_steps
from twin.solvers.islands import Islands
from twin.solvers.model import (
    InputNotFiniteError,
    InputShapeError,
    PowerFlow,
    PowerFlowDivergedError,
    PowerFlowResult,
    TapOutOfRangeError,
)
from twin.solvers.power_balance import PowerBalance
from twin.solvers.transformer_taps import off_the_clock

LEAST_V_PU = 0.5
"""A solution with a lower voltage lies on the unstable branch of the nose curve, or is none."""

_BATCH = 64
"""Switch states solved in one call of the library: bounds the memory, not the speed."""

_BRANCH_ATTRIBUTES = ("p_from", "q_from", "i_from", "p_to", "q_to", "i_to")

Output = dict[str, Table]
"""Rows by component, of shape ``(n,)``, in a batch ``(k, n)``. Columns would cost the library's wrapper more."""


class GridModelPowerFlow:
    """A :class:`twin.solvers.model.PowerFlow`; the initial state is rated, normal and initial.

    Raises:
        UnsolvableNetworkError: the network's data admit no model.
    """

    def __init__(self, network: Network) -> None:
        mapping.check(network)
        self.network = network
        self.notes: list[str] = []
        self._stand_in: PowerFlow | None = None
        if not np.isnan(network.generators.v_set_pu).all():
            self._stand_in = _direct(network, self.notes, "generating units hold voltages")
        elif off_the_clock(network).any():
            reason = "transformers shift phases by other angles than clock numbers"
            self._stand_in = _direct(network, self.notes, reason)
        self._ids = mapping.ids_of(network)
        # Any: the library types its tables by overloads over enumerations; Output states what is used here
        self._model: Any = PowerGridModel(_input_data(network, self._ids), network.frequency_hz)
        self._loads = _Demand(network, self._ids)
        self._generators = _PowerTable("sym_gen", self._ids.generator, network.generators.names)
        self._topology = Topology(network)
        self._switching = _Switching(self._topology, self._ids)
        self._taps = _Taps(network, self._ids)
        self._shunt_steps = network.shunts.initial_steps.copy()
        self._shunts = mapping.table("shunt", self._ids.shunt, network.shunts.n, DatasetType.update)
        self._sources = mapping.table("source", self._ids.source, network.sources.n, DatasetType.update)
        self._output_types = mapping.output_types(network)
        self._rating_a = _ratings(network)
        self._balance = PowerBalance(network)
        c, g = network.consumers, network.generators
        self.update(p_kw=c.p_kw, q_kvar=c.q_kvar, generation_kw=g.p_kw, generation_kvar=g.q_kvar)
        self.update(closed=network.switches.normally_closed, tap_position=network.transformers.tap_position)

    def update(
        self,
        *,
        p_kw: Floats | None = None,
        q_kvar: Floats | None = None,
        generation_kw: Floats | None = None,
        generation_kvar: Floats | None = None,
        closed: Bools | None = None,
        tap_position: Ints | None = None,
        shunt_steps: Ints | None = None,
    ) -> None:
        """See :meth:`twin.solvers.model.PowerFlow.update`; either all of it is taken, or none.

        Raises:
            InputShapeError: an array does not fit its table.
            InputNotFiniteError: a demand or generation is NaN or infinite.
            TapOutOfRangeError: a tap that the transformer does not have.
            ShuntStepOutOfRangeError: steps that the shunt does not have.
        """
        if shunt_steps is not None:
            check_steps(self.network.shunts, shunt_steps)
        self._loads.check(p_kw=p_kw, q_kvar=q_kvar)
        self._generators.check(generation_kw=generation_kw, generation_kvar=generation_kvar)
        self._switching.check(closed)
        self._taps.check(tap_position)
        changes = {
            **self._loads.changes(p_kw, q_kvar),
            **self._generators.changes(generation_kw, generation_kvar),
            **_merge(self._switching.changes(closed), self._taps.changes(tap_position)),
            **self._steps(shunt_steps),
        }
        if changes:
            self._model.update(update_data=changes)
        if self._stand_in is not None:
            self._stand_in.update(
                p_kw=p_kw,
                q_kvar=q_kvar,
                generation_kw=generation_kw,
                generation_kvar=generation_kvar,
                closed=closed,
                tap_position=tap_position,
                shunt_steps=shunt_steps,
            )

    def _steps(self, shunt_steps: Ints | None) -> dict[str, Table]:
        if shunt_steps is None or np.array_equal(shunt_steps, self._shunt_steps):
            return {}
        self._shunt_steps[:] = shunt_steps
        mapping.write_steps(self._shunts, self.network, shunt_steps)
        return {"shunt": self._shunts}

    def solve(self) -> PowerFlowResult:
        """See :meth:`twin.solvers.model.PowerFlow.solve`."""
        if self._stand_in is not None:
            return self._stand_in.solve()
        try:
            output: Output = self._model.calculate_power_flow(output_component_types=self._output_types)
        except (IterationDiverge, SparseMatrixError):
            raise self._diverged(self._switching.closed) from None
        result = self._result(output)
        problem = self._unphysical(result, self._switching.closed)
        if problem:
            raise problem
        return result

    def solve_many(self, closed: Bools) -> list[PowerFlowResult | PowerFlowDivergedError]:
        """See :meth:`twin.solvers.model.PowerFlow.solve_many`.

        Raises:
            InputShapeError: ``closed`` has not one column a switch.
        """
        self._switching.check_many(closed)
        if self._stand_in is not None:
            return self._stand_in.solve_many(closed)
        all_on = np.ones((_BATCH, self.network.sources.n), dtype=np.bool_)
        results: list[PowerFlowResult | PowerFlowDivergedError] = []
        for start in range(0, len(closed), _BATCH):
            states = closed[start : start + _BATCH]
            output, failed = self._batch(states, all_on[: len(states)])
            results += [self._outcome(output, row, states[row], row in failed) for row in range(len(states))]
        return results

    def _batch(self, closed: Bools, source_on: Bools) -> tuple[Output, set[int]]:
        """Columns of shape ``(k, n)`` and the rows that failed, for ``k`` switch and source states."""
        sources = np.tile(self._sources, (len(closed), 1))
        sources["status"] = source_on
        output: Output = self._model.calculate_power_flow(
            update_data={"source": sources, **self._switching.scenarios(closed)},
            output_component_types=self._output_types,
            continue_on_batch_error=True,
        )
        error = self._model.batch_error
        return output, set() if error is None else set(error.failed_scenarios.tolist())

    def _outcome(
        self, output: Output, row: int, closed: Bools, failed: bool
    ) -> PowerFlowResult | PowerFlowDivergedError:
        if failed:
            return self._diverged(closed)
        result = self._result({component: rows[row] for component, rows in output.items()})
        return self._unphysical(result, closed) or result

    def _result(self, output: Output) -> PowerFlowResult:
        node = output["node"]
        flow = {name: self._of_branches(output, name) for name in _BRANCH_ATTRIBUTES}
        for name in ("p_from", "q_from", "p_to", "q_to"):
            flow[name] *= 1e-3
        return PowerFlowResult(
            v_pu=node["u_pu"].copy(),
            angle_rad=node["u_angle"].copy(),
            energised=node["energized"].astype(np.bool_),
            p_from_kw=flow["p_from"],
            q_from_kvar=flow["q_from"],
            i_from_a=flow["i_from"],
            p_to_kw=flow["p_to"],
            q_to_kvar=flow["q_to"],
            i_to_a=flow["i_to"],
            loading=np.maximum(flow["i_from"] / self._rating_a[0], flow["i_to"] / self._rating_a[1]),
            generation_kvar=self._generators.present_kvar(node["energized"][self.network.generators.node] != 0),
        )

    def _of_branches(self, output: Output, name: str) -> Floats:
        """A quantity of the lines and transformers in one fresh array; node-to-node switches follow the lines."""
        parts = [output["line"][name][: self.network.lines.n]] if "line" in output else []
        if "transformer" in output:
            parts.append(output["transformer"][name])
        return np.concatenate(parts) if parts else np.zeros(0)

    def _unphysical(self, result: PowerFlowResult, closed: Bools) -> PowerFlowDivergedError | None:
        sick = result.energised & ~(result.v_pu >= LEAST_V_PU)
        if sick.any():
            node = int(np.flatnonzero(sick)[0])
            detail = f"the voltage of node {self.network.nodes.names[node]} would be {result.v_pu[node]:.3g} pu"
        else:
            live = result.energised[self.network.generators.node]
            fed_kva = self._generators.present_kva() * live
            demand_kva, steps = self._loads.present_kva(), self._shunt_steps
            node = self._balance.broken(result, closed, demand_kva, fed_kva, steps)
            detail = "no voltages satisfy its demand"
        if node < 0:
            return None
        islands = Islands.under(self._topology, closed)
        return PowerFlowDivergedError(islands.describe(int(islands.of_node[node])), detail)

    def _diverged(self, closed: Bools) -> PowerFlowDivergedError:
        """The error for the first island that has no solution when it is solved alone."""
        islands = Islands.under(self._topology, closed)
        alone = islands.energised
        source_on = np.array([islands.sources_of(island) for island in alone])
        output, failed = self._batch(np.broadcast_to(closed, (len(alone), len(closed))), source_on)
        low = output["node"]["energized"].astype(np.bool_) & ~(output["node"]["u_pu"] >= LEAST_V_PU)
        rows = (row for row in range(len(alone)) if row in failed or low[row].any())
        return PowerFlowDivergedError(islands.describe(alone[next(rows, 0)]), "no voltages satisfy its demand")


def _direct(network: Network, notes: list[str], reason: str) -> PowerFlow:
    from twin.solvers.direct import DirectPowerFlow  # imports numba, which takes half a second

    following = DirectPowerFlow(network)
    notes.append(f"network {network.name}: {reason}, so the direct solver takes over")
    following.notes = notes
    return following


def _input_data(network: Network, ids: mapping.Ids) -> dict[str, Table]:
    return {
        "node": mapping.node_table(network),
        "line": np.concatenate([mapping.line_table(network, ids), mapping.link_table(network, ids)]),
        "transformer": mapping.transformer_table(network, ids),
        "source": mapping.source_table(network, ids),
        "sym_load": np.concatenate([mapping.load_table(network, ids), mapping.dependent_loads(network, ids)[0]]),
        "sym_gen": mapping.generator_table(network, ids),
        "shunt": mapping.shunt_table(network, ids),
    }


def _ratings(network: Network) -> Floats:
    """Current ratings of the from and to ends, A, infinite where unknown; shape ``(2, n_branches)``."""
    t = network.transformers
    to_side = np.concatenate([network.lines.i_max_a, t.s_kva / (np.sqrt(3.0) * t.v_to_kv)])
    ratings = np.stack([network.branch_i_max_a, to_side])
    return np.where(ratings > 0, ratings, np.inf)


def _merge(switching: dict[str, Table], taps: dict[str, Table]) -> dict[str, Table]:
    """One set of tables; switch states and taps may both concern the transformers."""
    both = switching | taps
    if "transformer" in switching and "transformer" in taps:
        both["transformer"] = np.concatenate([switching["transformer"], taps["transformer"]])
    return both


def _check_shape(quantity: str, values: NDArray[Any], expected: tuple[int, ...]) -> None:
    if values.shape != expected:
        raise InputShapeError(quantity, expected, values.shape)


class _PowerTable:
    """P and Q of the consumers or generating units, and what of them the model has yet to learn."""

    def __init__(self, component: str, first_id: int, names: tuple[str, ...]) -> None:
        self.component = component
        self.names = names
        self._p_kw = np.full(len(names), np.nan)
        self._q_kvar = np.full(len(names), np.nan)
        self._first_id = first_id
        self._rows = mapping.table(component, first_id, len(names), DatasetType.update)

    def check(self, **inputs: Floats | None) -> None:
        for quantity, values in inputs.items():
            if values is not None:
                _check_shape(quantity, values, (len(self.names),))
                self._check_finite(quantity, values)

    def _check_finite(self, quantity: str, values: Floats) -> None:
        finite = np.isfinite(values)
        if not finite.all():
            row = int(np.flatnonzero(~finite)[0])
            raise InputNotFiniteError(self.names[row], quantity, float(values[row]))

    def present_kva(self) -> NDArray[np.complex128]:
        """P + jQ, complex."""
        return np.asarray(self._p_kw + 1j * self._q_kvar)

    def present_kvar(self, live: Bools) -> Floats:
        return np.where(live, self._q_kvar, 0.0)

    def changes(self, p_kw: Floats | None, q_kvar: Floats | None) -> dict[str, Table]:
        at = self._take(p_kw, q_kvar)
        return {self.component: self._changed_rows(at)} if len(at) else {}

    def _take(self, p_kw: Floats | None, q_kvar: Floats | None) -> Any:
        """The rows that change."""
        changed = np.zeros(len(self.names), dtype=np.bool_)
        for present, wanted in ((self._p_kw, p_kw), (self._q_kvar, q_kvar)):
            if wanted is not None:
                changed |= present != wanted
                present[:] = wanted
        return np.flatnonzero(changed)

    def _changed_rows(self, at: Any) -> Table:
        rows = self._rows[: len(at)]
        rows["id"] = self._first_id + at
        rows["p_specified"], rows["q_specified"] = 1e3 * self._p_kw[at], 1e3 * self._q_kvar[at]
        return rows


class _Demand(_PowerTable):
    """The consumers, of which what depends on the voltage has rows of its own."""

    def __init__(self, network: Network, ids: mapping.Ids) -> None:
        super().__init__("sym_load", ids.load, network.consumers.names)
        rows, self._consumer, self._share = mapping.dependent_loads(network, ids)
        self._parts = mapping.table("sym_load", ids.end, len(rows), DatasetType.update)
        self._constant = _constant_power(network.consumers)

    def _changed_rows(self, at: Any) -> Table:
        rows = super()._changed_rows(at)
        if not len(self._consumer):
            return rows
        rows["p_specified"] *= self._constant[0, at]
        rows["q_specified"] *= self._constant[1, at]
        parts = self._parts
        parts["p_specified"] = 1e3 * self._p_kw[self._consumer] * self._share[0]
        parts["q_specified"] = 1e3 * self._q_kvar[self._consumer] * self._share[1]
        return np.concatenate([rows, parts])


def _constant_power(consumers: Consumers) -> Floats:
    """The share of P and of Q that does not depend on the voltage."""
    shares = consumers.zip_shares
    return np.stack([1.0 - shares[0] - shares[1], 1.0 - shares[2] - shares[3]])


class _Switching:
    """Switch states folded into the status of the branch ends."""

    def __init__(self, topology: Topology, ids: mapping.Ids) -> None:
        network = topology.network
        self.network = network
        self.topology = topology
        self.closed = np.ones(network.switches.n, dtype=np.bool_)
        self._lines = mapping.table("line", ids.line, network.lines.n, DatasetType.update)
        self._links = mapping.table("line", ids.link, ids.transformer - ids.link, DatasetType.update)
        self._transformers = mapping.table("transformer", ids.transformer, network.transformers.n, DatasetType.update)
        self._link_rows = np.flatnonzero(network.switches.other_node >= 0)
        switched = np.unique(network.switches.branch[network.switches.branch >= 0])
        self._switched_lines = switched[switched < network.lines.n]
        self._switched_transformers = switched[switched >= network.lines.n]

    def check(self, closed: Bools | None) -> None:
        if closed is not None:
            _check_shape("closed", closed, self.closed.shape)

    def check_many(self, closed: Bools) -> None:
        _check_shape("closed", closed, (len(closed), len(self.closed)))

    def changes(self, closed: Bools | None) -> dict[str, Table]:
        """Rows for the branches that have a switch which changed."""
        if closed is None:
            return {}
        changed = closed != self.closed
        self.closed[:] = closed
        if not changed.any():
            return {}
        branches = np.unique(self.network.switches.branch[changed])
        n_lines = self.network.lines.n
        lines, transformers = branches[(branches >= 0) & (branches < n_lines)], branches[branches >= n_lines]
        links = np.flatnonzero(changed[self._link_rows])
        tables = self._tables(self.closed[np.newaxis], lines, links, transformers)
        return {component: rows[0] for component, rows in tables.items()}

    def scenarios(self, closed: Bools) -> dict[str, Table]:
        """Rows of shape ``(k, m)`` for every branch that has a switch at all."""
        links = np.arange(len(self._link_rows))
        return self._tables(closed, self._switched_lines, links, self._switched_transformers)

    def _tables(self, closed: Bools, lines: Ints, links: Any, transformers: Ints) -> dict[str, Table]:
        ends = [self.topology.branch_connected(states) for states in closed]
        from_on, to_on = np.array([end[0] for end in ends]), np.array([end[1] for end in ends])
        link_on = closed[:, self._link_rows[links]]
        line_rows = np.concatenate([self._lines[lines], self._links[links]])
        transformer_rows = self._transformers[transformers - self.network.lines.n]
        tables = {
            "line": _status_rows(
                line_rows,
                np.concatenate([from_on[:, lines], link_on], axis=1),
                np.concatenate([to_on[:, lines], link_on], axis=1),
            ),
            "transformer": _status_rows(transformer_rows, from_on[:, transformers], to_on[:, transformers]),
        }
        return {component: rows for component, rows in tables.items() if rows.shape[1]}


def _status_rows(one: Table, from_on: Bools, to_on: Bools) -> Table:
    rows = np.tile(one, (len(from_on), 1))
    rows["from_status"], rows["to_status"] = from_on, to_on
    return rows


class _Taps:
    """Tap positions, and what of them the model has yet to learn."""

    def __init__(self, network: Network, ids: mapping.Ids) -> None:
        self._transformers = network.transformers
        self._position = network.transformers.tap_position.copy()
        self._first_id = ids.transformer
        self._rows = mapping.table("transformer", ids.transformer, network.transformers.n, DatasetType.update)

    def check(self, position: Ints | None) -> None:
        if position is None:
            return
        t = self._transformers
        _check_shape("tap_position", position, (t.n,))
        outside = np.flatnonzero((position < t.tap_min) | (position > t.tap_max))
        if len(outside):
            row = int(outside[0])
            raise TapOutOfRangeError(t.names[row], int(position[row]), int(t.tap_min[row]), int(t.tap_max[row]))

    def changes(self, position: Ints | None) -> dict[str, Table]:
        if position is None:
            return {}
        at = np.flatnonzero(self._position != position)
        self._position[:] = position
        if not len(at):
            return {}
        rows = self._rows[: len(at)]
        rows["id"], rows["tap_pos"] = self._first_id + at, position[at]
        return {"transformer": rows}
