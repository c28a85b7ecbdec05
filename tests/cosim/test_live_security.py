"""TLS and address filters of a scenario's stations in live runs: for each protocol, who is let in and who is refused,
on the station's side and on the control room's.
"""

from __future__ import annotations

import contextlib
import importlib.util
import shutil
import socket
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cosim_live import LIMIT_S, LiveWorld, live_world
from cosim_worlds import scenario
from pymodbus.client import ModbusTlsClient
from pymodbus.exceptions import ModbusException

from twin.security import Lab, TlsSettings, client_context

OVER = ("iec104", "dnp3", "modbus")
STATION = "RTU_6"
NAMES = [f"RTU_{n}" for n in range(15)]
LONG_AGO = datetime.now(UTC) - timedelta(days=400)


@pytest.fixture(scope="module")
def labs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lab in which some have expired, been revoked, or come from elsewhere; and that other lab."""
    folder = tmp_path_factory.mktemp("labs")
    lab, other = Lab(folder / "lab"), Lab(folder / "other")
    Lab(folder / "lab", LONG_AGO).create([], [], days=4_000)
    Lab(folder / "lab", LONG_AGO).create(["RTU_1"], ["expired-room"], days=30)
    lab.create([*(name for name in NAMES if name != "RTU_1")], ["control-room", "revoked-room"])
    lab.revoke(["RTU_2", "revoked-room"])
    other.create(["RTU_3"], ["control-room"])
    for suffix in (".pem", ".key"):
        shutil.copy(other.path("RTU_3", suffix), lab.path("RTU_3", suffix))
    return folder


def text(labs: Path, default: str) -> str:
    return scenario(duration="1 h", flisr="mode: off", default=f"{default}, security: {{certificates: {labs / 'lab'}}}")


def lost(world: LiveWorld, station: str) -> str:
    """Why the control room could not reach a station."""
    return str(world.entry("session", station, state="lost").data["detail"])


STACKS = [*(("own", protocol) for protocol in OVER), ("c104", "iec104"), ("opendnp3", "dnp3")]


@pytest.mark.parametrize(("stack", "protocol"), STACKS, ids=[f"{s}-{p}" for s, p in STACKS])
def test_control_room__believes_only_the_station_itself(tmp_path: Path, labs: Path, stack: str, protocol: str) -> None:
    """Seen from the control room: a good station is interrogated, three others are refused, each with its reason."""
    if stack != "own" and importlib.util.find_spec(stack) is None:
        pytest.skip(f"{stack} is not installed")
    others = "\n".join(f"{name}: {{stack: own}}" for name in NAMES[4:] if name != STATION)
    written = text(labs, f"protocol: {protocol}, stack: {stack}").replace("events:", f"{others}\nevents:")
    with live_world(tmp_path, written) as world:
        world.entry("session", STATION, state="interrogated")
        assert world.addresses[STATION].security == "TLS"
        assert "its certificate has expired" in lost(world, "RTU_1")
        assert "its certificate is revoked" in lost(world, "RTU_2")
        assert "signed by an authority" in lost(world, "RTU_3")
        assert not world.those("session", "RTU_1", state="started")


def test_control_room__refuses_the_certificate_of_another_station(tmp_path: Path, labs: Path) -> None:
    mixed = f"RTU_5: {{security: {{certificates: {labs / 'lab'}, station: RTU_7}}}}"
    swapped = f"{STATION}: {{security: {{certificates: {labs / 'swapped'}}}}}"
    shutil.copytree(labs / "lab", labs / "swapped", dirs_exist_ok=True)
    for suffix in (".pem", ".key"):
        shutil.copy(labs / "lab" / f"RTU_8{suffix}", labs / "swapped" / f"{STATION}{suffix}")
    with live_world(tmp_path, scenario(duration="1 h", flisr="mode: off", stations=f"{mixed}\n{swapped}")) as world:
        world.entry("session", "RTU_5", state="interrogated")
        assert "its name is not among those that may connect" in lost(world, STATION)


@contextlib.contextmanager
def dialled(world: LiveWorld, tls: TlsSettings | None, source: str = "127.0.0.1") -> Iterator[socket.socket]:
    """A foreign master's connection to the station."""
    place = world.addresses[STATION]
    plain = socket.create_connection((place.host, place.port), timeout=LIMIT_S, source_address=(source, 0))
    if tls is None:
        with plain:
            yield plain
    else:
        with client_context(tls).wrap_socket(plain) as protected:
            yield protected


