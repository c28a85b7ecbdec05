"""The services of a controlled station beyond interrogation and simple commands, each looked at as ASDUs.

Clauses: IEC 60870-5-101, 7.4.8 (counters), 7.4.9 (parameters); IEC 60870-5-104, 10 (redundancy groups).
"""

from __future__ import annotations

from typing import Any

import pytest
from iec104_bench import (
    BASE,
    CA,
    POINTS,
    Device,
    Master,
    objects,
    point,
    request,
    sample,
    station,
    verdict,
    verdicts,
)

from twin.outstations.iec104 import Iec104Outstation, PointMapError
from twin.outstations.iec104_settings import Iec104OutstationSettings
from twin.points.model import PointKind, Quality
from twin.protocols.iec104 import Asdu, Cause, ConnectionSettings, InformationObject, TimeTag, TypeId
from twin.protocols.iec104 import elements as e


def ready(rtu: Iec104Outstation, now: int = 0, **more: Any) -> Master:
    """A master that has heard the end of initialisation."""
    master = Master(rtu, now, **more)
    master.take(now)
    return master


EVERY_KIND = {
    "trip": (1.0, Quality.SUBSTITUTED, e.SinglePoint(True, Quality.SUBSTITUTED)),
    "position": (2.0, Quality.BLOCKED, e.DoublePoint(2, Quality.BLOCKED)),
    "tap": (-64.0, Quality.GOOD, e.StepPosition(-64)),
    "bits": (4_026_531_855.0, Quality.NOT_TOPICAL, e.Bitstring(0xF000000F, Quality.NOT_TOPICAL)),
    "share": (-0.5, Quality.GOOD, e.NormalizedValue(-0.5)),
    "scaled": (-1234.0, Quality.OVERFLOW, e.ScaledValue(-1234, Quality.OVERFLOW)),
    "i_a": (12.5, Quality.INVALID, e.ShortFloat(12.5, Quality.INVALID)),
    "energy": (70_000.0, Quality.GOOD, e.IntegratedTotal(70_000)),
}
PLAIN = {"trip": 1, "position": 3, "tap": 5, "bits": 7, "share": 9, "scaled": 11, "i_a": 13, "energy": 15}
TAGGED = {"trip": 30, "position": 31, "tap": 32, "bits": 33, "share": 34, "scaled": 35, "i_a": 36, "energy": 37}


@pytest.mark.parametrize("name", EVERY_KIND)
@pytest.mark.parametrize("types", ["tagged", "mapped"])
def test_event__of_every_kind_in_its_type(name: str, types: str) -> None:
    value, quality, element = EVERY_KIND[name]
    rtu = station(event_types=types)
    master = ready(rtu)
    rtu.update([sample(name, value, 61_007, quality=quality)], 61_010)
    (asdu,) = master.take(61_010)
    assert asdu.type_id == (TAGGED if types == "tagged" else PLAIN)[name]
    assert [(o.element, o.time) for o in asdu.objects] == [
        (element, TimeTag.at(61_007, BASE) if types == "tagged" else None)
    ]


# interrogation by group


def test_interrogation__of_a_group_gives_its_points_with_its_cause() -> None:
    rtu = station(groups={1: ["trip", "i_a"], 16: ["tap"]})
    rtu.update([sample("i_a", 7.0, spontaneous=False), sample("tap", 3, spontaneous=False)], 0)
    master = ready(rtu)
    con, *image, term = master.ask(request(100, e.Interrogation(21)))
    assert verdicts([con, term]) == [(7, False), (10, False)]
    assert {a.cause for a in image} == {21}
    assert objects(image) == [(1, e.SinglePoint(False, Quality.INVALID)), (7, e.ShortFloat(7.0))]
    _, last, _ = master.ask(request(100, e.Interrogation(36)))
    assert (last.cause, objects([last])) == (36, [(3, e.StepPosition(3))])
    assert verdicts(master.ask(request(100, e.Interrogation(22)))) == [(7, True)]


def test_groups__name_inputs_of_the_station() -> None:
    with pytest.raises(PointMapError, match="close: it is no input"):
        station(groups={1: ["close"]})
    with pytest.raises(PointMapError, match="it is in a counter group, but is no counter"):
        station(counter_groups={1: ["trip"]})
    with pytest.raises(ValueError, match="no interrogation group 17"):
        Iec104OutstationSettings(groups={17: ("trip",)})


