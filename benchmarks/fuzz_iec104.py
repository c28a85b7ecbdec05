"""Mutation fuzzer of the IEC 60870-5-104 stack: ``python -m benchmarks.fuzz_iec104 --inputs 10000000``.

Takes the vectors as its corpus and throws mutated frames at the codec, at a station and at a link. What must hold: a
wrong frame ends in ``MalformedFrameError`` or a closed session and nothing else, a frame that decodes encodes to
octets that decode to the same, another master of the station is not disturbed, and neither time a frame nor memory
grows. Frames that decode go to station and link several at a time; one in so many of those that do not goes too, for
it ends the connection. The seed makes a run repeatable.
"""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.fuzzing import AnyDevice, Outcome, main, mutate, run
from twin.links.iec104 import Iec104MasterSession
from twin.outstations.iec104 import Iec104Outstation
from twin.outstations.iec104_settings import Iec104OutstationSettings
from twin.points.model import ControlModel, PointAddress, PointDefinition, PointKind
from twin.protocols.iec104 import (
    Connection,
    ConnectionSettings,
    MalformedFrameError,
    Role,
    TransferState,
    UnencodableValueError,
    decode_asdu,
    encode_asdu,
)
from twin.protocols.iec104.apci import encode_i_frame
from twin.timebase import TimeBase

VECTORS = Path(__file__).parents[1] / "tests/vectors/iec104/asdus.json"
BASE = TimeBase(datetime(2026, 1, 15, 18, 0, tzinfo=UTC))
STARTDT_ACT, STARTDT_CON = bytes.fromhex("680407000000"), bytes.fromhex("68040b000000")
FRAMES_A_SESSION = 50
FRAMES_AT_ONCE = 10
MALFORMED_EVERY = 8
KINDS = (
    (PointKind.SINGLE, 1),
    (PointKind.DOUBLE, 3),
    (PointKind.STEP_POSITION, 5),
    (PointKind.BITSTRING, 7),
    (PointKind.MEASURAND, 9),
    (PointKind.MEASURAND, 11),
    (PointKind.MEASURAND, 13),
    (PointKind.COUNTER, 15),
    (PointKind.SINGLE_COMMAND, 45),
    (PointKind.DOUBLE_COMMAND, 46),
    (PointKind.STEP_COMMAND, 47),
    (PointKind.SETPOINT, 48),
    (PointKind.SETPOINT, 49),
    (PointKind.SETPOINT, 50),
    (PointKind.BITSTRING_COMMAND, 51),
)
POINTS = [
    PointDefinition("R", f"p{n}", kind, "X", f"q{n}", PointAddress(1, n, type_id), control_model=model)
    for n, (kind, type_id) in enumerate(KINDS, start=1)
    for model in [ControlModel.DIRECT if n % 2 else ControlModel.SELECT_BEFORE_OPERATE]
]


def corpus() -> list[bytes]:
    """The ASDUs to start from."""
    return [bytes.fromhex(case["hex"]) for case in json.loads(VECTORS.read_text())]


def mutated(rng: random.Random, seeds: list[bytes]) -> bytes:
    """An ASDU after one to four mutations."""
    asdu = bytearray(rng.choice(seeds))
    for _ in range(rng.randint(1, 4)):
        _mutate(rng, asdu, seeds)
    return bytes(asdu[:249])


def _mutate(rng: random.Random, asdu: bytearray, seeds: list[bytes]) -> None:
    kind, at = rng.randrange(7), rng.randrange(len(asdu) + 1)
    if kind in (0, 1, 2, 4) or (kind == 3 and at < len(asdu)):
        mutate(kind, at, rng, asdu, seeds)
    elif kind == 5 and len(asdu) > 6:
        asdu[0], asdu[2] = rng.randrange(128), rng.choice((3, 5, 6, 7, 8, 9, 10, 20))
    elif len(asdu) > 6:
        asdu[4:6] = b"\x01\x00"
        asdu[6:9] = bytes((rng.randrange(18), 0, 0))


