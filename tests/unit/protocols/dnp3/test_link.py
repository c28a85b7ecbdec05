"""Our master in front of our outstation: start, events, commands, clock, polls, silence, snapshots."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from twin.links.dnp3 import Dnp3MasterSession
from twin.links.dnp3_samples import SampleReader
from twin.links.model import ArrivedSample, CommandReply, LinkCommand, ReplyKind, SessionEvent, SessionState
from twin.outstations.dnp3 import Dnp3Outstation, Dnp3OutstationSettings
from twin.points.dnp3 import assigned
from twin.points.model import Quality, TimeSource
from twin.protocols.dnp3 import LinkSettings, ObjectHeader

from .conftest import BASE, EPOCH_MS, POINTS, Pair

MakePair = Callable[..., Pair]


def states(pair: Pair) -> list[SessionState]:
    return [e.state for e in pair.events if isinstance(e, SessionEvent)]


def replies(pair: Pair) -> list[tuple[int, ReplyKind, str]]:
    return [(e.command_id, e.kind, e.cause) for e in pair.events if isinstance(e, CommandReply)]


def arrived(pair: Pair, point: str) -> list[ArrivedSample]:
    return [e for e in pair.events if isinstance(e, ArrivedSample) and e.sample.point == point]


def command(number: int, point: str, value: float) -> LinkCommand:
    return LinkCommand(number, "RTU_1", point, value)


def test_start__connected_started_interrogated_and_everything_read(pair: MakePair) -> None:
    p = pair()
    p.connect()
    assert states(p) == [SessionState.CONNECTED, SessionState.STARTED, SessionState.INTERROGATED]
    inputs = [d.name for d in POINTS if not d.kind.is_output]
    assert {e.sample.point for e in p.events if isinstance(e, ArrivedSample)} == set(inputs)
    assert arrived(p, "trip")[0].sample.quality is Quality.INVALID
    assert not arrived(p, "trip")[0].sample.spontaneous
    association = p.station.associations[1]
    assert (int(association.iin), association.enabled) == (0, {1, 2, 3})
    assert (p.master.samples.unknown_objects, p.master.unexpected_answers) == (0, 0)


@pytest.mark.parametrize("chunk", [1, 3])
def test_start__same_however_the_octets_come(pair: MakePair, chunk: int) -> None:
    whole, dripped = pair(), pair()
    whole.connect()
    dripped.session = dripped.station.open_session(dripped.now)
    dripped.master.connected(dripped.now)
    dripped.carry(chunk)
    assert dripped.events == whole.events


def test_event__arrives_with_time_and_quality(pair: MakePair) -> None:
    p = pair()
    p.connect()
    p.change(("position", 2.0), ("far", 12.4))
    (position,) = arrived(p, "position")[1:]
    assert (position.sample.value, position.sample.source_t_ms) == (2.0, p.now)
    assert (position.sample.spontaneous, position.sample.stamped_by) == (True, TimeSource.DEVICE)
    assert arrived(p, "far")[-1].sample.value == 12.0


def test_commands__select_operate_direct_and_refused(pair: MakePair) -> None:
    p = pair()
    p.connect()
    p.master.select(command(1, "operate", 2), p.now)
    p.carry()
    p.master.operate(command(1, "operate", 2), p.now)
    p.carry()
    p.master.operate(command(2, "target", 2.5), p.now)
    p.carry()
    p.master.operate(command(3, "lamp", 1), p.now)
    p.carry()
    p.device.refusal = "local_control"
    p.master.operate(command(4, "step", -1), p.now)
    p.carry()
    p.master.operate(command(5, "operate", 2), p.now)
    p.carry()
    p.master.select(command(6, "operate", 3), p.now)
    p.master.select(command(7, "trip", 1), p.now)
    p.carry()
    refused = ReplyKind.REFUSED
    assert replies(p) == [
        (1, ReplyKind.SELECTED, ""),
        (1, ReplyKind.ACTIVATED, ""),
        (2, ReplyKind.ACTIVATED, ""),
        (3, ReplyKind.ACTIVATED, ""),
        (4, refused, "negative confirmation: local"),
        (5, refused, "negative confirmation: no select"),
        (6, refused, "value not encodable"),
        (7, refused, "unknown point"),
    ]


def test_two_selects__the_second_waits_for_the_operate_of_the_first(pair: MakePair) -> None:
    p = pair(select_hold_ms=2_000)
    p.connect()
    p.master.select(command(1, "operate", 2), p.now)
    p.master.interrogate(p.now)
    p.carry()
    assert p.device.seen == [("select", "operate", 2.0)]
    p.master.operate(command(1, "operate", 2), p.now)
    p.carry()
    assert p.device.seen[-1][0] == "operate"
    assert states(p)[-1] is SessionState.INTERROGATED


def test_cancelled_select__lets_the_rest_go_on(pair: MakePair) -> None:
    p = pair()
    p.connect()
    p.master.select(command(1, "operate", 2), p.now)
    p.carry()
    p.master.cancel(command(1, "operate", 2), p.now)
    p.master.interrogate(p.now)
    p.carry()
    assert replies(p)[-1] == (1, ReplyKind.CANCELLED, "")
    assert states(p).count(SessionState.INTERROGATED) == 2


def test_unsolicited_off__polls_find_the_events(pair: MakePair) -> None:
    p = pair(unsolicited=(), class_1_period_ms=1_000, class_2_period_ms=5_000)
    p.connect()
    p.change(("trip", 1.0), ("i_0", 4.0))
    assert len(arrived(p, "trip")) == 1
    p.pass_time(1_000)
    assert [e.sample.value for e in arrived(p, "trip")] == [0.0, 1.0]
    assert len(arrived(p, "i_0")) == 1
    p.pass_time(4_000)
    assert [e.sample.value for e in arrived(p, "i_0")] == [0.0, 4.0]


def test_overflow__is_answered_by_an_integrity_poll(pair: MakePair) -> None:
    p = pair(unsolicited=(), class_2_period_ms=1_000, station_event_limit=2)
    p.connect()
    for n in range(5):
        p.change(("i_0", float(n)))
    p.pass_time(1_000)
    assert [e.sample.value for e in arrived(p, "i_0")][1:] == [3.0, 4.0, 4.0]
    assert states(p).count(SessionState.INTERROGATED) == 2


@pytest.mark.parametrize("procedure", ["lan", "non_lan"])
def test_needed_time__is_set(pair: MakePair, procedure: str) -> None:
    p = pair(time_sync=procedure, station_need_time=True)
    p.connect()
    assert p.station.clock_offset_ms == 0
    assert not p.station.need_time


def test_restarted_station__is_read_again(pair: MakePair) -> None:
    p = pair()
    p.connect()
    p.station.restart(cold=True, now=p.now)
    p.pass_time(10)
    assert states(p).count(SessionState.INTERROGATED) == 2
    assert p.station.associations[1].enabled == {1, 2, 3}


def test_silent_station__asks_again_then_hangs_up(pair: MakePair) -> None:
    p = pair(response_timeout_ms=5_000, retries=2)
    p.master.connected(p.now)
    p.master.payload_to_send()
    while not p.master.close_reason:
        p.master.tick(p.master.next_timer())
    assert p.master.close_reason == "no answer to disable unsolicited within 15000 ms"


def test_command_without_answer__is_not_sent_again(pair: MakePair) -> None:
    p = pair()
    p.connect()
    p.master.operate(command(1, "target", 1.0), p.now)
    assert p.master.payload_to_send()
    p.master.tick(p.now + 5_000)
    assert not p.master.payload_to_send()
    assert not p.master.close_reason


def test_freeze_dead_band_and_class__by_request(pair: MakePair) -> None:
    p = pair()
    p.connect()
    p.change(("energy", 5.0))
    p.master.request(7, bytes((20, 0, 6)), p.now)
    p.master.request(2, bytes.fromhex("22 03 00 00 00 00 00 a0 40"), p.now)
    p.carry()
    assert [int(answer.iin or 0) & 0x0F00 for answer in p.master.answers] == [0, 0]
    assert p.station.database.groups[30][0].dead_band == 5.0


def test_confirmed_link__carries_the_same(pair: MakePair) -> None:
    link = LinkSettings(confirmed=True)
    plain, confirmed = pair(), pair(link=link, station_link=link)
    for p in (plain, confirmed):
        p.connect()
        p.change(("trip", 1.0))
    assert confirmed.events == plain.events


def test_lost_connection__events_come_after_the_next_start(pair: MakePair) -> None:
    p = pair()
    p.connect()
    assert p.session is not None
    p.station.close_session(p.session, p.now)
    p.master.disconnected(p.now, "gone")
    p.session = None
    from twin.points.model import Sample

    p.station.update([Sample("RTU_1", "trip", 1.0, Quality.GOOD, 1_234)], p.now)
    p.connect()
    assert SessionState.LOST in states(p)
    (event,) = (e for e in arrived(p, "trip") if e.sample.spontaneous)
    assert event.sample.source_t_ms == 1_234


@pytest.mark.parametrize("moment", range(8))
def test_snapshot__goes_on_as_if_nothing_had_been(pair: MakePair, moment: int) -> None:
    """Both ends are replaced by restored ones after some steps of the same story."""

    def story(p: Pair, swap: int) -> list[object]:
        p.session = p.station.open_session(p.now)
        p.master.connected(p.now)
        steps = [
            lambda: p.carry(),
            lambda: p.change(("trip", 1.0)),
            lambda: p.master.select(command(1, "operate", 2), p.now),
            lambda: p.carry(),
            lambda: p.master.operate(command(1, "operate", 2), p.now),
            lambda: p.pass_time(1_500),
            lambda: p.change(("i_0", 9.0), ("far", 3.0)),
            lambda: p.pass_time(70_000),
        ]
        for n, step in enumerate(steps):
            step()
            if n == swap:
                exchange(p)
        p.carry()
        return p.events

    assert story(pair(), moment) == story(pair(), -1)


def exchange(p: Pair) -> None:
    """Put restored copies in the place of both ends."""
    assert p.session is not None
    p.events += p.master.take_events()
    down, up = p.master.payload_to_send(), p.session.payload_to_send()
    state = json.loads(json.dumps([p.master.snapshot(), p.station.snapshot()]))
    master = Dnp3MasterSession("RTU_1", POINTS, BASE, p.master.settings)
    station = Dnp3Outstation("RTU_1", POINTS, p.device, BASE, Dnp3OutstationSettings())
    master.restore(state[0])
    station.restore(state[1])
    assert json.loads(json.dumps([master.snapshot(), station.snapshot()])) == state
    p.master, p.station, p.session = master, station, station.sessions[0]
    p.session.receive(down, p.now)
    p.master.receive(up, p.now)


def test_sample_reader__common_time_without_a_time_is_counted() -> None:
    """Found by the fuzzer: g51 that names no time, then an event relative to it."""
    reader = SampleReader("RTU_1", POINTS, assigned((d.name, d.kind.value, d.dnp3) for d in POINTS), EPOCH_MS)
    headers = [ObjectHeader(51, 1, 0x06, -1), ObjectHeader(2, 3, 0x17, 1, (0,), bytes.fromhex("0081f401"))]
    samples = list(reader.read(headers, 9))
    assert [(s.point, s.value) for s in samples] == [("trip", 1.0)]
    assert reader.unsuitable_objects == 1