# counters


def counters(request_: int, freeze: int = 0) -> Asdu:
    return request(101, e.CounterInterrogation(request_, freeze))


def test_counters__freeze_keeps_the_value_that_is_read_later() -> None:
    rtu = station()
    master = ready(rtu)
    rtu.update([sample("energy", 100, spontaneous=False)], 0)
    assert verdicts(master.ask(counters(5, 1))) == [(7, False)]
    rtu.update([sample("energy", 130, spontaneous=False)], 1)
    con, image, term = master.ask(counters(5))
    assert verdicts([con, image, term]) == [(7, False), (37, False), (10, False)]
    assert objects([image]) == [(8, e.IntegratedTotal(100, sequence=1)), (9, e.IntegratedTotal(0, 1, invalid=True))]


def test_counters__freeze_and_reset_start_again_from_zero() -> None:
    rtu = station()
    master = ready(rtu)
    rtu.update([sample("energy", 100, spontaneous=False)], 0)
    master.ask(counters(5, 2))
    rtu.update([sample("energy", 130, spontaneous=False)], 1)
    assert objects(master.ask(counters(5))[1:2])[0] == (8, e.IntegratedTotal(100, 1, adjusted=True))
    master.ask(counters(5, 1))
    assert objects(master.ask(counters(5))[1:2])[0] == (8, e.IntegratedTotal(30, 2))
    master.ask(counters(5, 3))
    rtu.update([sample("energy", 131, 5)], 5)
    assert objects(master.take(5)) == [(8, e.IntegratedTotal(1))]


def test_counters__of_a_group_come_with_its_cause() -> None:
    rtu = station(counter_groups={2: ["export"]})
    rtu.update([sample("export", 5, spontaneous=False), sample("energy", 6, spontaneous=False)], 0)
    master = ready(rtu)
    _, image, _ = master.ask(counters(2))
    assert (image.cause, objects([image])) == (39, [(9, e.IntegratedTotal(5))])
    assert verdicts(master.ask(counters(3))) == [(7, True)]
    assert verdicts(master.ask(counters(0))) == [(7, True)]


def test_counters__frozen_ones_are_reported_where_the_station_does_so() -> None:
    rtu = station(report_frozen=True)
    master = ready(rtu)
    rtu.update([sample("energy", 100, spontaneous=False), sample("export", 7, spontaneous=False)], 0)
    con, event = master.ask(counters(5, 1), 4_000)
    assert (verdict(con), event.type_id, event.cause) == ((7, False), 37, 3)
    assert objects([event]) == [(8, e.IntegratedTotal(100, 1)), (9, e.IntegratedTotal(7, 1))]
    assert {o.time for o in event.objects} == {TimeTag.at(4_000, BASE)}


def test_counters__sequence_number_wraps_after_31() -> None:
    rtu = station()
    master = ready(rtu)
    for _ in range(33):
        master.ask(counters(5, 1))
    assert objects(master.ask(counters(5))[1:2])[0] == (8, e.IntegratedTotal(0, sequence=1, invalid=True))


# parameters


def threshold(value: float, qualifier: int = 1, ioa: int = 7) -> Asdu:
    return request(112, e.ParameterFloat(value, qualifier), ioa=ioa)


def sent(rtu: Iec104Outstation, master: Master, *values: float) -> list[float]:
    for value in values:
        rtu.update([sample("i_a", value)], 1)
    return master.values()


def test_parameter__threshold_is_the_dead_band_of_spontaneous_values() -> None:
    rtu = station()
    master = ready(rtu)
    assert verdicts(master.ask(threshold(5.0))) == [(7, False)]
    assert sent(rtu, master, 100, 104, 95.5, 106, 101.5, 100.5) == [100, 106, 100.5]
    rtu.update([sample("i_a", 100.5, quality=Quality.INVALID)], 2)
    assert master.values() == [100.5]


def test_parameter__limits_send_a_value_that_crosses_them() -> None:
    rtu = station()
    master = ready(rtu)
    assert verdicts(master.ask(threshold(50.0, 4))) == [(7, False)]
    assert sent(rtu, master, 10, 40, 60, 90, 20) == [10, 60, 20]


