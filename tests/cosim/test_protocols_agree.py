"""The shipped FLISR scenario over every protocol and a mixture: the same commands in the same order, same outcomes.

Compared is the command log: switch, action, phase by phase but for the answer of the station (``activated``), which
Modbus gives before and DNP3 together with the position. Times differ: over Modbus the control room sees a change
with the next poll.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from cosim_worlds import FAULT, Ran, run, scenario

from twin.points.protocols import PROTOCOLS

SHIPPED = Path("scenarios/flisr_cigre_mv.yaml")
ONE_OF_EACH = "\n".join(f"  RTU_{n}: {{protocol: {p}}}" for n, p in enumerate(PROTOCOLS * 4, start=1) if n <= 11)
"""Fifteen stations; those not named stay with the scenario's default."""


def shortened(stations: str = "") -> str:
    """The shipped scenario until everything is restored; its expectations reach further and are left out."""
    text = SHIPPED.read_text().replace("duration: 10 min", "duration: 90 s")
    head, _, rest = text.partition("expect:")
    report = rest[rest.index("report:") :]
    return (head + report).replace("latency: 80 ms}\n", f"latency: 80 ms}}\n{stations}\n")


def command_log(ran: Ran) -> list[tuple[str, str, str]]:
    """(switch, action, phase) of every command, in order."""
    return [(row["switch"], row["action"], row["phase"]) for row in ran.of("command") if row["phase"] != "activated"]


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """The run over the in-process link."""
    return run(tmp_path_factory.mktemp("reference"), shortened(), protocol="in_process")


@pytest.mark.parametrize("protocol", [name for name in PROTOCOLS if name != "in_process"])
def test_protocol__gives_the_command_log_of_the_in_process_link(protocol: str, reference: Ran, tmp_path: Path) -> None:
    ran = run(tmp_path, shortened(), protocol=protocol)
    assert command_log(ran) == command_log(reference)
    assert ran.commanded() == reference.commanded() != []
    assert ran.of("plan", outcome="done")


def test_mixture__gives_the_command_log_and_the_same_journal_twice(reference: Ran, tmp_path: Path) -> None:
    mixed = [run(tmp_path, shortened(ONE_OF_EACH), name=name) for name in ("one", "two")]
    assert command_log(mixed[0]) == command_log(reference)
    assert mixed[0].journal == mixed[1].journal


def test_modbus__same_seed_same_journal_with_jitter_and_loss(tmp_path: Path) -> None:
    stations = "\n".join(f"RTU_{n}: {{protocol: modbus}}" for n in (1, 3, 8))
    default = "protocol: in_process, latency: 80 ms, jitter: 60 ms, loss: 5 %"
    text = scenario(FAULT, default=default, stations=stations, duration="20 s")
    runs = [run(tmp_path, text, name=name) for name in ("one", "two")]
    assert runs[0].journal == runs[1].journal
    assert runs[0].of("plan", outcome="done")


def test_modbus__continues_from_a_snapshot_with_the_rest_of_the_journal(tmp_path: Path) -> None:
    whole = run(tmp_path, shortened(), name="whole", protocol="modbus", snapshot_at=(61_000, 66_500))
    for moment in (61_000, 66_500):
        snapshot = whole.result.snapshots[moment]
        rest = run(tmp_path, shortened(), name=str(moment), protocol="modbus", continue_from=snapshot)
        assert rest.journal
        assert whole.journal.endswith(rest.journal)
