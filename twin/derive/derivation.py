"""The derivation: all that turns a bare network into a telecontrolled one."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

from twin.derive.devices import derive_devices
from twin.derive.dnp3 import with_dnp3
from twin.derive.modbus import with_modbus
from twin.derive.options import DeriveOptions
from twin.derive.points import derive_points
from twin.derive.sensitivity import SensitivityFinding, sensitivity_findings
from twin.derive.settings import DeviceSettings, Station
from twin.derive.stations import derive_stations
from twin.network.model import Network
from twin.network.topology import Zones, zones
from twin.points.pointmap import PointMap


@dataclass(frozen=True)
class Derivation:
    """Stations by common address, points of the telecontrolled ones, settings of all devices, zones.

    Equal if all these are, whatever object the network is.
    """

    network: Network = field(repr=False, compare=False)
    stations: tuple[Station, ...]
    points: PointMap
    devices: DeviceSettings
    zones: Zones

    @cached_property
    def station_of_switch(self) -> dict[str, Station]:
        """The station that each switch is a bay of (fuses have none)."""
        return {bay: station for station in self.stations for bay in station.bays}

    @cached_property
    def findings(self) -> tuple[SensitivityFinding, ...]:
        """Relays that do not see every fault on their feeder."""
        return sensitivity_findings(self.network, self.devices.relays)

    @property
    def remote_stations(self) -> tuple[Station, ...]:
        """The telecontrolled stations."""
        return tuple(station for station in self.stations if station.remote)


def derive(network: Network, options: DeriveOptions | None = None) -> Derivation:
    """Derive stations, points, device settings and zones; the same network and options give the same result."""
    chosen = options or DeriveOptions()
    stations = derive_stations(network, chosen)
    return Derivation(
        network=network,
        stations=stations,
        points=with_dnp3(with_modbus(derive_points(network, stations, chosen))),
        devices=derive_devices(network, chosen),
        zones=zones(network),
    )
