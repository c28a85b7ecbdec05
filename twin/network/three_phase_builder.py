"""Builds a compiled three-phase network by hand: for loaders, toy networks and tests.

The builder collects rows by name and compiles them once; it resolves every name and refuses duplicates,
unknown ones, and equipment on phases that a node does not have.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twin.network.builder import NetworkDataError
from twin.network.model import SwitchKind
from twin.network.three_phase import (
    PHASES,
    PhaseConsumers,
    PhaseGenerators,
    PhaseLineSegments,
    PhaseNodes,
    PhaseShunts,
    PhaseSources,
    PhaseSwitches,
    PhaseTransformers,
    ThreePhaseNetwork,
)
from twin.network.winding_connections import Ends, Windings, star

NAN = math.nan
Row = dict[str, Any]
Unit = float | None
"""A quantity of one unit; None where there is no unit."""

ABC = (0, 1, 2)
CONSTANT_POWER = (1.0, 0.0, 0.0)
CONSTANT_CURRENT = (0.0, 1.0, 0.0)
CONSTANT_IMPEDANCE = (0.0, 0.0, 1.0)
EARTH_PPM = 1.0
"""Default reactance of winding ends to earth: a millionth of the rating, as OpenDSS has it."""


@dataclass
class ThreePhaseBuilder:
    """Collects equipment by name; :meth:`build` compiles it.

    Raises:
        NetworkDataError: a name is used twice or refers to nothing, or a phase is not there.
    """

    name: str
    frequency_hz: float = 50.0
    notes: list[str] = field(default_factory=list)
    _rows: dict[str, dict[str, Row]] = field(default_factory=dict)
    _taken: set[str] = field(default_factory=set)

    def _add(self, table: str, name: str, row: Row) -> None:
        if name in self._taken:
            raise NetworkDataError(f"network {self.name}: the name {name} is used twice")
        self._taken.add(name)
        self._rows.setdefault(table, {})[name] = row

    def node(self, name: str, *, v_kv: float, phases: Sequence[int] = ABC, x: float = NAN, y: float = NAN) -> None:
        """Add a connectivity node; ``v_kv`` is line to line."""
        self._add("node", name, {"v_nominal_kv": v_kv, "phases": _mask(phases), "x": x, "y": y})

    def source(
        self,
        name: str,
        node: str,
        *,
        v_pu: float = 1.0,
        angle_rad: float = 0.0,
        z_ohm: NDArray[np.complex128] | None = None,
    ) -> None:
        """Add a symmetrical source; ``z_ohm`` ``(3, 3)``, None for a stiff one."""
        z = np.zeros((3, 3), dtype=np.complex128) if z_ohm is None else np.asarray(z_ohm, dtype=np.complex128)
        angles = angle_rad - 2 * np.pi / 3 * np.arange(3)
        self._add("source", name, {"node": node, "v_pu": np.full(3, v_pu), "angle_rad": angles, "z_ohm": z})

    def line(
        self,
        name: str,
        node_from: str,
        node_to: str,
        *,
        z_ohm: NDArray[np.complex128],
        y_s: NDArray[np.complex128] | None = None,
        phases: Sequence[int] = ABC,
        length_km: float = NAN,
        i_max_a: float = NAN,
    ) -> None:
        """Add a line segment; the matrices are of the present phases, in the order of ``phases``, over the length."""
        shunt = np.zeros((len(phases), len(phases))) if y_s is None else y_s
        row = {
            "node_from": node_from,
            "node_to": node_to,
            "phases": _mask(phases),
            "z_ohm": _full(name, z_ohm, phases),
            "y_s": _full(name, shunt, phases),
            "length_km": length_km,
            "i_max_a": i_max_a,
        }
        self._add("line", name, row)

    def transformer(
        self,
        name: str,
        node_from: str,
        node_to: str,
        windings: Windings,
        *,
        s_kva: float,
        v_from_kv: float,
        v_to_kv: float,
        r_pu: float,
        x_pu: float,
        g_pu: float = 0.0,
        b_pu: float = 0.0,
        earth_ppm: float = EARTH_PPM,
        neutral_s: tuple[complex, complex] = (0j, 0j),
        bank: str = "",
        tap_side: int = 1,
        tap_min: int = -16,
        tap_max: int = 16,
        tap_neutral: int = 0,
        tap_step_percent: float = 0.0,
        tap_position: int = 0,
    ) -> None:
        """Add a transformer; voltages of a winding and power of a unit, see :class:`PhaseTransformers`."""
        row = {
            "node_from": node_from,
            "node_to": node_to,
            "windings": windings,
            "bank": bank,
            "s_kva": s_kva,
            "v_from_kv": v_from_kv,
            "v_to_kv": v_to_kv,
            "r_pu": r_pu,
            "x_pu": x_pu,
            "g_pu": g_pu,
            "b_pu": b_pu,
            "earth_b_pu": -1e-6 * earth_ppm,
            "neutral_s": neutral_s,
            "tap_side": tap_side,
            "tap_min": tap_min,
            "tap_max": tap_max,
            "tap_neutral": tap_neutral,
            "tap_step_percent": tap_step_percent,
            "tap_position": tap_position,
        }
        self._add("transformer", name, row)

    def regulator(self, name: str, node_from: str, node_to: str, phase: int, **ratings: Any) -> None:
        """Add a single-phase regulator in earthed star; ``ratings`` as for :meth:`transformer`."""
        windings = Windings(star((phase,)), star((phase,)))
        self.transformer(name, node_from, node_to, windings, **{"tap_step_percent": 0.625, **ratings})

    def switch(
        self,
        name: str,
        kind: SwitchKind,
        node: str,
        *,
        branch: str = "",
        other_node: str = "",
        side: int = -1,
        phases: Sequence[int] = ABC,
        closed: bool = True,
        feeder_head: bool = False,
    ) -> None:
        """Add a switch between ``node`` and its end of ``branch``, or between two nodes."""
        row = {"kind": int(kind), "node": node, "branch": branch, "other_node": other_node, "side": side}
        poles = _mask(phases)
        self._add("switch", name, row | {"phases": poles, "closed": poles & closed, "feeder_head": feeder_head})

    def consumer(
        self,
        name: str,
        node: str,
        *,
        p_kw: Sequence[Unit],
        q_kvar: Sequence[Unit],
        v_kv: float,
        delta: bool = False,
        zip_p: tuple[float, float, float] = CONSTANT_POWER,
        zip_q: tuple[float, float, float] = CONSTANT_POWER,
        v_min_pu: float = 0.0,
        v_max_pu: float = math.inf,
        customers: int = 1,
    ) -> None:
        """Add a load of up to three units; ``v_kv`` is the voltage of a unit, see :class:`PhaseConsumers`."""
        row = _power(node, p_kw, q_kvar) | {"delta": delta, "v_nominal_kv": v_kv, "zip_p": zip_p, "zip_q": zip_q}
        self._add("consumer", name, row | {"v_min_pu": v_min_pu, "v_max_pu": v_max_pu, "customers": customers})

    def generator(
        self, name: str, node: str, *, p_kw: Sequence[Unit], q_kvar: Sequence[Unit], s_kva: float = NAN
    ) -> None:
        """Add a generating unit, P and Q positive as generation."""
        self._add("generator", name, _power(node, p_kw, q_kvar) | {"s_kva": s_kva, "delta": False})

    def shunt(
        self,
        name: str,
        node: str,
        *,
        q_kvar: Sequence[Unit],
        v_kv: float,
        p_kw: Sequence[Unit] | None = None,
        delta: bool = False,
    ) -> None:
        """Add a shunt by its consumption at the unit voltage ``v_kv`` (a capacitor has negative Q)."""
        active = [None if q is None else 0.0 for q in q_kvar] if p_kw is None else p_kw
        self._add("shunt", name, _power(node, active, q_kvar) | {"delta": delta, "v_nominal_kv": v_kv})

    def build(self) -> ThreePhaseNetwork:
        """Compile the rows into a read-only network."""
        return _Compiler(self).compile()

    @property
    def rows(self) -> dict[str, dict[str, Row]]:
        """The collected rows by table and name."""
        return self._rows


def _mask(phases: Sequence[int]) -> NDArray[np.bool_]:
    return np.isin(np.arange(3), np.asarray(phases, dtype=np.int64))


def _full(name: str, matrix: Any, phases: Sequence[int]) -> NDArray[np.complex128]:
    """A matrix of the present phases in the frame of all three."""
    given = np.asarray(matrix, dtype=np.complex128)
    if given.shape != (len(phases), len(phases)) or len(set(phases)) != len(phases):
        raise NetworkDataError(f"line {name} has {len(phases)} phases, but a matrix of the shape {given.shape}")
    full = np.zeros((3, 3), dtype=np.complex128)
    full[np.ix_(phases, phases)] = given
    return full


def _power(node: str, p_kw: Sequence[Unit], q_kvar: Sequence[Unit]) -> Row:
    units = np.array([p is not None for p in p_kw])
    p, q = (np.array([0.0 if value is None else float(value) for value in row]) for row in (p_kw, q_kvar))
    return {"node": node, "units": units, "p_kw": p, "q_kvar": np.where(units, q, 0.0)}


class _Compiler:
    """Turns rows of names into arrays of indices."""

    def __init__(self, builder: ThreePhaseBuilder) -> None:
        self.builder = builder
        self.rows = builder.rows
        self.nodes = {node: i for i, node in enumerate(self.rows.get("node", {}))}
        branches = (*self.rows.get("line", {}), *self.rows.get("transformer", {}))
        self.branches = {branch: i for i, branch in enumerate(branches)}

    def _node(self, owner: str, name: str) -> int:
        if name not in self.nodes:
            raise NetworkDataError(f"network {self.builder.name}: {owner} refers to node {name}, which is not there")
        return self.nodes[name]

    def names(self, table: str) -> tuple[str, ...]:
        return tuple(self.rows.get(table, {}))

    def column(self, table: str, key: str, dtype: Any = np.float64, shape: tuple[int, ...] = ()) -> Any:
        values = [row[key] for row in self.rows.get(table, {}).values()]
        return np.array(values, dtype=dtype).reshape((len(values), *shape))

    def at(self, table: str, key: str = "node") -> Any:
        rows = self.rows.get(table, {}).items()
        return np.array([self._node(name, row[key]) for name, row in rows], dtype=np.int32)

    def columns(self, table: str, keys: tuple[str, ...], dtype: Any = np.float64) -> dict[str, Any]:
        return {key: self.column(table, key, dtype) for key in keys}

    def compile(self) -> ThreePhaseNetwork:
        network = ThreePhaseNetwork(
            name=self.builder.name,
            frequency_hz=self.builder.frequency_hz,
            nodes=PhaseNodes(
                self.names("node"),
                phases=self.column("node", "phases", np.bool_, (3,)),
                **self.columns("node", ("v_nominal_kv", "x", "y")),
            ),
            lines=self._lines(),
            transformers=self._transformers(),
            switches=self._switches(),
            consumers=self._consumers(),
            generators=PhaseGenerators(s_kva=self.column("generator", "s_kva"), **self._units("generator")),
            shunts=PhaseShunts(
                delta=self.column("shunt", "delta", np.bool_),
                v_nominal_kv=self.column("shunt", "v_nominal_kv"),
                **self._units("shunt"),
            ),
            sources=PhaseSources(
                self.names("source"),
                self.at("source"),
                self.column("source", "v_pu", shape=(3,)),
                self.column("source", "angle_rad", shape=(3,)),
                self.column("source", "z_ohm", np.complex128, (3, 3)),
            ),
            notes=tuple(self.builder.notes),
        )
        self._check_phases(network)
        return network

    def _lines(self) -> PhaseLineSegments:
        return PhaseLineSegments(
            names=self.names("line"),
            node_from=self.at("line", "node_from"),
            node_to=self.at("line", "node_to"),
            phases=self.column("line", "phases", np.bool_, (3,)),
            z_ohm=self.column("line", "z_ohm", np.complex128, (3, 3)),
            y_s=self.column("line", "y_s", np.complex128, (3, 3)),
            **self.columns("line", ("length_km", "i_max_a")),
        )

    def _transformers(self) -> PhaseTransformers:
        rated = ("s_kva", "v_from_kv", "v_to_kv", "r_pu", "x_pu", "g_pu", "b_pu", "earth_b_pu", "tap_step_percent")
        taps = ("tap_side", "tap_min", "tap_max", "tap_neutral", "tap_position")
        from_ends = self._ends([row["windings"].from_ends for row in self.rows.get("transformer", {}).values()])
        to_ends = self._ends([row["windings"].to_ends for row in self.rows.get("transformer", {}).values()])
        return PhaseTransformers(
            names=self.names("transformer"),
            bank=tuple(row["bank"] for row in self.rows.get("transformer", {}).values()),
            node_from=self.at("transformer", "node_from"),
            node_to=self.at("transformer", "node_to"),
            from_plus=from_ends[:, :, 0].copy(),
            from_minus=from_ends[:, :, 1].copy(),
            to_plus=to_ends[:, :, 0].copy(),
            to_minus=to_ends[:, :, 1].copy(),
            neutral_s=self.column("transformer", "neutral_s", np.complex128, (2,)),
            **self.columns("transformer", rated),
            **self.columns("transformer", taps, np.int32),
        )

    @staticmethod
    def _ends(sides: list[Ends]) -> Any:
        return np.array(sides, dtype=np.int8).reshape(len(sides), 3, 2)

    def _units(self, table: str) -> dict[str, Any]:
        return {
            "names": self.names(table),
            "node": self.at(table),
            "units": self.column(table, "units", np.bool_, (3,)),
            "p_kw": self.column(table, "p_kw", shape=(3,)),
            "q_kvar": self.column(table, "q_kvar", shape=(3,)),
        }

    def _consumers(self) -> PhaseConsumers:
        return PhaseConsumers(
            delta=self.column("consumer", "delta", np.bool_),
            zip_p=self.column("consumer", "zip_p", shape=(3,)),
            zip_q=self.column("consumer", "zip_q", shape=(3,)),
            customers=self.column("consumer", "customers", np.int32),
            **self.columns("consumer", ("v_nominal_kv", "v_min_pu", "v_max_pu")),
            **self._units("consumer"),
        )

    def _switches(self) -> PhaseSwitches:
        placed = [self._place(name, row) for name, row in self.rows.get("switch", {}).items()]
        columns = np.array(placed, dtype=np.int32).reshape(-1, 3)
        return PhaseSwitches(
            names=self.names("switch"),
            kind=self.column("switch", "kind", np.int32),
            node=self.at("switch"),
            branch=columns[:, 0].copy(),
            side=columns[:, 1].copy(),
            other_node=columns[:, 2].copy(),
            phases=self.column("switch", "phases", np.bool_, (3,)),
            normally_closed=self.column("switch", "closed", np.bool_, (3,)),
            feeder_head=self.column("switch", "feeder_head", np.bool_),
        )

    def _place(self, name: str, row: Row) -> tuple[int, int, int]:
        """(branch, side, other node) of a switch."""
        if not row["branch"]:
            return -1, -1, self._node(name, row["other_node"])
        branch = self.rows.get("line", {}).get(row["branch"]) or self.rows.get("transformer", {}).get(row["branch"])
        if branch is None:
            raise NetworkDataError(
                f"network {self.builder.name}: switch {name} refers to branch {row['branch']}, which is not there"
            )
        ends = (branch["node_from"], branch["node_to"])
        if row["node"] not in ends:
            raise NetworkDataError(
                f"network {self.builder.name}: switch {name} stands at {row['node']}, "
                f"but {row['branch']} runs from {ends[0]} to {ends[1]}"
            )
        side = row["side"] if row["side"] >= 0 else ends.index(row["node"])
        return self.branches[row["branch"]], side, -1

    def _check_phases(self, network: ThreePhaseNetwork) -> None:
        """Refuse equipment on phases that its node does not have."""
        there = network.nodes.phases
        touched = network.branch_phases
        self._check(network.branch_names, touched[:, 0], there[network.branch_from])
        self._check(network.branch_names, touched[:, 1], there[network.branch_to])
        self._check(network.sources.names, np.ones((network.sources.n, 3), dtype=np.bool_), there[network.sources.node])
        self._check(network.generators.names, network.generators.units, there[network.generators.node])
        for table in (network.consumers, network.shunts):
            spread = table.units | (table.delta[:, np.newaxis] & np.roll(table.units, 1, axis=1))
            self._check(table.names, spread, there[table.node])
        switches = network.switches
        links = np.flatnonzero(switches.other_node >= 0)
        names = tuple(switches.names[i] for i in links)
        self._check(names, switches.phases[links], there[switches.node[links]])
        self._check(names, switches.phases[links], there[switches.other_node[links]])

    def _check(self, names: tuple[str, ...], used: NDArray[np.bool_], there: NDArray[np.bool_]) -> None:
        wrong = np.argwhere(used & ~there)
        if len(wrong):
            row, phase = wrong[0]
            raise NetworkDataError(
                f"network {self.builder.name}: {names[row]} uses phase {PHASES[phase]}, which its node does not have"
            )
