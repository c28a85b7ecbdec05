"""Switchgear of a network being loaded: adds what a file leaves out, and names all of it.

Works on drafts (plain rows that refer to buses by number and to branches by name) before the
network is compiled. Not for switch states, and not for telecontrol (``twin.derive`` decides
which switches have a station).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from twin.network.model import SwitchKind

MEDIUM_VOLTAGE_KV = (1.0, 36.0)
"""Above the first, up to the second value: the levels whose busbars have feeders (IEC 60038)."""

_ZERO_IMPEDANCE_OHM = 1e-3
_PREFIX = {
    SwitchKind.BREAKER: "CB",
    SwitchKind.LOAD_BREAK_SWITCH: "LBS",
    SwitchKind.DISCONNECTOR: "DS",
    SwitchKind.FUSE: "FU",
}


@dataclass(frozen=True, slots=True)
class BranchDraft:
    """A branch by the numbers of its buses; ``z_ohm`` is its series impedance (0 for a transformer is not used)."""

    name: str
    bus_from: int
    bus_to: int
    is_line: bool
    z_ohm: float = 1.0

    @property
    def ends(self) -> tuple[int, int]:
        return self.bus_from, self.bus_to

    def other_end(self, bus: int) -> int:
        """The bus at the other end."""
        return self.bus_to if bus == self.bus_from else self.bus_from


@dataclass(frozen=True, slots=True)
class SwitchDraft:
    """A switch at ``bus``, towards ``branch`` or (then ``branch`` is empty) towards ``other_bus``."""

    kind: SwitchKind
    bus: int
    branch: str = ""
    other_bus: int = -1
    closed: bool = True
    feeder_head: bool = False


@dataclass(frozen=True, slots=True)
class SwitchgearDraft:
    """All that decides where switches go. ``busbar_seeds`` are the buses that feed a medium-voltage busbar."""

    branches: tuple[BranchDraft, ...]
    switches: tuple[SwitchDraft, ...]
    busbar_seeds: tuple[int, ...]


def busbars(draft: SwitchgearDraft) -> dict[int, int]:
    """Each bus of a primary substation's busbar with the lowest bus number of that busbar.

    A busbar is a seed and everything joined to it by closed bus-bus switches or by lines without impedance.
    """
    joints = [(s.bus, s.other_bus) for s in draft.switches if not s.branch and s.closed]
    joints += [b.ends for b in draft.branches if b.is_line and b.z_ohm < _ZERO_IMPEDANCE_OHM]
    neighbours: dict[int, list[int]] = {}
    for a, b in joints:
        neighbours.setdefault(a, []).append(b)
        neighbours.setdefault(b, []).append(a)
    busbar_of: dict[int, int] = {}
    for seed in sorted(draft.busbar_seeds):
        members = _reach(seed, neighbours)
        busbar_of.update((bus, min(members)) for bus in members)
    return busbar_of


def _reach(start: int, neighbours: dict[int, list[int]]) -> list[int]:
    seen = {start: None}
    waiting = [start]
    while waiting:
        for bus in neighbours.get(waiting.pop(), ()):
            if bus not in seen:
                seen[bus] = None
                waiting.append(bus)
    return list(seen)


def add_feeder_heads(draft: SwitchgearDraft) -> SwitchgearDraft:
    """Make the busbar end of each line that leaves a primary busbar a feeder head.

    The switch that stands there (its breaker, if there are two) becomes a breaker with ``feeder_head``;
    where none stands, one is added. A line within one busbar gets none; a line between two busbars gets
    one at each end.
    """
    busbar_of = busbars(draft)
    switches = list(draft.switches)
    for branch in draft.branches:
        if not branch.is_line or busbar_of.get(branch.bus_from, -1) == busbar_of.get(branch.bus_to, -2):
            continue
        for bus in branch.ends:
            if bus in busbar_of:
                _make_feeder_head(switches, bus, branch.name)
    return replace(draft, switches=tuple(switches))


def _make_feeder_head(switches: list[SwitchDraft], bus: int, branch: str) -> None:
    rows = [i for i, s in enumerate(switches) if s.bus == bus and s.branch == branch]
    if not rows:
        switches.append(SwitchDraft(SwitchKind.BREAKER, bus, branch, feeder_head=True))
        return
    row = next((i for i in rows if switches[i].kind is SwitchKind.BREAKER), rows[0])
    switches[row] = replace(switches[row], kind=SwitchKind.BREAKER, feeder_head=True)


def add_ring_main_units(draft: SwitchgearDraft) -> SwitchgearDraft:
    """Give every line end without a switch a closed load break switch, as a ring main unit has."""
    return _add_missing(draft, is_line=True, kind=SwitchKind.LOAD_BREAK_SWITCH)


def add_transformer_breakers(draft: SwitchgearDraft) -> SwitchgearDraft:
    """Give every transformer side without a switch a closed breaker."""
    return _add_missing(draft, is_line=False, kind=SwitchKind.BREAKER)


def _add_missing(draft: SwitchgearDraft, *, is_line: bool, kind: SwitchKind) -> SwitchgearDraft:
    taken = {(s.bus, s.branch) for s in draft.switches}
    added = [
        SwitchDraft(kind, bus, branch.name)
        for branch in draft.branches
        if branch.is_line is is_line
        for bus in branch.ends
        if (bus, branch.name) not in taken
    ]
    return replace(draft, switches=draft.switches + tuple(added))


def switch_names(draft: SwitchgearDraft) -> tuple[str, ...]:
    """A unique name for each switch, in the order of ``draft.switches``.

    Feeder heads ``CB_1``.. by (busbar, line), transformer switches ``CB_TR_1_HV``, normally open points
    ``TIE_1``.. by row, all others ``LBS_3-8`` (kind, its bus, the bus beyond); a second switch of one name
    is ``.._2``.
    """
    branches = {branch.name: branch for branch in draft.branches}
    names: list[str] = [""] * len(draft.switches)
    for number, row in enumerate(_feeder_head_rows(draft), start=1):
        names[row] = f"CB_{number}"
    ties = 0
    taken = set(names)
    for row, switch in enumerate(draft.switches):
        if names[row]:
            continue
        branch = branches.get(switch.branch)
        if not switch.closed and (branch is None or branch.is_line):
            ties += 1
            names[row] = f"TIE_{ties}"
        else:
            names[row] = unique(_plain_name(switch, branch), taken)
        taken.add(names[row])
    return tuple(names)


def _feeder_head_rows(draft: SwitchgearDraft) -> Sequence[int]:
    busbar_of = busbars(draft)
    order = {branch.name: i for i, branch in enumerate(draft.branches)}
    rows = [i for i, s in enumerate(draft.switches) if s.feeder_head]
    return sorted(rows, key=lambda i: _feeder_head_key(draft.switches[i], busbar_of, order))


def _feeder_head_key(switch: SwitchDraft, busbar_of: dict[int, int], order: dict[str, int]) -> tuple[int, int, int]:
    return busbar_of.get(switch.bus, switch.bus), order[switch.branch], switch.bus


def _plain_name(switch: SwitchDraft, branch: BranchDraft | None) -> str:
    prefix = _PREFIX[switch.kind]
    if branch is None:
        return f"{prefix}_{switch.bus}-{switch.other_bus}"
    if not branch.is_line:
        return f"{prefix}_{branch.name}_{'HV' if switch.bus == branch.bus_from else 'LV'}"
    return f"{prefix}_{switch.bus}-{branch.other_end(switch.bus)}"


def unique(name: str, taken: Iterable[str]) -> str:
    """``name``, or ``name_2``, ``name_3``, ... : the first that is not in ``taken``."""
    used = taken if isinstance(taken, (set, dict)) else set(taken)
    if name not in used:
        return name
    number = 2
    while f"{name}_{number}" in used:
        number += 1
    return f"{name}_{number}"
