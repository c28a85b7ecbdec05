"""Runs one scenario from file to results folder.

Whatever happens on the way, what was recorded is kept, the report says how the run ended, and no thread, socket or
process stays behind.
"""

from __future__ import annotations

import errno
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from simulators.addresses import StationAddress
from simulators.clock import OverrunPolicy, Pacer
from simulators.grid.simulator import GridState
from simulators.live import check_run
from simulators.preparation import Preparation, prepare
from simulators.snapshots import read_snapshot
from simulators.world import Coupling, Outputs, World, build_world
from twin.errors import Blame, ExitCode, TwinError
from twin.historian import JournalFile, ResultsWriteError, SampleFile, write_json, write_text
from twin.journal import JournalEntry
from twin.network.model import Network, SwitchKind
from twin.report import write_junit, write_report
from twin.scenario import PlantState, resolved_yaml
from twin.scenario.expectations import Verdict
from twin.scenario.stations import ListenSettings
from twin.timebase import SimTime, clock_text
from twin.transport import BARRIER_LIMIT_S

WRITTEN_LAST = (
    "run.json",
    "report.html",
    "junit.xml",
    "grid.json",
    "addresses.json",
    "traceback.txt",
    "snapshot-*.json",
)
"""Files that are written when a run has ended."""
PACKAGES = ("distribution-twin", "mosaik", "power-grid-model", "pandapower", "simpy", "numpy")


class RunInterruptedError(TwinError):
    """Somebody stopped the run."""

    def __init__(self, now: SimTime) -> None:
        self.now = now
        super().__init__(f"the run was interrupted at {clock_text(now)}; what was recorded until then is kept")

    @property
    def exit_code(self) -> ExitCode:
        return ExitCode.INTERRUPTED


class ResultsFolderError(TwinError):
    """The results folder cannot be used; nothing was run."""

    blame = Blame.SCENARIO

    def __init__(self, folder: Path, reason: str) -> None:
        self.folder, self.reason = folder, reason
        super().__init__(f"the results cannot be put into {folder}: {reason[:1].lower()}{reason[1:]}")


class LiveSnapshotError(TwinError):
    """A live run is to be saved, or continued."""

    blame = Blame.SCENARIO

    def __init__(self) -> None:
        super().__init__("a live run has no snapshots: masters outside cannot be taken back; run without --live")