def is_hung_up_on(world: LiveWorld, tls: TlsSettings | None, source: str = "127.0.0.1") -> bool:
    """Whether the station ends a connection on which a master speaks."""
    try:
        with dialled(world, tls, source) as line:
            line.sendall(b"\x68\x04\x07\x00\x00\x00" * 4)
            return line.recv(1) == b""
    except (ssl.SSLError, ConnectionError):
        return True


def refused(world: LiveWorld, why: str) -> None:
    world.wait(lambda: [e for e in world.those("connection_refused", STATION) if why in str(e.data["reason"])])


@pytest.mark.parametrize("protocol", OVER)
def test_station__lets_in_only_control_rooms_it_believes(tmp_path: Path, labs: Path, protocol: str) -> None:
    """Seen from the station: the wrong authority, expired, revoked, a station's role, none at all, and plain text."""
    lab, other = Lab(labs / "lab"), Lab(labs / "other")
    with live_world(tmp_path, text(labs, f"protocol: {protocol}")) as world:
        world.entry("session", STATION, state="interrogated")
        strangers = {
            "its certificate has expired": lab.settings("expired-room"),
            "its certificate is revoked": lab.settings("revoked-room"),
            "its role station is not among those that may connect": lab.settings("RTU_7"),
            "signed by an authority": other.settings("control-room", authority=lab.path("authority"), revocations=None),
            "it does not speak TLS": None,
        }
        for why, tls in strangers.items():
            assert is_hung_up_on(world, tls), why
            refused(world, why)
        with dialled(world, lab.settings("control-room")) as line:
            assert line.version() == "TLSv1.3"
        assert not world.those("session", STATION, state="lost")


@pytest.mark.parametrize("protocol", OVER)
def test_sources__others_are_refused_before_they_say_a_word(tmp_path: Path, protocol: str) -> None:
    default = f"protocol: {protocol}, sources: [127.0.0.1, 127.5.0.0/16]"
    with live_world(tmp_path, scenario(duration="1 h", flisr="mode: off", default=default)) as world:
        world.entry("session", STATION, state="interrogated")
        assert is_hung_up_on(world, None, "127.6.0.1")
        refused(world, f"station {STATION} refused a connection from 127.6.0.1: its address is not among those")
        with dialled(world, None, "127.5.0.9") as line:
            world.wait(lambda: world.now > world.entries[-1].t_ms)
            line.setblocking(False)
            with contextlib.suppress(BlockingIOError):  # nothing said yet, or something: but not hung up
                assert line.recv(1) != b""


def test_sources__without_the_control_rooms_own_address_it_is_refused_too(tmp_path: Path) -> None:
    text = scenario(duration="1 h", flisr="mode: off", stations=f"{STATION}: {{sources: [10.0.0.0/8]}}")
    with live_world(tmp_path, text) as world:
        refused(world, "its address is not among those that may connect")
        world.entry("session", "RTU_5", state="interrogated")
        assert not world.those("session", STATION, state="interrogated")


def test_pymodbus__over_tls_reads_and_is_refused_without_a_certificate_that_counts(tmp_path: Path, labs: Path) -> None:
    """A foreign master over TLS, with the certificates of the lab."""
    lab = Lab(labs / "lab")
    with live_world(tmp_path, text(labs, "protocol: modbus")) as world:
        world.entry("session", STATION, state="interrogated")
        place = world.addresses[STATION]
        answers = {}
        for name in ("control-room", "revoked-room"):
            context = client_context(lab.settings(name))
            client = ModbusTlsClient(place.host, port=place.port, sslctx=context, timeout=30, retries=0)
            try:
                connected = client.connect()
                answers[name] = connected and not client.read_discrete_inputs(16, count=2, device_id=1).isError()
            except (ModbusException, ssl.SSLError, ConnectionError):
                answers[name] = False
            finally:
                client.close()
        assert answers == {"control-room": True, "revoked-room": False}
