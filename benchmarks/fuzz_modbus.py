"""Mutation fuzzer of the Modbus stack: ``python -m benchmarks.fuzz_modbus --inputs 10000000``.

Takes the vectors as its corpus and throws mutated requests at the codec and at a station, and mutated answers of that
station at a link. What must hold: a request is carried out or has its exception, each frame is answered by one frame of
the same transaction and unit, what is no Modbus ends the connection and nothing else, another master of the station is
not disturbed, and neither the time an input takes nor memory grows. The seed makes a run repeatable.
"""

from __future__ import annotations

import contextlib
import json
import random
from pathlib import Path

from benchmarks.fuzzing import Outcome, main, mutate, run
from twin.links.modbus import ModbusMasterSession
from twin.links.modbus_scan import ModbusLinkSettings
from twin.outstations.modbus import ModbusOutstation, ModbusOutstationSession
from twin.outstations.model import StationCommand
from twin.points.modbus_layout import with_places
from twin.points.model import PointAddress, PointDefinition, PointKind
from twin.protocols.modbus import (
    Frame,
    FrameReader,
    MalformedFrameError,
    RefusedRequestError,
    UnencodableValueError,
    decode_request,
    decode_response,
    encode_frame,
    encode_request,
)

VECTORS = Path(__file__).parents[1] / "tests/vectors/modbus/pdus.json"
FRAMES_AT_ONCE = 8
CALM_EVERY = 64
CALM_REQUEST = bytes.fromhex("000700000006010400000002")
KINDS = [kind for kind in PointKind if not kind.value.startswith("bitstring")]
POINTS = list(
    with_places(
        [
            PointDefinition("R", f"p{n}", kind, "X", f"q{n}", PointAddress(1, n, 1))
            for n, kind in enumerate(KINDS * 3, start=1)
        ]
    )
)


class AnyDevice:
    """Takes everything but zero, and is done at once."""

    def __init__(self) -> None:
        self.station: ModbusOutstation | None = None

    def select(self, command: StationCommand, now: int) -> str:
        return ""

    def operate(self, command: StationCommand, now: int) -> str:
        assert self.station is not None
        self.station.finished(command.ticket, True, now)
        return "" if command.value else "refused"

    def cancel(self, command: StationCommand, now: int) -> None:
        pass


def corpus() -> list[bytes]:
    """The PDUs to start from."""
    cases = json.loads(VECTORS.read_text())
    return [bytes.fromhex(case[side]) for case in cases for side in ("request", "response")]


def mutated(rng: random.Random, seeds: list[bytes]) -> bytes:
    """A PDU after up to three mutations."""
    pdu = bytearray(rng.choice(seeds))
    for _ in range(rng.randint(0, 3)):
        _mutate(rng, pdu, seeds)
    return bytes(pdu[:253]) or b"\x00"


def _mutate(rng: random.Random, pdu: bytearray, seeds: list[bytes]) -> None:
    kind, at = rng.randrange(7), rng.randrange(len(pdu) + 1)
    if kind in (0, 1, 2, 4) or (kind == 3 and at < len(pdu)):
        mutate(kind, at, rng, pdu, seeds)
    elif kind == 5 and pdu:
        pdu[0] = rng.choice((1, 2, 3, 4, 5, 6, 15, 16, 22, 23, 43, 129))
    elif len(pdu) > 4:
        pdu[1:5] = bytes((0, rng.randrange(24), 0, rng.randrange(1, 12)))


def _decodes(pdu: bytes, outcome: Outcome) -> None:
    """A request that decodes goes back to octets that say the same."""
    try:
        request = decode_request(pdu)
    except RefusedRequestError:
        outcome.malformed += 1
        return
    outcome.decoded += 1
    try:
        again = encode_request(request)
    except UnencodableValueError:
        return
    if decode_request(again) != request:
        raise AssertionError(f"{pdu.hex()} does not come back the same")


