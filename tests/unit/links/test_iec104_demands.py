"""What our link asks for beside the first interrogation, against our station with 40 ms of way each way."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from twin.links.iec104 import Iec104LinkSettings, Iec104MasterSession
from twin.links.iec104_requests import (
    Activates,
    ParameterKind,
    activate_parameter,
    connection_test,
    counted_test,
    load_parameter,
    process_reset,
)
from twin.links.model import ArrivedSample, CommandReply, LinkCommand, LinkEvent, ReplyKind, SessionEvent, SessionState
from twin.outstations.iec104 import Iec104Outstation, Iec104OutstationSettings
from twin.outstations.model import StationCommand
from twin.points.model import ControlModel, PointAddress, PointDefinition, PointKind, Quality, Sample
from twin.protocols.iec104 import Asdu, TimeTag, UnencodableValueError
from twin.timebase import TimeBase

BASE = TimeBase(datetime(2026, 1, 15, 18, 0, tzinfo=UTC))
WAY_MS = 40


def point(name: str, kind: PointKind, ioa: int, type_id: int, **more: object) -> PointDefinition:
    return PointDefinition("RTU_1", name, kind, "CB_1", name, PointAddress(47, ioa, type_id), **more)  # type: ignore[arg-type]


POINTS = [
    point("trip", PointKind.SINGLE, 1, 1),
    point("i_a", PointKind.MEASURAND, 2, 13),
    point("bits", PointKind.BITSTRING, 3, 7),
    point("energy", PointKind.COUNTER, 4, 15),
    point("word", PointKind.BITSTRING_COMMAND, 10, 51, control_model=ControlModel.DIRECT),
]


class Device:
    def __init__(self) -> None:
        self.heard: list[tuple[str, float]] = []

    def select(self, command: StationCommand, now: int) -> str:
        return "never"

    def operate(self, command: StationCommand, now: int) -> str:
        self.heard.append((command.point, command.value))
        return ""

    def cancel(self, command: StationCommand, now: int) -> None:
        raise AssertionError("nothing is ever selected")


class Line:
    """Station, link, and the way between them."""

    def __init__(self, station: dict[str, object] | None = None, **link: int) -> None:
        self.device = Device()
        settings = Iec104OutstationSettings.model_validate(station or {})
        self.station = Iec104Outstation("RTU_1", POINTS, self.device, BASE, settings)
        self.link = Iec104MasterSession("RTU_1", POINTS, BASE, Iec104LinkSettings(**link))
        self.now = 0
        self.events: list[LinkEvent] = []
        self.session = self.station.open_session(0)
        self.link.connected(0)
        self.run(1_000)
        assert SessionState.INTERROGATED in [e.state for e in self.events if isinstance(e, SessionEvent)]
        self.events.clear()

    def run(self, until: int) -> None:
        """Ways and timers in steps of the way's latency."""
        while self.now < until:
            there, back = self.link.payload_to_send(), self.session.payload_to_send()
            self.now += WAY_MS
            self.session.tick(self.now)
            self.link.tick(self.now)
            self.session.receive(there, self.now)
            self.link.receive(back, self.now)
            self.events += self.link.take_events()

    def samples(self) -> dict[str, tuple[float, bool]]:
        arrived = [e.sample for e in self.events if isinstance(e, ArrivedSample)]
        return {s.point: (s.value, s.spontaneous) for s in arrived}


def quiet(line: Line, *samples: tuple[str, float]) -> None:
    line.station.update([Sample("RTU_1", name, value, Quality.GOOD, 0, False) for name, value in samples], line.now)


def test_link__reads_one_point() -> None:
    line = Line()
    quiet(line, ("i_a", 5.5), ("trip", 1))
    line.link.read("i_a", line.now)
    line.run(line.now + 200)
    assert line.samples() == {"i_a": (5.5, False)}


def test_link__interrogates_a_group_without_passing_for_a_whole_interrogation() -> None:
    line = Line({"groups": {2: ["bits"]}})
    quiet(line, ("bits", 4_000_000_000.0), ("i_a", 1.0))
    line.link.interrogate_group(2, line.now)
    line.run(line.now + 400)
    assert line.samples() == {"bits": (4_000_000_000.0, False)}
    assert not [e for e in line.events if isinstance(e, SessionEvent)]
    assert line.link.unexpected_answers == 0


def test_link__reads_counters_on_order_and_each_period() -> None:
    line = Line(counter_period_ms=5_000)
    quiet(line, ("energy", 77.0))
    line.link.interrogate_counters(line.now, freeze=1)
    line.run(line.now + 200)
    quiet(line, ("energy", 99.0))
    assert line.samples() == {}
    line.run(6_000)
    assert line.samples() == {"energy": (77.0, False)}