def test_parameter__out_of_operation_until_activated() -> None:
    rtu = station()
    master = ready(rtu)
    master.ask(threshold(5.0, 1 | 0x80))
    assert sent(rtu, master, 1, 2) == [1, 2]
    assert verdicts(master.ask(request(113, e.ParameterActivation(2), ioa=7))) == [(7, False)]
    assert sent(rtu, master, 3, 4) == []
    assert verdicts(master.ask(request(113, e.ParameterActivation(1), cause=8))) == [(9, False)]
    assert sent(rtu, master, 5) == [5]


@pytest.mark.parametrize(
    ("asdu", "answer"),
    [
        (threshold(1.0, 2), (7, True)),  # smoothing factor
        (threshold(-1.0), (7, True)),
        (threshold(float("nan")), (7, True)),
        (threshold(1.0, ioa=6), (47, True)),  # a scaled value
        (threshold(1.0, ioa=99), (47, True)),
        (request(110, e.ParameterNormalized(0.5, 1), ioa=5), (7, False)),
        (request(111, e.ParameterScaled(5, 1), ioa=6), (7, False)),
        (request(112, e.ParameterFloat(5.0, 1), 8, ioa=7), (45, True)),
        (request(113, e.ParameterActivation(2), ioa=7), (7, True)),  # nothing is loaded
        (request(113, e.ParameterActivation(3), ioa=7), (7, True)),  # no cyclic transmission here
        (request(113, e.ParameterActivation(4), ioa=7), (7, True)),
        (request(113, e.ParameterActivation(2), ioa=99), (47, True)),
    ],
)
def test_parameter__verdicts(asdu: Asdu, answer: tuple[int, bool]) -> None:
    (got,) = ready(station()).ask(asdu)
    assert verdict(got) == answer


# cyclic transmission and background scan


def test_cyclic__points_are_sent_each_period_until_deactivated() -> None:
    rtu = station(cyclic_ms=500, cyclic_points=["i_a"])
    rtu.update([sample("i_a", 1.5, spontaneous=False)], 0)
    master = ready(rtu)
    assert master.session.next_timer() == 500
    master.session.tick(500)
    (asdu,) = master.take(500)
    assert (asdu.type_id, asdu.cause, objects([asdu])) == (13, 1, [(7, e.ShortFloat(1.5))])
    assert verdicts(master.ask(request(113, e.ParameterActivation(3), ioa=1), 600)) == [(7, False)]
    master.session.tick(1_000)
    assert [a.type_id for a in master.take(1_000)] == [1, 13]
    master.ask(request(113, e.ParameterActivation(3), cause=8, ioa=7), 1_100)
    master.session.tick(1_500)
    assert [a.type_id for a in master.take(1_500)] == [1]
    master.stop(1_600)
    assert master.session.next_timer() > 2_000


def test_background_scan__sends_the_image_and_is_left_out_while_the_master_lags() -> None:
    rtu = station(background_ms=1_000, connection=ConnectionSettings(k=1))
    master = ready(rtu, w=1)
    master.session.tick(1_000)
    scanned = master.take(1_000)
    assert {a.cause for a in scanned} == {2}
    assert sum(len(a.objects) for a in scanned) == 8  # all but the two counters
    rtu.update([sample("trip", 1)], 1_500)
    master.session.payload_to_send()  # never arrives
    master.session.tick(2_000)
    assert master.session.payload_to_send() == b""


# commands

COMMANDS = [
    (45, 58, "close", e.SingleCommand(True), 1.0),
    (47, 60, "step", e.StepCommand(2), 1.0),
    (48, 61, "share_target", e.SetpointNormalized(-0.5), -0.5),
    (49, 62, "scaled_target", e.SetpointScaled(-7), -7.0),
    (51, 64, "word", e.BitstringCommand(0xDEADBEEF), float(0xDEADBEEF)),
]
IOA = {definition.name: definition.address.ioa for definition in POINTS}


@pytest.mark.parametrize("tagged", [False, True])
@pytest.mark.parametrize(("plain", "with_tag", "name", "element", "value"), COMMANDS)
def test_command__direct_of_every_type(
    plain: int, with_tag: int, name: str, element: object, value: float, tagged: bool
) -> None:
    device = Device()
    rtu = station(device)
    master = ready(rtu)
    time = TimeTag.at(900, BASE) if tagged else None
    asdu = request(with_tag if tagged else plain, element, ioa=IOA[name], time=time)
    assert verdicts(master.ask(asdu, 1_000)) == [(7, False)]
    assert device.heard == [("operate", "RTU_1", name, value)]
    rtu.finished(device.tickets[0], True, 1_100)
    (done,) = master.take(1_100)
    assert (verdict(done), done.objects) == ((10, False), asdu.objects)


