"""Reads a results folder into typed objects.

For everything that shows a recorded run. Not for writing one: the recorder does that.

A run that was interrupted or broke leaves files missing or cut. Each file's reader raises an error that names
the file and the line; :func:`read_results` turns those into findings and goes on with what is there.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from twin.errors import Blame, TwinError
from twin.journal import JournalEntry
from twin.timebase import SimTime

T = TypeVar("T")

RUN_FILE = "run.json"
JOURNAL_FILE = "journal.jsonl"
SAMPLES_FILE = "samples.parquet"
GRID_FILE = "grid.json"
SCENARIO_FILE = "scenario.yaml"
FILES = (RUN_FILE, JOURNAL_FILE, SAMPLES_FILE, GRID_FILE, SCENARIO_FILE)

COMPLETED = "completed"
BROKEN = "broken"


class ResultsError(TwinError):
    """A results folder, or a file in it, cannot be read. ``line`` is 0 where no line is at fault."""

    def __init__(self, file: str, problem: str, line: int = 0) -> None:
        self.file = file
        self.line = line
        self.problem = problem
        where = f"{file}, line {line}" if line else file
        super().__init__(f"{where} {problem}")


class ResultsMissingError(ResultsError):
    """The folder, or one of its files, is not there."""

    blame = Blame.SCENARIO


class ResultsGarbledError(ResultsError):
    """A file is there but does not hold what the contract of the results folder says."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one expectation; ``passed`` is None where the run ended before it was judged."""

    id: str
    text: str
    passed: bool | None
    t_ms: SimTime | None = None
    reason: str = ""


@dataclass(frozen=True)
class RunSummary:
    """``run.json``: the run as a whole. ``shares`` are fractions of the wall time by part of the program."""

    scenario: str = "unnamed scenario"
    description: str = ""
    network: str = ""
    seed: str = ""
    start: str = ""
    duration_ms: SimTime = 0
    simulated_ms: SimTime = 0
    wall_s: float = 0.0
    speed_factor: float = 0.0
    steps: int = 0
    status: str = COMPLETED
    message: str = ""
    exit_code: int | None = None
    protocols: Mapping[str, str] = field(default_factory=dict)
    verdicts: tuple[Verdict, ...] = ()
    shares: Mapping[str, float] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)

    @property
    def completed(self) -> bool:
        """True if the run reached its end."""
        return self.status == COMPLETED


@dataclass(frozen=True, slots=True)
class GridNode:
    """``x``/``y`` are None where unknown; ``y`` points up, as on a map."""

    name: str
    x: float | None = None
    y: float | None = None
    v_kv: float | None = None


@dataclass(frozen=True, slots=True)
class GridBranch:
    """A line or a transformer between two nodes, by row."""

    name: str
    kind: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class GridSwitch:
    """At an end (``side`` 0 from, 1 to) of ``branch``, or between two nodes (``branch`` is None)."""

    name: str
    node: int
    branch: int | None
    side: int
    other_node: int | None
    kind: str
    normally_closed: bool
    feeder_head: bool


@dataclass(frozen=True)
class GridState:
    """The grid at one moment; arrays in the order of nodes, branches and switches, ``loading`` 1.0 = 100 %."""

    label: str
    t_ms: SimTime
    closed: tuple[bool, ...]
    node_energised: tuple[bool, ...]
    node_v_pu: tuple[float, ...]
    branch_loading: tuple[float, ...]
    branch_energised: tuple[bool, ...]
    faulted: tuple[str, ...]


@dataclass(frozen=True)
class Grid:
    """``grid.json``: the network as drawn, and its recorded states."""

    nodes: tuple[GridNode, ...]
    branches: tuple[GridBranch, ...]
    switches: tuple[GridSwitch, ...]
    states: tuple[GridState, ...]


@dataclass(frozen=True)
class Samples:
    """``samples.parquet``: columns over ``t_ms``, NaN where nothing was recorded."""

    t_ms: NDArray[np.int64]
    columns: Mapping[str, NDArray[np.float64]]


