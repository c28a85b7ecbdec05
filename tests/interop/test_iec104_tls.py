"""IEC 60870-5-104 over TLS on real sockets: our link, our station, plain and foreign peers, and everybody refused."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import ssl
import sys
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from twin.links.client import LinkClient, ReconnectSettings
from twin.links.iec104 import Iec104MasterSession
from twin.links.model import LinkEvent, SessionEvent, SessionState
from twin.outstations.iec104 import Iec104Outstation
from twin.outstations.model import StationCommand
from twin.outstations.server import AccessSettings, OutstationServer
from twin.points.model import PointAddress, PointDefinition, PointKind
from twin.security import Lab, TlsRelay, TlsSettings, client_context
from twin.timebase import TimeBase

BASE = TimeBase(datetime(2026, 1, 15, 18, 0, tzinfo=UTC))
HOST = "127.104.0.7"
CA = 47
LIMIT_S = 60.0
POINTS = [PointDefinition("RTU_1", "trip", PointKind.SINGLE, "CB_1", "trip", PointAddress(CA, 1, 1))]


class NoDevice:
    def select(self, command: StationCommand, now: int) -> str:
        return "no device"

    def operate(self, command: StationCommand, now: int) -> str:
        return "no device"

    def cancel(self, command: StationCommand, now: int) -> None:
        pass


@pytest.fixture(scope="module")
def labs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Lab, Lab]:
    """Ours, with an expired and a revoked control room; and somebody else's."""
    lab, other = Lab(tmp_path_factory.mktemp("lab")), Lab(tmp_path_factory.mktemp("other"))
    lab.create(["RTU_1", "RTU_2"], ["control-room", "stolen"])
    Lab(lab.folder, datetime.now(UTC) - timedelta(days=60)).create([], ["expired"], days=30)
    Lab(lab.folder, datetime.now(UTC) + timedelta(days=60)).create([], ["early"])
    lab.revoke(["stolen"])
    other.create(["RTU_1"])
    return lab, other


def now_ms() -> int:
    return int(asyncio.get_running_loop().time() * 1000)


async def until(holds: Callable[[], bool], what: str) -> None:
    deadline = asyncio.get_running_loop().time() + LIMIT_S
    while not holds():
        assert asyncio.get_running_loop().time() < deadline, f"{what} did not happen within {LIMIT_S:g} s"
        await asyncio.sleep(0.005)


def run(scenario: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(scenario, 3 * LIMIT_S))


class Station:
    """Our station with its port and everybody it refused."""

    def __init__(self) -> None:
        self.refused: list[str] = []
        self.port = 0
        self.server = OutstationServer(now_ms, on_refused=self.refused.append)

    async def host(self, access: AccessSettings) -> None:
        _, self.port = await self.server.host(Iec104Outstation("RTU_1", POINTS, NoDevice(), BASE), HOST, 0, access)


@asynccontextmanager
async def station(tls: TlsSettings | None, **access: Any) -> Any:
    running = Station()
    await running.host(AccessSettings(tls=tls, **access))
    try:
        yield running
    finally:
        await running.server.close()


class Control:
    """Our link and what it said."""

    def __init__(self, port: int, tls: TlsSettings | None, source: str = "") -> None:
        self.events: list[LinkEvent] = []
        session = Iec104MasterSession("RTU_1", POINTS, BASE)
        reconnect = ReconnectSettings(first_s=0.05, most_s=0.2)
        self.client = LinkClient(session, HOST, port, now_ms, self.take, reconnect=reconnect, tls=tls, source=source)

    def take(self, events: Sequence[LinkEvent]) -> None:
        self.events += events

    def states(self) -> list[SessionState]:
        return [event.state for event in self.events if isinstance(event, SessionEvent)]

    def losses(self) -> list[str]:
        return [e.detail for e in self.events if isinstance(e, SessionEvent) and e.state is SessionState.LOST]


@asynccontextmanager
async def link(port: int, tls: TlsSettings | None, source: str = "") -> Any:
    control = Control(port, tls, source)
    control.client.start()
    try:
        yield control
    finally:
        await control.client.stop()


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_tls__link_and_station_interrogate_over_a_protected_connection(labs: tuple[Lab, Lab], version: str) -> None:
    lab, _ = labs

    async def scenario() -> None:
        tls = lab.settings("RTU_1", least_version=version, roles=("control-room",))
        async with (
            station(tls) as rtu,
            link(rtu.port, lab.settings("control-room", names=("RTU_1",))) as control,
        ):
            await until(lambda: SessionState.INTERROGATED in control.states(), "the interrogation")
            assert rtu.refused == []

    run(scenario())


