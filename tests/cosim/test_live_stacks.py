"""One FLISR scenario in live runs: over every protocol and every stack the same commands as in simulated time."""

from __future__ import annotations

import importlib.util
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from cosim_live import LiveWorld, live_world
from cosim_worlds import CommandLine, run, scenario

from twin.errors import ExitCode

FAULT = "{at: 3 s, id: fault1, fault: {line: L3-8, kind: phase-to-phase}}"


def flisr(default: str, stations: str = "") -> str:
    settings = "mode: automatic, settle: 1 s"
    return scenario(FAULT, duration="60 s", flisr=settings, default=default, stations=stations)


@cache
def in_simulated_time() -> list[tuple[str, str]]:
    with TemporaryDirectory() as folder:
        return run(Path(folder), flisr("latency: 10 ms")).commanded()


def finished(world: LiveWorld) -> None:
    """FLISR has carried out its plan."""
    world.entry("plan", outcome="done")


@pytest.mark.parametrize(
    ("default", "stations", "speed"),
    [
        ("protocol: iec104", "", 4.0),
        ("protocol: dnp3", "", 4.0),
        ("protocol: modbus", "", 4.0),
        ("protocol: iec104, stack: c104", "", 1.0),
        ("protocol: dnp3, stack: opendnp3", "", 1.0),
        ("protocol: iec104", "RTU_3: {stack: c104}\nRTU_8: {protocol: dnp3, stack: opendnp3}", 1.0),
    ],
    ids=["iec104", "dnp3", "modbus", "c104", "opendnp3", "mixture"],
)
def test_flisr__gives_the_commands_of_simulated_time(tmp_path: Path, default: str, stations: str, speed: float) -> None:
    for library in ("c104", "opendnp3"):
        if library in default + stations and importlib.util.find_spec(library) is None:
            pytest.skip(f"{library} is not installed")
    with live_world(tmp_path, flisr(default, stations), speed=speed) as world:
        finished(world)
        assert world.stop().commanded() == in_simulated_time() != []


@pytest.mark.parametrize(
    ("default", "options", "sentence"),
    [
        ("stack: c104", {}, "station RTU_0 has the stack c104, which a run in simulated time cannot have; "),
        ("protocol: dnp3, stack: opendnp3", {"--speed": 2}, "station RTU_0 has the stack opendnp3, which a run in "),
        ("stack: c104", {"--live": None, "--speed": 2}, "whose timers follow the wall clock; run it with --speed 1"),
        ("stack: c104", {"--protocol": "modbus"}, "is reached over modbus, but the stack c104 speaks iec104 alone"),
        ("stack: c105", {}, "there is no stack c105; did you mean c104?"),
        ("protocol: in_process", {"--live": None}, "is reached in_process, where there is nothing to connect to"),
        ("sources: [10.0.0.0/8]", {}, "has sources, which a run in simulated time cannot have; run it with --live"),
        ("sources: [10.0.0]", {}, "10.0.0 is no IP address and no network such as 10.0.0.0/8"),
        ("security: {certificates: lab}", {}, "the file does not exist (twin certificates makes what is missing)"),
        ("iec104: {standby: true}", {}, "has a standby connection, which a run in simulated time cannot have"),
        ("latency: 0 s", {"--listen": "24000"}, "--listen goes with --live"),
        ("latency: 0 s", {"--live": None, "--listen": "here"}, "here is no place to listen at"),
        ("latency: 0 s", {"--live": None, "--listen": "65530"}, "there is no port 65536 for station RTU_6; begin at"),
        ("latency: 0 s", {"--live": None, "--snapshot-at": "1 s"}, "a live run has no snapshots"),
    ],
)
def test_bad_combination__is_one_sentence(
    twin: CommandLine, default: str, options: dict[str, Any], sentence: str
) -> None:
    twin.write(flisr(default))
    written = [part for name, value in options.items() for part in (name, value) if part is not None]
    assert twin("run", "scenario.yaml", "--out", "results", *written) == ExitCode.USAGE
    said = [line for line in twin.sentences if sentence in line]
    assert len(said) >= 1, twin.err
    assert not Path("results").exists()