@dataclass(frozen=True)
class Results:
    """All that a run left behind; ``findings`` are sentences on what could not be read."""

    run: RunSummary
    journal: tuple[JournalEntry, ...] = ()
    samples: Samples | None = None
    grid: Grid | None = None
    scenario_yaml: str = ""
    findings: tuple[str, ...] = ()

    @property
    def end_ms(self) -> SimTime:
        """The last moment anything was recorded for."""
        last_entry = max((entry.t_ms for entry in self.journal), default=0)
        last_sample = int(self.samples.t_ms[-1]) if self.samples is not None and self.samples.t_ms.size else 0
        return max(self.run.simulated_ms, last_entry, last_sample)


JournalLines = tuple[tuple[JournalEntry, ...], tuple[ResultsGarbledError, ...]]


def read_results(folder: Path) -> Results:
    """Everything readable in ``folder``; what is missing or garbled becomes a finding.

    Raises:
        ResultsMissingError: there is no such folder, or none of the files of a run is in it.
    """
    if not folder.is_dir():
        raise ResultsMissingError(str(folder), "is not a folder of results")
    if not any((folder / name).is_file() for name in FILES):
        raise ResultsMissingError(str(folder), f"holds none of the files of a run ({', '.join(FILES)})")
    findings: list[str] = []
    nothing: JournalLines = ((), ())
    journal, garbled_lines = _attempt(lambda: read_journal(folder / JOURNAL_FILE), nothing, findings)
    findings.extend(str(error) for error in garbled_lines)
    return Results(
        run=_summary(folder, journal, findings),
        journal=journal,
        samples=_attempt(lambda: read_samples(folder / SAMPLES_FILE), None, findings),
        grid=_attempt(lambda: read_grid(folder / GRID_FILE), None, findings),
        scenario_yaml=_attempt(lambda: _text(folder / SCENARIO_FILE), "", findings),
        findings=tuple(findings),
    )


def _attempt(read: Callable[[], T], otherwise: T, findings: list[str]) -> T:
    try:
        return read()
    except ResultsError as error:
        findings.append(str(error))
        return otherwise


def _summary(folder: Path, journal: tuple[JournalEntry, ...], findings: list[str]) -> RunSummary:
    """The summary, with what a run that ended without one (or without verdicts in it) still tells."""
    try:
        run = read_run(folder / RUN_FILE)
    except ResultsError as error:
        last = max((entry.t_ms for entry in journal), default=0)
        message = f"{error}, so the run ended before its summary was written or the summary was damaged since"
        run = RunSummary(scenario=folder.name, status=BROKEN, message=message, simulated_ms=last)
        findings.append(str(error))
    return run if run.verdicts else replace(run, verdicts=_journalled_verdicts(journal))


def _journalled_verdicts(journal: Iterable[JournalEntry]) -> tuple[Verdict, ...]:
    found: dict[str, Verdict] = {}
    for entry in journal:
        if entry.kind == "verdict":
            passed, data = entry.data.get("passed"), entry.data
            text, reason = str(data.get("text", "")), str(data.get("reason", ""))
            found[entry.subject] = Verdict(entry.subject, text, _truth(passed), entry.t_ms, reason)
    return tuple(found.values())


def read_run(path: Path) -> RunSummary:
    """``run.json``; keys that are missing keep their defaults.

    Raises:
        ResultsMissingError, ResultsGarbledError: naming file and line.
    """
    data = _json_object(path)
    end_ms = _number(path, data, "duration_ms")
    return RunSummary(
        **{key: str(data[key]) for key in _RUN_TEXTS if data.get(key) is not None},
        duration_ms=int(end_ms),
        simulated_ms=int(_number(path, data, "simulated_ms")),
        wall_s=_number(path, data, "wall_s"),
        speed_factor=_number(path, data, "speed_factor"),
        steps=int(_number(path, data, "steps")),
        exit_code=data.get("exit_code") if isinstance(data.get("exit_code"), int) else None,
        protocols=_texts(path, data, "protocols"),
        verdicts=tuple(_verdict(path, row) for row in _rows(path, data, "verdicts")),
        shares={key: _number(path, data["shares"], key) for key in data.get("shares") or {}},
        versions=_texts(path, data, "versions"),
    )


