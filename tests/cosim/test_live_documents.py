"""The page for test laboratories: its commands and programs are run as they stand, against the scenario they name."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cosim_live import LIMIT_S, LiveWorld, live_world

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "jobs" / "test-lab.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", PAGE, re.DOTALL)
PROGRAMS = [text for language, text in BLOCKS if language == "python"]
COMMANDS = [line for language, text in BLOCKS if language == "console" for line in text.splitlines()]
HERE = "127.77.24.1"
"""An address of its own, so that the page's ports are free."""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveWorld]:
    text = (ROOT / "scenarios" / "test_lab.yaml").read_text(encoding="utf-8")
    moved = text.replace("listen: {address: 127.0.0.1", f"listen: {{address: {HERE}")
    assert HERE in moved
    with live_world(tmp_path_factory.mktemp("lab"), moved) as world:
        for station in ("RTU_3", "RTU_6", "RTU_13"):
            world.entry("session", station, state="interrogated")
        yield world


def said(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S)
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


@pytest.mark.parametrize(
    ("number", "library", "expected", "switch"),
    [
        (0, "c104", r"N6: (1[89]|2[01])\.\d\d kV\nLBS_6-7 is open\n", "LBS_6-7"),
        (1, "opendnp3", r"LBS_3-8 is open\n", "LBS_3-8"),
        (2, "pymodbus", r"N13: (1[89]|2[01])\.\d\d kV\nLBS_13-14 is open\n", "LBS_13-14"),
    ],
    ids=["c104", "opendnp3", "pymodbus"],
)
def test_program_of_the_page__reads_and_moves_the_plant(
    lab: LiveWorld, number: int, library: str, expected: str, switch: str
) -> None:
    pytest.importorskip(library)
    assert library in PROGRAMS[number]
    assert re.search(expected, said([sys.executable, "-c", PROGRAMS[number].replace("127.0.0.1", HERE)]))
    lab.entry("breaker", switch, position="open", cause="command")


@pytest.mark.skipif(shutil.which("mbpoll") is None, reason="mbpoll is not installed")
def test_commands_of_the_page__read_and_move_the_plant(lab: LiveWorld) -> None:
    read, close = (line.replace("127.0.0.1", HERE).split() for line in COMMANDS)
    assert re.search(r"\[0\]:\s+(1[89]|2[01])\.", said(read))
    assert "Written 1 reference" in said(close)


def test_table_of_the_page__is_what_the_run_prints(lab: LiveWorld) -> None:
    rows = re.findall(r"^\| (RTU_\d+) \| (\w+) \| 127.0.0.1:(\d+) \| \D+(\d+) \|$", PAGE, re.MULTILINE)
    assert len(rows) == 4
    for station, protocol, port, number in rows:
        row = lab.addresses[station]
        assert (row.protocol, row.host, row.port, row.number) == (protocol, HERE, int(port), int(number))
