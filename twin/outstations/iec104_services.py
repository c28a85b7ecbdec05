"""What a master may ask an emulated IEC 60870-5-104 station for, and the answers.

Requests are served by a table; what is absent from it is mirrored as unknown (IEC 60870-5-101, 7.2.3). In the order
of the checks: type (44), cause (45), common address (46), object address (47), then the request itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from twin.outstations.iec104_image import HIGH_LIMIT, LOW_LIMIT, THRESHOLD, InputPoint, TransmissionLimits
from twin.points.model import PointDefinition
from twin.protocols.iec104 import (
    BROADCAST_COMMON_ADDRESS,
    STATION_INTERROGATION,
    TEST_PATTERN,
    TYPES,
    Asdu,
    Cause,
    Direction,
    InformationObject,
    TimeTag,
    TypeId,
    mirrored,
    plain_type,
)
from twin.protocols.iec104.mapping import command_value
from twin.timebase import SimTime

if TYPE_CHECKING:
    from twin.outstations.iec104_session import Iec104OutstationSession as Session

GENERAL_COUNTER_REQUEST = 5
READ, FREEZE, FREEZE_AND_RESET, RESET = 0, 1, 2, 3
GENERAL_RESET, FORGET_EVENTS = 1, 2
THIS_PARAMETER, THIS_CYCLE, ALL_PARAMETERS = 2, 3, 1
NOT_IN_OPERATION = 0x80
KIND_OF_PARAMETER = 0x3F
_PARAMETER_OF = {
    TypeId.P_ME_NA_1: TypeId.M_ME_NA_1,
    TypeId.P_ME_NB_1: TypeId.M_ME_NB_1,
    TypeId.P_ME_NC_1: TypeId.M_ME_NC_1,
}


def serve(session: Session, asdu: Asdu, now: SimTime) -> None:
    """Answer one request."""
    service = SERVICES.get(asdu.type_id)
    if service is None:
        session.reject(asdu, Cause.UNKNOWN_TYPE, now)
        return
    causes, broadcast, answer = service
    known = session.outstation.common_addresses
    if asdu.cause not in causes:
        session.reject(asdu, Cause.UNKNOWN_CAUSE, now)
    elif asdu.common_address in known:
        answer(session, asdu, now)
    elif broadcast and asdu.common_address == BROADCAST_COMMON_ADDRESS:
        for common_address in known:
            answer(session, replace(asdu, common_address=common_address), now)
    else:
        session.reject(asdu, Cause.UNKNOWN_COMMON_ADDRESS, now)


def _addresses_station(session: Session, asdu: Asdu, now: SimTime) -> bool:
    if asdu.objects[0].ioa == 0:
        return True
    session.reject(asdu, Cause.UNKNOWN_OBJECT_ADDRESS, now)
    return False


# interrogation


def _interrogate(session: Session, asdu: Asdu, now: SimTime) -> None:
    """The answer is queued as a whole, so there is never an interrogation left to deactivate."""
    if not _addresses_station(session, asdu, now):
        return
    qualifier, image = asdu.objects[0].element.qualifier, session.outstation.image
    group = qualifier - STATION_INTERROGATION
    served = asdu.cause == Cause.ACTIVATION and (group == 0 or group in image.groups) and not session.lags
    session.confirm(asdu, served, now)
    if served:
        session.send_inputs(replace(asdu, cause=qualifier), image.interrogated(asdu.common_address, group), now)
        session.reply(mirrored(asdu, Cause.ACTIVATION_TERMINATION), now)


def _interrogate_counters(session: Session, asdu: Asdu, now: SimTime) -> None:
    """Freeze and reset are confirmed alone; a read also terminates (IEC 60870-5-101, 7.4.8)."""
    if not _addresses_station(session, asdu, now):
        return
    request, freeze = asdu.objects[0].element.request, asdu.objects[0].element.freeze
    image = session.outstation.image
    group = 0 if request == GENERAL_COUNTER_REQUEST else request
    served = asdu.cause == Cause.ACTIVATION and ((group == 0 and request != 0) or group in image.counter_groups)
    served = served and not session.lags and (freeze == READ or session.outstation.has_control(session))
    session.confirm(asdu, served, now)
    if not served:
        return
    counters = image.counters(asdu.common_address, group)
    if freeze == READ:
        cause = Cause.REQUESTED_BY_GENERAL_COUNTER + group
        session.send_inputs(replace(asdu, cause=int(cause)), counters, now)
        session.reply(mirrored(asdu, Cause.ACTIVATION_TERMINATION), now)
    elif not asdu.test:
        reset = freeze in (FREEZE_AND_RESET, RESET)
        session.outstation.freeze_counters(counters, now, freeze=freeze != RESET, reset=reset)


def _read(session: Session, asdu: Asdu, now: SimTime) -> None:
    point = session.outstation.image.at(asdu.common_address, asdu.objects[0].ioa)
    if point is None:
        session.reject(asdu, Cause.UNKNOWN_OBJECT_ADDRESS, now)
    else:
        session.send_inputs(replace(asdu, cause=int(Cause.REQUEST)), [point], now)


# clock, test, reset


def _synchronize(session: Session, asdu: Asdu, now: SimTime) -> None:
    """The confirmation carries the station's own time before synchronisation (IEC 60870-5-5, 6.7)."""
    if not _addresses_station(session, asdu, now):
        return
    station, tag = session.outstation, asdu.objects[0].time
    commanded = None if tag is None or tag.invalid else tag.sim_time(station.time_base)
    if commanded is None or not station.has_control(session):
        session.confirm(asdu, False, now)
        return
    own = InformationObject(0, asdu.objects[0].element, TimeTag.at(station.clock.reading(now), station.time_base))
    if not asdu.test:
        station.clock.synchronize(commanded, now)
    session.confirm(replace(asdu, objects=(own,)), True, now)


