"""Fault location from directional fault passage indicators, and from the distance that the relay measured.

The fault current of a radial feeder flows from the tripped device into the section at fault and no further.
Every section is a hypothesis; the indicators speak for or against it, each with a probability of staying silent and
of showing a current that was not there, so that one silent or one false indicator does not decide. What the relay
recorded of the currents weighs the sections by their distance (``distance``). Of rings, those behind one feeder head.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from twin.dms.flisr.distance import BUSBAR_KM, Distance, distance
from twin.dms.flisr.model import FaultDistance, FlisrSettings, Location, Observation, ZoneCandidate
from twin.dms.flisr.ring import expected_indications, log_likelihoods
from twin.dms.zonegraph import ZoneGraph, zone_graph
from twin.network.model import Bools, Network
from twin.network.topology import zones
from twin.solvers import MissingShortCircuitDataError, ShortCircuit, short_circuit

_P_BACKFEED = 0.4
"""Probability that an indicator with generation behind it shows a current towards the feeder head for a fault there."""

_LIKELY = 0.01
"""A place in a section less probable than this is not told."""

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
    solver: ShortCircuit | None = None,
) -> Location:
    """Rank the sections behind the tripped switch ``device`` (default: found from ``observation.tripped``).

    The area to isolate is the most probable group of sections that indicators can tell apart, joined by the
    next ones until the area holds the fault with ``settings.confidence``. Sections between its members belong
    to it; if those are too many, the indications contradict each other and the fault is not located. Where the relay
    has recorded the fault, ``solver`` (default: a new one) says what each distance would have given.
    """
    return _Locator(network, zone_graph(network), observation, settings or FlisrSettings(), solver).locate(device)


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


def zones_behind(graph: ZoneGraph, closed_before: Bools, device: int, heads: Bools) -> tuple[int, ...]:
    """The zones in which a fault may lie that ``device`` tripped for, as far as the switches tell.

    That is its feeder; where it did not feed one of its own, all that hangs together behind it short of the feeder
    ``heads``.
    """
    if tree := feeder_tree(graph, closed_before, device):
        return tree.zone
    labels = graph.components(closed_before & ~heads)
    return tuple(np.flatnonzero(labels == labels[graph.sides[device][1]]).tolist())


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

    def __init__(
        self,
        network: Network,
        graph: ZoneGraph,
        observation: Observation,
        settings: FlisrSettings,
        solver: ShortCircuit | None,
    ) -> None:
        self._solver = solver
        self._network = network
        self._graph = graph
        self._seen = observation
        self._settings = settings
        self._generating: list[bool] | None = None

    def locate(self, device: int | None) -> Location:
        devices = tripped_devices(self._graph, self._seen) if device is None else (device,)
        if not devices:
            return Location(-1, (), (), "Not located: no protection trip with an open switch is reported.")
        tree = feeder_tree(self._graph, self._seen.closed_before, devices[0])
        name = self._network.switches.names[devices[0]]
        if tree is None:
            others = ", ".join(self._in_a_ring_with(devices[0]))
            ring = f": it is operated in a ring with {others}" if others else ""
            return self._refuse(
                devices[0], f"{name} did not feed a part of the network of its own before the fault{ring}"
            )
        return self._weigh_ring(tree) if tree.ring else self._weigh(tree)

    def _in_a_ring_with(self, device: int) -> list[str]:
        """The feeder heads without which ``device`` would have fed a part of its own."""
        found = []
        for head in np.flatnonzero(self._network.switches.feeder_head & self._seen.closed_before).tolist():
            without = self._seen.closed_before.copy()
            without[head] = False
            if head != device and feeder_tree(self._graph, without, device) is not None:
                found.append(self._network.switches.names[head])
        return found

    def _refuse(self, device: int, reason: str, candidates: tuple[ZoneCandidate, ...] = ()) -> Location:
        return Location(device, candidates, (), f"Not located: {reason}.")

    def _weigh(self, tree: FeederTree) -> Location:
        name = self._network.switches.names[tree.device]
        measured = self._distance(tree)
        located = measured is not None and bool(measured.places)
        blind = len(tree.zone) > 1 and not self._seen.indication_valid[list(tree.switch[1:])].any()
        if blind and not located:
            return self._remarked(
                tree, measured, self._refuse(tree.device, f"no fault passage indicator behind {name} can be used")
            )
        if not blind and not self._any_indication(tree):
            return self._remarked(tree, measured, self._without_indication(tree))
        probability = self._probabilities(tree, measured)
        candidates = self._candidates(tree, probability)
        area = self._joined_area(tree, probability, by_section=located)
        if not area:
            names = " or ".join(f"{c.name} ({c.probability:.0%})" for c in candidates[:_SAID_CANDIDATES])
            refusal = self._refuse(tree.device, f"the indications contradict each other: {names}", candidates)
            return self._remarked(tree, measured, refusal)
        sentence = f"{name} tripped; the fault is in {self._describe(tree, area)} ({self._sum(probability, area):.0%})."
        found = Location(tree.device, candidates, tuple(tree.zone[i] for i in area), sentence)
        return self._remarked(tree, measured, found)

    # --- ring --------------------------------------------------------------------------------------------------------

    def _weigh_ring(self, tree: FeederTree) -> Location:
        """A ring behind one head: every indicator is compared with what a fault in each section would make it show."""
        name = self._network.switches.names[tree.device]
        begin = f"the feeder behind {name} is operated in a ring"
        usable = self._seen.indication_valid[list(tree.switch[1:])]
        if not (usable.any() and self._any_indication(tree)):
            return self._refuse(tree.device, f"{begin}, and no directional indicator in it shows a fault current")
        solver = self._solver or short_circuit(self._network)
        try:
            expected = expected_indications(self._network, self._graph, self._seen.closed_before, tree.zone, solver)
        except MissingShortCircuitDataError as error:
            return self._refuse(tree.device, f"{begin}, and its fault currents are not known: {error}")
        likelihood = log_likelihoods(expected, self._seen, tree.device, self._settings)
        probability = _normalised(self._prior(tree), likelihood)
        candidates = self._candidates(tree, probability)
        area = self._area(range(len(tree.zone)), probability)
        if not self._is_connected([tree.zone[i] for i in area]):
            names = " or ".join(f"{c.name} ({c.probability:.0%})" for c in candidates[:_SAID_CANDIDATES])
            return self._refuse(tree.device, f"{begin}, and the indications contradict each other: {names}", candidates)
        described = self._describe(tree, area)
        sentence = f"{name} tripped; the fault is in {described} ({self._sum(probability, area):.0%}), in a ring."
        return Location(tree.device, candidates, tuple(tree.zone[i] for i in area), sentence)

    def _is_connected(self, zones_: Sequence[int]) -> bool:
        """True if closed switches join the zones without leaving them."""
        inside = self._graph.mask(zones_)
        joining = self._seen.closed_before & inside[self._graph.switch_a] & inside[self._graph.switch_b]
        labels = self._graph.components(joining)
        return len(set(labels[list(zones_)].tolist())) == 1

    def _joined_area(self, tree: FeederTree, probability: Sequence[float], *, by_section: bool) -> list[int]:
        """The area with what lies between, empty if that is too much.

        A distance tells sections apart that indicators do not; where it leaves several, they are isolated together.
        """
        apart = list(range(len(tree.zone)))
        for group in ([apart] if by_section else []) + [self._groups(tree)]:
            area = self._area(group, probability)
            joined = self._joined(tree, area)
            if len(joined) - len(area) <= self._settings.max_joining_sections:
                return joined
        return []

    # --- distance ------------------------------------------------------------------------------------------------

    def _distance(self, tree: FeederTree) -> Distance | None:
        if self._seen.fault_phase_a is None:
            return None
        solver = self._solver or short_circuit(self._network)
        return distance(self._network, self._graph, self._seen, self._settings, tree.device, tree.zone, solver)

    def _remarked(self, tree: FeederTree, measured: Distance | None, found: Location) -> Location:
        """``found`` with the places that it leaves at the measured distance."""
        if measured is None:
            return found
        if not measured.places:
            return replace(found, remarks=(measured.sentence,))
        likely = {c.zone: c.probability for c in found.candidates if c.probability >= _LIKELY}
        places = tuple(p for p in measured.places if p.zone in likely)
        if not places:
            others = ", ".join(str(place) for place in measured.places)
            sentence = f"{measured.sentence}: that would be {others}, which the indicators contradict."
            return replace(found, remarks=(sentence,))
        places = tuple(sorted(places, key=lambda p: -likely[p.zone]))
        return replace(found, places=places, remarks=(self._said_distance(tree, measured, places),))

    def _said_distance(self, tree: FeederTree, measured: Distance, places: tuple[FaultDistance, ...]) -> str:
        first = places[0]
        far = f"{first.km:.2f} km (within {first.km_spread:.2f} km) from {self._network.switches.names[tree.device]}"
        return f"{measured.sentence}: {far}, {' or '.join(str(place) for place in places)}."

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

    def _probabilities(self, tree: FeederTree, measured: Distance | None) -> list[float]:
        """Posterior of each section: length as prior (long lines fault more often), the rest as evidence."""
        likelihood = [0.0] * len(tree.zone)
        for i in range(1, len(tree.zone)):
            likelihood[i] = likelihood[tree.parent[i]] + self._evidence(tree, i)
        if measured is not None:
            likelihood = [value + math.log(m) for value, m in zip(likelihood, measured.likelihood, strict=True)]
        return _normalised(self._prior(tree), likelihood)

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
        backfeed = _P_BACKFEED if self._generates_behind(tree)[i] else settings.p_false
        elsewhere += math.log(backfeed if up[switch] else 1 - backfeed)
        return behind - elsewhere

    def _generates_behind(self, tree: FeederTree) -> list[bool]:
        """Per section: there are generating units in it or behind it, which feed faults elsewhere."""
        if self._generating is None:
            units = self._network.generators.node
            at = np.bincount(self._graph.node_zone[units], minlength=self._graph.n) > 0
            self._generating = [bool(at[zone]) for zone in tree.zone]
            for i in range(len(tree.zone) - 1, 0, -1):
                self._generating[tree.parent[i]] |= self._generating[i]
        return self._generating

    def _prior(self, tree: FeederTree) -> list[float]:
        """How often a section fails before anything is seen: by its line length, a busbar like a short cable."""
        lines = self._network.lines
        km = np.bincount(self._graph.branch_zone[: lines.n], weights=lines.length_km, minlength=self._graph.n)
        return [BUSBAR_KM + float(length) for length in km[list(tree.zone)]]

    def _groups(self, tree: FeederTree) -> list[int]:
        """Per section the first section of those that no usable indicator tells apart from it."""
        group = [0] * len(tree.zone)
        for i in range(1, len(tree.zone)):
            group[i] = i if self._seen.indication_valid[tree.switch[i]] else group[tree.parent[i]]
        return group

    def _area(self, group: Sequence[int], probability: Sequence[float]) -> list[int]:
        """The sections to isolate: whole groups, most probable first, until ``confidence`` is reached."""
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


def _normalised(prior: Sequence[float], log_likelihood: Sequence[float]) -> list[float]:
    best = max(log_likelihood)
    weight = [w * math.exp(value - best) for w, value in zip(prior, log_likelihood, strict=True)]
    return [w / sum(weight) for w in weight]


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
