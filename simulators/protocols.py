"""The table of telecontrol protocols: for each, how both ends of a session with a station are made.

A protocol joins the world by an entry in ``PROTOCOLS`` here, its name in ``twin.points.protocols`` and, if it has
any, its settings in ``twin.scenario.stations``. Everything else (barriers, telecontrol network, snapshots,
misbehaviour) treats all protocols alike.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from twin.links.iec104 import Iec104MasterSession
from twin.links.in_process import InProcessMasterSession
from twin.links.model import MasterSession
from twin.outstations.iec104 import Iec104Outstation
from twin.outstations.in_process import InProcessOutstation
from twin.outstations.model import CommandHandler, Outstation
from twin.points.model import PointDefinition
from twin.scenario.model import StationSettings
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
    """One protocol: the controlling and the controlled side of a station.

    ``over_tcp`` is False where messages are handed over inside the process.
    """

    master: Callable[[StationContext], MasterSession]
    outstation: Callable[[StationContext, CommandHandler], Outstation]
    over_tcp: bool = True


def _iec104_master(context: StationContext) -> MasterSession:
    return Iec104MasterSession(context.station, context.points, context.time_base)


def _iec104_outstation(context: StationContext, handler: CommandHandler) -> Outstation:
    return Iec104Outstation(context.station, context.points, handler, context.time_base)


def _in_process_master(context: StationContext) -> MasterSession:
    return InProcessMasterSession(context.station)


def _in_process_outstation(context: StationContext, handler: CommandHandler) -> Outstation:
    return InProcessOutstation(context.station, context.points, handler)


PROTOCOLS: Mapping[str, ProtocolEntry] = {
    "iec104": ProtocolEntry(_iec104_master, _iec104_outstation),
    "in_process": ProtocolEntry(_in_process_master, _in_process_outstation, over_tcp=False),
}
