"""Helpers of the whole-run tests: scenario texts, runs that must leave nothing behind, journals as rows."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pyarrow.parquet as pq
import pytest

from simulators.runner import RunOptions, RunResult, run_scenario
from twin.cli import main
from twin.network import load_network, network_names
from twin.network.model import Network

FAULT = "{at: 5 s, id: fault1, fault: {line: L3-8, kind: phase-to-phase}}"
"""On a cable of the first feeder of CIGRE MV, 61 s before FLISR would be done with it at the latest."""


def scenario(
    *events: str,
    duration: str = "20 s",
    seed: int = 42,
    flisr: str = "mode: automatic",
    stations: str = "",
    extra: str = "",
    network: str = "cigre_mv",
    default: str = "latency: 80 ms",
    name: str = "whole-run",
) -> str:
    """A scenario on CIGRE MV; ``stations`` and ``extra`` are lines of YAML, ``events`` items of the list."""
    lines = [
        "scenario: 1",
        f"name: {name}",
        f"network: {network}",
        "start: 2026-01-15T18:00:00Z",
        f"duration: {duration}",
        f"seed: {seed}",
        "applications:",
        f"  flisr: {{{flisr}}}",
        "stations:",
        f"  default: {{{default}}}",
        *(f"  {line}" for line in stations.splitlines()),
        *(["events:"] if events else []),
        *(f"  - {event}" for event in events),
        extra,
    ]
    return "\n".join(lines) + "\n"


@dataclass(frozen=True)
class Ran:
    """A run that is over."""

    result: RunResult
    folder: Path

    @property
    def code(self) -> int:
        return int(self.result.exit_code)

    @property
    def journal(self) -> bytes:
        return (self.folder / "journal.jsonl").read_bytes()

    @property
    def rows(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.journal.splitlines()]

    def of(self, kind: str, subject: str = "", **data: Any) -> list[dict[str, Any]]:
        """The rows of a kind, of a subject if given, with these data."""
        return [
            row
            for row in self.rows
            if row["kind"] == kind and subject in ("", row["subject"]) and data.items() <= row.items()
        ]

    def plans(self) -> list[dict[str, Any]]:
        """The rows in which plans were made."""
        return [row for row in self.of("plan") if "steps" in row]

    def without(self, kind: str) -> list[bytes]:
        """The journal's lines but those of a kind."""
        mark = f'"kind":"{kind}"'.encode()
        return [line for line in self.journal.splitlines() if mark not in line]

    def commanded(self) -> list[tuple[str, str]]:
        """(switch, action) of every confirmed command, in order."""
        return [(row["switch"], row["action"]) for row in self.of("command", phase="confirmed")]

    def passed(self) -> dict[str, bool]:
        """The verdicts by the id of their expectation."""
        return {verdict.id: verdict.passed for verdict in self.result.verdicts}


def leftovers() -> tuple[list[str], int]:
    """Threads of this process by name, and how many sockets it holds."""
    sockets = 0
    for entry in Path("/proc/self/fd").iterdir():
        try:
            sockets += str(entry.readlink()).startswith("socket:")
        except FileNotFoundError:
            continue
    return sorted(thread.name for thread in threading.enumerate()), sockets


@cache
def _shipped(spec: str) -> Network:
    """Networks do not change, and making one takes as long as a short run."""
    return load_network(spec)


def _network(spec: str, *, base_dir: Path) -> Network:
    return _shipped(spec) if spec in network_names() else load_network(spec, base_dir=base_dir)


def run(folder: Path, text: str, *, name: str = "run", **options: Any) -> Ran:
    """Run a scenario and check that no thread and no socket stays behind."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.yaml"
    path.write_text(text, encoding="utf-8")
    threads, sockets = leftovers()
    with patch("simulators.preparation.load_network", _network):
        result = run_scenario(path, RunOptions(out=folder / name, **{"report": False, **options}))
    threads_after, sockets_after = leftovers()
    # what an earlier test left to end by itself may end meanwhile
    assert not Counter(threads_after) - Counter(threads)
    assert sockets_after <= sockets
    return Ran(result, folder / name)


class CommandLine:
    """``twin`` in this process."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self._capsys = capsys
        self.out = ""
        self.err = ""

    def __call__(self, *arguments: object) -> int:
        """Its exit code; what it said is in ``out`` and ``err``."""
        self._capsys.readouterr()
        with patch("simulators.preparation.load_network", _network), pytest.raises(SystemExit) as end:
            main([str(argument) for argument in arguments])
        said = self._capsys.readouterr()
        self.out, self.err = said.out, said.err
        return int(end.value.code)

    def write(self, text: str | bytes, name: str = "scenario.yaml") -> Path:
        """A file in the working directory."""
        path = self.folder / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    @property
    def sentences(self) -> list[str]:
        """What it complained of."""
        return self.err.splitlines()


@dataclass
class TwinProcess:
    """``twin`` in a process of its own, the leader of its process group."""

    process: subprocess.Popen[str]
    err: str = ""
    out: str = ""

    def interrupt(self, number: int = signal.SIGINT) -> None:
        """Send a signal to it alone."""
        self.process.send_signal(number)

    def wait(self) -> int:
        """Its exit code once it has ended; nothing of its process group is left then."""
        self.out, self.err = self.process.communicate(timeout=120)
        with pytest.raises(ProcessLookupError):
            os.killpg(self.process.pid, 0)
        return self.process.returncode


def start_twin(folder: Path, *arguments: object, prepare: Callable[[], None] | None = None) -> TwinProcess:
    """Start ``twin`` in ``folder``; ``prepare`` runs in the child before it."""
    command = [str(Path(sys.executable).with_name("twin")), *map(str, arguments)]
    process = subprocess.Popen(
        command,
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=prepare,
    )
    return TwinProcess(process)


def lines_of(path: Path) -> Iterator[dict[str, Any]]:
    """The journal of a results folder; every line must be whole."""
    for line in path.read_text(encoding="utf-8").splitlines():
        yield json.loads(line)


def sample_rows(folder: Path) -> int:
    """How many rows ``samples.parquet`` has."""
    return int(pq.read_table(folder / "samples.parquet").num_rows)


def bound_port(host: str) -> tuple[socket.socket, int]:
    """A socket that listens at a free port of ``host``."""
    listener = socket.socket()
    listener.bind((host, 0))
    listener.listen()
    return listener, int(listener.getsockname()[1])
