"""The point map of the telecontrolled stations: which points each bay has, and their addresses.

Addresses (IEC 60870-5-104): one common address a station; information object addresses by bay slot ``s``
(1 for the first bay of the station), ten a slot, so that a bay's points and the bays behind it stay where they
are when a point or a last bay is added:

    1000 + 10 s   position           2000 + 10 s + k   indications       3000 + k       node voltages
    6000 + 10 s   command            3000 + 10 s + k   i_a, p_kw, q_kvar; the fault record from k = 4

From slot 100 on, the same again 10 000 higher. Devices that act on the voltage: see ``regulation``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from twin.derive.earthing import earthing_points
from twin.derive.options import DeriveOptions
from twin.derive.ratings import switch_rating_a
from twin.derive.regulation import regulation_points
from twin.derive.settings import Station
from twin.derive.under_frequency import under_frequency_points
from twin.network.model import Network, SwitchKind
from twin.points.model import PointAddress, PointDefinition, PointKind
from twin.points.pointmap import TYPE_IDS, PointMap

_BASE = {
    PointKind.DOUBLE: 1000,
    PointKind.SINGLE: 2000,
    PointKind.MEASURAND: 3000,
    PointKind.DOUBLE_COMMAND: 6000,
}
_SLOT = 10
_SLOTS = 100
_PAGE = 10_000
_INDICATIONS = ("fault_forward", "fault_reverse", "trip", "reclose_active", "lockout", "spring_charged", "local")
_MEASURANDS = {"i_a": "A", "p_kw": "kW", "q_kvar": "kvar"}
_FAULT_RECORD = {"fault_l1_a": "A", "fault_l2_a": "A", "fault_l3_a": "A", "fault_x_ohm": "ohm"}
_FAULT_RECORD_FROM = 4


def derive_points(network: Network, stations: tuple[Station, ...], options: DeriveOptions) -> PointMap:
    """The points of all stations that are ``remote``.

    Each bay: position, command (select before operate, checked back by position), I, P and Q. At a line end also the
    fault passage in both directions; breakers also spring and local control; feeder heads also trip
    and reclosing, and what their relay recorded of the last fault. Each node of the station: its voltage.
    """
    maker = _PointMaker(network, options)
    return PointMap(point for station in stations if station.remote for point in maker.station(station))


@dataclass(frozen=True)
class _PointMaker:
    network: Network
    options: DeriveOptions

    def station(self, station: Station) -> Iterator[PointDefinition]:
        for order, node in enumerate(station.nodes):
            yield self._voltage(station, node, order)
        for slot, switch in enumerate(station.bays, start=1):
            yield from self._bay(station, switch, slot)
        yield from regulation_points(self.network, station, self.options)
        yield from earthing_points(self.network, station)

    def _voltage(self, station: Station, node: str, order: int) -> PointDefinition:
        row = self.network.index[node].index
        v_kv = float(self.network.nodes.v_nominal_kv[row])
        page, offset = divmod(order, _SLOT)
        ioa = _BASE[PointKind.MEASURAND] + page * _PAGE + offset
        return PointDefinition(
            station=station.name,
            name=f"{node}.v_kv",
            kind=PointKind.MEASURAND,
            equipment=node,
            quantity="v_kv",
            address=PointAddress(station.common_address, ioa, TYPE_IDS[PointKind.MEASURAND][0]),
            unit="kV",
            dead_band=legible(v_kv * self.options.voltage_dead_band_percent / 100.0),
        )

    def _bay(self, station: Station, switch: str, slot: int) -> Iterator[PointDefinition]:
        row = self.network.index[switch].index
        yield self._point(station, switch, slot, PointKind.DOUBLE, "position")
        yield self._point(station, switch, slot, PointKind.DOUBLE_COMMAND, "operate", feedback=f"{switch}.position")
        for order, (quantity, unit) in enumerate(_MEASURANDS.items()):
            dead_band = self._dead_band(row, quantity)
            yield self._point(
                station, switch, slot, PointKind.MEASURAND, quantity, order, unit=unit, dead_band=dead_band
            )
        for quantity in self._indications(row):
            order = _INDICATIONS.index(quantity)
            yield self._point(station, switch, slot, PointKind.SINGLE, quantity, order)
        is_head = bool(self.network.switches.feeder_head[row])
        for order, (quantity, unit) in enumerate(_FAULT_RECORD.items() if is_head else ()):
            place = _FAULT_RECORD_FROM + order
            yield self._point(station, switch, slot, PointKind.MEASURAND, quantity, place, unit=unit)
        yield from under_frequency_points(station, slot, switch, is_head=is_head, options=self.options)

    def _indications(self, row: int) -> tuple[str, ...]:
        s = self.network.switches
        at_line = 0 <= s.branch[row] < self.network.lines.n
        breaker = s.kind[row] == SwitchKind.BREAKER
        wanted = (at_line, at_line, *[bool(s.feeder_head[row])] * 3, breaker, breaker)
        return tuple(quantity for quantity, has in zip(_INDICATIONS, wanted, strict=True) if has)

    def _dead_band(self, row: int, quantity: str) -> float:
        rating_a = switch_rating_a(self.network, row, self.options)
        if quantity == "i_a":
            return legible(rating_a * self.options.current_dead_band_percent / 100.0)
        v_kv = float(self.network.nodes.v_nominal_kv[self.network.switches.node[row]])
        return legible(math.sqrt(3.0) * v_kv * rating_a * self.options.power_dead_band_percent / 100.0)

    def _point(
        self,
        station: Station,
        switch: str,
        slot: int,
        kind: PointKind,
        quantity: str,
        order: int = 0,
        *,
        unit: str = "",
        dead_band: float = 0.0,
        feedback: str = "",
    ) -> PointDefinition:
        page, place = divmod(slot, _SLOTS)
        ioa = _BASE[kind] + page * _PAGE + place * _SLOT + order
        return PointDefinition(
            station=station.name,
            name=f"{switch}.{quantity}",
            kind=kind,
            equipment=switch,
            quantity=quantity,
            address=PointAddress(station.common_address, ioa, TYPE_IDS[kind][0]),
            unit=unit,
            dead_band=dead_band,
            feedback=feedback,
        )


def legible(value: float) -> float:
    """``value`` with three significant digits."""
    return float(f"{value:.3g}")
