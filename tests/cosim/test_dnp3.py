"""Whole runs over DNP3: repeatable, continued from snapshots, polled, and with a silent station."""

from __future__ import annotations

from pathlib import Path

import pytest
from cosim_worlds import FAULT, Ran, run, scenario

DNP3 = "protocol: dnp3, latency: 80 ms"
HARSH = f"{DNP3}, jitter: 60 ms, loss: 5 %"
EVENTS = (FAULT, "{at: 7 s, comms loss: {station: RTU_9, for: 40 s}}")
MOMENTS = (2_000, 5_500, 11_000, 11_700, 20_000)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """A fault with jitter, loss and a station that is cut off; leaves snapshots."""
    text = scenario(*EVENTS, duration="60 s", default=HARSH)
    return run(tmp_path_factory.mktemp("whole"), text, snapshot_at=MOMENTS)


def test_same_seed__same_journal(whole: Ran, tmp_path: Path) -> None:
    again = run(tmp_path, scenario(*EVENTS, duration="60 s", default=HARSH))
    assert again.journal == whole.journal
    assert whole.of("session", "RTU_9", state="lost")
    assert whole.of("plan", outcome="done")


@pytest.mark.parametrize("moment", MOMENTS)
def test_continued__rest_of_the_journal(whole: Ran, moment: int, tmp_path: Path) -> None:
    text = scenario(*EVENTS, duration="60 s", default=HARSH)
    rest = run(tmp_path, text, continue_from=whole.result.snapshots[moment])
    assert rest.journal
    assert whole.journal.endswith(rest.journal)


def test_polled_classes__same_commands_without_unsolicited_responses(whole: Ran, tmp_path: Path) -> None:
    polls = "unsolicited: false, class_1_poll: 500 ms, class_2_poll: 2 s"
    text = scenario(FAULT, duration="30 s", default=f"{DNP3}, dnp3: {{{polls}}}")
    polled = run(tmp_path, text)
    assert polled.commanded() == whole.commanded() != []


def test_silent_station__lost_after_three_requests_and_dialled_again(tmp_path: Path) -> None:
    ran = run(tmp_path, scenario(duration="25 s", default=DNP3, stations="RTU_9: {answers: false}"))
    told = [(row["t_ms"], row["state"]) for row in ran.of("session", "RTU_9")]
    assert [state for _, state in told] == ["connected", "lost", "connected"]
    assert 15_000 <= told[1][0] <= 16_100
    assert ran.of("session", "RTU_9", state="lost")[0]["detail"] == "no answer to disable unsolicited within 15000 ms"
