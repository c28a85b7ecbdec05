"""The table of telecontrol protocols: for each, how both ends of a session with a station are made.

A protocol joins the world by an entry in ``PROTOCOLS`` here, its name in ``twin.points.protocols`` and, if it has
any, its settings in ``twin.scenario.stations``. Everything else (barriers, telecontrol network, snapshots,
misbehaviour) treats all protocols alike.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from twin.links.c104 import C104Client, C104MasterSession
from twin.links.client import LinkClient
from twin.links.dnp3 import Dnp3LinkSettings, Dnp3MasterSession
from twin.links.iec104 import Iec104MasterSession
from twin.links.in_process import InProcessMasterSession
from twin.links.live import Client, OnEvents
from twin.links.modbus import ModbusMasterSession
from twin.links.modbus_scan import ModbusLinkSettings
from twin.links.model import MasterSession
from twin.links.opendnp3 import Opendnp3Client
from twin.links.standby import StandbyClient
from twin.outstations import framing
from twin.outstations.dnp3 import Dnp3Outstation, Dnp3OutstationSettings
from twin.outstations.iec104 import Iec104Outstation, Iec104OutstationSettings
from twin.outstations.iec104_settings import RedundancyGroupSettings
from twin.outstations.in_process import InProcessOutstation
from twin.outstations.misbehaviour import Framing
from twin.outstations.modbus import ModbusOutstation
from twin.outstations.model import CommandHandler, Outstation
from twin.points.model import PointDefinition
from twin.scenario.stations import StationSettings
from twin.security import TlsSettings
from twin.timebase import SimTime, TimeBase

GROUP_SOURCE = "127.0.0.2"
"""Where a control room with a standby connection dials from: the station knows its redundancy group by it."""
CONTROL_ROOM_GROUP = RedundancyGroupSettings(name="control room", sources=(GROUP_SOURCE,))


@dataclass(frozen=True)
class StationContext:
    """What is known of a station when its sessions are made."""

    station: str
    common_address: int
    points: Sequence[PointDefinition]
    settings: StationSettings
    time_base: TimeBase
    protocol: str = "iec104"


@dataclass(frozen=True)
class ProtocolEntry:
    """One protocol: the controlling and the controlled side of a station, and how its octets fall into frames.

    ``over_tcp`` is False where messages are handed over inside the process.
    """

    master: Callable[[StationContext], MasterSession]
    outstation: Callable[[StationContext, CommandHandler], Outstation]
    framing: Framing
    over_tcp: bool = True


@dataclass(frozen=True)
class LiveEnd:
    """Where a station is found in a live run, and by whose clock."""

    host: str
    port: int
    clock: Callable[[], SimTime]
    speed: float
    tls: TlsSettings | None


def _iec104_master(context: StationContext) -> MasterSession:
    return Iec104MasterSession(context.station, context.points, context.time_base)


def _iec104_outstation(context: StationContext, handler: CommandHandler) -> Outstation:
    written = context.settings.iec104
    settings = Iec104OutstationSettings(
        event_limit=written.event_limit,
        one_in_control=written.one_in_control,
        redundancy_groups=(CONTROL_ROOM_GROUP,) if written.standby else (),
    )
    return Iec104Outstation(context.station, context.points, handler, context.time_base, settings)


def _in_process_master(context: StationContext) -> MasterSession:
    return InProcessMasterSession(context.station)


def _in_process_outstation(context: StationContext, handler: CommandHandler) -> Outstation:
    return InProcessOutstation(context.station, context.points, handler)


def _modbus_master(context: StationContext) -> MasterSession:
    written = context.settings.modbus
    chosen = {"poll_ms": written.poll, "measurand_poll_ms": written.measurand_poll, "answer_limit_ms": written.answer}
    settings = ModbusLinkSettings(
        **chosen,
        retries=written.retries,
        outstanding=written.outstanding,
        read_back=written.read_back,
        max_registers=written.max_registers,
        max_gap_registers=written.max_gap,
    )
    return ModbusMasterSession(context.station, context.points, settings)


def _modbus_outstation(context: StationContext, handler: CommandHandler) -> Outstation:
    return ModbusOutstation(context.station, context.points, handler)


def _dnp3_master(context: StationContext) -> MasterSession:
    return Dnp3MasterSession(context.station, context.points, context.time_base, _dnp3_link(context))


def _dnp3_link(context: StationContext) -> Dnp3LinkSettings:
    written = context.settings.dnp3
    return Dnp3LinkSettings(
        address=written.master,
        unsolicited=(1, 2, 3) if written.unsolicited else (),
        integrity_period_ms=written.integrity_poll,
        class_1_period_ms=written.class_1_poll,
        class_2_period_ms=written.class_2_poll,
        class_3_period_ms=written.class_3_poll,
        time_sync=written.time_sync,
    )


def _dnp3_outstation(context: StationContext, handler: CommandHandler) -> Outstation:
    written = context.settings.dnp3
    settings = Dnp3OutstationSettings(
        masters=(written.master, *written.other_masters),
        unsolicited=written.unsolicited,
        event_limit=written.event_limit,
    )
    return Dnp3Outstation(context.station, context.points, handler, context.time_base, settings)


PROTOCOLS: Mapping[str, ProtocolEntry] = {
    "iec104": ProtocolEntry(_iec104_master, _iec104_outstation, framing.IEC104),
    "in_process": ProtocolEntry(_in_process_master, _in_process_outstation, framing.IN_PROCESS, over_tcp=False),
    "modbus": ProtocolEntry(_modbus_master, _modbus_outstation, framing.MODBUS),
    "dnp3": ProtocolEntry(_dnp3_master, _dnp3_outstation, framing.DNP3),
}


# -- live runs: clients by stack --------------------------------------------------------------------------------------


def _own_client(context: StationContext, end: LiveEnd, on_events: OnEvents) -> Client:
    if context.protocol == "iec104" and context.settings.iec104.standby:
        pair = Iec104MasterSession(context.station, context.points, context.time_base)
        return StandbyClient(
            pair, end.host, end.port, end.clock, on_events, speed=end.speed, tls=end.tls, source=GROUP_SOURCE
        )
    session = PROTOCOLS[context.protocol].master(context)
    return LinkClient(session, end.host, end.port, end.clock, on_events, speed=end.speed, tls=end.tls)


def _c104_client(context: StationContext, end: LiveEnd, on_events: OnEvents) -> Client:
    session = C104MasterSession(context.station, context.points, context.time_base)
    return C104Client(session, end.host, end.port, end.clock, on_events, tls=end.tls)


def _opendnp3_client(context: StationContext, end: LiveEnd, on_events: OnEvents) -> Client:
    return Opendnp3Client(
        context.station,
        context.points,
        context.time_base,
        end.host,
        end.port,
        end.clock,
        on_events,
        settings=_dnp3_link(context),
        tls=end.tls,
    )


CLIENTS: Mapping[str, Callable[[StationContext, LiveEnd, OnEvents], Client]] = {
    "own": _own_client,
    "c104": _c104_client,
    "opendnp3": _opendnp3_client,
}
"""How the control room's client of a station is made, by the stack that the scenario asks for."""
