"""One thread's share of a batch: compiled blocks where the sweep applies, single solutions for the rest.

Imports numba. Not for cutting into blocks and not for the inputs' checks: see :mod:`twin.solvers.batch`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from twin.network.model import Bools, Network
from twin.solvers.batch import Block, CaseSource, Output, checked, reduced
from twin.solvers.model import PowerFlow, PowerFlowDivergedError
from twin.solvers.power_grid_model import LEAST_V_PU
from twin.solvers.sweep import SweepPowerFlow, arrays
from twin.solvers.sweep.many import solve_block
from twin.solvers.sweep.power_flow import MAX_ITERATIONS, TOLERANCE_PU
from twin.solvers.transformer_taps import off_the_clock

_NODE_QUANTITIES = ("v_pu", "energised", "angle_rad")
_BRANCH_QUANTITIES = ("p_from_kw", "q_from_kvar", "i_from_a", "p_to_kw", "q_to_kvar", "i_to_a", "loading")
_INPUTS = ("p_kw", "q_kvar", "generation_kw", "generation_kvar", "closed", "tap_position", "shunt_steps")


class BatchWorker:
    """Solves blocks of the cases for the wanted outputs; one for each thread."""

    def __init__(self, network: Network, cases: CaseSource, wanted: tuple[Output, ...]) -> None:
        self._network, self._cases, self._wanted = network, cases, wanted
        self._quantities = list(dict.fromkeys(output.quantity for output in wanted))
        self._flows = any(name not in ("v_pu", "energised") for name in self._quantities)
        self._drops = arrays.drops_for(network)
        self._state = np.empty_like(self._drops.work[:3])
        self._grid = arrays.grid_of(network)
        self._branches = arrays.branches_of(network, network.transformers.tap_position)
        self._tree, self._flow = arrays.tree_for(network), arrays.flow_for(network)
        self._loops = arrays.loops_for(network)
        self._single_only = bool(self._grid.generator_set.any() or off_the_clock(network).any())
        self._single: PowerFlow | None = None

    def block(self, start: int, stop: int) -> Block:
        """Solve the cases from ``start`` up to ``stop``."""
        n = stop - start
        inputs = checked(self._network, self._cases.rows(start, stop), n)
        values = self._empty(n)
        solved = self._sweep(inputs, values, n)
        failed: dict[int, PowerFlowDivergedError] = {}
        for row in np.flatnonzero(~solved).tolist():
            error = self._alone(inputs, row, values)
            if error is not None:
                failed[start + row] = error
        rows = [case - start for case in failed]
        kept = {o.name: reduced(o, values[o.quantity], values["energised"], rows) for o in self._wanted}
        return Block(start, stop, kept, failed)

    def _empty(self, n: int) -> dict[str, NDArray[Any]]:
        """Room for the quantities of a block; those of branches are views of one array."""
        nodes, branches = self._network.nodes.n, self._network.n_branches
        at_branches = np.zeros((n if self._flows else 0, len(_BRANCH_QUANTITIES), branches))
        return {
            "v_pu": np.zeros((n, nodes)),
            "energised": np.zeros((n, nodes), dtype=np.bool_),
            "angle_rad": np.zeros((len(at_branches), nodes)),
            "at_branches": at_branches,
            **{name: at_branches[:, k] for k, name in enumerate(_BRANCH_QUANTITIES)},
            "generation_kvar": np.zeros((len(at_branches), self._network.generators.n)),
        }

    def _sweep(self, inputs: dict[str, NDArray[Any]], values: dict[str, NDArray[Any]], n: int) -> Bools:
        """Solve what the sweep can; the cases that it solved."""
        solved = np.zeros(n, dtype=np.bool_)
        if self._single_only or len(inputs["tap_position"]) > 1 or len(inputs["shunt_steps"]) > 1:
            return solved
        arrays.set_taps(self._branches, self._network, inputs["tap_position"][0])
        self._grid.shunt_y[:] = arrays.shunts_of(self._network, inputs["shunt_steps"][0])
        solve_block(
            self._grid,
            self._branches,
            self._tree,
            self._flow,
            self._drops,
            self._loops,
            self._state,
            inputs["closed"],
            inputs["p_kw"],
            inputs["q_kvar"],
            inputs["generation_kw"],
            inputs["generation_kvar"],
            TOLERANCE_PU,
            MAX_ITERATIONS,
            LEAST_V_PU,
            values["v_pu"],
            values["energised"],
            values["angle_rad"],
            values["at_branches"],
            solved,
        )
        if self._flows:
            live = values["energised"][:, self._grid.generator_node]
            values["generation_kvar"][:] = np.where(live, inputs["generation_kvar"], 0.0)
        return solved

    def _alone(
        self, inputs: dict[str, NDArray[Any]], row: int, values: dict[str, NDArray[Any]]
    ) -> PowerFlowDivergedError | None:
        """Solve one case by itself and write its values, or give its error."""
        if self._single is None:
            self._single = SweepPowerFlow(self._network)
        self._single.update(**{name: inputs[name][min(row, len(inputs[name]) - 1)] for name in _INPUTS})
        try:
            result = self._single.solve()
        except PowerFlowDivergedError as error:
            return error
        for name in (*self._quantities, "energised"):
            values[name][row] = getattr(result, name)
        return None