def _test(session: Session, asdu: Asdu, now: SimTime) -> None:
    fixed = asdu.type_id == TypeId.C_TS_NA_1
    session.confirm(asdu, not fixed or asdu.objects[0].element.value == TEST_PATTERN, now)


def _reset(session: Session, asdu: Asdu, now: SimTime) -> None:
    if not _addresses_station(session, asdu, now):
        return
    qualifier, station = asdu.objects[0].element.qualifier, session.outstation
    served = qualifier in (GENERAL_RESET, FORGET_EVENTS) and station.has_control(session)
    session.confirm(asdu, served, now)
    if not served or asdu.test:
        return
    if qualifier == GENERAL_RESET:
        station.reset(asdu.common_address, now)
    else:
        station.forget_events()


# parameters


def _load_parameter(session: Session, asdu: Asdu, now: SimTime) -> None:
    o = asdu.objects[0]
    point = session.outstation.image.at(asdu.common_address, o.ioa)
    if point is None or point.plain != _PARAMETER_OF[TypeId(asdu.type_id)]:
        session.reject(asdu, Cause.UNKNOWN_OBJECT_ADDRESS, now)
        return
    kind = o.element.qualifier & KIND_OF_PARAMETER
    loaded = kind in (THRESHOLD, LOW_LIMIT, HIGH_LIMIT) and _is_parameter(kind, o.element.value)
    loaded = loaded and session.outstation.has_control(session)
    session.confirm(asdu, loaded, now)
    if not loaded or asdu.test:
        return
    limits = point.limits = point.limits or TransmissionLimits()
    limits.loaded[kind] = float(o.element.value)
    if o.element.qualifier & NOT_IN_OPERATION:
        limits.active.discard(kind)
    else:
        limits.active.add(kind)


def _is_parameter(kind: int, value: float) -> bool:
    """A finite number; a threshold is not negative."""
    return abs(value) < float("inf") and (kind != THRESHOLD or value >= 0)


def _activate_parameter(session: Session, asdu: Asdu, now: SimTime) -> None:
    o, station = asdu.objects[0], session.outstation
    qualifier, on = o.element.qualifier, asdu.cause == Cause.ACTIVATION
    point = station.image.at(asdu.common_address, o.ioa)
    if point is None and not (qualifier == ALL_PARAMETERS and o.ioa == 0):
        session.reject(asdu, Cause.UNKNOWN_OBJECT_ADDRESS, now)
        return
    done = station.has_control(session) and _may_switch(session, point, qualifier)
    session.confirm(asdu, done, now)
    if not done or asdu.test:
        return
    if qualifier == THIS_CYCLE:
        assert point is not None
        _switch_cycle(session, point, on)
        return
    here = [p for p in station.image.inputs.values() if p.common_address == asdu.common_address]
    for each in here if point is None else [point]:
        _switch_limits(each, on)