@pytest.mark.parametrize(
    ("who", "why"),
    [
        ("stranger", "its certificate is signed by an authority that is not believed here"),
        ("expired", "its certificate has expired"),
        ("early", "its certificate is not valid yet"),
        ("stolen", "its certificate is revoked"),
        ("RTU_2", "its role station is not among those that may connect"),
    ],
)
def test_tls__station_refuses(labs: tuple[Lab, Lab], who: str, why: str) -> None:
    lab, other = labs
    shown = other.settings("control-room") if who == "stranger" else lab.settings(who)
    believed = shown.model_copy(update={"authority": lab.path("authority"), "revocations": None})

    async def scenario() -> None:
        async with (
            station(lab.settings("RTU_1", roles=("control-room",))) as rtu,
            link(rtu.port, believed) as control,
        ):
            await until(lambda: bool(rtu.refused), "the refusal")
            assert rtu.refused[0].startswith(f"station RTU_1 refused a connection from {HOST[:4]}")
            assert rtu.refused[0].endswith(why)
            assert SessionState.STARTED not in control.states()
            assert rtu.server.connection_count("RTU_1") == 0

    run(scenario())


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"authority": "other"}, "is signed by an authority that is not believed here|signed by an authority not"),
        ({"names": ("RTU_9",)}, "the certificate of RTU_1 is refused: its name is not among those"),
    ],
)
def test_tls__link_refuses_a_station(labs: tuple[Lab, Lab], changes: dict[str, Any], why: str) -> None:
    lab, other = labs
    if "authority" in changes:
        changes = {"authority": other.path("authority"), "revocations": other.folder / "revocations.pem"}

    async def scenario() -> None:
        async with (
            station(lab.settings("RTU_1")) as rtu,
            link(rtu.port, lab.settings("control-room").model_copy(update=changes)) as control,
        ):
            await until(lambda: bool(control.losses()), "the refusal")
            assert any(part in control.losses()[0] for part in why.split("|"))
            assert SessionState.STARTED not in control.states()
            assert len(control.losses()) == len(set(control.losses())) or "RTU_1" in control.losses()[0]

    run(scenario())