@pytest.mark.parametrize("error_ms", [0, 700, -1_500])
def test_link__measures_the_offset_of_the_stations_clock(error_ms: int) -> None:
    line = Line({"clock": {"error_ms": error_ms}}, clock_period_ms=10_000)
    assert line.link.clock_offset_ms == error_ms
    assert line.station.clock_offset_ms == -error_ms - WAY_MS


def test_link__synchronises_and_interrogates_each_period() -> None:
    line = Line({"clock": {"drift_ppm": 1_000.0}}, clock_period_ms=10_000, interrogation_period_ms=4_000)
    line.run(13_000)
    assert line.link.clock_offset_ms == pytest.approx(10, abs=1)
    states = [e.state for e in line.events if isinstance(e, SessionEvent)]
    assert states == [SessionState.INTERROGATED] * 3


def test_link__sends_a_bit_string_command_but_never_selects_it() -> None:
    line = Line()
    command = LinkCommand(1, "RTU_1", "word", float(0xDEADBEEF))
    line.link.select(command, line.now)
    line.link.operate(LinkCommand(2, "RTU_1", "word", float(0xDEADBEEF)), line.now)
    line.run(line.now + 200)
    replies = [(e.command_id, e.kind, e.cause) for e in line.events if isinstance(e, CommandReply)]
    assert replies == [(1, ReplyKind.REFUSED, "a bit string command has no select"), (2, ReplyKind.ACTIVATED, "")]
    assert line.device.heard == [("word", float(0xDEADBEEF))]


def test_link__offset_is_not_measured_by_a_refused_synchronisation() -> None:
    line = Line({"one_in_control": True})
    second = Iec104MasterSession("RTU_1", POINTS, BASE)
    session = line.station.open_session(line.now)
    second.connected(line.now)
    for _ in range(6):
        session.receive(second.payload_to_send(), line.now)
        second.receive(session.payload_to_send(), line.now)
    assert second.started
    assert second.clock_offset_ms is None


def ask(line: Line, asdu: Asdu) -> tuple[int, int, bool, int]:
    """Type, cause, sign and originator of the station's answer."""
    before = len(line.link.answers)
    line.link.request(asdu, line.now)
    line.run(line.now + 1_000)
    (answer,) = list(line.link.answers)[before:]
    return answer.type_id, answer.cause, answer.negative, answer.originator


def test_link__tests_the_way_to_the_station() -> None:
    line = Line(originator=7)
    assert ask(line, connection_test(47)) == (104, 7, False, 7)
    tag = TimeTag.at(5_000, BASE)
    assert ask(line, counted_test(47, 513, tag)) == (107, 7, False, 7)
    assert (line.link.answers[-1].objects[0].element.value, line.link.answers[-1].objects[0].time) == (513, tag)
    assert ask(line, connection_test(48)) == (104, 46, True, 7)


def test_link__loads_and_activates_parameters_of_a_measured_value() -> None:
    line = Line()
    (current,) = (p for p in POINTS if p.name == "i_a")
    assert ask(line, load_parameter(current, ParameterKind.THRESHOLD, 5.0)) == (112, 7, False, 0)
    for value in (10.0, 12.0, 16.0):
        line.station.update([Sample("RTU_1", "i_a", value, Quality.GOOD, line.now)], line.now)
        line.run(line.now + 500)
    told = [e.sample for e in line.events if isinstance(e, ArrivedSample) and e.sample.spontaneous]
    assert [sample.value for sample in told] == [10.0, 16.0], "12 is within the threshold"
    assert ask(line, activate_parameter(47, 2, Activates.THIS_OBJECT, on=False)) == (113, 9, False, 0)
    line.station.update([Sample("RTU_1", "i_a", 17.0, Quality.GOOD, line.now)], line.now)
    line.run(line.now + 500)
    told = [e.sample for e in line.events if isinstance(e, ArrivedSample) and e.sample.spontaneous]
    assert told[-1].value == 17.0
    assert ask(line, load_parameter(current, ParameterKind.SMOOTHING, 5.0)) == (112, 7, True, 0)
    with pytest.raises(UnencodableValueError):
        load_parameter(POINTS[0], ParameterKind.THRESHOLD, 1.0)


def test_link__resets_the_process_and_interrogates_again() -> None:
    line = Line()
    assert ask(line, process_reset(47)) == (105, 7, False, 0)
    line.run(line.now + 2_000)
    states = [e.state for e in line.events if isinstance(e, SessionEvent)]
    assert states == [SessionState.INTERROGATED], "after the end of initialisation"