def _may_switch(session: Session, point: InputPoint | None, qualifier: int) -> bool:
    if qualifier == ALL_PARAMETERS:
        return point is None
    if qualifier == THIS_PARAMETER:
        return point is not None and point.limits is not None
    return qualifier == THIS_CYCLE and point is not None and session.outstation.settings.cyclic_ms > 0


def _switch_cycle(session: Session, point: InputPoint, on: bool) -> None:
    cyclic = session.outstation.image.cyclic
    if on:
        cyclic[point.name] = None
    else:
        cyclic.pop(point.name, None)


def _switch_limits(point: InputPoint, on: bool) -> None:
    if point.limits is not None:
        point.limits.active = set(point.limits.loaded) if on else set()


# commands


def _command(session: Session, asdu: Asdu, now: SimTime) -> None:
    o, station = asdu.objects[0], session.outstation
    definition = station.image.by_address.get((asdu.common_address, o.ioa))
    if definition is None or plain_type(definition.address.type_id) != plain_type(asdu.type_id):
        session.reject(asdu, Cause.UNKNOWN_OBJECT_ADDRESS, now)
    elif not station.has_control(session) or not _in_time(session, o.time, now):
        session.confirm(asdu, False, now)
    elif asdu.cause == Cause.DEACTIVATION:
        session.confirm(asdu, station.desk.cancel(session.owner, definition, now), now)
    else:
        _activate(session, asdu, definition, command_value(o.element), now)


def _in_time(session: Session, tag: TimeTag | None, now: SimTime) -> bool:
    """Whether a command with time tag is young enough, by the station's clock."""
    station = session.outstation
    most = station.settings.command_max_age_ms
    if tag is None or not most:
        return True
    given = None if tag.invalid else tag.sim_time(station.time_base)
    return given is not None and abs(station.clock.reading(now) - given) <= most


def _activate(session: Session, asdu: Asdu, definition: PointDefinition, value: float | None, now: SimTime) -> None:
    if value is None:
        session.confirm(asdu, False, now)
    elif asdu.test:
        session.confirm(asdu, True, now)  # the test bit exercises the transmission, never the process
    elif getattr(asdu.objects[0].element, "select", False):
        session.confirm(asdu, session.outstation.desk.select(session.owner, definition, value, now), now)
    else:
        _execute(session, asdu, definition, value, now)


def _execute(session: Session, asdu: Asdu, definition: PointDefinition, value: float, now: SimTime) -> None:
    desk = session.outstation.desk
    ticket = desk.execute(session.owner, definition, value, asdu, now)
    session.confirm(asdu, ticket is not None, now)
    if ticket is not None and (done := desk.confirmed(ticket)) is not None:
        session.outstation.terminate(done.owner, done.asdu, bool(done.outcome), now)


_Answer = Callable[["Session", Asdu, SimTime], None]
_Service = tuple[frozenset[int], bool, _Answer]
_ACT = frozenset({int(Cause.ACTIVATION)})
_ACT_OR_DEACT = frozenset({int(Cause.ACTIVATION), int(Cause.DEACTIVATION)})
_REQ = frozenset({int(Cause.REQUEST)})
SERVICES: dict[int, _Service] = {
    TypeId.C_IC_NA_1: (_ACT_OR_DEACT, True, _interrogate),
    TypeId.C_CI_NA_1: (_ACT_OR_DEACT, True, _interrogate_counters),
    TypeId.C_RD_NA_1: (_REQ, False, _read),
    TypeId.C_CS_NA_1: (_ACT, True, _synchronize),
    TypeId.C_TS_NA_1: (_ACT, False, _test),
    TypeId.C_TS_TA_1: (_ACT, False, _test),
    TypeId.C_RP_NA_1: (_ACT, True, _reset),
    TypeId.P_ME_NA_1: (_ACT, False, _load_parameter),
    TypeId.P_ME_NB_1: (_ACT, False, _load_parameter),
    TypeId.P_ME_NC_1: (_ACT, False, _load_parameter),
    TypeId.P_AC_NA_1: (_ACT_OR_DEACT, False, _activate_parameter),
    **{
        type_id: (_ACT_OR_DEACT, False, _command)
        for type_id, spec in TYPES.items()
        if spec.direction is Direction.CONTROL
    },
}
"""What a station serves: allowed causes, whether the broadcast address is, and how."""
