"""The masters of the soak test: our links, and bare masters that read what a link does not tell.

All are driven by ``LinkClient``. A bare master knows frames and confirmations and hands every event to its ledger; the
overflow indication of DNP3 (IIN2.3) is seen by a bare one alone.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

from benchmarks.soak_field import BASE, CONNECTION, DNP3_ADDRESS, LINK, OVERFLOW_IOA
from benchmarks.soak_ledger import STREAMS, Ledger, PolledLedger
from twin.links.model import ArrivedSample, LinkEvent, SessionEvent, SessionState
from twin.points.model import Quality
from twin.protocols.dnp3 import (
    Fragment,
    FrameDecoder,
    Function,
    LinkEnd,
    decode_fragment,
    encode_fragment,
    parse_headers,
)
from twin.protocols.dnp3.application import Iin
from twin.protocols.dnp3.objects import STATIC_OF_EVENT
from twin.timebase import NEVER, SimTime

STARTDT_ACT, TESTFR_ACT, TESTFR_CON = (bytes((0x68, 4, code, 0, 0, 0)) for code in (0x07, 0x43, 0x83))
TAG_MODULUS = 3_600_000
"""A tag is read as its minute and millisecond."""
_MODULUS = 32_768
_EVENTS = {
    36: ("m", struct.Struct("<HBfBHB4x")),
    37: ("c", struct.Struct("<HBiBHB4x")),
    30: ("s", struct.Struct("<HBxBHB4x")),
}
_SINGLE = struct.Struct("<HBBHB4x")


class _BareMaster:
    """What ``LinkClient`` asks of a session, as far as a bare master has it."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.station = ledger.station
        self.close_reason = ""
        self._out = bytearray()
        self._events: list[LinkEvent] = []

    def payload_to_send(self) -> bytes:
        octets = bytes(self._out)
        self._out.clear()
        return octets

    def take_events(self) -> list[LinkEvent]:
        events, self._events = self._events, []
        return events

    def disconnected(self, now: SimTime, reason: str) -> None:
        self.close_reason = ""
        self._out.clear()

    def _started(self, now: SimTime) -> None:
        self._events.append(SessionEvent(self.station, SessionState.STARTED, now))


class BareIec104Master(_BareMaster):
    """Starts data transfer, acknowledges, and keeps t1, t2 and t3."""

    def connected(self, now: SimTime) -> None:
        self.ledger.connected()
        self._rest = b""
        self._received = self._unacknowledged = 0
        self._acknowledge_at = self._answer_by = NEVER
        self._test_at = now + CONNECTION.t3_ms
        self._out += STARTDT_ACT
        self._answer_by = now + CONNECTION.t1_ms

    def receive(self, payload: bytes, now: SimTime) -> None:
        data, at = self._rest + payload, 0
        while len(data) - at >= 2 and len(data) - at >= data[at + 1] + 2:
            end = at + data[at + 1] + 2
            self._frame(data[at:end], now)
            at = end
        self._rest = data[at:]
        self._test_at = now + CONNECTION.t3_ms
        if self._unacknowledged >= CONNECTION.w:
            self._acknowledge()

    def _frame(self, frame: bytes, now: SimTime) -> None:
        control = frame[2]
        if control & 1 == 0:
            self._information(frame, now)
        elif control in (0x0B, 0x83):
            self._answer_by = NEVER
            if control == 0x0B:
                self._started(now)
        elif control == 0x43:
            self._out += TESTFR_CON

    def _information(self, frame: bytes, now: SimTime) -> None:
        if int.from_bytes(frame[2:4], "little") >> 1 != self._received:
            self.ledger.wrong(f"send sequence number {int.from_bytes(frame[2:4], 'little') >> 1}")
        self._received = (self._received + 1) % _MODULUS
        self._unacknowledged += 1
        self._acknowledge_at = min(self._acknowledge_at, now + CONNECTION.t2_ms)
        type_id, cause = frame[6], frame[8]
        if cause == 3 and type_id in _EVENTS:
            self._take_events(type_id, frame)

    def _take_events(self, type_id: int, frame: bytes) -> None:
        name, layout = _EVENTS[type_id]
        if type_id == 30:
            self._take_singles(frame)
            return
        stream, objects = self.ledger.streams[name], frame[12:]
        for _, _, value, _, ms, minute in layout.iter_unpack(objects):
            number = stream.last + _signed(minute * 60_000 + ms - stream.last)
            if value != number:
                self.ledger.wrong(f"{name}: value {value} with the tag of {number}")
            self.ledger.take(name, number)

    def _take_singles(self, frame: bytes) -> None:
        stream = self.ledger.streams["s"]
        for low, high, value, ms, minute in _SINGLE.iter_unpack(frame[12:]):
            if low | high << 16 == OVERFLOW_IOA:
                self.ledger.overflow(bool(value & 1))
                continue
            number = stream.last + _signed(minute * 60_000 + ms - stream.last)
            if value & 1 != number & 1:
                self.ledger.wrong(f"s: value {value} with the tag of {number}")
            self.ledger.take("s", number)

    def _acknowledge(self) -> None:
        self._unacknowledged, self._acknowledge_at = 0, NEVER
        self._out += b"\x68\x04\x01\x00" + (self._received << 1).to_bytes(2, "little")

    def tick(self, now: SimTime) -> None:
        if self._answer_by <= now:
            self.close_reason = "t1 expired"
        if self._acknowledge_at <= now:
            self._acknowledge()
        if self._test_at <= now:
            self._test_at = now + CONNECTION.t3_ms
            self._answer_by = min(self._answer_by, now + CONNECTION.t1_ms)
            self._out += TESTFR_ACT

    def next_timer(self) -> SimTime:
        return NEVER if self.close_reason else min(self._answer_by, self._acknowledge_at, self._test_at)


