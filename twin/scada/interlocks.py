"""Interlocks of the control room: what the points say against an operation.

For refusals that can be checked honestly from points; each of these classes is one rule. Not for tags and
authority (rules of their own), nor for what no point shows, such as earths that carry no signal.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from twin.network.model import EquipmentKind, Network, SwitchKind
from twin.points.model import DoublePosition, PointDefinition
from twin.scada.authority import Originator
from twin.scada.point_database import Reading
from twin.scada.tags import SwitchAction
from twin.timebase import SimTime

_FAULT_QUANTITIES = ("fault_forward", "fault_reverse")


@dataclass(frozen=True, slots=True)
class CommandRequest:
    """A command as the rules see it. ``action`` is None for what is not a switch operation."""

    output: PointDefinition
    value: float
    action: SwitchAction | None
    originator: Originator
    t_ms: SimTime
    reason: str = ""
    plan_id: str = ""
    plan_step: int | None = None


class PlantView(Protocol):
    """What interlocks see of the plant; the point database is one."""

    def reading(self, equipment: str, quantity: str) -> Reading | None:
        """The image of a quantity; None if no point shows it."""
        ...


class Interlock(Protocol):
    """One rule. ``name`` is what a refusal quotes."""

    name: str

    def check(self, request: CommandRequest, view: PlantView) -> str:
        """Why the operation is refused, as a sentence; empty if nothing speaks against it."""
        ...


def _is_set(view: PlantView, equipment: str, quantity: str) -> bool:
    """True if the point exists, is good and not 0."""
    reading = view.reading(equipment, quantity)
    return reading is not None and reading.good and reading.value != 0


def _stands(view: PlantView, switch: str, position: DoublePosition) -> bool:
    """True if the position is known and as given."""
    reading = view.reading(switch, "position")
    return reading is not None and reading.good and reading.value == position


class LocalControlInterlock:
    """A bay under local control takes no remote commands."""

    name = "local control"

    def check(self, request: CommandRequest, view: PlantView) -> str:
        """See :class:`Interlock`."""
        if _is_set(view, request.output.equipment, "local"):
            return f"{request.output.equipment} is under local control"
        return ""


class SpringInterlock:
    """A breaker is not closed while its spring is not charged: it could not open again."""

    name = "spring charged"

    def check(self, request: CommandRequest, view: PlantView) -> str:
        """See :class:`Interlock`."""
        if request.action is not SwitchAction.CLOSE:
            return ""
        charged = view.reading(request.output.equipment, "spring_charged")
        if charged is not None and charged.good and charged.value == 0:
            return f"the spring of {request.output.equipment} is not charged"
        return ""


class SectionTracer:
    """Finds the breakers around the section of network that a switch belongs to, by the positions reported.

    The section ends at breakers and at open switches; a switch whose position is not known counts as closed.
    """

    def __init__(self, network: Network) -> None:
        self._network = network
        switches = network.switches
        self._is_breaker = [kind == SwitchKind.BREAKER for kind in switches.kind.tolist()]
        self._end: dict[tuple[int, int], list[int]] = {}
        self._at_node: dict[int, list[int]] = {}
        for row, (branch, side) in enumerate(zip(switches.branch.tolist(), switches.side.tolist(), strict=True)):
            if branch >= 0:
                self._end.setdefault((branch, side), []).append(row)
            else:
                self._at_node.setdefault(int(switches.node[row]), []).append(row)
                self._at_node.setdefault(int(switches.other_node[row]), []).append(row)
        self._branches: dict[int, list[tuple[int, int]]] = {}
        for branch in range(network.n_branches):
            self._branches.setdefault(int(network.branch_from[branch]), []).append((branch, 0))
            self._branches.setdefault(int(network.branch_to[branch]), []).append((branch, 1))

    def section(self, switch: int, view: PlantView) -> tuple[int, ...]:
        """Rows of the switches in and around the section of ``switch`` (itself taken as closed), ascending."""
        switches = self._network.switches
        queue = [int(switches.node[switch])]
        if switches.other_node[switch] >= 0:
            queue.append(int(switches.other_node[switch]))
        seen, met = set(queue), {switch}
        while queue:
            for on_the_way, beyond in self._leads(queue.pop()):
                blocking = [row for row in on_the_way if row != switch and not self._conducts(row, view)]
                met.update(on_the_way[: on_the_way.index(blocking[0]) + 1] if blocking else on_the_way)
                if not blocking and beyond not in seen:
                    seen.add(beyond)
                    queue.append(beyond)
        return tuple(sorted(met))

    def breakers(self, switch: int, view: PlantView) -> tuple[int, ...]:
        """The breakers among :meth:`section`."""
        return tuple(row for row in self.section(switch, view) if self._is_breaker[row])

    def _leads(self, node: int) -> list[tuple[list[int], int]]:
        """Ways out of a node: the switches on the way, nearest first, and the node beyond."""
        network = self._network
        leads = []
        for branch, side in self._branches.get(node, ()):
            on_the_way = self._end.get((branch, side), []) + self._end.get((branch, 1 - side), [])
            beyond = network.branch_to[branch] if side == 0 else network.branch_from[branch]
            leads.append((on_the_way, int(beyond)))
        for row in self._at_node.get(node, ()):
            a, b = int(network.switches.node[row]), int(network.switches.other_node[row])
            leads.append(([row], b if a == node else a))
        return leads

    def _conducts(self, row: int, view: PlantView) -> bool:
        if self._is_breaker[row]:
            return False
        return not _stands(view, self._network.switches.names[row], DoublePosition.OPEN)


class _SectionInterlock:
    """Common part of the rules for switches that interrupt no fault current: everything but breakers."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._tracer = SectionTracer(network)

    def _row(self, request: CommandRequest) -> int:
        """The switch of a request; -1 if the rule does not concern it."""
        found = self._network.find(request.output.equipment)
        if request.action is None or found is None or found.kind is not EquipmentKind.SWITCH:
            return -1
        return -1 if self._network.switches.kind[found.index] == SwitchKind.BREAKER else found.index

    def _names(self, rows: Sequence[int]) -> tuple[str, ...]:
        return tuple(self._network.switches.names[row] for row in rows)