class _Sessions:
    """A station with two masters, one of them calm, and a link whose answers are spoilt on their way."""

    def __init__(self) -> None:
        device = AnyDevice()
        self.station = device.station = ModbusOutstation("R", POINTS, device)
        self.calm = self.station.open_session(0)
        self.behind = self.station.open_session(0)
        settings = ModbusLinkSettings(poll_ms=10, measurand_poll_ms=10, answer_limit_ms=50)
        self.link = ModbusMasterSession("R", POINTS, settings)
        self.link.connected(0)
        self.now = 0
        self._waiting: list[bytes] = []
        self._open()

    def _open(self) -> None:
        self.session = self.station.open_session(self.now)

    def feed(self, pdu: bytes, rng: random.Random, outcome: Outcome) -> None:
        """Hand a request over, sometimes in a spoilt frame; frames go several at a time."""
        self._waiting.append(encode_frame(Frame(rng.randrange(65_536), 1 if rng.random() < 0.9 else 9, pdu)))
        if len(self._waiting) < FRAMES_AT_ONCE:
            return
        self.now += rng.randint(1, 20)
        frames, self._waiting = self._waiting, []
        if rng.random() < 0.1:
            self._spoilt(b"".join(frames), rng, outcome)
        else:
            self._answered(frames, outcome)
        self._spoil_answers(pdu, rng, outcome)

    def _answered(self, frames: list[bytes], outcome: Outcome) -> None:
        answers = _exchange(self.session, b"".join(frames), self.now)
        outcome.answers += len(answers)
        asked = [frame for octets in frames for frame in FrameReader().feed(octets)]
        if [(a.transaction, a.unit, a.pdu[0] & 0x7F) for a in answers] != [
            (f.transaction, f.unit, f.pdu[0] & 0x7F) for f in asked
        ]:
            raise AssertionError(f"{b''.join(frames).hex()} is not answered frame by frame")

    def _spoilt(self, octets: bytes, rng: random.Random, outcome: Outcome) -> None:
        spoilt = bytearray(octets)
        spoilt[rng.randrange(len(spoilt))] = rng.randrange(256)
        self.session.receive(bytes(spoilt[: rng.randrange(len(spoilt)) + 1]), self.now)
        FrameReader().feed(self.session.payload_to_send())
        outcome.sessions_closed += bool(self.session.close_reason)
        self.station.close_session(self.session, self.now)
        self._open()

    def _spoil_answers(self, pdu: bytes, rng: random.Random, outcome: Outcome) -> None:
        """What the link asks is answered by the station, and the answer spoilt, or replaced by the input."""
        self.link.tick(self.now)
        for frame in _exchange(self.behind, self.link.payload_to_send(), self.now):
            chance = rng.random()
            answer = bytearray(frame.pdu if chance < 0.7 else pdu)
            if chance < 0.4:
                _mutate(rng, answer, [frame.pdu])
            spoilt = Frame(frame.transaction, frame.unit, bytes(answer[:253]) or b"\x00")
            self.link.receive(encode_frame(spoilt), self.now)
        self.link.take_events()
        if self.link.close_reason:
            outcome.sessions_closed += 1
            self.link.disconnected(self.now, self.link.close_reason)
            self.link.connected(self.now)

    def look_at_the_calm_one(self) -> None:
        """Another master still gets its answer."""
        answers = _exchange(self.calm, CALM_REQUEST, self.now)
        if [(answer.transaction, answer.pdu[:2]) for answer in answers] != [(7, b"\x04\x04")]:
            raise AssertionError("the other master got no answer")


def _exchange(session: ModbusOutstationSession, octets: bytes, now: int) -> list[Frame]:
    session.receive(octets, now)
    if session.close_reason:
        raise AssertionError(f"{octets.hex()} ended the connection: {session.close_reason}")
    return FrameReader().feed(session.payload_to_send())


def fuzz(inputs: int, seed: int = 1, report: int = 0) -> Outcome:
    """Throw ``inputs`` mutated requests; ``report`` prints a line each so many.

    Raises:
        AssertionError: something did not hold; any other exception is a crash found.
    """
    rng, seeds, outcome, sessions = random.Random(seed), corpus(), Outcome(), _Sessions()
    requests = [decode_request(pdu) for pdu in _requests(seeds)]

    def throw(pdu: bytes) -> None:
        _decodes(pdu, outcome)
        with contextlib.suppress(MalformedFrameError):
            decode_response(pdu, rng.choice(requests))
        sessions.feed(pdu, rng, outcome)
        if outcome.inputs % CALM_EVERY == 0:
            sessions.look_at_the_calm_one()

    return run(lambda: mutated(rng, seeds), throw, outcome, inputs, report)


def _requests(seeds: list[bytes]) -> list[bytes]:
    found = []
    for pdu in seeds:
        try:
            decode_request(pdu)
        except RefusedRequestError:
            continue
        found.append(pdu)
    return found


if __name__ == "__main__":
    main(fuzz, __doc__)