def _decodes(asdu: bytes, outcome: Outcome) -> bool:
    """Whether a frame decodes; then it goes back to octets that say the same."""
    try:
        decoded = decode_asdu(asdu)
    except MalformedFrameError:
        outcome.malformed += 1
        return False
    outcome.decoded += 1
    try:
        again = encode_asdu(decoded)
    except UnencodableValueError:
        return True  # more than one ASDU may hold, or a field that is kept as it came and not permitted
    if again != asdu and repr(decode_asdu(again)) != repr(decoded):  # by text: a float may be NaN
        raise AssertionError(f"{asdu.hex()} does not come back the same")
    return True


class _Sessions:
    """A station and a link that get the same frames; both are opened anew when they close."""

    def __init__(self) -> None:
        settings = Iec104OutstationSettings(groups={1: ("p1", "p7")}, cyclic_ms=1000)
        self.station = Iec104Outstation("R", POINTS, AnyDevice(), BASE, settings)
        self.calm = self.station.open_session(0)
        self.calm_master = Connection(Role.CONTROLLING, ConnectionSettings(w=1), 0)
        self.calm_master.start(0)
        self.calm.receive(self.calm_master.data_to_send(), 0)
        self.calm_master.receive(self.calm.payload_to_send(), 0)
        self.now = 0
        self.link = Iec104MasterSession("R", POINTS, BASE)
        self._waiting = bytearray()
        self._open()

    def _open(self) -> None:
        self.fed = 0
        self._waiting.clear()
        self.session = self.station.open_session(self.now)
        self.session.receive(STARTDT_ACT, self.now)
        self.link.disconnected(self.now, "anew")
        self.link.connected(self.now)
        self.link.receive(STARTDT_CON, self.now)

    def feed(self, asdu: bytes, rng: random.Random, outcome: Outcome) -> None:
        frame = bytearray(encode_i_frame(self.fed, 0, asdu))
        if rng.random() < 0.02:
            frame[rng.randrange(len(frame))] = rng.randrange(256)
        self.now += 1
        self.fed += 1
        self._waiting += frame
        if self.fed % FRAMES_AT_ONCE == 0 or rng.random() < 0.05:
            self._hand_over(outcome)

    def _hand_over(self, outcome: Outcome) -> None:
        octets = bytes(self._waiting)
        self._waiting.clear()
        for end in (self.session, self.link):
            end.receive(octets, self.now)
            end.payload_to_send()
        self.link.take_events()
        if self.session.close_reason or self.link.close_reason or self.fed >= FRAMES_A_SESSION:
            outcome.sessions_closed += bool(self.session.close_reason or self.link.close_reason)
            self.station.close_session(self.session, self.now)
            self._open()
        self._look_at_the_calm_one()

    def _look_at_the_calm_one(self) -> None:
        """It acknowledges what it hears of the others' doings (resets), and stays connected."""
        self.calm.receive(self.calm_master.data_to_send(), self.now)
        self.calm_master.receive(self.calm.payload_to_send(), self.now)
        if self.calm.close_reason or self.calm_master.state is not TransferState.STARTED:
            raise AssertionError(f"another master's session was closed: {self.calm.close_reason}")


def fuzz(inputs: int, seed: int = 1, report: int = 0) -> Outcome:
    """Throw ``inputs`` mutated frames; ``report`` prints a line each so many.

    Raises:
        AssertionError: something did not hold; any other exception is a crash found.
    """
    rng, seeds, outcome, sessions = random.Random(seed), corpus(), Outcome(), _Sessions()

    def throw(asdu: bytes) -> None:
        if _decodes(asdu, outcome) or outcome.malformed % MALFORMED_EVERY == 0:
            sessions.feed(asdu, rng, outcome)

    return run(lambda: mutated(rng, seeds), throw, outcome, inputs, report)


if __name__ == "__main__":
    main(fuzz, __doc__)
