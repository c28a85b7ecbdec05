"""From the fault to the end of the auto-reclose cycle, to the millisecond.

Times of the devices: high stage 100 ms, opening 60 ms, closing 80 ms, spring 10 s, dead times 0.5 s and 15 s,
reclaim 10 s. The fault on L2 starts at 1000 ms and draws 3000 A (above the 2000 A of the high stage).
"""

from hypothesis import given, settings
from hypothesis import strategies as st

from twin.derive.settings import BreakerSettings, RelaySettings
from twin.outstations.model import StationCommand
from twin.points.model import DoublePosition
from twin.timebase import NEVER

OPEN, CLOSED, MOVING = DoublePosition.OPEN, DoublePosition.CLOSED, DoublePosition.INTERMEDIATE
CB, S2 = 0, 2

FIRST_TRIP = [
    (1000, "relay_pickup", "CB", "51", 3000.0),
    (1000, "relay_pickup", "CB", "50", 3000.0),
    (1100, "relay_trip", "CB", "50", 3000.0),  # 1000 + 100
    (1100, "breaker", "CB", "intermediate", "trip"),
    (1160, "breaker", "CB", "open", "trip"),  # + 60
    (1660, "reclose", "CB", 1, 500),  # + 500
    (1660, "breaker", "CB", "intermediate", "reclose"),
    (1740, "breaker", "CB", "closed", "reclose"),  # + 80
]
SECOND_TRIP = [
    (1740, "relay_pickup", "CB", "51", 3000.0),  # closed onto the fault
    (1740, "relay_pickup", "CB", "50", 3000.0),
    (1840, "relay_trip", "CB", "50", 3000.0),
    (1840, "breaker", "CB", "intermediate", "trip"),
    (1900, "breaker", "CB", "open", "trip"),
    (16_900, "reclose", "CB", 2, 15_000),  # + 15000; the spring was charged at 1660 + 10000
    (16_900, "breaker", "CB", "intermediate", "reclose"),
    (16_980, "breaker", "CB", "closed", "reclose"),
]
FINAL_TRIP = [
    (16_980, "relay_pickup", "CB", "51", 3000.0),
    (16_980, "relay_pickup", "CB", "50", 3000.0),
    (17_080, "relay_trip", "CB", "50", 3000.0),
    (17_080, "breaker", "CB", "intermediate", "trip"),
    (17_140, "breaker", "CB", "open", "trip"),
    (17_140, "lockout", "CB", "opened"),
]
SEQUENCE = ("relay_pickup", "relay_trip", "breaker", "reclose", "reclaimed", "lockout", "reclose_blocked")


def test_sequence__fault_gone_in_the_first_dead_time_is_reclaimed(feeder):
    f = feeder((1000, 1500)).run(20_000)
    assert f.entries(*SEQUENCE) == [*FIRST_TRIP, (11_740, "reclaimed", "CB")]  # 1740 + 10000
    assert f.course("CB.reclose_active") == [(1100, 1), (11_740, 0)]
    assert f.course("CB.trip") == [(1100, 1), (1740, 0)]
    assert f.closings == [(CB, 1740)]


def test_sequence__fault_gone_in_the_second_dead_time_is_reclaimed(feeder):
    f = feeder((1000, 5000)).run(40_000)
    assert f.entries(*SEQUENCE) == [*FIRST_TRIP, *SECOND_TRIP, (26_980, "reclaimed", "CB")]
    assert f.course("CB.lockout") == []
    assert f.bank.closed[CB]
    assert not f.bank.busy


def test_sequence__permanent_fault_ends_in_lockout(feeder):
    f = feeder((1000, NEVER)).run(100_000)
    assert f.entries(*SEQUENCE) == [*FIRST_TRIP, *SECOND_TRIP, *FINAL_TRIP]
    assert f.course("CB.reclose_active") == [(1100, 1), (17_080, 0)]
    assert f.course("CB.lockout") == [(17_140, 1)]
    assert f.closings == [(CB, 1740), (CB, 16_980)]
    assert f.course("CB.position") == [
        (1100, MOVING),
        (1160, OPEN),
        (1660, MOVING),
        (1740, CLOSED),
        (1840, MOVING),
        (1900, OPEN),
        (16_900, MOVING),
        (16_980, CLOSED),
        (17_080, MOVING),
        (17_140, OPEN),
    ]
    # charged again 10 s after each closing order
    assert f.course("CB.spring_charged") == [(1660, 0), (11_660, 1), (16_900, 0), (26_900, 1)]