class ProgramError(TwinError):
    """A fault of the twin itself."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(f"the twin itself failed ({type(error).__name__}: {error}); please report this")


@dataclass(frozen=True)
class RunOptions:
    """How to run. ``speed`` 0 is as fast as it goes; ``protocol`` replaces every station's.

    ``barrier_limit_s`` is how long a station may take, by the wall clock, to deliver what it announced; ``coupling``
    is whether mosaik steps the simulators as one or each for itself. ``live`` lets sessions run freely against the
    wall clock (it needs a speed), with stations at the places that ``listen`` or the scenario gives; ``on_listening``
    is told of these places before the run starts.
    """

    out: Path | None = None
    speed: float = 0.0
    overrun: OverrunPolicy = OverrunPolicy.SLIP
    protocol: str | None = None
    continue_from: bytes | None = None
    snapshot_at: tuple[SimTime, ...] = ()
    report: bool = True
    barrier_limit_s: float = BARRIER_LIMIT_S
    coupling: Coupling = "bundled"
    live: bool = False
    listen: ListenSettings | None = None
    on_listening: Callable[[Sequence[StationAddress]], None] = lambda rows: None


@dataclass
class RunResult:
    """What a run came to."""

    scenario: str
    folder: Path
    exit_code: ExitCode = ExitCode.BROKEN
    message: str = ""
    verdicts: list[Verdict] = field(default_factory=list)
    simulated_ms: SimTime = 0
    cycles: int = 0
    wall_s: float = 0.0
    shares: dict[str, float] = field(default_factory=dict)
    snapshots: dict[SimTime, bytes] = field(default_factory=dict)
    report: Path | None = None

    @property
    def speed_factor(self) -> float:
        """How many times faster than real time the run was."""
        return self.simulated_ms / 1000.0 / self.wall_s if self.wall_s else 0.0

    @property
    def status(self) -> str:
        if self.exit_code in (ExitCode.PASSED, ExitCode.EXPECTATION_FAILED):
            return "completed"
        return "interrupted" if self.exit_code is ExitCode.INTERRUPTED else "broken"


Watcher = Callable[[SimTime, PlantState, Sequence[JournalEntry]], None]


def _unwatched(now: SimTime, state: PlantState, entries: Sequence[JournalEntry]) -> None:
    """Watches nothing."""


def run_scenario(path: Path, options: RunOptions | None = None, watch: Watcher = _unwatched) -> RunResult:
    """Run the scenario in ``path``; ``watch`` is told of every cycle.

    Raises:
        TwinError: nothing was run, because the scenario is wrong or the results folder cannot be written.
            What goes wrong later is in the result.
    """
    return run_prepared(prepare(path), options, watch)


def run_prepared(preparation: Preparation, options: RunOptions | None = None, watch: Watcher = _unwatched) -> RunResult:
    """Run a scenario that was read and checked before; as :func:`run_scenario`."""
    return _Run(preparation, options or RunOptions(), watch).execute()


class _Run:
    """One run with its files."""

    def __init__(self, preparation: Preparation, options: RunOptions, watch: Watcher) -> None:
        self.p = preparation
        self.options = options
        self.watch = watch
        self.stop_asked = False
        self.pacer = Pacer(options.speed, options.overrun)
        folder = options.out or _free_folder(Path("results") / preparation.scenario.name)
        self.result = RunResult(preparation.scenario.name, folder)
        self.world: World | None = None

    def execute(self) -> RunResult:
        options = self.options
        check_run(self.p, options.protocol, live=options.live, speed=options.speed, listen=options.listen)
        if options.live and (options.continue_from is not None or options.snapshot_at):
            raise LiveSnapshotError
        if self.options.continue_from is not None:
            read_snapshot(self.options.continue_from, self.p, self.options.protocol)
        _make_folder(self.result.folder)
        write_text(self.result.folder / "scenario.yaml", resolved_yaml(self.p.scenario))
        journal = JournalFile(self.result.folder / "journal.jsonl")
        samples = SampleFile(self.result.folder / "samples.parquet", [c.name for c in self.p.columns])
        started = perf_counter()
        try:
            with _stoppable(self._ask_stop):
                self._simulate(Outputs(journal, samples, self._on_cycle))
        except TwinError as error:
            self._failed(error, error.exit_code)
        except KeyboardInterrupt:
            self._failed(RunInterruptedError(self.result.simulated_ms), ExitCode.INTERRUPTED)
        except Exception as error:  # noqa: BLE001 - the edge of a run: record it, say so, clean up
            self._failed(ProgramError(error), ExitCode.BROKEN)
            self._keep_traceback(error)
        self.result.wall_s = perf_counter() - started
        self._settle(journal, samples)
        return self.result

    def _ask_stop(self) -> None:
        self.stop_asked = True
        self.pacer.cancel()

    def _on_cycle(self, now: SimTime, state: PlantState, entries: Sequence[JournalEntry]) -> None:
        self.result.simulated_ms = now
        self.watch(now, state, entries)
        if self.stop_asked:
            raise RunInterruptedError(now)

    def _simulate(self, outputs: Outputs) -> None:
        options = self.options
        self.world = world = build_world(
            self.p,
            outputs,
            self.pacer,
            protocol=options.protocol,
            continue_from=options.continue_from,
            snapshot_at=options.snapshot_at,
            barrier_limit_s=options.barrier_limit_s,
            coupling=options.coupling,
            live=options.live,
            listen=options.listen,
        )
        try:
            if world.addresses:
                rows = [row.as_data() for row in world.addresses]
                write_json(self.result.folder / "addresses.json", {"stations": rows})
                options.on_listening(world.addresses)
            world.run()
            if self.stop_asked:
                raise RunInterruptedError(self.result.simulated_ms)
            self.result.verdicts = world.recorder.finish()
            passed = all(verdict.passed for verdict in self.result.verdicts)
            self.result.exit_code = ExitCode.PASSED if passed else ExitCode.EXPECTATION_FAILED
        finally:
            world.close()

    def _failed(self, error: TwinError, code: ExitCode) -> None:
        self.result.exit_code = code
        self.result.message = str(error)

    def _keep_traceback(self, error: Exception) -> None:
        import traceback

        text = "".join(traceback.format_exception(error))
        try:
            write_text(self.result.folder / "traceback.txt", text)
        except ResultsWriteError as full:
            self.result.message += f" ({full})"

    def _settle(self, journal: JournalFile, samples: SampleFile) -> None:
        """Close the files and write what describes the run; each as far as the disk allows."""
        if self.world is not None:
            self.result.cycles = self.world.recorder.cycles
            self.result.shares = _shares(self.world.context.stopwatch.seconds)
            self.result.snapshots = self.world.snapshots
        for work in (journal.close, samples.close, self._write_run, self._write_grid, self._write_snapshots):
            self._try(work)
        if self.options.report:
            self._try(self._write_report)

    def _try(self, work: Callable[[], None]) -> None:
        try:
            work()
        except (ResultsWriteError, OSError) as error:
            if not self.result.message:
                self.result.exit_code = ExitCode.BROKEN
                self.result.message = str(error)

    def _write_report(self) -> None:
        write_junit(self.result.folder)
        self.result.report = write_report(self.result.folder)

    def _write_snapshots(self) -> None:
        for t_ms, data in self.result.snapshots.items():
            write_text(self.result.folder / f"snapshot-{t_ms}.json", data.decode())

    def _write_run(self) -> None:
        scenario, result, world = self.p.scenario, self.result, self.world
        stations = [station.name for station in self.p.derivation.remote_stations]
        write_json(
            result.folder / "run.json",
            {
                "scenario": scenario.name,
                "description": scenario.description,
                "network": scenario.network,
                "seed": scenario.seed,
                "start": scenario.start.isoformat(),
                "duration_ms": scenario.duration,
                "simulated_ms": result.simulated_ms,
                "wall_s": round(result.wall_s, 3),
                "speed_factor": round(result.speed_factor, 1),
                "steps": result.cycles,
                "status": result.status,
                "message": result.message,
                "exit_code": int(result.exit_code),
                "protocols": {name: self.options.protocol or scenario.station(name).protocol for name in stations},
                "endpoints": world.endpoints if world else {},
                "overruns": world.pacer.overruns if world else 0,
                "verdicts": [vars_of(verdict) for verdict in result.verdicts],
                "shares": result.shares,
                "versions": {name: version(name) for name in PACKAGES},
            },
        )

    def _write_grid(self) -> None:
        states = self.world.recorder.pictures.in_order() if self.world else {}
        data = grid_json(self.p.plant)
        data["states"] = [_picture(label, t_ms, state) for label, (t_ms, state) in states.items()]
        write_json(self.result.folder / "grid.json", data)


def vars_of(verdict: Verdict) -> dict[str, Any]:
    """A verdict as plain data."""
    return {name: getattr(verdict, name) for name in ("id", "text", "passed", "t_ms", "reason")}


def _make_folder(folder: Path) -> None:
    """Make the folder, or clear it of the results of an earlier run, so that none is taken for this one's."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for pattern in WRITTEN_LAST:
            for stale in folder.glob(pattern):
                stale.unlink()
    except FileExistsError as error:
        raise ResultsFolderError(folder, "that is a file") from error
    except OSError as error:
        raise ResultsFolderError(folder, error.strerror or str(error)) from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ResultsFolderError(folder, os.strerror(errno.EACCES))


