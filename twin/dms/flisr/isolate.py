"""Isolation of a faulted area by the nearest switches that can be relied on.

A switch that cannot (unknown position, tagged, blocked, not remote-controlled) is passed over: the area grows by
the section behind it. Not for deciding where the fault is, and not for supplying anybody again.
"""

from __future__ import annotations

from dataclasses import dataclass

from twin.dms.flisr.model import Isolation, Location, Observation
from twin.dms.zonegraph import ZoneGraph
from twin.network.model import Bools, Network, SwitchKind


def load_breaking(network: Network) -> Bools:
    """Per switch: may be operated under load."""
    kind = network.switches.kind
    breaking: Bools = (kind == SwitchKind.BREAKER) | (kind == SwitchKind.LOAD_BREAK_SWITCH)
    return breaking


def operable(observation: Observation) -> Bools:
    """Per switch: can be commanded and its answer believed."""
    return observation.remote & ~observation.blocked & observation.position_known


def why_unusable(observation: Observation, switch: int) -> str:
    """Why a switch is not operated, as the end of a sentence."""
    if not observation.position_known[switch]:
        return "its position is unknown"
    if observation.blocked[switch]:
        return "it is tagged or blocked"
    return "it is not remote-controlled"


def isolate(network: Network, graph: ZoneGraph, observation: Observation, location: Location) -> Isolation:
    """Open what surrounds the located area, growing it where a switch cannot be used."""
    return _Isolator(network, graph, observation).isolate(location)


@dataclass
class _Isolator:
    network: Network
    graph: ZoneGraph
    observation: Observation

    def isolate(self, location: Location) -> Isolation:
        area = dict.fromkeys(location.area)
        remarks: list[str] = []
        usable = operable(self.observation) & (self.network.switches.kind != SwitchKind.FUSE)
        live = self.graph.energised(self.observation.closed)
        while True:
            obstacle = self._obstacle(area, usable)
            if obstacle < 0:
                return self._border(tuple(area), tuple(remarks))
            beyond = self._outside(area, obstacle)
            name = self.network.switches.names[obstacle]
            reason = why_unusable(self.observation, obstacle)
            if live[beyond]:
                problem = f"{name} borders on a supplied part and cannot be relied on: {reason}."
                return Isolation(tuple(area), (), (), tuple(remarks), problem)
            area[beyond] = None
            remarks.append(f"{name} is not used, {reason}: the isolated area grows.")

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

    def _border(self, area: tuple[int, ...], remarks: tuple[str, ...]) -> Isolation:
        around = self._around(dict.fromkeys(area))
        live = self.graph.energised(self.observation.closed)
        to_open = tuple(s for s in around if not self.observation.open[s])
        fed = [s for s in to_open if live[list(self.graph.sides[s])].any()]
        if fed:
            name = self.network.switches.names[fed[0]]
            return Isolation(area, (), (), remarks, f"the area is still supplied through {name}.")
        return Isolation(area, to_open, tuple(s for s in around if self.observation.open[s]), remarks)