def _signed(difference: int) -> int:
    """The nearest difference of two numbers that are known by their tags alone."""
    return (difference + TAG_MODULUS // 2) % TAG_MODULUS - TAG_MODULUS // 2


class BareDnp3Master(_BareMaster):
    """Enables unsolicited responses, confirms them, and watches IIN2.3."""

    def connected(self, now: SimTime) -> None:
        self.ledger.connected()
        self._link = LinkEnd(1, DNP3_ADDRESS, master=True, settings=LINK, now=now)
        self._decoder = FrameDecoder()
        self._last = b""
        enable = Fragment(Function.ENABLE_UNSOLICITED, 0, bytes.fromhex("3c02063c03063c0406"))
        self._link.send(encode_fragment(enable), now)

    def receive(self, payload: bytes, now: SimTime) -> None:
        for frame in self._decoder.receive(payload):
            octets = self._link.receive(frame, now)
            if octets is not None:
                self._take(octets, now)

    def _take(self, octets: bytes, now: SimTime) -> None:
        fragment = decode_fragment(octets)
        if not fragment.unsolicited:
            self._started(now)
            return
        confirm = Fragment(Function.CONFIRM, fragment.sequence, unsolicited=True)
        self._link.send(encode_fragment(confirm), now)
        if octets != self._last:
            self._last = octets
            self._take_objects(fragment)

    def _take_objects(self, fragment: Fragment) -> None:
        overflow = bool((fragment.iin or Iin.NONE) & Iin.OVERFLOW)
        if overflow:
            self.ledger.overflow(True)
        seen = set()
        for header in parse_headers(fragment.body, fragment.function):
            name = _STREAM_OF_EVENT.get(header.group) if header.group in STATIC_OF_EVENT else None
            if name is None:
                self.ledger.wrong(f"g{header.group}v{header.variation} in an unsolicited response")
                continue
            seen.add(name)
            for _, value, _, t_ms in header.items():
                number = t_ms - _EPOCH_MS
                if value != (number & 1 if name == "s" else number):
                    self.ledger.wrong(f"{name}: value {value} with the tag of {number}")
                self.ledger.take(name, number)
        if not overflow:
            for name in seen:
                self.ledger.streams[name].overflow = False

    def payload_to_send(self) -> bytes:
        return self._link.take()

    def tick(self, now: SimTime) -> None:
        self._link.tick(now)
        self.close_reason = self._link.close_reason

    def next_timer(self) -> SimTime:
        return self._link.next_timer()


_STREAM_OF_EVENT = {32: "m", 22: "c", 2: "s"}
_EPOCH_MS = int(BASE.start.timestamp() * 1000)


def into_ledger(ledger: Ledger, events: Sequence[LinkEvent]) -> None:
    """What a link to an IEC 60870-5-104 station tells."""
    for event in events:
        if isinstance(event, SessionEvent) and event.state is SessionState.CONNECTED:
            ledger.connected()
        elif isinstance(event, ArrivedSample) and event.sample.spontaneous:
            _into_ledger(ledger, event.sample.point, event.sample.value, event.sample.source_t_ms)


def _into_ledger(ledger: Ledger, point: str, value: float, number: int) -> None:
    if point == "overflow":
        ledger.overflow(bool(value))
    elif point[0] in STREAMS:
        if value != (number & 1 if point[0] == "s" else number):
            ledger.wrong(f"{point[0]}: value {value} with the tag of {number}")
        ledger.take(point[0], number)


def into_polled(ledger: PolledLedger, events: Sequence[LinkEvent]) -> None:
    """What a link to a Modbus station tells."""
    read = False
    for event in events:
        if isinstance(event, SessionEvent) and event.state is SessionState.CONNECTED:
            ledger.connected()
        elif isinstance(event, ArrivedSample) and event.sample.quality is Quality.GOOD:
            read = True
            ledger.take(event.sample.point, int(event.sample.value))
    if read:
        ledger.polled()


Master = Any
"""A session as ``LinkClient`` drives it."""