def _free_folder(base: Path) -> Path:
    """The next unused numbered folder, so that no earlier results are lost."""
    taken = [int(p.name) for p in base.glob("[0-9]*") if p.name.isdecimal()] if base.is_dir() else []
    return base / f"{max(taken, default=0) + 1:03d}"


@contextmanager
def _stoppable(ask: Callable[[], None]) -> Iterator[None]:
    """The first Ctrl-C or SIGTERM ends the run at the end of the cycle, a second one at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handle(number: int, frame: object) -> None:
        ask()
        for again in (signal.SIGINT, signal.SIGTERM):
            signal.signal(again, signal.default_int_handler)

    old = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)


def _shares(seconds: dict[str, float]) -> dict[str, float]:
    """Parts of the wall time, largest first."""
    total = sum(seconds.values()) or 1.0
    parts = {part: round(value / total, 4) for part, value in seconds.items()}
    return dict(sorted(parts.items(), key=lambda item: -item[1]))


# -- the grid as drawn --------------------------------------------------------------------------------------------


def grid_json(network: Network) -> dict[str, Any]:
    """Nodes, branches and switches of a network for the report's pictures."""
    nodes, names, switches = network.nodes, network.branch_names, network.switches
    place = [(_number(x), _number(y)) for x, y in zip(nodes.x, nodes.y, strict=True)]
    node = nodes.names
    return {
        "nodes": [
            {"name": name, "x": x, "y": y, "v_kv": float(kv)}
            for name, (x, y), kv in zip(node, place, nodes.v_nominal_kv, strict=True)
        ],
        "branches": [
            {
                "name": name,
                "kind": "line" if row < network.lines.n else "transformer",
                "from": node[network.branch_from[row]],
                "to": node[network.branch_to[row]],
            }
            for row, name in enumerate(names)
        ],
        "switches": [_switch_json(network, row) for row in range(switches.n)],
    }


def _switch_json(network: Network, row: int) -> dict[str, Any]:
    s, nodes = network.switches, network.nodes.names
    at_branch = s.branch[row] >= 0
    return {
        "name": s.names[row],
        "node": nodes[s.node[row]],
        "branch": network.branch_names[s.branch[row]] if at_branch else None,
        "side": int(s.side[row]),
        "other_node": None if at_branch else nodes[s.other_node[row]],
        "kind": SwitchKind(int(s.kind[row])).name.lower(),
        "normally_closed": bool(s.normally_closed[row]),
        "feeder_head": bool(s.feeder_head[row]),
    }


def _picture(label: str, t_ms: SimTime, state: GridState) -> dict[str, Any]:
    flow = state.flow
    fed = (flow.i_from_a > 0) | (flow.i_to_a > 0)
    return {
        "label": label,
        "t_ms": t_ms,
        "closed": state.closed.tolist(),
        "node_energised": flow.energised.tolist(),
        "node_v_pu": np.round(state.v_pu, 5).tolist(),
        "branch_loading": np.round(flow.loading, 5).tolist(),
        "branch_energised": fed.tolist(),
        "faulted": list(state.faulted),
    }


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
