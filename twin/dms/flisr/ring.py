"""How well each section of a feeder that is a ring inside agrees with the directional indicators.

In a ring the fault is fed from two sides, so no path from the feeder head says what an indicator should show. The
short-circuit kernel says it: for a fault in each section, which way the current passes each switch, and where too
little passes to be noticed. Not for rings between two feeder heads, and not for the area to isolate.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from twin.dms.flisr.model import FlisrSettings, Observation
from twin.dms.zonegraph import ZoneGraph
from twin.network.model import Bools, Floats, Network
from twin.solvers import FaultKind, FaultPoint, ShortCircuit, ShortCircuitResult

NOTICED = 0.25
"""A part of the fault current below this may or may not make an indicator pick up."""

FORWARD, REVERSE, NOTHING = 1.0, -1.0, 0.0
WEAK = 0.5
"""A current in a direction that may not be noticed is this part of ``FORWARD`` or ``REVERSE``."""


def expected_indications(
    network: Network, graph: ZoneGraph, closed: Bools, zones: Sequence[int], solver: ShortCircuit
) -> Floats:
    """What each switch is to show for a fault in each zone, shape (zones, switches); NaN: cannot be told.

    Raises:
        MissingShortCircuitDataError: the network lacks the data of a short circuit.
    """
    return np.stack([_expected(network, closed, _place(network, graph, zone), solver) for zone in zones])


def _place(network: Network, graph: ZoneGraph, zone: int) -> FaultPoint | None:
    """A fault in the middle of the zone's first line, or at its first node; None in an empty zone."""
    lines = np.flatnonzero(graph.branch_zone[: network.lines.n] == zone)
    nodes = np.flatnonzero(graph.node_zone == zone)
    if not lines.size and not nodes.size:
        return None
    kind = FaultKind.THREE_PHASE
    return FaultPoint(kind, int(lines[0]), 0.5) if lines.size else FaultPoint(kind, node=int(nodes[0]))


def _expected(network: Network, closed: Bools, place: FaultPoint | None, solver: ShortCircuit) -> Floats:
    switches = network.switches
    shown: Floats = np.full(switches.n, np.nan)
    if place is None:
        return shown
    result = solver.solve(place, closed)
    at_branch = switches.branch >= 0
    current_a, into = _seen(network, result)
    part = current_a / max(result.i_fault_a, 1e-9)
    direction = np.where(into, FORWARD, REVERSE) * np.where(part >= NOTICED, 1.0, WEAK)
    shown[at_branch] = np.where((part > 1e-6) & closed, direction, NOTHING)[at_branch]
    return shown


def _seen(network: Network, result: ShortCircuitResult) -> tuple[np.ndarray, np.ndarray]:
    """Current and direction at each switch."""
    switches = network.switches
    branch, from_side = np.maximum(switches.branch, 0), switches.side == 0
    current_a = np.where(from_side, result.i_from_a[branch], result.i_to_a[branch])
    return current_a, np.where(from_side, result.into_from[branch], result.into_to[branch])


def log_likelihoods(expected: Floats, seen: Observation, device: int, settings: FlisrSettings) -> list[float]:
    """Per zone how well all usable indicators agree with a fault there; that of ``device`` itself is left out."""
    usable = seen.indication_valid.copy()
    usable[device] = False
    return [_of_zone(row[usable], seen.fault_forward[usable], seen.fault_reverse[usable], settings) for row in expected]


def _of_zone(expected: Floats, forward: Bools, reverse: Bools, settings: FlisrSettings) -> float:
    known = np.isfinite(expected)
    size = np.abs(np.nan_to_num(expected))
    silent = np.where(size == 1.0, settings.p_silent, 1.0 - WEAK)
    total = 0.0
    for shown, away in ((forward, FORWARD), (reverse, REVERSE)):
        due = known & (np.sign(expected) == away)
        other = known & ~due
        total += float(np.log(np.where(shown, 1.0 - silent, silent))[due].sum())
        total += float(np.log(np.where(shown, settings.p_false, 1.0 - settings.p_false))[other].sum())
    return total
