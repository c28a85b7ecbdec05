"""Isolation of a faulted area by the nearest switches that can be relied on.

A switch that cannot (unknown position, tagged, blocked, not remote-controlled) is passed over: the area grows by
the section behind it. If that section is supplied, a switch of unknown position stands between: it may be closed, so
the supplied section is taken off as well. Not for deciding where the fault is, and not for supplying anybody again.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from twin.dms.flisr.locate import feeder_tree
from twin.dms.flisr.model import Isolation, Location, Observation
from twin.dms.zonegraph import ZoneGraph
from twin.network.model import Bools, Network, SwitchKind

_SAID_NODES = 5


def load_breaking(network: Network) -> Bools:
    """Per switch: may be operated under load."""
    kind = network.switches.kind
    breaking: Bools = (kind == SwitchKind.BREAKER) | (kind == SwitchKind.LOAD_BREAK_SWITCH)
    return breaking


def operable(observation: Observation) -> Bools:
    """Per switch: can be commanded, at least to open, and its answer believed."""
    return observation.remote & ~observation.blocked & observation.position_known


def closable(network: Network, observation: Observation) -> Bools:
    """Per switch: can be commanded to close under load."""
    return operable(observation) & load_breaking(network) & ~observation.held_off


def why_unusable(observation: Observation, switch: int) -> str:
    """Why a switch is not operated, as the end of a sentence."""
    if not observation.position_known[switch]:
        return "its position is unknown"
    if observation.blocked[switch]:
        return "it is tagged or blocked"
    return "it is not remote-controlled"


def isolate(network: Network, graph: ZoneGraph, observation: Observation, location: Location) -> Isolation:
    """Open what surrounds the located area and all else that has to stay dead; grow it where a switch is unusable."""
    return _Isolator(network, graph, observation).isolate(location)


def kept_dead(network: Network, graph: ZoneGraph, observation: Observation) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """Zones that live-line work, another fault or generation at work forbids to energise, and sentences on them."""
    live = graph.energised(observation.closed)
    zones = dict.fromkeys(zone for zone in observation.faulted if not live[zone])
    reasons: list[str] = []
    islands = observation.still_live(network, graph)
    zones.update(dict.fromkeys(islands))
    if islands:
        nodes = np.flatnonzero(np.isin(graph.node_zone, islands))
        names = ", ".join(network.nodes.names[node] for node in nodes[:_SAID_NODES].tolist())
        more = f" and {len(nodes) - _SAID_NODES} more" if len(nodes) > _SAID_NODES else ""
        reasons.append(f"Generation keeps {names}{more} alive: nothing is closed onto that.")
    for switch in np.flatnonzero(observation.held_off & observation.closed_before).tolist():
        tree = feeder_tree(graph, observation.closed_before, switch)
        fed = [zone for zone in (tree.zone if tree else graph.sides[switch]) if not live[zone]]
        zones.update(dict.fromkeys(fed))
        if fed:
            name = network.switches.names[switch]
            reasons.append(f"{name} bears a hold-off tag for live-line work: what it fed is not energised again.")
    return tuple(zones), tuple(reasons)


@dataclass
class _Isolator:
    network: Network
    graph: ZoneGraph
    observation: Observation

    def isolate(self, location: Location) -> Isolation:
        live = self.graph.energised(self.observation.closed)
        others, reasons = kept_dead(self.network, self.graph, self.observation)
        area = dict.fromkeys((*location.area, *others))
        remarks = list(reasons)
        usable = self._usable(live)
        while True:
            obstacle = self._obstacle(area, usable)
            if obstacle < 0:
                return self._border(location, area, tuple(remarks), live)
            beyond = self._outside(area, obstacle)
            name = self.network.switches.names[obstacle]
            reason = self._why_passed_over(obstacle)
            if beyond in self.graph.source_zone:
                problem = f"{name} borders on a source and cannot be relied on: {reason}."
                return Isolation(tuple(area), (), (), tuple(remarks), problem)
            area[beyond] = None
            into = " into a supplied part" if live[beyond] else ""
            remarks.append(f"{name} is not used, {reason}: the isolated area grows{into}.")

    def _usable(self, live: Bools) -> Bools:
        """Switches to isolate with: what stands in a supplied part must break load."""
        dead = ~live[self.graph.switch_a] & ~live[self.graph.switch_b]
        opens = load_breaking(self.network) | (dead & (self.network.switches.kind != SwitchKind.FUSE))
        usable: Bools = operable(self.observation) & opens
        return usable

    def _why_passed_over(self, switch: int) -> str:
        if self.network.switches.kind[switch] == SwitchKind.FUSE:
            return "it is a fuse"
        return "it breaks no load" if operable(self.observation)[switch] else why_unusable(self.observation, switch)

    def _obstacle(self, area: dict[int, None], usable: Bools) -> int:
        """The first switch around the area that is not open and cannot be opened, -1 if there is none."""
        for switch in self._around(area):
            if not self.observation.open[switch] and not usable[switch]:
                return switch
        return -1

    def _around(self, area: dict[int, None]) -> list[int]:
        return sorted({s for zone in area for s in self.graph.switches_at[zone] if self._outside(area, s) >= 0})

    def _outside(self, area: dict[int, None], switch: int) -> int:
        """The zone of ``switch`` that is not in the area, -1 if both are."""
        return next((zone for zone in self.graph.sides[switch] if zone not in area), -1)

    def _border(self, location: Location, area: dict[int, None], remarks: tuple[str, ...], live: Bools) -> Isolation:
        around = self._around(area)
        to_open = tuple(s for s in around if not self.observation.open[s])
        if live[list(location.area)].any():
            fed = next((s for s in to_open if live[list(self.graph.sides[s])].any()), -1)
            through = f" through {self.network.switches.names[fed]}" if fed >= 0 else ""
            return Isolation(tuple(area), (), (), remarks, f"the area is still supplied{through}.")
        return Isolation(tuple(area), to_open, tuple(s for s in around if self.observation.open[s]), remarks)