@pytest.mark.parametrize(
    ("type_id", "name", "select", "execute", "value"),
    [
        (46, "operate", e.DoubleCommand(2, True), e.DoubleCommand(2), 2.0),
        (59, "operate", e.DoubleCommand(1, True), e.DoubleCommand(1), 1.0),
        (50, "target", e.SetpointFloat(2.5, True), e.SetpointFloat(2.5), 2.5),
        (63, "target", e.SetpointFloat(-2.5, True), e.SetpointFloat(-2.5), -2.5),
    ],
)
def test_command__selected_then_executed(
    type_id: int, name: str, select: object, execute: object, value: float
) -> None:
    device = Device()
    master = ready(station(device))
    time = TimeTag.at(0, BASE) if type_id > 50 else None
    for element in (select, execute):
        assert verdicts(master.ask(request(type_id, element, ioa=IOA[name], time=time))) == [(7, False)]
    assert device.heard == [("select", "RTU_1", name, value), ("operate", "RTU_1", name, value)]


@pytest.mark.parametrize(
    ("tag", "accepted"),
    [
        (TimeTag.at(60_000, BASE), True),
        (TimeTag.at(55_000, BASE), True),
        (TimeTag.at(54_999, BASE), False),
        (TimeTag.at(65_001, BASE), False),
        (TimeTag.at(60_000, BASE, invalid=True), False),
        (TimeTag(26, 13, 1, 0, 0, 0), False),
    ],
)
def test_command__with_a_time_tag_too_old_or_ahead_is_refused(tag: TimeTag, accepted: bool) -> None:
    device = Device()
    master = ready(station(device, command_max_age_ms=5_000), 60_000)
    asdu = request(58, e.SingleCommand(True), ioa=101, time=tag)
    assert verdicts(master.ask(asdu, 60_000)) == [(7, not accepted)]
    assert bool(device.heard) is accepted


def test_command__without_a_time_tag_has_no_age() -> None:
    master = ready(station(command_max_age_ms=1), 60_000)
    assert verdicts(master.ask(request(45, e.SingleCommand(True), ioa=101), 60_000)) == [(7, False)]


def test_return_information__has_cause_11_while_the_command_is_executed() -> None:
    device = Device()
    rtu = station(device, return_information=True)
    master = ready(rtu)
    for select in (True, False):
        master.ask(request(46, e.DoubleCommand(2, select), ioa=102))
    rtu.update([sample("position", 2), sample("trip", 1)], 2)
    assert [(a.type_id, a.cause) for a in master.take(2)] == [(31, 11), (30, 3)]
    rtu.finished(device.tickets[0], True, 3)
    rtu.update([sample("position", 1)], 4)
    assert [a.cause for a in master.take(4)] == [10, 3]


# reset, clock


def test_reset__releases_selects_and_parameters_and_announces_itself() -> None:
    device = Device()
    heard: list[int] = []
    rtu = Iec104Outstation("RTU_1", POINTS, device, BASE, on_reset=heard.append)
    master = ready(rtu)
    master.ask(threshold(5.0))
    master.ask(request(46, e.DoubleCommand(2, True), ioa=102))
    con, announced = master.ask(request(105, e.ResetProcess(1)), 70)
    assert (verdict(con), announced.type_id, announced.cause) == ((7, False), 70, 4)
    assert announced.objects[0].element == e.EndOfInitialization(2)
    assert device.heard[-1] == ("cancel", "RTU_1", "operate", 2.0)
    assert heard == [70]
    assert sent(rtu, master, 1, 2) == [1, 2]


def test_reset__of_pending_information_empties_the_buffers() -> None:
    rtu = station(connection=ConnectionSettings(k=1))
    lagging, asking = ready(rtu, w=1), ready(rtu, w=1)
    for n in range(3):
        rtu.update([sample("i_a", float(n))], n)
    assert verdicts([a for a in asking.ask(request(105, e.ResetProcess(2)), 5) if a.type_id == 105]) == [(7, False)]
    assert lagging.values(6) == [0.0]
    assert verdicts(asking.ask(request(105, e.ResetProcess(3)), 5)) == [(7, True)]


