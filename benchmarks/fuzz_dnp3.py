"""Mutation fuzzer of the DNP3 stack: ``python -m benchmarks.fuzz_dnp3 --inputs 10000000``.

Takes the vectors as its corpus and throws mutated fragments, in frames and behind noise, at the codec, at a station
and at a master. What must hold: a wrong fragment is an error or an indication and nothing else, another master of the
station is not disturbed, and neither the time an input takes nor memory grows. The seed makes a run repeatable.
"""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.fuzzing import AnyDevice, Outcome, main, mutate, run
from twin.links.dnp3 import Dnp3MasterSession
from twin.outstations.dnp3 import Dnp3Outstation, Dnp3OutstationSettings
from twin.points.model import ControlModel, PointAddress, PointDefinition, PointKind, Quality, Sample
from twin.protocols.dnp3 import (
    Fragment,
    Frame,
    MalformedFragmentError,
    decode_fragment,
    encode_fragment,
    encode_frame,
    parse_headers,
)
from twin.protocols.dnp3.controls import controls_of
from twin.protocols.dnp3.transport import Segmenter
from twin.timebase import TimeBase

VECTORS = Path(__file__).parents[1] / "tests/vectors/dnp3/fragments.json"
BASE = TimeBase(datetime(2026, 1, 15, 18, 0, tzinfo=UTC))
STATION, MASTER, CALM = 10, 1, 2
INPUTS_A_SESSION = 2_000
INPUTS_AT_ONCE = 5
KINDS = [kind for kind in PointKind if not kind.value.startswith("bitstring")]
POINTS = [
    PointDefinition("R", f"p{n}", kind, "X", f"q{n}", PointAddress(STATION, n, 1), control_model=model)
    for n, kind in enumerate(KINDS * 3, start=1)
    for model in [ControlModel.DIRECT if n % 2 else ControlModel.SELECT_BEFORE_OPERATE]
]
INPUTS = [point.name for point in POINTS if not point.kind.is_output]


def corpus() -> list[bytes]:
    """The fragments to start from."""
    return [bytes.fromhex(case["octets"]) for case in json.loads(VECTORS.read_text())]


def mutated(rng: random.Random, seeds: list[bytes]) -> bytes:
    """A fragment after up to three mutations."""
    fragment = bytearray(rng.choice(seeds))
    for _ in range(rng.randint(0, 3)):
        _mutate(rng, fragment, seeds)
    return bytes(fragment[:600])


def _mutate(rng: random.Random, fragment: bytearray, seeds: list[bytes]) -> None:
    kind, at = rng.randrange(6), rng.randrange(len(fragment) + 1)
    if kind in (0, 2, 4) or (kind == 1 and at > 1) or (kind == 3 and at < len(fragment)):
        mutate(kind, at, rng, fragment, seeds)
    elif len(fragment) > 1:
        fragment[0] = 0xC0 | rng.randrange(64)
        fragment[1] = rng.choice((0, 1, 2, 3, 4, 5, 6, 7, 9, 13, 20, 21, 22, 23, 24, 129, 130))


def _check_codec(octets: bytes, outcome: Outcome) -> None:
    """A fragment that decodes goes back to the same octets; its headers are read or refused."""
    try:
        fragment: Fragment = decode_fragment(octets)
        if encode_fragment(fragment) != octets:
            raise AssertionError(f"{octets.hex()} does not come back the same")
        for header in parse_headers(fragment.body, fragment.function):
            header.items()
            controls_of(header)
    except MalformedFragmentError:
        outcome.malformed += 1
        return
    outcome.decoded += 1


class _Sessions:
    """A station with two masters, one of them calm, and a master session; all get every fragment but the calm one.

    Fragments are handed over several at a time.
    """

    def __init__(self) -> None:
        self.now = 0
        self._open()

    def _open(self) -> None:
        settings = Dnp3OutstationSettings(masters=(MASTER, CALM), event_limit=50)
        self.fed = 0
        self._to_station, self._to_master = bytearray(), bytearray()
        self.station = Dnp3Outstation("R", POINTS, AnyDevice(), BASE, settings)
        self.session = self.station.open_session(self.now)
        self.calm = self.station.open_session(self.now)
        self.calm.receive(_framed([b"\xc0\xc0\x17"], CALM, STATION, master=True), self.now)
        self.calm.payload_to_send()
        self.master = Dnp3MasterSession("R", POINTS, BASE)
        self.master.connected(self.now)

    def feed(self, fragment: bytes, rng: random.Random) -> None:
        self.fed += 1
        if rng.random() < 0.05:
            noise = rng.randbytes(rng.randint(0, 20))
            self._to_station += noise
            self._to_master += noise
        segments = Segmenter().segments(fragment)
        self._to_station += _garbled(_framed(segments, MASTER, STATION, master=True), rng)
        self._to_master += _garbled(_framed(segments, STATION, MASTER, master=False), rng)
        if self.fed % INPUTS_AT_ONCE == 0:
            self.now += rng.choice((1, 1, 1, 500, 6_000))
            self._hand_over(rng)
        if self.fed >= INPUTS_A_SESSION:
            self._open()

    def _hand_over(self, rng: random.Random) -> None:
        for end, waiting in ((self.session, self._to_station), (self.master, self._to_master)):
            end.receive(bytes(waiting), self.now)
            waiting.clear()
            end.payload_to_send()
            if end.next_timer() <= self.now:
                end.tick(self.now)
        name = rng.choice(INPUTS)
        self.station.update([Sample("R", name, rng.uniform(-9, 9) // 1 % 4, Quality.GOOD, self.now)], self.now)
        self.master.take_events()
        self.master.answers.clear()
        self._look_at_the_calm_one()
        if self.master.close_reason:
            self.master.disconnected(self.now, self.master.close_reason)
            self.master.connected(self.now)

    def _look_at_the_calm_one(self) -> None:
        if not self.calm.owns(self.station.associations[CALM]):
            raise AssertionError("the other master lost its association")
        sequence = self.fed // INPUTS_AT_ONCE & 0x0F
        asked = bytes((0xC0, 0xC0 | sequence, 23))
        self.calm.receive(_framed([asked], CALM, STATION, master=True), self.now)
        if not self.calm.payload_to_send():
            raise AssertionError("the other master got no answer")


def _framed(segments: list[bytes], source: int, destination: int, *, master: bool) -> bytes:
    return b"".join(encode_frame(Frame(destination, source, 4, segment, master)) for segment in segments)


def _garbled(octets: bytes, rng: random.Random) -> bytes:
    if rng.random() > 0.02:
        return octets
    garbled = bytearray(octets)
    garbled[rng.randrange(len(garbled))] = rng.randrange(256)
    return bytes(garbled)


def fuzz(inputs: int, seed: int = 1, report: int = 0) -> Outcome:
    """Throw ``inputs`` mutated fragments; ``report`` prints a line each so many.

    Raises:
        AssertionError: something did not hold; any other exception is a crash found.
    """
    rng, seeds, outcome, sessions = random.Random(seed), corpus(), Outcome(), _Sessions()

    def throw(fragment: bytes) -> None:
        _check_codec(fragment, outcome)
        sessions.feed(fragment, rng)

    return run(lambda: mutated(rng, seeds), throw, outcome, inputs, report)


if __name__ == "__main__":
    main(fuzz, __doc__)
