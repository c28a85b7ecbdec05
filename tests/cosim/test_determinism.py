"""The same scenario gives the same journal, byte by byte, and the protocol shows in lines of kind session only."""

from __future__ import annotations

from pathlib import Path

import pytest
from cosim_worlds import FAULT, Ran, run, scenario

HARSH = {
    "default": "latency: 80 ms, jitter: 60 ms, loss: 5 %",
    "extra": "plant: {loads: {noise: 5 %, scale: 60 %}}",
}
EVENTS = (
    FAULT,
    "{at: 7 s, comms loss: {station: RTU_9, for: 25 s}}",
    '{when: "TIE_1.position == closed", after: 3 s, load: {consumer: all, scale: 50 %}}',
)


@pytest.fixture(scope="module")
def harsh(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """A fault with jitter, loss, noise, and a station that is cut off."""
    return run(tmp_path_factory.mktemp("harsh"), scenario(*EVENTS, duration="60 s", **HARSH))


def test_same_seed__same_journal(harsh: Ran, tmp_path: Path) -> None:
    again = run(tmp_path, scenario(*EVENTS, duration="60 s", **HARSH))
    assert again.journal == harsh.journal
    assert (again.folder / "samples.parquet").read_bytes() == (harsh.folder / "samples.parquet").read_bytes()
    assert harsh.of("session", state="lost")
    assert harsh.of("plan", outcome="done")


def test_coupling__each_simulator_for_itself_gives_the_same_journal(harsh: Ran, tmp_path: Path) -> None:
    separate = run(tmp_path, scenario(*EVENTS, duration="60 s", **HARSH), coupling="separate")
    assert separate.journal == harsh.journal
    assert (separate.folder / "samples.parquet").read_bytes() == (harsh.folder / "samples.parquet").read_bytes()


def test_other_seed__other_journal_same_outcome(harsh: Ran, tmp_path: Path) -> None:
    other = run(tmp_path, scenario(*EVENTS, duration="60 s", seed=43, **HARSH))
    assert other.journal != harsh.journal
    assert other.commanded() == harsh.commanded() != []


def test_other_link__same_but_for_the_sessions(harsh: Ran, tmp_path: Path) -> None:
    other = run(tmp_path, scenario(*EVENTS, duration="60 s", **HARSH), protocol="in_process")
    assert other.without("session") == harsh.without("session")


def test_mixed_links__same_but_for_the_sessions(tmp_path: Path) -> None:
    stations = "\n".join(f"RTU_{n}: {{protocol: in_process}}" for n in (1, 3, 8))
    mixed = run(tmp_path, scenario(FAULT, stations=stations), name="mixed")
    pure = run(tmp_path, scenario(FAULT), name="pure")
    assert mixed.without("session") == pure.without("session")
    assert mixed.of("plan", outcome="done")


def test_jitter_and_loss_alone__depend_on_the_seed(tmp_path: Path) -> None:
    texts = {seed: scenario(FAULT, seed=seed, default=HARSH["default"]) for seed in (1, 2)}
    journals = {
        seed: run(tmp_path, text, name=str(seed), protocol="in_process").journal for seed, text in texts.items()
    }
    assert journals[1] != journals[2]


def test_nothing_random__does_not_depend_on_the_seed(tmp_path: Path) -> None:
    runs = [run(tmp_path, scenario(FAULT, seed=n), name=str(n), protocol="in_process") for n in (1, 2)]
    assert runs[0].of("plan", outcome="done")
    assert runs[0].journal == runs[1].journal