def test_clock__that_a_master_sets_stamps_events_and_is_invalid_before() -> None:
    rtu = station(clock={"error_ms": 700, "set_by_master": True})
    master = ready(rtu)
    rtu.update([sample("trip", 1, 100)], 100)
    assert [o.time for a in master.take(100) for o in a.objects] == [TimeTag.at(800, BASE, invalid=True)]
    (con,) = master.ask(Asdu(103, 6, CA, (InformationObject(0, time=TimeTag.at(1_000, BASE)),)), 1_020)
    assert con.objects[0].time == TimeTag.at(1_720, BASE)
    assert rtu.clock_offset_ms == -720
    rtu.update([sample("trip", 0, 2_000)], 2_000)
    assert [o.time for a in master.take(2_000) for o in a.objects] == [TimeTag.at(1_980, BASE)]


def test_clock__drifts() -> None:
    rtu = station(clock={"drift_ppm": 100.0})
    master = ready(rtu)
    rtu.update([sample("trip", 1, 1_000_000)], 1_000_000)
    assert [o.time for a in master.take(1_000_000) for o in a.objects] == [TimeTag.at(1_000_100, BASE)]


# overflow


def test_overflow__is_indicated_until_every_event_is_sent() -> None:
    rtu = station(event_limit=3, overflow_point="overflow")
    for n in range(5):
        rtu.update([sample("i_a", float(n), n)], n)
    master = Master(rtu, 9)
    got = [(o.ioa, o.element.value) for a in master.take(9) if a.type_id != 70 for o in a.objects]
    assert got == [(10, True), (7, 2.0), (7, 3.0), (7, 4.0), (10, False)]
    assert rtu.events_dropped == 2
    rtu.update([sample("i_a", 9.0, 10)], 10)
    assert [o.ioa for a in master.take(10) for o in a.objects] == [7]


def test_overflow__is_indicated_however_long_it_lasts() -> None:
    rtu = station(event_limit=3, overflow_point="overflow")
    for n in range(50):
        rtu.update([sample("i_a", float(n), n)], n)
    got = [(o.ioa, o.element.value) for a in Master(rtu, 50).take(50) if a.type_id != 70 for o in a.objects]
    assert got == [(10, True), (7, 47.0), (7, 48.0), (7, 49.0), (10, False)]


def test_overflow__is_indicated_again_before_events_that_are_sent_again() -> None:
    """The first master is sent everything, acknowledges nothing, and is gone."""
    rtu = station(event_limit=3, overflow_point="overflow")
    for n in range(5):
        rtu.update([sample("i_a", float(n), n)], n)
    lost = Master(rtu, 5, start=False)
    lost.connection.start(5)
    lost.session.receive(lost.connection.data_to_send(), 5)
    assert lost.session.payload_to_send()
    rtu.close_session(lost.session, 6)
    got = [(o.ioa, o.element.value) for a in Master(rtu, 7).take(7) if a.type_id != 70 for o in a.objects]
    assert got[0] == (10, True)
    assert [value for ioa, value in got if ioa == 7] == [3.0, 4.0]  # the indications count among the three
    assert rtu.events_dropped == 4


def test_overflow__of_one_master_is_indicated_to_the_others_too() -> None:
    rtu = station(event_limit=3, overflow_point="overflow")
    deaf, well = Master(rtu, 0, w=8), Master(rtu, 0, w=1)
    well.take(0)
    for n in range(30):
        rtu.update([sample("i_a", float(n), n)], n)
        well.exchange(n)
    assert rtu.events_dropped > 0
    got = [(o.ioa, o.element.value) for a in well.take(30) for o in a.objects]
    assert [value for ioa, value in got if ioa == 7] == [float(n) for n in range(30)]
    assert [value for ioa, value in got if ioa == 10] == [True]
    assert deaf.session.events.gap


def test_events__given_back_by_two_lost_masters_reach_the_next_once() -> None:
    """Both were sent the same events and acknowledged none; the next master comes before, between and after."""
    for comes in range(3):
        rtu = station()
        lost = [Master(rtu, 0, start=False) for _ in range(2)]
        for master in lost:
            master.connection.start(0)
            master.session.receive(master.connection.data_to_send(), 0)
        for n in range(5):
            rtu.update([sample("i_a", float(n), n)], n)
        master = None
        for place in range(3):
            if place == comes:
                master = Master(rtu, 9)
            if place < 2:
                rtu.close_session(lost[place].session, 9)
        assert master is not None
        got = [o.element.value for a in master.take(9) if a.type_id == 36 for o in a.objects]
        assert got == [0.0, 1.0, 2.0, 3.0, 4.0], comes


