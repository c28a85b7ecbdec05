"""The table of telecontrol protocols: for each, how both ends of a session with a station are made.

A protocol joins the world by an entry in ``PROTOCOLS`` here, its name in ``twin.points.protocols`` and, if it has
any, its settings in ``twin.scenario.stations``. Everything else (barriers, telecontrol network, snapshots,
misbehaviour) treats all protocols alike.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from twin.links.dnp3 import Dnp3LinkSettings, Dnp3MasterSession
from twin.links.iec104 import Iec104MasterSession
from twin.links.in_process import InProcessMasterSession
from twin.links.modbus import ModbusMasterSession
from twin.links.modbus_scan import ModbusLinkSettings
from twin.links.model import MasterSession
from twin.outstations import framing
from twin.outstations.dnp3 import Dnp3Outstation, Dnp3OutstationSettings
from twin.outstations.iec104 import Iec104Outstation
from twin.outstations.in_process import InProcessOutstation
from twin.outstations.misbehaviour import Framing
from twin.outstations.modbus import ModbusOutstation
from twin.outstations.model import CommandHandler, Outstation
from twin.points.model import PointDefinition
from twin.scenario.stations import StationSettings
from twin.timebase import TimeBase


@dataclass(frozen=True)
class StationContext:
    """What is known of a station when its sessions are made."""

    station: str
    common_address: int
    points: Sequence[PointDefinition]
    settings: StationSettings
    time_base: TimeBase


@dataclass(frozen=True)
class ProtocolEntry:
    """One protocol: the controlling and the controlled side of a station, and how its octets fall into frames.

    ``over_tcp`` is False where messages are handed over inside the process.
    """

    master: Callable[[StationContext], MasterSession]
    outstation: Callable[[StationContext, CommandHandler], Outstation]
    framing: Framing
    over_tcp: bool = True


def _iec104_master(context: StationContext) -> MasterSession:
    return Iec104MasterSession(context.station, context.points, context.time_base)


def _iec104_outstation(context: StationContext, handler: CommandHandler) -> Outstation:
    return Iec104Outstation(context.station, context.points, handler, context.time_base)


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
    written = context.settings.dnp3
    settings = Dnp3LinkSettings(
        address=written.master,
        unsolicited=(1, 2, 3) if written.unsolicited else (),
        integrity_period_ms=written.integrity_poll,
        class_1_period_ms=written.class_1_poll,
        class_2_period_ms=written.class_2_poll,
        class_3_period_ms=written.class_3_poll,
        time_sync=written.time_sync,
    )
    return Dnp3MasterSession(context.station, context.points, context.time_base, settings)


def _dnp3_outstation(context: StationContext, handler: CommandHandler) -> Outstation:
    written = context.settings.dnp3
    settings = Dnp3OutstationSettings(
        masters=(written.master,), unsolicited=written.unsolicited, event_limit=written.event_limit
    )
    return Dnp3Outstation(context.station, context.points, handler, context.time_base, settings)


PROTOCOLS: Mapping[str, ProtocolEntry] = {
    "iec104": ProtocolEntry(_iec104_master, _iec104_outstation, framing.IEC104),
    "in_process": ProtocolEntry(_in_process_master, _in_process_outstation, framing.IN_PROCESS, over_tcp=False),
    "modbus": ProtocolEntry(_modbus_master, _modbus_outstation, framing.MODBUS),
    "dnp3": ProtocolEntry(_dnp3_master, _dnp3_outstation, framing.DNP3),
}
