"""When FLISR starts: after the last reclosing failed and nothing changes any more, once per fault."""

from __future__ import annotations

import json

import pytest

from twin.dms.flisr import FlisrTrigger, HeadSigns, TriggerState
from twin.timebase import NEVER

CLOSED = HeadSigns()
TRIPPED = HeadSigns(tripped=True, is_open=True)
RECLOSING = HeadSigns(tripped=True, is_open=True, reclose_active=True)
LOCKED_OUT = HeadSigns(tripped=True, is_open=True, lockout=True)


def test_trigger__starts_once_after_the_settling_time():
    trigger = FlisrTrigger(settle_ms=2000)
    trigger.observe("CB_1", TRIPPED, 1000)
    assert trigger.next_due() == 3000
    assert trigger.due(2999) == ()
    assert trigger.due(3000) == ("CB_1",)
    assert trigger.due(9000) == ()
    assert trigger.next_due() == NEVER


def test_trigger__waits_for_the_recloser():
    trigger = FlisrTrigger(settle_ms=2000)
    trigger.observe("CB_1", RECLOSING, 1000)
    assert trigger.due(60_000) == ()
    assert trigger.state("CB_1") is TriggerState.RECLOSING
    trigger.observe("CB_1", LOCKED_OUT, 61_000)
    assert trigger.due(63_000) == ("CB_1",)


def test_trigger__stays_quiet_when_the_recloser_succeeds():
    trigger = FlisrTrigger(settle_ms=2000)
    trigger.observe("CB_1", RECLOSING, 1000)
    trigger.observe("CB_1", HeadSigns(reclose_active=True), 1500)
    trigger.observe("CB_1", CLOSED, 4000)
    assert trigger.due(100_000) == ()
    assert trigger.state("CB_1") is TriggerState.QUIET


def test_trigger__stays_quiet_when_the_head_closes_while_settling():
    trigger = FlisrTrigger(settle_ms=2000)
    trigger.observe("CB_1", TRIPPED, 1000)
    trigger.observe("CB_1", CLOSED, 2500)
    assert trigger.due(10_000) == ()


@pytest.mark.parametrize("signs", [HeadSigns(is_open=True), HeadSigns(tripped=True), HeadSigns(lockout=True)])
def test_trigger__needs_both_the_trip_and_the_open_position(signs):
    """A head opened by an operator, and a trip whose position is not known (yet), start nothing."""
    trigger = FlisrTrigger(settle_ms=2000)
    trigger.observe("CB_1", signs, 0)
    assert trigger.due(10_000) == ()


def test_trigger__lockout_overrides_reclose_active():
    trigger = FlisrTrigger(settle_ms=0)
    trigger.observe("CB_1", HeadSigns(True, True, True, True), 5)
    assert trigger.due(5) == ("CB_1",)


def test_trigger__late_evidence_restarts_the_settling():
    trigger = FlisrTrigger(settle_ms=2000)
    trigger.observe("CB_1", TRIPPED, 1000)
    trigger.note_evidence("CB_1", 2500)
    assert trigger.due(3000) == ()
    assert trigger.due(4500) == ("CB_1",)


def test_trigger__repeated_telegrams_do_not_restart_the_settling():
    trigger = FlisrTrigger(settle_ms=2000)
    trigger.observe("CB_1", TRIPPED, 1000)
    trigger.observe("CB_1", TRIPPED, 2500)
    assert trigger.due(3000) == ("CB_1",)


def test_trigger__starts_again_for_the_next_fault():
    trigger = FlisrTrigger(settle_ms=1000)
    trigger.observe("CB_1", TRIPPED, 0)
    assert trigger.due(1000) == ("CB_1",)
    trigger.observe("CB_1", LOCKED_OUT, 1500)
    assert trigger.due(9000) == ()
    trigger.observe("CB_1", CLOSED, 10_000)
    trigger.observe("CB_1", TRIPPED, 20_000)
    assert trigger.due(21_000) == ("CB_1",)


def test_trigger__keeps_feeders_apart():
    trigger = FlisrTrigger(settle_ms=1000)
    trigger.observe("CB_2", TRIPPED, 0)
    trigger.observe("CB_1", TRIPPED, 0)
    trigger.observe("CB_3", TRIPPED, 500)
    assert trigger.due(1000) == ("CB_1", "CB_2")
    assert trigger.next_due() == 1500


def test_trigger__continues_from_a_snapshot():
    trigger = FlisrTrigger(settle_ms=1000)
    trigger.observe("CB_1", TRIPPED, 0)
    trigger.observe("CB_2", RECLOSING, 0)
    assert trigger.due(1000) == ("CB_1",)
    trigger.observe("CB_3", LOCKED_OUT, 1200)
    copy = FlisrTrigger(settle_ms=1000)
    copy.restore(json.loads(json.dumps(trigger.snapshot())))
    assert copy.snapshot() == trigger.snapshot()
    assert copy.due(2200) == ("CB_3",)
    copy.observe("CB_2", LOCKED_OUT, 3000)
    assert copy.due(4000) == ("CB_2",)
