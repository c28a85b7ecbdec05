"""What a DNP3 outstation does for each function code; what is absent from the table is refused with IIN2.0."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from twin.outstations.dnp3_database import CLASS_0
from twin.outstations.dnp3_response import EVENT_CLASSES, Part, ResponseWriter, names_events, read_events
from twin.protocols.dnp3.application import Fragment, Function, Iin
from twin.protocols.dnp3.attributes import ALL_ATTRIBUTES, ATTRIBUTE_LIST, attribute_block, list_block
from twin.protocols.dnp3.controls import CommandStatus, Control, answered, controls_of
from twin.protocols.dnp3.headers import ObjectHeader, count_header, static_block
from twin.protocols.dnp3.objects import ONLINE, SPECS, STATIC_GROUPS, time_octets
from twin.timebase import SimTime

if TYPE_CHECKING:
    from twin.outstations.dnp3_association import Dnp3Association

Answer = tuple[list[Part], Iin]
Service = Callable[["Dnp3Association", Fragment, Sequence[ObjectHeader], SimTime], Answer]
RESTART_INDEX = 7
NEED_TIME_INDEX = 4
_IIN_COUNT = 16


def _nothing(iin: Iin = Iin.NONE) -> Answer:
    return [Part()], iin


def _one(body: bytes, iin: Iin = Iin.NONE) -> Answer:
    return [Part(body)], iin


# -- reading ------------------------------------------------------------------------------------------------------


def read(association: Dnp3Association, request: Fragment, headers: Sequence[ObjectHeader], now: SimTime) -> Answer:
    """Present values and events, in the order in which they are asked for."""
    writer = ResponseWriter(association.outstation.settings.link.max_fragment)
    iin = Iin.NONE
    for are_events, group in groupby(headers, key=names_events):
        if are_events:
            iin |= read_events(writer, association.buffer, list(group))
            continue
        for header in group:
            iin |= _read_static(association, writer, header, now)
    return writer.parts, iin


def _read_static(association: Dnp3Association, writer: ResponseWriter, header: ObjectHeader, now: SimTime) -> Iin:
    station = association.outstation
    if header.group == 60 and header.variation == 1:
        for group in CLASS_0:
            writer.blocks(station.database.blocks(group, 0))
        return Iin.NONE
    if header.group in STATIC_GROUPS:
        return _read_group(association, writer, header)
    if header.group == 0:
        return _read_attributes(association, writer, header)
    if (header.group, header.variation) == (50, 1):
        writer.blocks([count_header(50, 1, 1) + time_octets(station.utc_ms(now))])
        return Iin.NONE
    if header.group == 80:
        bits = int(association.iin | association.buffer.indications() | station.indications)
        readings = [(float(bits >> place & 1), ONLINE, 0) for place in range(_IIN_COUNT)]
        writer.blocks([static_block(SPECS[80, 1], 0, readings)])
        return Iin.NONE
    return Iin.OBJECT_UNKNOWN


def _read_group(association: Dnp3Association, writer: ResponseWriter, header: ObjectHeader) -> Iin:
    group, variation = header.group, header.variation
    if variation and (group, variation) not in SPECS:
        return Iin.OBJECT_UNKNOWN
    database = association.outstation.database
    there = database.groups.get(30 if group == 34 else group, {})
    indexes = header.indexes or None
    most = header.count if indexes is None and header.count >= 0 else None
    writer.blocks(database.blocks(group, variation, indexes, most))
    missing = indexes is not None and any(index not in there for index in indexes)
    return Iin.PARAMETER_ERROR if missing else Iin.NONE


def _read_attributes(association: Dnp3Association, writer: ResponseWriter, header: ObjectHeader) -> Iin:
    attributes = association.outstation.attributes
    if header.indexes and header.indexes[0] != 0:
        return Iin.PARAMETER_ERROR
    if header.variation == ALL_ATTRIBUTES:
        writer.blocks(attribute_block(variation, value) for variation, value in attributes.items())
    elif header.variation == ATTRIBUTE_LIST:
        writer.blocks([list_block(attributes)])
    elif header.variation in attributes:
        writer.blocks([attribute_block(header.variation, attributes[header.variation])])
    else:
        return Iin.OBJECT_UNKNOWN
    return Iin.NONE


# -- writing ------------------------------------------------------------------------------------------------------


def write(association: Dnp3Association, request: Fragment, headers: Sequence[ObjectHeader], now: SimTime) -> Answer:
    """Indications, the clock and dead bands."""
    iin = Iin.NONE
    for header in headers:
        writing = _WRITES.get((header.group, header.variation))
        iin |= Iin.OBJECT_UNKNOWN if writing is None else writing(association, header, now)
    return _nothing(iin)


def _write_indications(association: Dnp3Association, header: ObjectHeader, now: SimTime) -> Iin:
    """Only the restart and need-time indications can be written, and only to 0."""
    for index, value, _, _ in header.items():
        if value or index not in (RESTART_INDEX, NEED_TIME_INDEX):
            return Iin.PARAMETER_ERROR
        if index == RESTART_INDEX:
            association.iin &= ~Iin.RESTART
        else:
            association.outstation.need_time = False
    return Iin.NONE


def _write_time(association: Dnp3Association, header: ObjectHeader, now: SimTime) -> Iin:
    if header.count != 1:
        return Iin.PARAMETER_ERROR
    association.outstation.set_clock(header.items()[0][3], now)
    return Iin.NONE


def _write_recorded_time(association: Dnp3Association, header: ObjectHeader, now: SimTime) -> Iin:
    """The time is that of the request to record, a moment ago."""
    if header.count != 1 or association.recorded_ms is None:
        return Iin.PARAMETER_ERROR
    association.outstation.set_clock(header.items()[0][3], association.recorded_ms)
    association.recorded_ms = None
    return Iin.NONE


def _write_dead_bands(association: Dnp3Association, header: ObjectHeader, now: SimTime) -> Iin:
    database = association.outstation.database
    iin = Iin.NONE
    for index, value, _, _ in header.items():
        row = database.row(30, index)
        if row is None or not 0 <= value < float("inf"):
            iin |= Iin.PARAMETER_ERROR
            continue
        row.dead_band = value
        database.written_dead_bands.add(index)
    return iin


_Write = Callable[["Dnp3Association", ObjectHeader, SimTime], Iin]
_WRITES: dict[tuple[int, int], _Write] = {
    (80, 1): _write_indications,
    (50, 1): _write_time,
    (50, 3): _write_recorded_time,
    (34, 1): _write_dead_bands,
    (34, 2): _write_dead_bands,
    (34, 3): _write_dead_bands,
}


# -- controls -----------------------------------------------------------------------------------------------------


def _controls(association: Dnp3Association, request: Fragment, headers: Sequence[ObjectHeader], now: SimTime) -> Answer:
    """Select, operate or operate at once; every control is echoed with its status."""
    controls = [control for header in headers for control in controls_of(header)]
    if not controls or any(not controls_of(header) for header in headers):
        return _nothing(Iin.PARAMETER_ERROR if not headers else Iin.OBJECT_UNKNOWN)
    if len(controls) > association.outstation.settings.max_controls:
        statuses: list[int] = [CommandStatus.TOO_MANY_OBJECTS] * len(controls)
    else:
        statuses = _statuses(association, request, controls, now)
    left = iter(statuses)
    return _one(b"".join(answered(header, [next(left) for _ in range(header.count)]) for header in headers))


def _statuses(
    association: Dnp3Association, request: Fragment, controls: list[tuple[int, Control]], now: SimTime
) -> list[int]:
    desk, owner = association.outstation.desk, association.master
    if request.function == Function.SELECT:
        return desk.select(owner, controls, request.body, request.sequence, now)
    if request.function == Function.OPERATE:
        return desk.operate(owner, controls, request.body, request.sequence, now)
    return desk.direct(owner, controls, now)


# -- the rest -----------------------------------------------------------------------------------------------------


def _freeze(association: Dnp3Association, request: Fragment, headers: Sequence[ObjectHeader], now: SimTime) -> Answer:
    """Counters and analogue inputs; an analogue value cannot be cleared."""
    station = association.outstation
    clear = request.function in (Function.FREEZE_CLEAR, Function.FREEZE_CLEAR_NR)
    iin = Iin.NONE
    for header in headers:
        if header.group not in (20, 30) or header.variation:
            iin |= Iin.OBJECT_UNKNOWN
            continue
        there = station.database.groups.get(header.group, {})
        indexes = header.indexes or there
        found = [index for index in indexes if index in there]
        if len(found) < len(indexes) or (header.group == 30 and clear):
            iin |= Iin.PARAMETER_ERROR
        if header.group == 20:
            station.freeze(found, clear=clear, now=now)
        elif not clear:
            station.freeze_analogs(found, now)
    return _nothing(iin)


def _enable(association: Dnp3Association, request: Fragment, headers: Sequence[ObjectHeader], now: SimTime) -> Answer:
    if not association.outstation.settings.unsolicited:
        return _nothing(Iin.NO_FUNCTION)
    iin = Iin.NONE
    change = association.enabled.add if request.function == Function.ENABLE_UNSOLICITED else association.enabled.discard
    for header in headers:
        if header.group == 60 and header.variation in EVENT_CLASSES:
            change(EVENT_CLASSES[header.variation])
        else:
            iin |= Iin.PARAMETER_ERROR
    return _nothing(iin)


def _assign(association: Dnp3Association, request: Fragment, headers: Sequence[ObjectHeader], now: SimTime) -> Answer:
    """Each class header is followed by the static objects that it is for (IEEE 1815, 4.4.21)."""
    event_class = -1
    iin = Iin.NONE
    for header in headers:
        if header.group == 60 and 1 <= header.variation <= 4:
            event_class = header.variation - 1
        elif event_class < 0:
            iin |= Iin.PARAMETER_ERROR
        else:
            iin |= _assign_one(association, header, event_class)
    return _nothing(iin)


def _assign_one(association: Dnp3Association, header: ObjectHeader, event_class: int) -> Iin:
    rows = association.outstation.database.groups.get(header.group)
    if header.group not in CLASS_0:
        return Iin.OBJECT_UNKNOWN
    indexes: Iterable[int] = header.indexes or rows or ()
    iin = Iin.NONE
    for index in indexes:
        if rows is None or index not in rows:
            iin = Iin.PARAMETER_ERROR
        else:
            association.classes[header.group, index] = event_class
    return iin


def _delay(association: Dnp3Association, request: Fragment, headers: Sequence[ObjectHeader], now: SimTime) -> Answer:
    """The response leaves within the millisecond of the request."""
    return _one(count_header(52, 2, 1) + bytes(2))


def _record(association: Dnp3Association, request: Fragment, headers: Sequence[ObjectHeader], now: SimTime) -> Answer:
    association.recorded_ms = now
    return _nothing()


def _restart(association: Dnp3Association, request: Fragment, headers: Sequence[ObjectHeader], now: SimTime) -> Answer:
    if headers:
        return _nothing(Iin.PARAMETER_ERROR)
    association.outstation.restart(cold=request.function == Function.COLD_RESTART, now=now)
    return _one(count_header(52, 2, 1) + bytes(2))


SERVICES: Mapping[int, Service] = {
    Function.READ: read,
    Function.WRITE: write,
    Function.SELECT: _controls,
    Function.OPERATE: _controls,
    Function.DIRECT_OPERATE: _controls,
    Function.DIRECT_OPERATE_NR: _controls,
    Function.FREEZE: _freeze,
    Function.FREEZE_NR: _freeze,
    Function.FREEZE_CLEAR: _freeze,
    Function.FREEZE_CLEAR_NR: _freeze,
    Function.COLD_RESTART: _restart,
    Function.WARM_RESTART: _restart,
    Function.ENABLE_UNSOLICITED: _enable,
    Function.DISABLE_UNSOLICITED: _enable,
    Function.ASSIGN_CLASS: _assign,
    Function.DELAY_MEASURE: _delay,
    Function.RECORD_CURRENT_TIME: _record,
}
