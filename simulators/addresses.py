"""Where the stations of a world listen, whom they let in, and how that is told to people and programs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from twin.derive import Derivation
from twin.errors import Blame, TwinError
from twin.outstations.live import Place
from twin.outstations.server import AccessSettings
from twin.scenario import Finding, Scenario
from twin.scenario.stations import ListenSettings, StationSettings
from twin.security import TlsSettings, TlsSetupError, client_context, server_context

HIGHEST_PORT = 65_535
AUTHORITY, REVOCATIONS = "authority.pem", "revocations.pem"


class NoPortError(TwinError):
    """The ports do not suffice for the stations."""

    blame = Blame.SCENARIO

    def __init__(self, station: str, port: int) -> None:
        self.station, self.port = station, port
        super().__init__(f"there is no port {port} for station {station}; begin at a lower port")


@dataclass(frozen=True)
class StationAddress:
    """A row of the table that a live run prints: where a master finds a station, and how it addresses it.

    ``number`` is the common address (iec104), the link address (dnp3) or the unit (modbus).
    """

    station: str
    protocol: str
    host: str
    port: int
    number: int
    security: str

    def as_data(self) -> dict[str, Any]:
        """For a file."""
        return asdict(self)


def fixed_address(settings: StationSettings, common_address: int) -> tuple[str, int]:
    """Where a station listens: a free port of the loopback, or one address a station if only a port is given."""
    port = settings.port or 0
    if settings.address:
        return settings.address, port
    return (f"127.10.{common_address >> 8}.{common_address & 255}", port) if port else ("127.0.0.1", 0)


def reachable(host: str) -> str:
    """The address at which this machine reaches what listens at ``host``."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)


def live_places(scenario: Scenario, derivation: Derivation, listen: ListenSettings | None = None) -> dict[str, Place]:
    """Where each station of a live run listens; ``listen`` takes the place of the scenario's.

    Raises:
        NoPortError: there are more stations than ports from the first one on.
    """
    listen = listen or scenario.listen
    places: dict[str, Place] = {}
    for number, station in enumerate(derivation.remote_stations):
        settings = scenario.station(station.name)
        host, port = fixed_address(settings, station.common_address)
        if listen is not None:
            host = settings.address or listen.address
            port = settings.port or listen.port + number
        if port > HIGHEST_PORT:
            raise NoPortError(station.name, port)
        access = AccessSettings(
            sources=settings.sources, tls=station_tls(settings, station.name, scenario.source.folder)
        )
        places[station.name] = Place(host, port, access)
    return places


def _tls(
    settings: StationSettings, folder: Path, own: str, *, roles: tuple[str, ...], names: tuple[str, ...] = ()
) -> TlsSettings | None:
    if (written := settings.security) is None:
        return None
    lab = folder / written.certificates
    return TlsSettings(
        certificate=lab / f"{own}.pem",
        key=lab / f"{own}.key",
        authority=lab / AUTHORITY,
        revocations=lab / REVOCATIONS,
        least_version=written.version,
        names=names,
        roles=roles,
    )


def station_tls(settings: StationSettings, station: str, folder: Path) -> TlsSettings | None:
    """What a station shows, and that it lets in control rooms alone; None without TLS."""
    own = settings.security.station if settings.security and settings.security.station else station
    return _tls(settings, folder, own, roles=("control-room",))


def control_room_tls(settings: StationSettings, station: str, folder: Path) -> TlsSettings | None:
    """What the control room shows to a station, and that it believes that station alone; None without TLS."""
    written = settings.security
    if written is None:
        return None
    return _tls(settings, folder, written.control_room, names=(written.station or station,), roles=("station",))


def address_findings(scenario: Scenario, derivation: Derivation) -> Iterator[Finding]:
    """What of the stations' addresses and certificates cannot work."""
    try:
        live_places(scenario, derivation)
    except NoPortError as error:
        yield scenario.source.finding(("listen", "port"), str(error))
    for station in derivation.remote_stations:
        if sentence := _unusable(scenario.station(station.name), station.name, scenario.source.folder):
            key = station.name if station.name in scenario.stations else "default"
            yield scenario.source.finding(("stations", key, "security"), sentence)


def _unusable(settings: StationSettings, station: str, folder: Path) -> str:
    if settings.security is None:
        return ""
    try:
        for tls, context in (
            (station_tls(settings, station, folder), server_context),
            (control_room_tls(settings, station, folder), client_context),
        ):
            assert tls is not None
            context(tls)
    except TlsSetupError as error:
        return f"{error} (twin certificates makes what is missing)" if "not exist" in error.fault else str(error)
    return ""


def table(rows: Sequence[StationAddress]) -> list[tuple[str, ...]]:
    """The rows as text, with what a master has to be set to."""
    what = {"iec104": "common address", "dnp3": "link address", "modbus": "unit"}
    return [
        (row.station, row.protocol, f"{row.host}:{row.port}", f"{what[row.protocol]} {row.number}", row.security)
        for row in rows
    ]