def test_overflow__needs_a_single_point() -> None:
    with pytest.raises(PointMapError, match="an overflow indication is a single point"):
        station(overflow_point="i_a")


# several masters, redundancy


def test_control__one_master_commands_and_the_others_observe() -> None:
    device = Device()
    rtu = station(device, one_in_control=True)
    first, second = ready(rtu), ready(rtu)
    close = request(45, e.SingleCommand(True), ioa=101)
    for forbidden in (
        close,
        threshold(1.0),
        request(105, e.ResetProcess(1)),
        counters(5, 1),
        Asdu(103, 6, CA, (InformationObject(0, time=TimeTag.at(0, BASE)),)),
    ):
        assert verdicts(second.ask(forbidden)) == [(7, True)]
    assert device.heard == []
    assert verdicts(second.ask(request(100, e.Interrogation(20))))[-1] == (10, False)
    assert verdicts(first.ask(close)) == [(7, False)]
    first.leave(5)
    rtu.finished(device.tickets[0], True, 5)
    assert verdicts(second.ask(close, 6)) == [(7, False)]


def test_control__passes_when_its_holder_stops() -> None:
    rtu = station(one_in_control=True)
    first, second = ready(rtu), ready(rtu)
    first.stop(2)
    assert verdicts(second.ask(request(45, e.SingleCommand(True), ioa=101), 3)) == [(7, False)]
    first.start(4)
    assert verdicts(first.ask(request(45, e.SingleCommand(True), ioa=101), 5)) == [(7, True)]


GROUP = {"redundancy_groups": [{"name": "centre", "sources": ["127.0.1.0/24"]}]}


def test_redundancy__switch_over_loses_no_event() -> None:
    rtu = station(**GROUP)
    main = ready(rtu, address="127.0.1.1")
    spare = Master(rtu, address="127.0.1.2", start=False)
    rtu.update([sample("i_a", 0.0)], 0)
    assert main.values() == [0.0]
    for n in range(1, 20):
        rtu.update([sample("i_a", float(n))], n)
    main.session.payload_to_send()  # lost on the way, and the rest waits behind the window
    spare.start(30)
    rtu.update([sample("i_a", 20.0)], 31)
    assert not main.session.started
    got = spare.values(31)
    assert got[-20:] == [float(n) for n in range(1, 21)]
    assert set(got) <= {float(n) for n in range(21)}
    main.leave(32)
    rtu.update([sample("i_a", 21.0)], 33)
    assert spare.values(33) == [21.0]


def test_redundancy__events_wait_for_the_group_while_another_master_gets_them() -> None:
    rtu = station(**GROUP)
    other = ready(rtu, address="127.0.9.9")
    rtu.update([sample("i_a", 1.0)], 1)
    assert other.values() == [1.0]
    centre = Master(rtu, 5, address="127.0.1.7", w=1)
    assert centre.values(5) == [1.0]
    centre.leave(6)
    rtu.update([sample("i_a", 2.0)], 7)
    assert other.values(7) == [2.0]
    assert Master(rtu, 8, address="127.0.1.8").values(8) == [2.0]


def test_redundancy__a_deactivated_connection_may_start_again_but_not_command() -> None:
    rtu = station(**GROUP)
    main, spare = ready(rtu, address="127.0.1.1"), ready(rtu, address="127.0.1.2")
    assert [main.session.started, spare.session.started] == [False, True]
    main.connection.send(request(45, e.SingleCommand(True), ioa=101), 3)
    main.session.receive(main.connection.data_to_send(), 3)
    assert "I frame in state stopped" in main.session.close_reason


def test_redundancy__termination_comes_over_the_connection_that_took_over() -> None:
    device = Device()
    rtu = station(device, **GROUP)
    main = ready(rtu, address="127.0.1.1")
    main.ask(request(45, e.SingleCommand(True), ioa=101), 1)
    spare = ready(rtu, 2, address="127.0.1.2")
    main.leave(3)
    rtu.finished(device.tickets[0], True, 4)
    assert verdicts(spare.take(4)) == [(10, False)]


