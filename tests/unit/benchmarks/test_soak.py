"""The soak test in twenty seconds, and the ledger that it judges by."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[3]
_spec = importlib.util.spec_from_file_location("soak_ledger", ROOT / "benchmarks/soak_ledger.py")
assert _spec is not None
assert _spec.loader is not None
books = sys.modules["soak_ledger"] = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(books)


def test_soak__every_event_comes_once_or_is_covered() -> None:
    options = ["--seconds", "20", "--report", "10", "--cuts", "4", "--iec104", "20", "--dnp3", "10", "--modbus", "4"]
    rates = ["--iec104-rate", "1500", "--dnp3-rate", "750", "--modbus-rate", "50"]
    command = [sys.executable, "-m", "benchmarks.soak", *options, *rates, "--event-limit", "200"]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=200)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "verdict: held" in ran.stdout
    assert "covered 0 " not in ran.stdout.splitlines()[-3], "the outages are longer than the buffers last"


def taken(*numbers: int, overflow: bool = False) -> Any:
    ledger = books.Ledger("R")
    ledger.connected()
    ledger.overflow(overflow)
    for number in numbers:
        ledger.take("m", number)
    return ledger


MADE = {"m": 5, "c": 0, "s": 0}


def test_ledger__finds_nothing_in_a_run_without_fault() -> None:
    ledger = taken(1, 2, 3, 4, 5)
    assert ledger.faults(MADE) == []
    assert ledger.counts().arrived == 5


def test_ledger__finds_a_loss() -> None:
    assert taken(1, 4, 5).faults(MADE) == ["R: m2 to m3 are missing without an overflow indication"]
    assert taken(1, 2).faults(MADE) == ["R: the last event is m2 instead of m5"]


def test_ledger__takes_an_overflow_indication_before_the_gap() -> None:
    ledger = taken(1, 4, 5, overflow=True)
    assert ledger.faults(MADE) == []
    assert ledger.counts().covered == 2


def test_ledger__takes_an_indication_behind_the_gap_only_where_order_is_not_kept() -> None:
    for in_order, findings in ((True, 1), (False, 0)):
        ledger = books.Ledger("R", in_order=in_order)
        for number in (1, 4, 5):
            ledger.take("m", number)
        ledger.overflow(True)
        assert len(ledger.faults(MADE)) == findings


def test_ledger__takes_what_fills_a_gap_late() -> None:
    ledger = taken(1, 4, 5, 3, 2)
    assert ledger.faults(MADE) == []
    assert ledger.counts().late == 2


def test_ledger__allows_repetitions_of_an_earlier_connection_alone() -> None:
    ledger = taken(1, 2, 3)
    ledger.connected()
    for number in (2, 3, 4, 5):
        ledger.take("m", number)
    assert ledger.faults(MADE) == []
    assert ledger.counts().repeated == 2
    ledger.take("m", 4)
    assert ledger.faults(MADE) == ["R: event m4 came again behind m5"]


def test_polled_ledger__finds_torn_and_old_values() -> None:
    ledger = books.PolledLedger("R")
    for name, value in (("a", 1), ("b", 1)):
        ledger.take(name, value)
    ledger.polled()
    assert ledger.faults({"a": 1, "b": 1}) == []
    ledger.take("a", 3)
    ledger.polled()
    assert ledger.faults({"a": 3, "b": 3})[0] == "R: a is 3 and b is 1 in one answer"
