"""Where a point is found on DNP3: object group, index, variations and event class; and how it stands in a file.

Points without an address of their own get one from :func:`assigned`: the usual group of their kind, indexes in the
order of the map. The link address of a station is its common address.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

MAX_INDEX = 65_535
COLUMNS = ("dnp3_group", "dnp3_index", "dnp3_variation", "dnp3_event_variation", "dnp3_class")


@dataclass(frozen=True, slots=True)
class Dnp3Address:
    """``variation`` and ``event_variation`` are the defaults of the outstation; ``event_class`` 0 makes no events.

    For outputs, ``variation`` is that of a set point's g41; ``event_variation`` and ``event_class`` are those of the
    output status (g10/g11, g40/g42).
    """

    group: int
    index: int
    variation: int
    event_variation: int
    event_class: int


_USUAL: Mapping[str, tuple[tuple[int, int, int, int], ...]] = {
    "single": ((1, 2, 2, 1), (10, 2, 2, 1)),
    "double": ((3, 2, 2, 1),),
    "measurand": ((30, 5, 7, 2), (40, 3, 7, 2)),
    "counter": ((20, 1, 5, 3),),
    "bitstring": ((110, 4, 4, 2),),
    "step_position": ((30, 2, 4, 2), (40, 2, 4, 2)),
    "single_command": ((12, 1, 2, 0),),
    "double_command": ((12, 1, 2, 0),),
    "step_command": ((12, 1, 2, 0),),
    "setpoint": ((41, 3, 7, 0),),
}
"""(group, variation, event variation, class) for each kind, the usual group first."""

_VARIATIONS: Mapping[int, tuple[Sequence[int], Sequence[int]]] = {
    1: ((1, 2), (1, 2, 3)),
    3: ((1, 2), (1, 2, 3)),
    10: ((1, 2), (1, 2)),
    12: ((1,), (1, 2)),
    20: ((1, 2, 5, 6), (1, 2, 5, 6)),
    30: ((1, 2, 3, 4, 5, 6), (1, 2, 3, 4, 5, 6, 7, 8)),
    40: ((1, 2, 3, 4), (1, 2, 3, 4, 5, 6, 7, 8)),
    41: ((1, 2, 3, 4), (1, 2, 3, 4, 5, 6, 7, 8)),
    110: ((4,), (4,)),
}


def groups_of(kind: str) -> tuple[int, ...]:
    """The object groups that can carry a kind of point, the usual one first; none if DNP3 has no place for it."""
    return tuple(row[0] for row in _USUAL.get(kind, ()))


def usual_address(kind: str, index: int, group: int = 0) -> Dnp3Address:
    """The address of a point of this kind with the usual variations and class."""
    row = next(row for row in _USUAL[kind] if group in (0, row[0]))
    return Dnp3Address(row[0], index, *row[1:])


def assigned(points: Iterable[tuple[str, str, Dnp3Address | None]]) -> dict[str, Dnp3Address]:
    """The address of every point (name, kind, address or None) of one station that DNP3 can carry."""
    given = list(points)
    taken = {(address.group, address.index) for _, _, address in given if address is not None}
    following: dict[int, int] = {}
    result: dict[str, Dnp3Address] = {}
    for name, kind, address in given:
        if address is None:
            if not groups_of(kind):
                continue
            group = groups_of(kind)[0]
            index = following.get(group, 0)
            while (group, index) in taken:
                index += 1
            following[group] = index + 1
            address = usual_address(kind, index)
        result[name] = address
    return result


def address_findings(kind: str, address: Dnp3Address) -> list[tuple[str, str]]:
    """(column, sentence) for each thing wrong with the address of a point of this kind."""
    groups = groups_of(kind)
    if address.group not in groups:
        usual = f"; usual is {groups[0]}" if groups else ""
        return [("dnp3_group", f"{address.group} cannot carry a {kind}{usual}")]
    findings = []
    static, event = _VARIATIONS[address.group]
    if not 0 <= address.index <= MAX_INDEX:
        findings.append(("dnp3_index", f"{address.index} is not within 0 to {MAX_INDEX}"))
    if address.variation not in static:
        findings.append(("dnp3_variation", f"group {address.group} has no variation {address.variation}"))
    if address.event_variation not in event:
        sentence = f"the events of group {address.group} have no variation {address.event_variation}"
        findings.append(("dnp3_event_variation", sentence))
    if address.event_class not in (0, 1, 2, 3):
        findings.append(("dnp3_class", f"{address.event_class} is not within 0 to 3"))
    return findings


def to_cells(address: Dnp3Address | None) -> tuple[str, ...]:
    """The cells of :data:`COLUMNS`; empty without an address."""
    if address is None:
        return ("",) * len(COLUMNS)
    numbers = (address.group, address.index, address.variation, address.event_variation, address.event_class)
    return tuple(str(number) for number in numbers)


def from_cells(kind: str, cells: Mapping[str, str]) -> tuple[Dnp3Address | None, list[tuple[str, str]]]:
    """The address in a row of a file (None if it has no index there), and (column, sentence) of what cannot be read.

    Cells left empty beside an index get what is usual for the kind.
    """
    findings: list[tuple[str, str]] = []
    numbers: dict[str, int | None] = {}
    for column in COLUMNS:
        text = cells.get(column, "")
        try:
            numbers[column] = int(text) if text else None
        except ValueError:
            findings.append((column, f"{text!r} is not a whole number"))
    if findings:
        return None, findings
    group, index, *rest = (numbers[column] for column in COLUMNS)
    if index is None:
        if group is None and all(number is None for number in rest):
            return None, []
        return None, [("dnp3_index", "is empty, but other cells of DNP3 are not")]
    if group not in (None, *groups_of(kind)) or not groups_of(kind):
        return None, address_findings(kind, Dnp3Address(group or 0, index, 0, 0, 0))
    usual = usual_address(kind, index, group or 0)
    defaults = (usual.variation, usual.event_variation, usual.event_class)
    filled = [default if number is None else number for number, default in zip(rest, defaults, strict=True)]
    return Dnp3Address(usual.group, index, *filled), []
