"""Topology processing at work in the control room: follows the positions, publishes what is supplied, earthed, looped.

It operates nothing, so that modes advisory and automatic do the same. The decisions are in ``twin.dms.topology``;
its state follows from the point database alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twin.control_room.desk import CyclicDesk, Finding, Host
from twin.control_room.settings import TopologyDeskSettings
from twin.dms.topology import (
    UNKNOWN_ROW,
    Known,
    NodeStates,
    SupplyState,
    SwitchState,
    TopologyProcessor,
    switch_states,
)
from twin.network.model import Floats, Ints, Network
from twin.points.calculated import calculated_point
from twin.points.model import PointDefinition, PointKind, Quality
from twin.timebase import SimTime

NAME = "topology"
NODE = ("nca_energised", "nca_earthed", "nca_parallel", "nca_loop")
FEED = "nca_feed"
"""Number of the feeder head, from 1 in the order of the network's switches; 0 where supply passes none."""
WHOLE = (
    "dead_nodes",
    "unknown_nodes",
    "earthed_nodes",
    "parallel_nodes",
    "loop_nodes",
    "unknown_switches",
    "customers_interrupted",
    "customers_unknown",
)


def topology_points(
    network: Network, definitions: Sequence[PointDefinition], settings: TopologyDeskSettings
) -> list[PointDefinition]:
    """What is known of every node and branch, and figures of the whole. Invalid is what is unknown."""
    single = PointKind.SINGLE
    return [
        *(calculated_point(name, quantity, kind=single) for quantity in NODE for name in network.nodes.names),
        *(calculated_point(name, FEED) for name in network.nodes.names),
        *(calculated_point(name, NODE[0], kind=single) for name in network.branch_names),
        *(calculated_point(NAME, quantity, equipment=False) for quantity in WHOLE),
    ]


MOST_ASKED = 20
"""With more unknown switches than this it is not asked of each what it decides about."""


class TopologyDesk(CyclicDesk):
    """Runs topology processing for the whole network of a control room, soon after a position has changed."""

    def __init__(self, host: Host, settings: TopologyDeskSettings) -> None:
        super().__init__(NAME, host, settings.period_ms, settings.settle_ms)
        network = host.network
        self.processor = TopologyProcessor(network)
        rows = {name: row for row, name in enumerate(network.earthing.names)}
        found = [
            (rows[d.equipment], d.name) for d in host.definitions if d.quantity == "position" and d.equipment in rows
        ]
        self._earthing_rows = np.array([row for row, _ in found], dtype=np.intp)
        self._earthing = host.database.view([name for _, name in found])
        heads = np.flatnonzero(network.switches.feeder_head)
        self._number = np.zeros(network.switches.n + 1, dtype=np.float64)
        self._number[heads] = np.arange(1, len(heads) + 1)
        points = topology_points(network, host.definitions, settings)
        self._writer = host.database.calculated([point.name for point in points])
        self._customers = np.zeros(network.nodes.n)
        np.add.at(self._customers, network.consumers.node, network.consumers.customers)

    def run(self, now: SimTime) -> None:
        """Follow, publish, tell."""
        position = self.host.watch.position
        self.processor.update(
            switch_states(position.values().astype(np.int32), position.quality()), self._earthing_states()
        )
        nodes, branches = self.processor.nodes(), self.processor.branches()
        self._writer.publish(*self._values(nodes, branches), now)
        if position.good().any():  # before the first telemetry there is nothing to tell
            self.findings.update(self._findings(nodes), now)

    def _earthing_states(self) -> Ints:
        """Earthing switches without a point are unknown."""
        states = np.full(self.host.network.earthing.n, int(SwitchState.UNKNOWN), dtype=np.int32)
        values = np.nan_to_num(self._earthing.values).astype(np.int32)
        states[self._earthing_rows] = switch_states(values, self._earthing.quality.astype(np.int32))
        return states

    def _values(self, nodes: NodeStates, branches: NodeStates) -> tuple[Floats, NDArray[np.uint8]]:
        """Values and qualities in the order of the published points."""
        known = [nodes.supply, nodes.earthed, nodes.in_parallel, nodes.in_loop]
        unknown = [column == Known.UNKNOWN for column in known]
        feed = self._number[np.where(nodes.feeder_head < 0, -1, nodes.feeder_head)]
        values = [*(column == Known.YES for column in known), feed, branches.supply == SupplyState.ENERGISED]
        doubts = [*unknown, nodes.feeder_head == UNKNOWN_ROW, branches.supply == SupplyState.UNKNOWN]
        dead, unsure = nodes.supply == SupplyState.DEAD, unknown[0]
        whole = [
            *(np.count_nonzero(column) for column in (dead, unsure, *(c == Known.YES for c in known[1:]))),
            np.count_nonzero(self.processor.switch == SwitchState.UNKNOWN),
            *(self._customers[rows].sum() for rows in (dead, unsure)),
        ]
        quality = np.concatenate([*doubts, np.zeros(len(whole), dtype=np.bool_)])
        return (
            np.concatenate([np.asarray(part, dtype=np.float64) for part in (*values, whole)]),
            np.where(quality, int(Quality.INVALID), 0).astype(np.uint8),
        )

    def _findings(self, nodes: NodeStates) -> list[Finding]:
        """What an operator should know, a sentence each."""
        switches, names = self.host.network.switches.names, self.host.network.nodes.names
        unsure = np.flatnonzero(nodes.supply == SupplyState.UNKNOWN)
        unknown = np.flatnonzero(self.processor.switch == SwitchState.UNKNOWN).tolist()
        tell = self._of_unknown if len(unknown) <= MOST_ASKED else "{} has no usable position.".format
        found = [Finding(switches[row], "unknown switch", tell(switches[row])) for row in unknown]
        for kind, rows, text in (
            ("dead", np.flatnonzero(nodes.supply == SupplyState.DEAD), "without supply"),
            ("supply unknown", unsure, "with or without supply, as unknown switches stand"),
            ("in parallel", np.flatnonzero(nodes.in_parallel == Known.YES), "fed by two or more sources"),
            ("in a loop", np.flatnonzero(nodes.in_loop == Known.YES), "on a closed loop"),
        ):
            if len(rows):
                why = f"{len(rows)} node{'s are' if len(rows) > 1 else ' is'} {text}: {_listed(names, rows)}."
                found.append(Finding(NAME, kind, why, {"nodes": [names[row] for row in rows.tolist()]}))
        live = (nodes.supply == SupplyState.ENERGISED) & (nodes.earthed == Known.YES)
        found += [
            Finding(names[row], "live and earthed", f"{names[row]} is supplied and earthed: one position is wrong.")
            for row in np.flatnonzero(live).tolist()
        ]
        return found

    def _of_unknown(self, switch: str) -> str:
        open_, closed = (self.processor.what_if(switch, closed=state) for state in (False, True))
        n = len(set(open_.dead) | set(closed.energised))
        decides = f"it alone decides about {n} node{'s' if n > 1 else ''}" if n else "it alone decides about no node"
        return f"{switch} has no usable position; {decides}."


def _listed(names: tuple[str, ...], rows: NDArray[Any], most: int = 8) -> str:
    listed = ", ".join(names[row] for row in rows[:most].tolist())
    return listed if len(rows) <= most else f"{listed} and {len(rows) - most} more"
