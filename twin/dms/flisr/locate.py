"""Fault location from directional fault passage indicators.

The fault current of a radial feeder flows from the tripped device into the section at fault and no further.
Every section is a hypothesis; the indicators speak for or against it, each with a probability of staying silent and
of showing a current that was not there, so that one silent or one false indicator does not decide.
Not for fault distance, and not for feeders operated in a ring.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from twin.dms.flisr.model import FlisrSettings, Location, Observation, ZoneCandidate
from twin.dms.zonegraph import ZoneGraph, zone_graph
from twin.network.model import Bools, Network
from twin.network.topology import zones

_BUSBAR_KM = 0.15
"""Length of cable that fails as often as a substation's busbar (about 1 fault per 100 km of cable and year against 0.1
to 0.2 per 100 stations)."""

_P_BACKFEED = 0.1
"""Probability that generation behind an indicator makes it show a current towards the feeder head."""

_SAID_CANDIDATES = 3


@dataclass(frozen=True)
class FeederTree:
    """The sections fed through the tripped device before the fault, in order from it.

    ``zone[0]`` lies right behind ``device``; ``parent[i]`` is the position in ``zone`` of the section that
    feeds section ``i`` through ``switch[i]`` (-1 and the device for the first).
    """

    device: int
    zone: tuple[int, ...]
    parent: tuple[int, ...]
    switch: tuple[int, ...]
    ring: bool


def locate(
    network: Network,
    observation: Observation,
    settings: FlisrSettings | None = None,
    *,
    device: int | None = None,
) -> Location:
    """Rank the sections behind the tripped switch ``device`` (default: found from ``observation.tripped``).

    The area to isolate is the most probable group of sections that indicators can tell apart, joined by the
    next ones until the area holds the fault with ``settings.confidence``. Sections between its members belong
    to it; if those are too many, the indications contradict each other and the fault is not located.
    """
    return _Locator(network, zone_graph(network), observation, settings or FlisrSettings()).locate(device)


def tripped_devices(graph: ZoneGraph, observation: Observation) -> tuple[int, ...]:
    """Tripped open switches, without those that have another one downstream of them."""
    rows = np.flatnonzero(observation.tripped & observation.open & observation.closed_before).tolist()
    trees = {row: feeder_tree(graph, observation.closed_before, row) for row in rows}
    inside = {row: set(tree.zone) if tree else set() for row, tree in trees.items()}
    return tuple(
        row for row in rows if not any(other != row and set(graph.sides[other]) <= inside[row] for other in rows)
    )


def feeder_tree(graph: ZoneGraph, closed_before: Bools, device: int) -> FeederTree | None:
    """What was fed through ``device`` before the fault; None if it did not separate a part from the sources."""
    closed = closed_before.copy()
    closed[device] = False
    live = graph.energised(closed)
    a, b = graph.sides[device]
    if live[a] == live[b]:
        return None
    return _walk(graph, closed, device, b if live[a] else a)


def _walk(graph: ZoneGraph, closed: np.ndarray[tuple[int], np.dtype[np.bool_]], device: int, start: int) -> FeederTree:
    zone, parent, via = [start], [-1], [device]
    place = {start: 0}
    ring = False
    for here in zone:  # grows while it is walked: breadth first
        for switch in graph.switches_at[here]:
            if not closed[switch] or switch == via[place[here]]:
                continue
            further = graph.beyond(switch, here)
            if further in place:
                ring = True
                continue
            place[further] = len(zone)
            zone.append(further)
            parent.append(place[here])
            via.append(switch)
    return FeederTree(device, tuple(zone), tuple(parent), tuple(via), ring)


class _Locator:
    """One location; the parts share network, graph and observation."""

    def __init__(self, network: Network, graph: ZoneGraph, observation: Observation, settings: FlisrSettings) -> None:
        self._network = network
        self._graph = graph
        self._seen = observation
        self._settings = settings

    def locate(self, device: int | None) -> Location:
        devices = tripped_devices(self._graph, self._seen) if device is None else (device,)
        if not devices:
            return Location(-1, (), (), "Not located: no protection trip with an open switch is reported.")
        tree = feeder_tree(self._graph, self._seen.closed_before, devices[0])
        name = self._network.switches.names[devices[0]]
        if tree is None:
            return self._refuse(devices[0], f"{name} did not feed a part of the network of its own before the fault")
        if tree.ring:
            return self._refuse(devices[0], f"the feeder behind {name} is operated in a ring")
        return self._weigh(tree)

    def _refuse(self, device: int, reason: str, candidates: tuple[ZoneCandidate, ...] = ()) -> Location:
        return Location(device, candidates, (), f"Not located: {reason}.")

    def _weigh(self, tree: FeederTree) -> Location:
        name = self._network.switches.names[tree.device]
        if len(tree.zone) > 1 and not self._seen.indication_valid[list(tree.switch[1:])].any():
            return self._refuse(tree.device, f"no fault passage indicator behind {name} can be used")
        if not self._any_indication(tree):
            return self._without_indication(tree)
        probability = self._probabilities(tree)
        candidates = self._candidates(tree, probability)
        area = self._area(tree, probability)
        names = " or ".join(f"{c.name} ({c.probability:.0%})" for c in candidates[:_SAID_CANDIDATES])
        joined = self._joined(tree, area)
        if len(joined) - len(area) > self._settings.max_joining_sections:
            return self._refuse(tree.device, f"the indications contradict each other: {names}", candidates)
        area = joined
        sentence = f"{name} tripped; the fault is in {self._describe(tree, area)} ({self._sum(probability, area):.0%})."
        return Location(tree.device, candidates, tuple(tree.zone[i] for i in area), sentence)

    def _any_indication(self, tree: FeederTree) -> bool:
        rows = list(tree.switch)
        shown = self._seen.fault_forward[rows] | self._seen.fault_reverse[rows]
        return bool((shown & self._seen.indication_valid[rows]).any())

    def _without_indication(self, tree: FeederTree) -> Location:
        name = self._network.switches.names[tree.device]
        if not self._settings.assume_first_section:
            return self._refuse(tree.device, f"no fault passage indicator behind {name} shows a fault current")
        group = self._groups(tree)
        area = [i for i in range(len(tree.zone)) if group[i] == 0]
        described = self._describe(tree, area)
        sentence = (
            f"{name} tripped and no fault passage indicator shows a fault current: "
            f"taken to be in the first section, {described}."
        )
        probability = [1.0 / len(area) if group[i] == 0 else 0.0 for i in range(len(tree.zone))]
        return Location(tree.device, self._candidates(tree, probability), tuple(tree.zone[i] for i in area), sentence)

    # --- probabilities -----------------------------------------------------------------------------------------

    def _probabilities(self, tree: FeederTree) -> list[float]:
        """Posterior of each section: length as prior (long lines fault more often), indicators as evidence."""
        likelihood = [0.0] * len(tree.zone)
        for i in range(1, len(tree.zone)):
            likelihood[i] = likelihood[tree.parent[i]] + self._evidence(tree, i)
        best = max(likelihood)
        weight = [w * math.exp(value - best) for w, value in zip(self._prior(tree), likelihood, strict=True)]
        return [w / sum(weight) for w in weight]

    def _evidence(self, tree: FeederTree, i: int) -> float:
        """Log-likelihood ratio of the indicator that feeds section ``i``: fault behind it against not behind it."""
        switch = tree.switch[i]
        seen, settings = self._seen, self._settings
        if not seen.indication_valid[switch]:
            return 0.0
        feeding = tree.zone[tree.parent[i]]
        is_forward = self._graph.sides[switch][0] == feeding
        down, up = (seen.fault_forward, seen.fault_reverse) if is_forward else (seen.fault_reverse, seen.fault_forward)
        behind = math.log(1 - settings.p_silent if down[switch] else settings.p_silent)
        behind += math.log(settings.p_false if up[switch] else 1 - settings.p_false)
        elsewhere = math.log(settings.p_false if down[switch] else 1 - settings.p_false)
        elsewhere += math.log(_P_BACKFEED if up[switch] else 1 - _P_BACKFEED)
        return behind - elsewhere

    def _prior(self, tree: FeederTree) -> list[float]:
        """How often a section fails before anything is seen: by its line length, a busbar like a short cable."""
        lines = self._network.lines
        km = np.bincount(self._graph.branch_zone[: lines.n], weights=lines.length_km, minlength=self._graph.n)
        return [_BUSBAR_KM + float(length) for length in km[list(tree.zone)]]

    def _groups(self, tree: FeederTree) -> list[int]:
        """Per section the first section of those that no usable indicator tells apart from it."""
        group = [0] * len(tree.zone)
        for i in range(1, len(tree.zone)):
            group[i] = i if self._seen.indication_valid[tree.switch[i]] else group[tree.parent[i]]
        return group

    def _area(self, tree: FeederTree, probability: Sequence[float]) -> list[int]:
        """The sections to isolate: whole groups, most probable first, until ``confidence`` is reached."""
        group = self._groups(tree)
        total: dict[int, float] = {}
        for i, leader in enumerate(group):
            total[leader] = total.get(leader, 0.0) + probability[i]
        chosen: set[int] = set()
        held = 0.0
        for leader in sorted(total, key=lambda g: (-total[g], g)):
            chosen.add(leader)
            held += total[leader]
            if held >= self._settings.confidence:
                break
        return [i for i, leader in enumerate(group) if leader in chosen]

    def _joined(self, tree: FeederTree, area: Sequence[int]) -> list[int]:
        """The area with the sections that lie between its members."""
        paths = [self._path(tree, i) for i in area]
        shared = set.intersection(*(set(path) for path in paths))
        inside = {i for path in paths for i in path if i not in shared} | {max(shared)}
        return sorted(inside)

    @staticmethod
    def _path(tree: FeederTree, i: int) -> list[int]:
        """Sections from ``i`` to the first one."""
        path = [i]
        while tree.parent[path[-1]] >= 0:
            path.append(tree.parent[path[-1]])
        return path

    @staticmethod
    def _sum(probability: Sequence[float], area: Sequence[int]) -> float:
        return sum(probability[i] for i in area)

    # --- words -------------------------------------------------------------------------------------------------

    def _candidates(self, tree: FeederTree, probability: Sequence[float]) -> tuple[ZoneCandidate, ...]:
        order = sorted(range(len(tree.zone)), key=lambda i: (-probability[i], i))
        return tuple(self._candidate(tree.zone[i], probability[i]) for i in order if probability[i] > 0)

    def _candidate(self, zone: int, probability: float) -> ZoneCandidate:
        network = self._network
        nodes = tuple(network.nodes.names[i] for i in np.flatnonzero(self._graph.node_zone == zone))
        branches = tuple(network.branch_names[i] for i in np.flatnonzero(self._graph.branch_zone == zone))
        return ZoneCandidate(zone, probability, nodes, branches)

    def _describe(self, tree: FeederTree, area: Sequence[int]) -> str:
        return describe_area(self._network, self._graph, [tree.zone[i] for i in area])


def describe_area(network: Network, graph: ZoneGraph, area: Sequence[int]) -> str:
    """The lines and transformers of an area by name, or its nodes if it has none of those."""
    inside = graph.mask(area)
    branches = [network.branch_names[i] for i in np.flatnonzero(inside[graph.branch_zone])]
    nodes = [network.nodes.names[i] for i in np.flatnonzero(inside[graph.node_zone])]
    return ", ".join([*branches, *nodes])


def zone_names(network: Network, area: Sequence[int]) -> tuple[str, ...]:
    """Names of zones as in the network's table of zones (empty zones between switches in series have none)."""
    names = zones(network).names
    return tuple(names[zone] for zone in area if zone < len(names))
