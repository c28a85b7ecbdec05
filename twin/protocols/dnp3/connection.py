"""One end of a DNP3 association over a byte stream: data link and transport in one, without I/O.

Frames addressed to this end come in, application fragments come out, and the other way round. The secondary
station's answers are one table; the primary station sends user data with or without link confirmation.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

from twin.protocols.dnp3.frames import Frame, Primary, Secondary, encode_frame, user_data_frame
from twin.protocols.dnp3.settings import LinkSettings
from twin.protocols.dnp3.transport import Reassembler, Segmenter
from twin.timebase import NEVER, SimTime

SILENT = "no answer of the data link within {ms} ms"


class LinkEnd:
    """This end of the pair (``local``, ``remote``) on one connection.

    ``close_reason`` is set where the peer's data link does not answer any more. With ``watched`` unset, a peer that
    has never been heard is not asked for its link status.
    """

    def __init__(
        self, local: int, remote: int, *, master: bool, settings: LinkSettings, now: SimTime, watched: bool = True
    ) -> None:
        self.local, self.remote = local, remote
        self.close_reason = ""
        self._master = master
        self._settings = settings
        self._segmenter = Segmenter()
        self._reassembler = Reassembler(settings.max_fragment if not master else 65_536)
        self._out: list[bytes] = []
        self._expected_fcb: bool | None = None
        self._fcb: bool | None = None
        self._waiting: deque[bytes] = deque()
        self._pending: Frame | None = None
        self._tries = 0
        self._answer_by: SimTime = NEVER
        self._heard_ms = now if watched else NEVER

    # what arrives

    def receive(self, frame: Frame, now: SimTime) -> bytes | None:
        """The application fragment that this frame completes, or None."""
        self._heard_ms = now
        if frame.primary:
            return self._secondary_station(frame)
        self._answered(frame.function, now)
        return None

    def _secondary_station(self, frame: Frame) -> bytes | None:
        function = frame.function
        if function == Primary.UNCONFIRMED_DATA:
            return self._reassembler.receive(frame.data)
        if function == Primary.RESET_LINK:
            self._expected_fcb = True
            self._answer(Secondary.ACK)
        elif function == Primary.REQUEST_STATUS:
            self._answer(Secondary.STATUS)
        elif function == Primary.CONFIRMED_DATA:
            return self._confirmed(frame)
        elif function == Primary.TEST_LINK:
            self._test(frame)
        else:
            self._answer(Secondary.NOT_SUPPORTED)
        return None

    def _confirmed(self, frame: Frame) -> bytes | None:
        """Repeated frames (old FCB) are acknowledged again and not delivered."""
        if self._expected_fcb is None:
            self._answer(Secondary.NACK)
            return None
        self._answer(Secondary.ACK)
        if frame.fcb is not self._expected_fcb:
            return None
        self._expected_fcb = not self._expected_fcb
        return self._reassembler.receive(frame.data)

    def _test(self, frame: Frame) -> None:
        if self._expected_fcb is None:
            self._answer(Secondary.NACK)
            return
        if frame.fcb is self._expected_fcb:
            self._expected_fcb = not self._expected_fcb
        self._answer(Secondary.ACK)

    def _answer(self, function: Secondary) -> None:
        frame = Frame(self.remote, self.local, function, from_master=self._master, primary=False)
        self._out.append(encode_frame(frame))

    def _answered(self, function: int, now: SimTime) -> None:
        """An answer to what this end sent as primary station; one that nobody waits for changes nothing."""
        pending = self._pending
        if pending is None:
            return
        if pending.function == Primary.REQUEST_STATUS and function != Secondary.NACK:
            self._done(now)
        elif pending.function == Primary.RESET_LINK and function == Secondary.ACK:
            self._fcb = True
            self._done(now)
        elif pending.function == Primary.CONFIRMED_DATA and function == Secondary.ACK:
            self._waiting.popleft()
            self._fcb = not self._fcb
            self._done(now)
        elif pending.function == Primary.CONFIRMED_DATA and function == Secondary.NACK:
            self._fcb = None
            self._done(now)

    def _done(self, now: SimTime) -> None:
        self._pending, self._answer_by, self._tries = None, NEVER, 0
        self._next_segment(now)

    # what is sent

    def send(self, fragment: bytes, now: SimTime) -> None:
        """Send an application fragment."""
        segments = self._segmenter.segments(fragment)
        if self._settings.confirmed:
            self._waiting += segments
            self._next_segment(now)
            return
        for segment in segments:
            self._out.append(user_data_frame(self.remote, self.local, segment, from_master=self._master))

    def _next_segment(self, now: SimTime) -> None:
        if self._pending is not None or not self._waiting:
            return
        if self._fcb is None:
            self._ask(Frame(self.remote, self.local, Primary.RESET_LINK, from_master=self._master), now)
            return
        data, fcb = self._waiting[0], self._fcb
        frame = Frame(self.remote, self.local, Primary.CONFIRMED_DATA, data, self._master, fcb=fcb, fcv=True)
        self._ask(frame, now)

    def _ask(self, frame: Frame, now: SimTime) -> None:
        self._pending = frame
        self._answer_by = now + self._settings.timeout_ms
        self._out.append(encode_frame(frame))

    def take(self) -> bytes:
        """The octets to send now, once."""
        if not self._out:
            return b""
        octets = self._out[0] if len(self._out) == 1 else b"".join(self._out)
        self._out.clear()
        return octets

    # time

    def tick(self, now: SimTime) -> None:
        """Repeat what was not answered, and ask for the link status where nothing has been heard for long."""
        if self._answer_by <= now:
            self._repeat(now)
        elif self._pending is None and self._heard_ms + self._settings.keep_alive_ms <= now:
            self._ask(Frame(self.remote, self.local, Primary.REQUEST_STATUS, from_master=self._master), now)

    def _repeat(self, now: SimTime) -> None:
        assert self._pending is not None
        if self._tries >= self._settings.retries:
            limit = self._settings.timeout_ms * (self._settings.retries + 1)
            self.close_reason = SILENT.format(ms=limit)
            self._answer_by = NEVER
            return
        self._tries += 1
        self._ask(self._pending, now)

    def next_timer(self) -> SimTime:
        """When :meth:`tick` is needed next."""
        if self.close_reason:
            return NEVER
        return self._answer_by if self._pending is not None else self._heard_ms + self._settings.keep_alive_ms

    # state as data

    def snapshot(self) -> dict[str, Any]:
        """State as JSON-able values; what was to be sent must have been taken before."""
        return {
            "close_reason": self.close_reason,
            "sequence": self._segmenter.sequence,
            "reassembler": self._reassembler.snapshot(),
            "fcbs": [self._expected_fcb, self._fcb],
            "waiting": [segment.hex() for segment in self._waiting],
            "pending": None if self._pending is None else [self._pending.function, self._pending.data.hex()],
            "pending_fcb": self._pending is not None and self._pending.fcb,
            "tries": self._tries,
            "answer_by": self._answer_by,
            "heard_ms": self._heard_ms,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """The inverse of :meth:`snapshot`."""
        self.close_reason = state["close_reason"]
        self._segmenter.sequence = state["sequence"]
        self._reassembler.restore(state["reassembler"])
        self._expected_fcb, self._fcb = state["fcbs"]
        self._waiting = deque(bytes.fromhex(segment) for segment in state["waiting"])
        self._pending = None if state["pending"] is None else self._restored(state)
        self._tries, self._answer_by = state["tries"], state["answer_by"]
        self._heard_ms = state["heard_ms"]

    def _restored(self, state: Mapping[str, Any]) -> Frame:
        function, data = state["pending"]
        fcv = function == Primary.CONFIRMED_DATA
        octets = bytes.fromhex(data)
        return Frame(self.remote, self.local, function, octets, self._master, fcb=state["pending_fcb"], fcv=fcv)