class AutoRecloseInterlock(_SectionInterlock):
    """A load break switch is not operated while a breaker of its section is reclosing."""

    name = "auto-reclose"

    def check(self, request: CommandRequest, view: PlantView) -> str:
        """See :class:`Interlock`."""
        row = self._row(request)
        breakers = self._names(self._tracer.breakers(row, view)) if row >= 0 else ()
        busy = next((name for name in breakers if _is_set(view, name, "reclose_active")), "")
        return f"{busy} is in an auto-reclose cycle" if busy else ""


class FaultPassageInterlock(_SectionInterlock):
    """A load break switch is not operated while a fault may be flowing in its section.

    That is for ``hold_ms`` after a fault passage was seen in the section, unless a breaker of it has tripped or
    moved since: then the protection has acted. Indications stay on after a fault, hence the limit in time.
    """

    name = "fault passage"

    def __init__(self, network: Network, hold_ms: SimTime = 10_000) -> None:
        super().__init__(network)
        self._hold_ms = hold_ms

    def check(self, request: CommandRequest, view: PlantView) -> str:
        """See :class:`Interlock`."""
        row = self._row(request)
        if row < 0:
            return ""
        seen_t_ms, where = self._last_passage(row, view)
        if not where or request.t_ms - seen_t_ms >= self._hold_ms:
            return ""
        breakers = self._names(self._tracer.breakers(row, view))
        if any(_has_acted(view, name, seen_t_ms) for name in breakers):
            return ""
        return f"a fault was seen passing {where} and no breaker has tripped for it yet"

    def _last_passage(self, row: int, view: PlantView) -> tuple[SimTime, str]:
        """When and at which switch of the section a fault was last seen; no name if nowhere."""
        seen: list[tuple[SimTime, str]] = [(0, "")]
        for name in self._names(self._tracer.section(row, view)):
            if _stands(view, name, DoublePosition.OPEN):
                continue  # it has been opened since, so nothing passes it any more
            for quantity in _FAULT_QUANTITIES:
                reading = view.reading(name, quantity)
                if reading is not None and reading.good and reading.value != 0:
                    seen.append((reading.source_t_ms, name))
        return max(seen)


def _has_acted(view: PlantView, breaker: str, since: SimTime) -> bool:
    """True if the protection of ``breaker`` shows a trip, or the breaker has moved at or after ``since``."""
    position = view.reading(breaker, "position")
    moved = position is not None and position.good and position.source_t_ms >= since
    return moved or _is_set(view, breaker, "trip")


class OffLoadInterlock:
    """A disconnector moves only without current: nothing measured through it, or its branch open at the far end.

    Where neither can be known, it is refused.
    """

    name = "off load"

    def __init__(self, network: Network, max_i_a: float = 2.0) -> None:
        self._network = network
        self._max_i_a = max_i_a

    def check(self, request: CommandRequest, view: PlantView) -> str:
        """See :class:`Interlock`."""
        switch, found = request.output.equipment, self._network.find(request.output.equipment)
        if request.action is None or found is None or found.kind is not EquipmentKind.SWITCH:
            return ""
        if self._network.switches.kind[found.index] != SwitchKind.DISCONNECTOR:
            return ""
        if any(_stands(view, name, DoublePosition.OPEN) for name in self._far_end(found.index)):
            return ""
        if request.action is SwitchAction.CLOSE:
            return f"closing {switch} could make current: its branch is not known to be open at the far end"
        current = view.reading(switch, "i_a")
        if current is None or not current.good:
            return f"opening {switch} could break current: none is measured and its far end is not known to be open"
        return f"{switch} carries {current.value:.0f} A" if abs(current.value) > self._max_i_a else ""

    def _far_end(self, row: int) -> list[str]:
        switches = self._network.switches
        branch, side = int(switches.branch[row]), int(switches.side[row])
        if branch < 0:
            return []
        there = (switches.branch == branch) & (switches.side == 1 - side)
        return [name for name, is_there in zip(switches.names, there.tolist(), strict=True) if is_there]


def default_interlocks(network: Network) -> tuple[Interlock, ...]:
    """The interlocks that ship, in the order in which they are checked."""
    return (
        LocalControlInterlock(),
        SpringInterlock(),
        AutoRecloseInterlock(network),
        FaultPassageInterlock(network),
        OffLoadInterlock(network),
    )
