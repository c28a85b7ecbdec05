"""Builds a compiled network by hand: for loaders, toy networks and tests.

The builder collects rows by name and compiles them once; it resolves every name and refuses
duplicates and unknown ones.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from twin.errors import Blame, TwinError
from twin.network.earthing import EarthingSwitches
from twin.network.model import (
    ConnectivityNodes,
    Consumers,
    ExternalNetworks,
    GeneratingUnits,
    LineSegments,
    Network,
    PowerTransformers,
    ShuntCompensators,
    Switches,
    SwitchKind,
)

NAN = math.nan
Row = dict[str, Any]


class NetworkDataError(TwinError):
    """The data of a network contradict themselves."""

    blame = Blame.SCENARIO


@dataclass
class NetworkBuilder:
    """Collects equipment by name; :meth:`build` compiles it.

    Raises:
        NetworkDataError: a name is used twice or refers to nothing.
    """

    name: str
    frequency_hz: float = 50.0
    _rows: dict[str, dict[str, Row]] = field(default_factory=dict)
    _taken: set[str] = field(default_factory=set)

    def _add(self, table: str, name: str, row: Row) -> None:
        if name in self._taken:
            raise NetworkDataError(f"network {self.name}: the name {name} is used twice")
        self._taken.add(name)
        self._rows.setdefault(table, {})[name] = row

    def node(self, name: str, *, v_kv: float, x: float = NAN, y: float = NAN) -> None:
        """Add a connectivity node."""
        self._add("node", name, {"v_nominal_kv": v_kv, "x": x, "y": y})

    def source(
        self,
        name: str,
        node: str,
        *,
        v_pu: float = 1.0,
        angle_rad: float = 0.0,
        s_sc_mva: float = NAN,
        rx: float = NAN,
        s_sc_min_mva: float = NAN,
        rx_min: float = NAN,
        x0x1: float = NAN,
        r0x0: float = NAN,
    ) -> None:
        """Add an external network."""
        row = {key: value for key, value in locals().items() if key not in ("self", "name")}
        self._add("source", name, row)

    def line(
        self,
        name: str,
        node_from: str,
        node_to: str,
        *,
        length_km: float,
        r_ohm_per_km: float,
        x_ohm_per_km: float,
        c_nf_per_km: float = 0.0,
        g_us_per_km: float = 0.0,
        r0_ohm_per_km: float = NAN,
        x0_ohm_per_km: float = NAN,
        c0_nf_per_km: float = NAN,
        i_max_a: float = 1e6,
        overhead: bool = False,
    ) -> None:
        """Add a line segment; parameters per kilometre are multiplied out."""
        self._add(
            "line",
            name,
            {
                "node_from": node_from,
                "node_to": node_to,
                "length_km": length_km,
                "r_ohm": r_ohm_per_km * length_km,
                "x_ohm": x_ohm_per_km * length_km,
                "c_nf": c_nf_per_km * length_km,
                "g_us": g_us_per_km * length_km,
                "r0_ohm": r0_ohm_per_km * length_km,
                "x0_ohm": x0_ohm_per_km * length_km,
                "c0_nf": c0_nf_per_km * length_km,
                "i_max_a": i_max_a,
                "overhead": overhead,
            },
        )

    def transformer(
        self,
        name: str,
        node_from: str,
        node_to: str,
        *,
        s_kva: float,
        v_from_kv: float,
        v_to_kv: float,
        vk_percent: float,
        vkr_percent: float,
        p_iron_kw: float = 0.0,
        i0_percent: float = 0.0,
        shift_deg: float = 0.0,
        tap_side: int = 0,
        tap_min: int = 0,
        tap_max: int = 0,
        tap_neutral: int = 0,
        tap_step_percent: float = 0.0,
        tap_angle_deg: float = 0.0,
        tap_position: int = 0,
        vector_group: str = "",
        vk0_percent: float = NAN,
        vkr0_percent: float = NAN,
        mag0_percent: float = NAN,
        mag0_rx: float = NAN,
        si0_from: float = NAN,
        rn_from_ohm: float = 0.0,
        xn_from_ohm: float = 0.0,
        rn_to_ohm: float = 0.0,
        xn_to_ohm: float = 0.0,
        k_sc: float = NAN,
        pt_percent: float = 0.0,
        oltc: bool = False,
    ) -> None:
        """Add a two-winding transformer, ``node_from`` on the high-voltage side."""
        row = {key: value for key, value in locals().items() if key not in ("self", "name")}
        self._add("transformer", name, row)

    def switch(
        self,
        name: str,
        kind: SwitchKind,
        node: str,
        *,
        branch: str = "",
        other_node: str = "",
        closed: bool = True,
        feeder_head: bool = False,
        side: int = -1,
    ) -> None:
        """Add a switch between ``node`` and its end of ``branch``, or between two nodes.

        ``side`` is found from the node; give it only for a branch with both ends at one node.
        """
        row = {"kind": int(kind), "node": node, "branch": branch, "other_node": other_node, "side": side}
        self._add("switch", name, row | {"normally_closed": closed, "feeder_head": feeder_head})

    def consumer(
        self,
        name: str,
        node: str,
        *,
        p_kw: float,
        q_kvar: float = 0.0,
        customers: int = 1,
        load_class: str = "residential",
        p_current_share: float = 0.0,
        p_impedance_share: float = 0.0,
        q_current_share: float = 0.0,
        q_impedance_share: float = 0.0,
    ) -> None:
        """Add a consumer (all customers of a class behind one supply point)."""
        row = {key: value for key, value in locals().items() if key not in ("self", "name")}
        self._add("consumer", name, row)

    def generator(
        self,
        name: str,
        node: str,
        *,
        p_kw: float,
        q_kvar: float = 0.0,
        s_kva: float = NAN,
        kind: str = "pv",
        v_set_pu: float = NAN,
        q_min_kvar: float = -math.inf,
        q_max_kvar: float = math.inf,
        machine: str = "",
        v_rated_kv: float = NAN,
        cos_phi: float = NAN,
        xdss_pu: float = NAN,
        r_sc_ohm: float = NAN,
        r0_ohm: float = NAN,
        x0_ohm: float = NAN,
        lrc_pu: float = NAN,
        rx_sc: float = NAN,
        i_sc_pu: float = NAN,
        pg_percent: float = 0.0,
        pole_pairs: int = 0,
        unit_transformer: str = "",
    ) -> None:
        """Add a generating unit, P and Q positive as generation; with ``v_set_pu`` it holds the voltage of its node.

        What follows the limits of Q is for short circuits.
        """
        row = {key: value for key, value in locals().items() if key not in ("self", "name")}
        self._add("generator", name, row)

    def shunt(
        self,
        name: str,
        node: str,
        *,
        p_kw: float = 0.0,
        q_kvar: float,
        steps: int = 1,
        initial_steps: int | None = None,
        r0_ohm: float = NAN,
        x0_ohm: float = NAN,
    ) -> None:
        """Add a shunt by its consumption at nominal voltage with all steps in (a capacitor has negative Q).

        ``initial_steps`` are in at first, all of them if not given.
        """
        row = {key: value for key, value in locals().items() if key not in ("self", "name")}
        self._add("shunt", name, row | {"initial_steps": steps if initial_steps is None else initial_steps})

    def earthing(self, name: str, node: str, *, r_ohm: float = 0.0, x_ohm: float = 0.0) -> None:
        """Earth the neutral of a node's voltage level over an earthing transformer.

        ``r_ohm``/``x_ohm`` is the impedance between neutral and earth (a Petersen coil is mostly X); that of the
        earthing transformer itself is a third of its zero-sequence impedance and belongs to it.
        """
        self.shunt(name, node, q_kvar=0.0, r0_ohm=3.0 * r_ohm, x0_ohm=3.0 * x_ohm)

    def earthing_switch(self, name: str, node: str, *, branch: str = "", closed: bool = False) -> None:
        """Add an earthing switch at a node, or at the conductor of a branch that ends there."""
        self._add("earthing", name, {"node": node, "branch": branch, "normally_closed": closed})

    def build(self) -> Network:
        """Compile the rows into a read-only network."""
        return _Compiler(self.name, self.frequency_hz, self._rows).compile()


class _Compiler:
    """Turns rows of names into arrays of indices."""

    def __init__(self, name: str, frequency_hz: float, rows: dict[str, dict[str, Row]]) -> None:
        self.network_name = name
        self.frequency_hz = frequency_hz
        self.rows = rows
        self.nodes = {node: i for i, node in enumerate(rows.get("node", {}))}
        branches = (*rows.get("line", {}), *rows.get("transformer", {}))
        self.branches = {branch: i for i, branch in enumerate(branches)}

    def node(self, owner: str, name: str) -> int:
        if name not in self.nodes:
            raise NetworkDataError(f"network {self.network_name}: {owner} refers to node {name}, which is not there")
        return self.nodes[name]

    def _column(self, table: str, key: str, convert: Callable[[str, Any], Any]) -> list[Any]:
        return [convert(name, row[key]) for name, row in self.rows.get(table, {}).items()]

    def floats(self, table: str, key: str) -> Any:
        return np.array(self._column(table, key, lambda _, v: float(v)), dtype=np.float64)

    def ints(self, table: str, key: str) -> Any:
        return np.array(self._column(table, key, lambda _, v: int(v)), dtype=np.int32)

    def bools(self, table: str, key: str) -> Any:
        return np.array(self._column(table, key, lambda _, v: bool(v)), dtype=np.bool_)

    def node_column(self, table: str, key: str) -> Any:
        return np.array(self._column(table, key, self.node), dtype=np.int32)

    def names(self, table: str) -> tuple[str, ...]:
        return tuple(self.rows.get(table, {}))

    def texts(self, table: str, key: str) -> tuple[str, ...]:
        return tuple(self._column(table, key, lambda _, v: str(v)))

    def compile(self) -> Network:
        f = self.floats
        line = {k: f("line", k) for k in ("length_km", "r_ohm", "x_ohm", "c_nf", "g_us", "i_max_a")}
        zero = {k: f("line", k) for k in ("r0_ohm", "x0_ohm", "c0_nf")}
        rated = ("s_kva", "v_from_kv", "v_to_kv", "vk_percent", "vkr_percent", "p_iron_kw", "i0_percent")
        neutral = ("rn_from_ohm", "xn_from_ohm", "rn_to_ohm", "xn_to_ohm", "k_sc", "pt_percent")
        earth = ("vk0_percent", "vkr0_percent", "mag0_percent", "mag0_rx", "si0_from", *neutral)
        tap = ("tap_step_percent", "tap_angle_deg")
        transformer = {k: f("transformer", k) for k in (*rated, "shift_deg", *tap, *earth)}
        ratings = ("v_rated_kv", "cos_phi", "xdss_pu", "r_sc_ohm", "pg_percent")
        machine = (*ratings, "r0_ohm", "x0_ohm", "lrc_pu", "rx_sc", "i_sc_pu")
        taps = ("tap_side", "tap_min", "tap_max", "tap_neutral", "tap_position")
        node = self.node_column
        return Network(
            name=self.network_name,
            frequency_hz=self.frequency_hz,
            nodes=ConnectivityNodes(self.names("node"), f("node", "v_nominal_kv"), f("node", "x"), f("node", "y")),
            lines=LineSegments(
                names=self.names("line"),
                node_from=node("line", "node_from"),
                node_to=node("line", "node_to"),
                overhead=self.bools("line", "overhead"),
                **line,
                **zero,
            ),
            transformers=PowerTransformers(
                names=self.names("transformer"),
                node_from=node("transformer", "node_from"),
                node_to=node("transformer", "node_to"),
                **transformer,
                **{k: self.ints("transformer", k) for k in taps},
                vector_group=self.texts("transformer", "vector_group"),
                oltc=self.bools("transformer", "oltc"),
            ),
            switches=self._switches(),
            consumers=Consumers(
                self.names("consumer"),
                node("consumer", "node"),
                f("consumer", "p_kw"),
                f("consumer", "q_kvar"),
                self.ints("consumer", "customers"),
                self.texts("consumer", "load_class"),
                *(f("consumer", f"{of}_{share}_share") for of in "pq" for share in ("current", "impedance")),
            ),
            generators=GeneratingUnits(
                self.names("generator"),
                node("generator", "node"),
                f("generator", "p_kw"),
                f("generator", "q_kvar"),
                f("generator", "s_kva"),
                self.texts("generator", "kind"),
                f("generator", "v_set_pu"),
                f("generator", "q_min_kvar"),
                f("generator", "q_max_kvar"),
                machine=self.texts("generator", "machine"),
                pole_pairs=self.ints("generator", "pole_pairs"),
                unit_transformer=self._unit_transformers(),
                **{k: f("generator", k) for k in machine},
            ),
            shunts=ShuntCompensators(
                self.names("shunt"),
                node("shunt", "node"),
                **{k: f("shunt", k) for k in ("p_kw", "q_kvar", "r0_ohm", "x0_ohm")},
                **{k: self.ints("shunt", k) for k in ("steps", "initial_steps")},
            ),
            sources=ExternalNetworks(
                self.names("source"),
                node("source", "node"),
                *(f("source", k) for k in ("v_pu", "angle_rad", "s_sc_mva", "rx")),
                *(f("source", k) for k in ("s_sc_min_mva", "rx_min", "x0x1", "r0x0")),
            ),
            earthing=EarthingSwitches(
                self.names("earthing"),
                node("earthing", "node"),
                np.array(self._column("earthing", "branch", self._branch), dtype=np.int32),
                self.bools("earthing", "normally_closed"),
            ),
        )

    def _branch(self, owner: str, name: str) -> int:
        """The row of a branch, -1 for none."""
        if name and name not in self.branches:
            raise NetworkDataError(f"network {self.network_name}: {owner} refers to branch {name}, which is not there")
        return self.branches[name] if name else -1

    def _unit_transformers(self) -> Any:
        """Rows of the power station transformers, -1 for units without one."""
        rows = {name: row for row, name in enumerate(self.names("transformer"))}
        return np.array(self._column("generator", "unit_transformer", partial(self._row_of, rows)), dtype=np.int32)

    def _row_of(self, rows: dict[str, int], owner: str, transformer: str) -> int:
        if transformer and transformer not in rows:
            raise NetworkDataError(
                f"network {self.network_name}: {owner} refers to transformer {transformer}, which is not there"
            )
        return rows.get(transformer, -1)

    def _switches(self) -> Switches:
        placed = [self._place(name, row) for name, row in self.rows.get("switch", {}).items()]
        columns = np.array(placed, dtype=np.int32).reshape(-1, 3)
        return Switches(
            names=self.names("switch"),
            kind=self.ints("switch", "kind"),
            node=self.node_column("switch", "node"),
            branch=columns[:, 0].copy(),
            side=columns[:, 1].copy(),
            other_node=columns[:, 2].copy(),
            normally_closed=self.bools("switch", "normally_closed"),
            feeder_head=self.bools("switch", "feeder_head"),
        )

    def _place(self, name: str, row: Row) -> tuple[int, int, int]:
        """(branch, side, other node) of a switch."""
        if not row["branch"]:
            return -1, -1, self.node(name, row["other_node"])
        if row["branch"] not in self.branches:
            raise NetworkDataError(
                f"network {self.network_name}: switch {name} refers to branch {row['branch']}, which is not there"
            )
        ends = self._ends(row["branch"])
        if row["node"] not in ends:
            raise NetworkDataError(
                f"network {self.network_name}: switch {name} stands at {row['node']}, "
                f"but {row['branch']} runs from {ends[0]} to {ends[1]}"
            )
        side = row["side"] if row["side"] >= 0 else ends.index(row["node"])
        return self.branches[row["branch"]], side, -1

    def _ends(self, branch: str) -> tuple[str, str]:
        row = self.rows.get("line", {}).get(branch) or self.rows["transformer"][branch]
        return row["node_from"], row["node_to"]