def test_tls__link_refuses_a_station_that_was_revoked_meanwhile(tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    lab.create(["RTU_1"])

    async def scenario() -> None:
        async with station(lab.settings("RTU_1")) as rtu:
            async with link(rtu.port, lab.settings("control-room")) as control:
                await until(lambda: SessionState.INTERROGATED in control.states(), "the interrogation")
            lab.revoke(["RTU_1"])
            async with link(rtu.port, lab.settings("control-room")) as control:
                await until(lambda: bool(control.losses()), "the refusal")
                assert control.losses()[0].endswith("its certificate is revoked")

    run(scenario())


def test_tls__station_learns_of_a_revocation(tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    lab.create(["RTU_1"])

    async def scenario() -> None:
        async with station(lab.settings("RTU_1")) as rtu:
            async with link(rtu.port, lab.settings("control-room")) as control:
                await until(lambda: SessionState.INTERROGATED in control.states(), "the interrogation")
            lab.revoke(["control-room"])
            rtu.server.renew_certificates("RTU_1")
            async with link(rtu.port, lab.settings("control-room", revocations=None)) as control:
                await until(lambda: bool(rtu.refused), "the refusal")
                assert rtu.refused[0].endswith("its certificate is revoked")

    run(scenario())


def test_tls__plain_peers_are_refused_on_both_sides(labs: tuple[Lab, Lab]) -> None:
    lab, _ = labs

    async def scenario() -> None:
        async with station(lab.settings("RTU_1")) as rtu, link(rtu.port, None) as control:
            await until(lambda: bool(rtu.refused), "the refusal of a plain master")
            assert rtu.refused[0].endswith("it does not speak TLS, or only an older version")
            assert SessionState.STARTED not in control.states()
        async with station(None) as rtu, link(rtu.port, lab.settings("control-room")) as control:
            await until(lambda: bool(control.client.last_failure), "the refusal of a plain station")
            assert SessionState.CONNECTED not in control.states()

    run(scenario())


def test_tls__a_master_without_certificate_and_an_old_version_are_refused(labs: tuple[Lab, Lab]) -> None:
    lab, _ = labs

    async def dial(port: int, context: ssl.SSLContext) -> None:
        try:
            reader, writer = await asyncio.open_connection(HOST, port, ssl=context, server_hostname="")
            await reader.read()
            writer.close()
        except OSError:
            pass

    async def scenario() -> None:
        async with station(lab.settings("RTU_1", least_version="1.3")) as rtu:
            nobody = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            nobody.check_hostname, nobody.verify_mode = False, ssl.CERT_NONE
            await dial(rtu.port, nobody)
            await until(lambda: len(rtu.refused) == 1, "the refusal")
            assert rtu.refused[0].endswith("it showed no certificate")
            old = client_context(lab.settings("control-room"))
            old.maximum_version = ssl.TLSVersion.TLSv1_2
            await dial(rtu.port, old)
            await until(lambda: len(rtu.refused) == 2, "the refusal")
            assert rtu.refused[1].endswith("it only speaks an older version of TLS")

    run(scenario())


def test_tls__a_silent_peer_is_hung_up_on_and_holds_nobody_up(labs: tuple[Lab, Lab]) -> None:
    lab, _ = labs

    async def scenario() -> None:
        async with station(lab.settings("RTU_1", handshake_limit_s=0.3)) as rtu:
            reader, writer = await asyncio.open_connection(HOST, rtu.port)
            async with link(rtu.port, lab.settings("control-room")) as control:
                await until(lambda: SessionState.INTERROGATED in control.states(), "the interrogation")
            assert await reader.read() == b""
            assert rtu.refused[0].endswith("it did not finish the handshake in time")
            writer.close()

    run(scenario())


def test_source_filter__refuses_addresses_that_are_not_on_the_list() -> None:
    async def scenario() -> None:
        async with station(None, sources=("127.104.1.0/24",)) as rtu:
            async with link(rtu.port, None, "127.104.2.2"):
                await until(lambda: bool(rtu.refused), "the refusal")
                assert rtu.refused[0] == (
                    "station RTU_1 refused a connection from 127.104.2.2: "
                    "its address is not among those that may connect"
                )
            async with link(rtu.port, None, "127.104.1.9") as control:
                await until(lambda: SessionState.INTERROGATED in control.states(), "the interrogation")

    run(scenario())


def test_most_masters__refuses_one_more() -> None:
    async def scenario() -> None:
        async with station(None, most_masters=1) as rtu, link(rtu.port, None) as control:
            await until(lambda: SessionState.INTERROGATED in control.states(), "the interrogation")
            async with link(rtu.port, None):
                await until(lambda: bool(rtu.refused), "the refusal")
                assert rtu.refused[0].endswith("1 masters are connected already")

    run(scenario())


# relays


def test_relay__lets_plain_ends_speak_over_tls(labs: tuple[Lab, Lab]) -> None:
    """plain link, relay that dials TLS, relay that accepts TLS, plain station."""
    lab, _ = labs

    async def scenario() -> None:
        async with station(None) as rtu:
            front = TlsRelay(lab.settings("RTU_1"), HOST, rtu.port, protects="accepted")
            _, protected = await front.start(HOST)
            back = TlsRelay(lab.settings("control-room"), HOST, protected, protects="dialled")
            _, plain = await back.start(HOST)
            try:
                async with link(plain, None) as control:
                    await until(lambda: SessionState.INTERROGATED in control.states(), "the interrogation")
            finally:
                await back.stop()
                await front.stop()

    run(scenario())


def test_relay__refuses_whom_the_policy_refuses(labs: tuple[Lab, Lab]) -> None:
    lab, other = labs
    refused: list[str] = []

    async def scenario() -> None:
        async with station(None) as rtu:
            front = TlsRelay(lab.settings("RTU_1"), HOST, rtu.port, protects="accepted", on_refused=refused.append)
            _, port = await front.start(HOST)
            stranger = other.settings("control-room").model_copy(
                update={"authority": lab.path("authority"), "revocations": None}
            )
            try:
                async with link(port, stranger):
                    await until(lambda: bool(refused), "the refusal")
                assert rtu.server.connection_count("RTU_1") == 0
            finally:
                await front.stop()
        assert refused[0].startswith("TLS with 127.")
        assert refused[0].endswith("its certificate is signed by an authority that is not believed here")

    run(scenario())


C104 = pytest.mark.skipif(importlib.util.find_spec("c104") is None, reason="c104 is not installed")
PEERS = Path(__file__).parent / "peers"


@C104
@pytest.mark.interop
def test_relay__brings_the_c104_client_to_a_protected_station(labs: tuple[Lab, Lab]) -> None:
    """The TLS client of c104 2.2.1 never connects; a relay stands in front of it."""
    lab, _ = labs

    async def scenario() -> None:
        async with station(lab.settings("RTU_1")) as rtu:
            relay = TlsRelay(lab.settings("control-room"), HOST, rtu.port, protects="dialled")
            host, port = await relay.start(HOST)
            setup = {"ip": host, "port": port, "ca": CA, "points": [[1, "M_SP_NA_1"]], "commands": []}
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                str(PEERS / "c104_client.py"),
                json.dumps(setup),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
            )
            assert process.stdin is not None
            assert process.stdout is not None
            try:
                await _said(process.stdout, lambda row: row.get("state") == "OPEN")
                process.stdin.write(b'{"do": "interrogate"}\n')
                await _said(process.stdout, lambda row: row["event"] == "point" and row["ioa"] == 1)
            finally:
                process.stdin.close()
                await asyncio.wait_for(process.wait(), LIMIT_S)
                await relay.stop()

    run(scenario())


def _said(stream: asyncio.StreamReader, holds: Callable[[dict[str, Any]], bool]) -> Awaitable[None]:
    async def listen() -> None:
        while line := await stream.readline():
            if line.startswith(b"{") and holds(json.loads(line)):
                return
        raise AssertionError("the peer ended")

    return asyncio.wait_for(listen(), LIMIT_S)