_RUN_TEXTS = ("scenario", "description", "network", "seed", "start", "status", "message")


def _verdict(path: Path, row: Mapping[str, Any]) -> Verdict:
    if "id" not in row:
        raise ResultsGarbledError(path.name, "has a verdict without an id")
    t_ms = row.get("t_ms")
    return Verdict(
        id=str(row["id"]),
        text=str(row.get("text") or ""),
        passed=_truth(row.get("passed")),
        t_ms=int(t_ms) if isinstance(t_ms, int | float) else None,
        reason=str(row.get("reason") or ""),
    )


def read_journal(path: Path) -> JournalLines:
    """The entries in their order, and one error for each line that is no entry (a cut last line among them).

    Raises:
        ResultsMissingError: there is no journal.
    """
    entries: list[JournalEntry] = []
    errors: list[ResultsGarbledError] = []
    for number, line in enumerate(_text(path).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            entries.append(_entry(path.name, number, line))
        except ResultsGarbledError as error:
            errors.append(error)
    return tuple(entries), tuple(errors)


def _entry(file: str, number: int, line: str) -> JournalEntry:
    try:
        data = json.loads(line)
    except ValueError:
        raise ResultsGarbledError(file, "is cut or not JSON", number) from None
    head = [data.pop(key, None) for key in ("t_ms", "source", "kind", "subject")] if isinstance(data, dict) else []
    if not head or not isinstance(head[0], int) or not all(isinstance(word, str) for word in head[1:]):
        raise ResultsGarbledError(file, "is not a journal entry (t_ms, source, kind, subject)", number)
    return JournalEntry(head[0], head[1], head[2], head[3], data)


def read_samples(path: Path) -> Samples:
    """The recorded columns, rows in the order of time.

    Raises:
        ResultsMissingError, ResultsGarbledError: no such file, no Parquet (a cut file has no footer), no ``t_ms``.
    """
    if not path.is_file():
        raise ResultsMissingError(path.name, "is missing")
    try:
        table = pq.read_table(path)
    except (pa.ArrowInvalid, OSError):
        raise ResultsGarbledError(path.name, "is cut or not Parquet") from None
    if "t_ms" not in table.column_names:
        raise ResultsGarbledError(path.name, "has no column t_ms")
    t_ms = np.asarray(table["t_ms"].to_numpy(), dtype=np.int64)
    order = np.argsort(t_ms, kind="stable")
    columns = {
        name: np.asarray(table[name].to_numpy(), dtype=np.float64)[order]
        for name in table.column_names
        if name != "t_ms" and (pa.types.is_floating(table[name].type) or pa.types.is_integer(table[name].type))
    }
    return Samples(t_ms[order], columns)


def read_grid(path: Path) -> Grid:
    """``grid.json`` with every name resolved to a row.

    Raises:
        ResultsMissingError, ResultsGarbledError: naming the equipment or state that does not fit.
    """
    data = _json_object(path)
    nodes = tuple(
        GridNode(str(_need(path, row, "name")), _maybe(row.get("x")), _maybe(row.get("y")), _maybe(row.get("v_kv")))
        for row in _rows(path, data, "nodes")
    )
    node_row = {node.name: row for row, node in enumerate(nodes)}
    branches = tuple(
        GridBranch(
            str(_need(path, row, "name")),
            str(row.get("kind", "line")),
            _resolve(path, node_row, row, "from"),
            _resolve(path, node_row, row, "to"),
        )
        for row in _rows(path, data, "branches")
    )
    branch_row = {branch.name: row for row, branch in enumerate(branches)}
    switches = tuple(_switch(path, row, node_row, branch_row) for row in _rows(path, data, "switches"))
    sizes = (len(switches), len(nodes), len(branches))
    states = tuple(_state(path, row, sizes) for row in _rows(path, data, "states"))
    return Grid(nodes, branches, switches, states)


def _switch(path: Path, row: Mapping[str, Any], nodes: Mapping[str, int], branches: Mapping[str, int]) -> GridSwitch:
    branch = _resolve(path, branches, row, "branch") if row.get("branch") is not None else None
    other = _resolve(path, nodes, row, "other_node") if row.get("other_node") else None
    if branch is None and other is None:
        raise ResultsGarbledError(path.name, f"has a switch {row.get('name')} that leads nowhere")
    return GridSwitch(
        name=str(_need(path, row, "name")),
        node=_resolve(path, nodes, row, "node"),
        branch=branch,
        side=1 if row.get("side") in (1, "to") else 0,
        other_node=other,
        kind=str(row.get("kind", "")).lower().replace(" ", "_"),
        normally_closed=bool(row.get("normally_closed", True)),
        feeder_head=bool(row.get("feeder_head", False)),
    )


def _state(path: Path, row: Mapping[str, Any], sizes: tuple[int, int, int]) -> GridState:
    label = str(_need(path, row, "label"))
    switches, nodes, branches = sizes

    def column(key: str, length: int) -> list[Any]:
        values = row.get(key)
        if not isinstance(values, list) or len(values) != length:
            raise ResultsGarbledError(path.name, f"has a state {label} whose {key} does not have {length} values")
        return values

    return GridState(
        label=label,
        t_ms=int(_number(path, row, "t_ms")),
        closed=tuple(bool(value) for value in column("closed", switches)),
        node_energised=tuple(bool(value) for value in column("node_energised", nodes)),
        node_v_pu=tuple(_float(value) for value in column("node_v_pu", nodes)),
        branch_loading=tuple(_float(value) for value in column("branch_loading", branches)),
        branch_energised=tuple(bool(value) for value in column("branch_energised", branches)),
        faulted=tuple(str(name) for name in row.get("faulted") or ()),
    )


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        raise ResultsMissingError(path.name, "is missing") from None


def _json_object(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(_text(path))
    except json.JSONDecodeError as error:
        raise ResultsGarbledError(path.name, f"is cut or not JSON ({error.msg})", error.lineno) from None
    if not isinstance(data, dict):
        raise ResultsGarbledError(path.name, "does not hold an object")
    return data


def _rows(path: Path, data: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    rows = data.get(key) or []
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ResultsGarbledError(path.name, f"has {key} that are not a list of objects")
    return rows


def _texts(path: Path, data: Mapping[str, Any], key: str) -> dict[str, str]:
    texts = data.get(key) or {}
    if not isinstance(texts, dict):
        raise ResultsGarbledError(path.name, f"has {key} that are not an object")
    return {str(name): str(value) for name, value in texts.items()}


def _need(path: Path, row: Mapping[str, Any], key: str) -> Any:
    if row.get(key) is None:
        raise ResultsGarbledError(path.name, f"has an object without {key}: {json.dumps(row)[:80]}")
    return row[key]


def _resolve(path: Path, table: Mapping[str, int], row: Mapping[str, Any], key: str) -> int:
    name = _need(path, row, key)
    if name not in table:
        raise ResultsGarbledError(path.name, f"says {row.get('name')} has its {key} at {name}, which is not there")
    return table[name]


def _number(path: Path, row: Mapping[str, Any], key: str) -> float:
    value = row.get(key)
    if value is None:
        return 0.0
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ResultsGarbledError(path.name, f"has {key} = {value!r}, which is not a number")
    return float(value)


def _truth(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None


def _float(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else math.nan


def _maybe(value: Any) -> float | None:
    number = _float(value)
    return None if math.isnan(number) else number
