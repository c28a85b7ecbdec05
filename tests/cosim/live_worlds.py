"""A live world in a thread, and foreign masters in processes of their own that talk to it."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any
from unittest.mock import patch

from cosim_worlds import Ran, _network, leftovers

from simulators.addresses import StationAddress
from simulators.preparation import Preparation, prepare
from simulators.runner import RunInterruptedError, RunOptions, run_prepared
from twin.journal import JournalEntry
from twin.points.model import PointDefinition
from twin.scenario import PlantState
from twin.timebase import SimTime

LIMIT_S = 90.0
"""How long anything may take before a test fails; nothing takes nearly as long."""
END_S = 10.0
C104_CLIENT = Path(__file__).parents[1] / "interop" / "peers" / "c104_client.py"
OPENDNP3_MASTER = Path(__file__).parents[2] / "twin" / "links" / "opendnp3" / "worker.py"


class LiveWorld:
    """A world that runs until :meth:`stop`; ``entries`` is its journal so far."""

    def __init__(self, preparation: Preparation, folder: Path, **options: Any) -> None:
        self.preparation = preparation
        self.entries: list[JournalEntry] = []
        self.addresses: dict[str, StationAddress] = {}
        self.now: SimTime = 0
        self._folder = folder
        self._news = threading.Condition()
        self._stopping = False
        self._ran: Ran | None = None
        self._options = RunOptions(
            out=folder, report=False, live=True, **{"speed": 1.0, **options}, on_listening=self._listening
        )
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="live world")
        self._thread.start()

    def _run(self) -> None:
        try:
            self._ran = Ran(run_prepared(self.preparation, self._options, self._watch), self._folder)
        except BaseException as error:  # noqa: BLE001 - the edge of the thread: the test looks at it
            self._failure = error
        finally:
            with self._news:
                self._stopping = True
                self._news.notify_all()

    def _listening(self, rows: Sequence[StationAddress]) -> None:
        with self._news:
            self.addresses = {row.station: row for row in rows}
            self._news.notify_all()

    def _watch(self, now: SimTime, state: PlantState, entries: Sequence[JournalEntry]) -> None:
        with self._news:
            self.now = now
            self.entries += entries
            self._news.notify_all()
            if self._stopping:
                raise RunInterruptedError(now)

    def wait(self, until: Callable[[], Any]) -> Any:
        """Wait for something; fails if the run ends before."""
        with self._news:
            found: Any = None
            deadline = time.monotonic() + LIMIT_S
            while not (found := until()):
                assert not self._stopping, (self._failure, self._ran and self._ran.result.message)
                assert self._news.wait(deadline - time.monotonic()), [entry.to_json() for entry in self.entries[-20:]]
            return found

    def entry(self, kind: str, subject: str = "", **data: Any) -> JournalEntry:
        """The first journal entry of a kind with these data, waited for."""
        return next(iter(self.wait(lambda: self.those(kind, subject, **data))))

    def those(self, kind: str, subject: str = "", **data: Any) -> list[JournalEntry]:
        """The journal entries of a kind with these data so far."""
        return [
            entry
            for entry in self.entries
            if entry.kind == kind and subject in ("", entry.subject) and data.items() <= entry.data.items()
        ]

    def point(self, name: str) -> PointDefinition:
        """A point of the map."""
        return next(point for point in self.preparation.derivation.points if point.name == name)

    def stop(self) -> Ran:
        """End the run and look at it."""
        with self._news:
            self._stopping = True
        self._thread.join(LIMIT_S)
        assert self._ran is not None, self._failure
        return self._ran


@contextmanager
def live_world(folder: Path, text: str, **options: Any) -> Iterator[LiveWorld]:
    """Run a scenario live while the body works; nothing may stay behind."""
    path = folder / "scenario.yaml"
    path.write_text(text, encoding="utf-8")
    threads, sockets = leftovers()
    with patch("simulators.preparation.load_network", _network):
        world = LiveWorld(prepare(path), folder / "results", **options)
    try:
        world.wait(lambda: world.addresses)
        yield world
    finally:
        world.stop()
    after, sockets_after = leftovers()
    assert set(after) <= set(threads)
    assert sockets_after <= sockets


class LinePeer:
    """A program that says JSON lines and obeys JSON lines."""

    def __init__(self, script: Path, *arguments: str) -> None:
        pipe = subprocess.PIPE
        command = [sys.executable, "-P", str(script), *arguments]
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, bufsize=1)
        self.rows: list[dict[str, Any]] = []
        self._ended = False
        self._news = threading.Condition()
        self._thread = threading.Thread(target=self._listen, name="peer")
        self._thread.start()

    def _listen(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith("{"):
                with self._news:
                    self.rows.append(json.loads(line))
                    self._news.notify_all()
        with self._news:
            self._ended = True
            self._news.notify_all()

    def tell(self, **order: Any) -> None:
        """One order."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(order) + "\n")

    def wait(self, until: Callable[[dict[str, Any]], Any], since: int = 0) -> dict[str, Any]:
        """The first row, from number ``since`` on, of which something holds; waited for."""
        deadline = time.monotonic() + LIMIT_S
        with self._news:
            while True:
                if found := next((row for row in self.rows[since:] if until(row)), None):
                    return found
                assert not self._ended, self.rows[-10:]
                assert self._news.wait(deadline - time.monotonic()), self.rows[-10:]

    def __enter__(self) -> LinePeer:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        try:
            self.process.wait(END_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        finally:
            self._thread.join()
            assert self.process.stdout is not None
            self.process.stdout.close()