def test_sequence__second_shot_waits_for_a_slow_spring(feeder):
    # released at 1660, charged 20 s later: at 21660 instead of at 16900
    f = feeder((1000, 5000), breakers=(BreakerSettings(switch="CB", spring_charge_ms=20_000),)).run(40_000)
    assert (16_900, "reclose_blocked", "CB", "spring_not_charged") in f.entries(*SEQUENCE)
    assert (21_660, "reclose", "CB", 2, 15_000) in f.entries(*SEQUENCE)
    assert f.closings[-1] == (CB, 21_740)


def test_sequence__without_auto_reclose_the_breaker_stays_open(feeder):
    f = feeder((1000, NEVER), reclosers=()).run(60_000)
    assert f.entries(*SEQUENCE) == FIRST_TRIP[:5]
    assert f.course("CB.trip") == [(1100, 1)]
    assert f.bank.next_event_ms() == NEVER


def test_sequence__remote_open_in_the_dead_time_ends_the_cycle(feeder):
    f = feeder((1000, NEVER)).run(1400)
    assert f.bank.operate(StationCommand("RTU_CB", "CB.operate", OPEN, 7), 1400) == ""
    f.collect()
    f.run(60_000)
    assert f.finished == [(7, True, 1400)]
    assert f.entries("reclose") == []
    assert f.course("CB.reclose_active") == [(1100, 1), (1400, 0)]


def test_sequence__remote_close_resets_lockout_and_does_not_reclose_onto_the_fault(feeder):
    f = feeder((1000, NEVER)).run(60_000)
    assert f.bank.operate(StationCommand("RTU_CB", "CB.operate", CLOSED, 8), 60_000) == ""
    f.run(120_000)
    # closed at 60080, trip at 60180, open at 60240: final at once
    assert f.course("CB.lockout") == [(17_140, 1), (60_080, 0), (60_240, 1)]
    assert f.finished == [(8, True, 60_080)]
    assert len(f.entries("reclose")) == 2


def test_sequence__breaker_that_fails_to_open_keeps_its_trip_and_opens_when_repaired(feeder):
    f = feeder((1000, NEVER))
    f.bank.fail("CB", "open")
    f.run(5000)
    # the low stage tries again when its time is over: 1000 + 341, + 60
    assert f.entries("drive_failed") == [(t, "drive_failed", "CB", "open", "trip") for t in (1160, 1401)]
    assert f.bank.closed[CB]
    assert f.bank.busy
    f.bank.fail("CB", None)
    f.run(10_000)
    assert f.entries("breaker") == [
        (5000, "breaker", "CB", "intermediate", "trip"),
        (5060, "breaker", "CB", "open", "trip"),
    ]
    assert f.course("CB.lockout") == [(1160, 1)]


def test_sequence__breaker_that_fails_to_close_locks_out(feeder):
    f = feeder((1000, 1500))
    f.bank.fail(CB, "close")
    f.run(60_000)
    assert f.entries("drive_failed") == [(1740, "drive_failed", "CB", "close", "reclose")]
    assert f.course("CB.lockout") == [(1740, 1)]
    assert not f.bank.closed[CB]


def test_sequence__local_control_blocks_auto_reclose(feeder):
    f = feeder((1000, NEVER))
    f.bank.set_local("CB", True)
    f.run(60_000)
    assert f.entries("reclose") == []
    assert f.course("CB.lockout") == [(1160, 1)]


def test_sequence__low_stage_times_an_overload_by_its_curve(feeder):
    # 51 standard inverse, 400 A, TMS 0.1: at 3000 A (7.5 x) 0.014 / (7.5 ** 0.02 - 1) = 0.34043 s -> 341 ms,
    # without the high stage: trip at 1341, open at 1401
    relay = RelaySettings(breaker="CB", pickup_a=400)
    f = feeder((1000, NEVER), relays=(relay,), reclosers=()).run(5000)
    assert f.entries(*SEQUENCE) == [
        (1000, "relay_pickup", "CB", "51", 3000.0),
        (1341, "relay_trip", "CB", "51", 3000.0),
        (1341, "breaker", "CB", "intermediate", "trip"),
        (1401, "breaker", "CB", "open", "trip"),
    ]


def test_bank__is_busy_exactly_while_a_relay_times_or_a_switch_moves(feeder):
    f = feeder((1000, 1500))
    busy = {}
    for t in (999, 1000, 1099, 1159, 1160, 1659, 1660, 1739, 1740, 20_000):
        busy[t] = f.run(t).bank.busy
    assert [t for t, b in busy.items() if b] == [1000, 1099, 1159, 1660, 1739]