# data concentrator

CONCENTRATED = [
    point("A.trip", PointKind.SINGLE, 1, 1, ca=1, station="A"),
    point("A.close", PointKind.SINGLE_COMMAND, 2, 45, ca=1, station="A"),
    point("B.trip", PointKind.SINGLE, 1, 1, ca=2, station="B"),
    point("B.close", PointKind.SINGLE_COMMAND, 2, 45, ca=2, station="B"),
]


def test_concentrator__serves_every_common_address_apart() -> None:
    device = Device()
    rtu = station(device, CONCENTRATED)
    master = Master(rtu)
    assert [a.common_address for a in master.take()] == [1, 2]
    rtu.update([sample("A.trip", 1, 5), sample("B.trip", 0, 5)], 5)
    assert [(a.common_address, objects([a])) for a in master.take(5)] == [
        (1, [(1, e.SinglePoint(True))]),
        (2, [(1, e.SinglePoint(False))]),
    ]
    answers = master.ask(request(100, e.Interrogation(20), ca=2))
    assert [(a.common_address, a.cause) for a in answers] == [(2, 7), (2, 20), (2, 10)]
    assert verdicts(master.ask(request(45, e.SingleCommand(True, True), ioa=2, ca=2))) == [(7, False)]
    assert verdicts(master.ask(request(45, e.SingleCommand(True), ioa=2, ca=1))) == [(7, True)]
    assert device.heard == [("select", "B", "B.close", 1.0)]
    (_, announced) = master.ask(request(105, e.ResetProcess(1), ca=2))
    assert announced.common_address == 2


# limits


def test_flood__of_interrogations_without_an_acknowledgement_ends_that_session_alone() -> None:
    rtu = station(reply_limit=100)
    flooding, calm = ready(rtu), ready(rtu)
    frame = bytes.fromhex("680e00000000 640106002f0000000014")
    for n in range(60):
        flooding.session.receive(frame[:2] + (n << 1).to_bytes(2, "little") + frame[4:], 1)
    assert "ASDUs wait for a master that does not acknowledge" in flooding.session.close_reason
    assert verdicts(calm.ask(request(100, e.Interrogation(20))))[-1] == (10, False)


# snapshot


def test_snapshot__carries_counters_parameters_groups_and_clock() -> None:
    changes: dict[str, Any] = {
        **GROUP,
        "clock": {"set_by_master": True},
        "overflow_point": "overflow",
        "event_limit": 5,
        "cyclic_ms": 500,
        "cyclic_points": ["i_a"],
    }
    rtu = station(**changes)
    master = ready(rtu, address="127.0.1.1")
    rtu.update([sample("energy", 100, spontaneous=False), sample("bits", 9)], 0)
    master.ask(counters(5, 2))
    master.ask(threshold(5.0))
    master.ask(Asdu(103, 6, CA, (InformationObject(0, time=TimeTag.at(1_000, BASE)),)), 1_020)
    for n in range(30):
        rtu.update([sample("i_a", 10.0 * n)], n)
    again = station(**changes)
    again.restore(rtu.snapshot())
    assert again.snapshot() == rtu.snapshot()
    for each in (rtu, again):
        each.sessions[0].receive(master.connection.data_to_send(), 2_000)
        each.update([sample("i_a", 1.0), sample("energy", 111)], 2_000)
    assert again.snapshot() == rtu.snapshot()
    assert again.sessions[0].payload_to_send() == rtu.sessions[0].payload_to_send()


def test_unknown__types_causes_and_addresses_are_mirrored() -> None:
    master = ready(station())
    for asdu, cause in (
        (Asdu(120, 13, CA, opaque=b"\x01\x02\x03\x04", opaque_count=1), Cause.UNKNOWN_TYPE),
        (request(TypeId.P_ME_NC_1, e.ParameterFloat(1.0, 1), 5, ioa=7), Cause.UNKNOWN_CAUSE),
        (request(TypeId.C_RP_NA_1, e.ResetProcess(1), ca=99), Cause.UNKNOWN_COMMON_ADDRESS),
        (request(TypeId.C_BO_NA_1, e.BitstringCommand(1), ioa=4), Cause.UNKNOWN_OBJECT_ADDRESS),
    ):
        assert verdicts(master.ask(asdu)) == [(cause, True)]
