"""Live stations with a stepping thread that is this test: what masters say waits for it, in order and in bounds."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from twin.outstations.live import LiveStations, Place
from twin.outstations.modbus import ModbusOutstation
from twin.outstations.model import StationCommand
from twin.outstations.portal import FLOODED, MOST_PENDING_OCTETS, Inbox, Portal
from twin.outstations.server import AccessSettings
from twin.points.model import PointAddress, PointDefinition, PointKind, Sample
from twin.timebase import NEVER
from twin.transport import Condition, IoThread, ListenError, TelecontrolPath

POINTS = [
    PointDefinition("RTU", "trip", PointKind.SINGLE, "CB", "trip", PointAddress(1, 10, 30)),
    PointDefinition("RTU", "operate", PointKind.SINGLE_COMMAND, "CB", "operate", PointAddress(1, 60, 45)),
]
READ = bytes.fromhex("000100000006010200000001")
WRITE = bytes.fromhex("00020000000601050000ff00")
LIMIT_S = 30.0


class Device:
    """Takes note of the thread on which it is operated."""

    def __init__(self) -> None:
        self.threads: list[str] = []

    def select(self, command: StationCommand, now: int) -> str:
        return ""

    def operate(self, command: StationCommand, now: int) -> str:
        self.threads.append(threading.current_thread().name)
        return ""

    def cancel(self, command: StationCommand, now: int) -> None:
        """Nothing to do."""


class Field:
    """One Modbus station, live."""

    def __init__(self, io: IoThread, access: AccessSettings) -> None:
        self.device = Device()
        self.awake = threading.Event()
        self.now = 0
        outstation = ModbusOutstation("RTU", POINTS, self.device)
        self.path = TelecontrolPath("RTU", "both")
        place = Place(access=access)
        self.stations = LiveStations(
            {"RTU": outstation}, {"RTU": self.path}, {"RTU": place}, io, lambda: self.now, self.awake.set
        )

    def begin(self) -> None:
        self.stations.update([Sample("RTU", "trip", 1.0, 0, 0, False)], 0)

    def step(self) -> None:
        """Wait until a master did something, and do it."""
        assert self.awake.wait(LIMIT_S)
        self.awake.clear()
        self.now += 1
        self.stations.advance(self.now)

    def answer(self, line: socket.socket, octets: int) -> bytes:
        """Step until so much has come back."""
        got = b""
        line.settimeout(0.05)
        while len(got) < octets:
            if self.awake.is_set():
                self.step()
            try:
                got += line.recv(octets - len(got))
            except TimeoutError:
                continue
        return got


@contextmanager
def field(**access: object) -> Iterator[Field]:
    io = IoThread("test field")
    try:
        made = Field(io, AccessSettings.model_validate(access))
        try:
            yield made
        finally:
            made.stations.close()
    finally:
        io.stop()


@contextmanager
def master(made: Field) -> Iterator[socket.socket]:
    with socket.create_connection(made.stations.addresses["RTU"], LIMIT_S) as line:
        yield line


def test_live__masters_wait_for_the_first_values() -> None:
    with field() as made, master(made) as line:
        line.sendall(READ)
        assert made.awake.wait(LIMIT_S)
        assert made.stations.next_due() == NEVER
        made.begin()
        assert made.stations.next_due() <= made.now
        assert made.answer(line, 10) == bytes.fromhex("00010000000401020101")


def test_live__commands_reach_the_device_on_the_stepping_thread() -> None:
    with field() as made, master(made) as line:
        made.begin()
        line.sendall(WRITE)
        assert made.answer(line, 12) == WRITE
        assert made.device.threads == [threading.current_thread().name]


def test_live__requests_dripped_octet_by_octet_are_answered() -> None:
    with field() as made, master(made) as line:
        made.begin()
        for octet in READ:
            line.sendall(bytes([octet]))
            made.step()
        assert made.answer(line, 10)[-1:] == b"\x01"


def test_live__many_masters_and_one_that_is_cut() -> None:
    with field() as made:
        made.begin()
        with master(made) as cut:
            cut.sendall(READ[:5])
        with master(made) as first, master(made) as second:
            for line in (first, second):
                line.sendall(READ)
                assert made.answer(line, 10)[-1:] == b"\x01"


def test_live__refused_is_in_the_journal_with_the_masters_address() -> None:
    with field(sources=["10.0.0.0/8"]) as made:
        made.begin()
        with master(made) as line:
            line.settimeout(LIMIT_S)
            assert line.recv(1) == b""
            made.step()
        assert [entry.kind for entry in made.stations.take_journal()] == ["connection_refused"]
        assert made.stations.take_journal() == []


def test_live__a_cut_network_is_a_relays_black_hole_until_it_heals() -> None:
    with field() as made, master(made) as line:
        made.begin()
        made.step()  # the master is there
        made.stations.cut("RTU", 5, 50)
        made.now = 5
        made.stations.advance(5)
        assert made.stations.next_due() == 50
        line.sendall(READ)
        assert not made.awake.wait(0.1)
        made.now = 50
        made.stations.advance(50)
        assert made.answer(line, 10)[-1:] == b"\x01"


def test_live__conditions_change_at_their_times() -> None:
    with field() as made:
        made.begin()
        made.stations.worsen("RTU", Condition(0, 40, latency_ms=10))
        made.stations.worsen("RTU", Condition(10, 20, loss=0.5))
        assert made.stations.next_due() == 0
        made.stations.advance(0)
        assert made.stations.next_due() == 10
        made.stations.advance(10)
        assert made.stations.next_due() == 20
        made.stations.advance(20)
        assert made.stations.next_due() == 40


def test_live__an_address_in_use_is_one_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        io, made = IoThread("test field"), ModbusOutstation("RTU", POINTS, Device())
        try:
            with pytest.raises(ListenError, match=r"station RTU cannot listen on 127.0.0.1"):
                LiveStations(
                    {"RTU": made},
                    {"RTU": TelecontrolPath("RTU", "both")},
                    {"RTU": Place(port=taken.getsockname()[1])},
                    io,
                    lambda: 0,
                    lambda: None,
                )
        finally:
            io.stop()


def test_portal__hangs_up_on_a_flood_that_nobody_takes() -> None:
    portal = Portal(ModbusOutstation("RTU", POINTS, Device()), Inbox(lambda: 0, lambda: None))
    session = portal.open_session_from("127.0.0.1", 0)
    for _ in range(MOST_PENDING_OCTETS // 65_536):
        session.receive(b"\x00" * 65_536, 0)
    assert session.close_reason == ""
    session.receive(b"\x00", 0)
    assert session.close_reason == FLOODED


def test_inbox__gives_what_happened_by_then_in_order() -> None:
    times = iter((3, 5, 9))
    inbox = Inbox(lambda: next(times), lambda: None)
    for name in "abc":
        inbox.put(name, lambda now: None)
    assert inbox.next_due() == 3
    taken = [inbox.take(5) for _ in range(3)]
    assert [job and job[:2] for job in taken] == [(3, "a"), (5, "b"), None]
    assert inbox.next_due() == 9


def test_half_open__masters_are_told_nothing() -> None:
    with field() as made, master(made) as line:
        made.begin()
        line.sendall(READ)
        made.answer(line, 10)
        made.stations.half_open("RTU", made.now)
        made.step()  # the station learns that its end is gone
        line.sendall(READ)
        line.settimeout(0.1)
        with pytest.raises(TimeoutError):
            line.recv(1)