def test_bank__tells_the_next_event_of_every_phase(feeder):
    f = feeder((1000, NEVER))
    expected = {999: NEVER, 1000: 1040, 1040: 1100, 1100: 1160, 1160: 1660, 1660: 1740}
    assert {t: f.run(t).bank.next_event_ms() for t in expected} == expected


def test_indicators__point_towards_the_fault_and_away_from_it(feeder):
    """BB -CB- L1 -S1- N1 -S2- L2 (fault) -S3- N2: forward at CB and S2, reverse at S1, nothing at S3."""
    f = feeder((1000, NEVER)).run(2000)
    assert f.course("CB.fault_forward") == f.course("S2.fault_forward") == [(1040, 1)]
    assert f.course("S1.fault_reverse") == [(1040, 1)]
    assert f.course("S1.fault_forward") == f.course("S2.fault_reverse") == f.course("CB.fault_reverse") == []
    assert f.course("S3.fault_forward") == f.course("S3.fault_reverse") == []


def test_indicators__latch_over_the_whole_cycle_and_reset_after_restoration(feeder):
    # reclosed with success at 16980, voltage healthy from then on for 60 s
    f = feeder((1000, 5000)).run(100_000)
    assert f.course("S2.fault_forward") == [(1040, 1), (76_980, 0)]
    assert f.entries("indicator")[-1] == (76_980, "indicator", "S2", "none", "reset")


def test_indicators__fail_as_told(feeder):
    f = feeder((1000, NEVER))
    f.bank.indicator_fails("S2", "silent")
    f.bank.indicator_fails("S3", "false")
    f.bank.indicator_fails("S1", "reversed")
    f.run(2000)
    assert f.course("S2.fault_forward") == []
    assert f.course("S3.fault_forward") == [(0, 1)]
    assert f.course("S1.fault_forward") == [(1040, 1)]


def play(f, since, until):
    """A busy night: a permanent fault, a jam, a command while locked out, local control; stepped up to ``until``."""
    acts = {
        300: lambda: f.bank.operate(StationCommand("RTU_S3", "S3.operate", OPEN, 1), 300),
        1500: lambda: f.bank.fail("S2", "open"),
        2000: lambda: f.bank.operate(StationCommand("RTU_S2", "S2.operate", OPEN, 2), 2000),
        2100: lambda: f.bank.indicator_fails("S1", "reversed"),
        2600: lambda: f.bank.set_local("S1", True),
        18_000: lambda: f.bank.operate(StationCommand("RTU_CB", "CB.operate", CLOSED, 3), 18_000),
        30_000: lambda: f.bank.operate(StationCommand("RTU_CB", "CB.operate", CLOSED, 4), 30_000),
    }
    for t in sorted(acts):
        if since <= t < until:
            f.run(t)
            acts[t]()
    return f.run(until)


@settings(max_examples=40, deadline=None)
@given(cuts=st.lists(st.one_of(st.integers(1, 2500), st.integers(1, 44_999)), min_size=1, max_size=4))
def test_bank__continues_from_a_snapshot_at_any_time_as_if_it_had_not_stopped(feeder, cuts):
    whole = play(feeder((1000, 31_000)), 0, 45_000)
    # the stopped run steps at the cuts too: a step more must not matter either
    since, pieces = 0, feeder((1000, 31_000))
    for cut in [*sorted(set(cuts)), 45_000]:
        play(pieces, since, cut)
        fresh = feeder((1000, 31_000))
        fresh.bank.restore(pieces.bank.snapshot())
        assert fresh.bank.snapshot() == pieces.bank.snapshot()
        pieces.bank, since = fresh.bank, cut
    assert pieces.journal == whole.journal
    assert pieces.samples == whole.samples
    assert pieces.closings == whole.closings
    assert pieces.finished == whole.finished
    assert pieces.bank.snapshot() == whole.bank.snapshot()


def test_sequence__trip_that_comes_while_the_drive_jams_is_repeated_after_repair(feeder):
    # the drive runs in vain from 1100 to 1160; repaired at 1130, the standing trip opens at 1160 + 60
    f = feeder((1000, NEVER))
    f.bank.fail("CB", "open")
    f.run(1130)
    f.bank.fail("CB", None)
    f.run(1300)
    assert f.course("CB.position") == [(1160, MOVING), (1220, OPEN)]
