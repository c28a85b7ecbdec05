"""Which equipment of a network acts on the voltage, and the points of it.

Addresses, per station and device ``d`` (1 for its first one; transformers, then banks, then units), ten a device:

    4000 + 10 d   tap, steps_in      5000 + 10 d + k   p_kw, q_kvar, q_set_kvar
    7000 + 10 d   step               8000 + 10 d       set_q_kvar

From device 100 on, the same again 10 000 higher.
"""

from __future__ import annotations

from collections.abc import Iterator

from twin.derive.options import DeriveOptions
from twin.derive.settings import Station
from twin.network.model import Network
from twin.points.model import PointAddress, PointDefinition, PointKind
from twin.points.pointmap import TYPE_IDS

_BASE = {
    PointKind.STEP_POSITION: 4000,
    PointKind.MEASURAND: 5000,
    PointKind.STEP_COMMAND: 7000,
    PointKind.SETPOINT: 8000,
}
_SLOT, _SLOTS, _PAGE = 10, 100, 10_000
_UNIT_MEASURANDS = {"p_kw": "kW", "q_kvar": "kvar", "q_set_kvar": "kvar"}


def tap_changers(network: Network) -> tuple[str, ...]:
    """Transformers whose ratio can be changed."""
    table = network.transformers
    movable = (table.tap_max > table.tap_min) & (table.tap_step_percent != 0.0)
    return tuple(name for name, yes in zip(table.names, movable.tolist(), strict=True) if yes)


def capacitor_banks(network: Network) -> tuple[str, ...]:
    """Shunt compensators with more than the one step that is always in."""
    table = network.shunts
    return tuple(name for name, steps in zip(table.names, table.steps.tolist(), strict=True) if steps > 1)


def controlled_units(network: Network, options: DeriveOptions) -> tuple[str, ...]:
    """Generating units whose reactive power is set by telecontrol or by a characteristic."""
    table = network.generators
    if not (options.inverters or options.inverter_curve):
        return ()
    return tuple(name for name, s_kva in zip(table.names, table.s_kva.tolist(), strict=True) if s_kva > 0.0)


def regulation_points(network: Network, station: Station, options: DeriveOptions) -> Iterator[PointDefinition]:
    """The points of the regulating devices at the nodes of a station; a transformer belongs to its low side."""
    maker = _Maker(station)
    nodes = {network.index[name].index for name in station.nodes}
    device = 0
    for name in tap_changers(network):
        if int(network.transformers.node_to[network.index[name].index]) in nodes:
            device += 1
            yield from maker.mechanism(device, name, "tap")
    for name in capacitor_banks(network):
        if int(network.shunts.node[network.index[name].index]) in nodes:
            device += 1
            yield from maker.mechanism(device, name, "steps_in")
    for name in controlled_units(network, options):
        row = network.index[name].index
        if int(network.generators.node[row]) in nodes:
            device += 1
            yield from maker.unit(device, name, float(network.generators.s_kva[row]), options)


class _Maker:
    def __init__(self, station: Station) -> None:
        self._station = station

    def mechanism(self, device: int, name: str, position: str) -> Iterator[PointDefinition]:
        """Position and step command of a mechanism."""
        yield self._point(device, name, PointKind.STEP_POSITION, position)
        yield self._point(device, name, PointKind.STEP_COMMAND, "step", feedback=f"{name}.{position}")

    def unit(self, device: int, name: str, s_kva: float, options: DeriveOptions) -> Iterator[PointDefinition]:
        """Measurands of a unit, and the set point of its reactive power unless a characteristic sets it."""
        dead_band = float(f"{s_kva * options.power_dead_band_percent / 100.0:.3g}")
        for order, (quantity, unit) in enumerate(_UNIT_MEASURANDS.items()):
            band = 0.0 if quantity == "q_set_kvar" else dead_band
            yield self._point(device, name, PointKind.MEASURAND, quantity, order, unit=unit, dead_band=band)
        if not options.inverter_curve:
            feedback = f"{name}.q_set_kvar"
            yield self._point(device, name, PointKind.SETPOINT, "set_q_kvar", unit="kvar", feedback=feedback)

    def _point(
        self,
        device: int,
        name: str,
        kind: PointKind,
        quantity: str,
        order: int = 0,
        *,
        unit: str = "",
        dead_band: float = 0.0,
        feedback: str = "",
    ) -> PointDefinition:
        page, place = divmod(device, _SLOTS)
        ioa = _BASE[kind] + page * _PAGE + place * _SLOT + order
        return PointDefinition(
            station=self._station.name,
            name=f"{name}.{quantity}",
            kind=kind,
            equipment=name,
            quantity=quantity,
            address=PointAddress(self._station.common_address, ioa, TYPE_IDS[kind][0]),
            unit=unit,
            dead_band=dead_band,
            feedback=feedback,
        )
