"""Writes results folders as a run leaves them behind: the CIGRE MV network and a network of 179 nodes.

The story: a permanent fault on L3-8 at 60 s, CB_1 trips at 60.41 s, a reclosing shot fails, FLISR isolates L3-8,
recloses the head and closes a tie. Voltages and loadings are made up, switch states and supply are followed through
the drawn network.
"""

from __future__ import annotations

import copy
import json
import math
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

CIGRE_XY = {
    0: (7, 16), 1: (4, 15), 2: (4, 13), 3: (4, 11), 4: (2.5, 9), 5: (1, 7), 6: (1, 3), 7: (8, 3),
    8: (8, 5), 9: (6, 5), 10: (4, 5), 11: (4, 7), 12: (10, 15), 13: (10, 11), 14: (10, 5),
}  # fmt: skip
CIGRE_LINES = (
    (1, 2), (2, 3), (3, 4), (4, 5), (5, 6), (6, 7), (7, 8), (8, 9), (9, 10), (10, 11), (11, 4), (3, 8),
    (12, 13), (13, 14), (14, 8),
)  # fmt: skip
CIGRE_TIES = {"L6-7": "TIE_2", "L11-4": "TIE_3", "L14-8": "TIE_1"}
CUSTOMERS = {f"N{n}": 60 + 11 * n for n in range(3, 15)} | {"N1": 400, "N12": 380}


@dataclass
class FakeGrid:
    """A network as drawn, and which parts are energised for given switch positions."""

    nodes: list[dict[str, Any]] = field(default_factory=list)
    branches: list[dict[str, Any]] = field(default_factory=list)
    switches: list[dict[str, Any]] = field(default_factory=list)
    sources: list[str] = field(default_factory=list)
    states: list[dict[str, Any]] = field(default_factory=list)

    def node(self, name: str, x: float | None, y: float | None, v_kv: float) -> None:
        self.nodes.append({"name": name, "x": x, "y": y, "v_kv": v_kv})

    def branch(self, name: str, kind: str, start: str, end: str) -> None:
        self.branches.append({"name": name, "kind": kind, "from": start, "to": end})

    def switch(self, name: str, branch: str, side: int, kind: str, *, closed: bool = True, head: bool = False) -> None:
        row = next(b for b in self.branches if b["name"] == branch)
        self.switches.append(
            {
                "name": name, "node": row["to" if side else "from"], "branch": branch, "side": side,
                "other_node": None, "kind": kind, "normally_closed": closed, "feeder_head": head,
            }
        )  # fmt: skip

    def open_ends(self, opened: set[str]) -> set[tuple[str, int]]:
        return {(s["branch"], s["side"]) for s in self.switches if s["name"] in opened}

    def energised(self, opened: set[str]) -> tuple[dict[str, int], set[str]]:
        """(depth of each energised node, energised branches)."""
        cut = self.open_ends(opened)
        ways: dict[str, list[tuple[str, int, str]]] = {node["name"]: [] for node in self.nodes}
        for branch in self.branches:
            ways[branch["from"]].append((branch["name"], 0, branch["to"]))
            ways[branch["to"]].append((branch["name"], 1, branch["from"]))
        depth, queue, live = dict.fromkeys(self.sources, 0), list(self.sources), set()
        while queue:
            node = queue.pop(0)
            for branch_name, side, far in ways[node]:
                if (branch_name, side) in cut:
                    continue
                live.add(branch_name)
                if (branch_name, 1 - side) not in cut and far not in depth:
                    depth[far] = depth[node] + 1
                    queue.append(far)
        return depth, live

    def state(self, label: str, t_ms: int, opened: set[str], faulted: list[str]) -> None:
        depth, live = self.energised(opened)
        loading = {
            b["name"]: max(0.05, 0.82 - 0.07 * min(depth.get(b["from"], 9), depth.get(b["to"], 9)))
            for b in self.branches
        }
        self.states.append(
            {
                "label": label, "t_ms": t_ms,
                "closed": [s["name"] not in opened for s in self.switches],
                "node_energised": [n["name"] in depth for n in self.nodes],
                "node_v_pu": [1.03 - 0.0062 * depth[n["name"]] if n["name"] in depth else 0.0 for n in self.nodes],
                "branch_loading": [loading[b["name"]] if b["name"] in live else 0.0 for b in self.branches],
                "branch_energised": [b["name"] in live for b in self.branches],
                "faulted": faulted,
            }
        )  # fmt: skip

    def to_json(self) -> dict[str, Any]:
        return {"nodes": self.nodes, "branches": self.branches, "switches": self.switches, "states": self.states}

    def customers_out(self, opened: set[str]) -> int:
        depth, _ = self.energised(opened)
        return sum(count for node, count in CUSTOMERS.items() if node not in depth)


def cigre_grid(*, coordinates: bool = True) -> FakeGrid:
    grid = FakeGrid(sources=["N0"])
    for n, (x, y) in CIGRE_XY.items():
        grid.node(f"N{n}", x if coordinates else None, y if coordinates else None, 110.0 if n == 0 else 20.0)
    for a, b in CIGRE_LINES:
        grid.branch(f"L{a}-{b}", "line", f"N{a}", f"N{b}")
    grid.branch("T0-1", "transformer", "N0", "N1")
    grid.branch("T0-12", "transformer", "N0", "N12")
    for a, b in CIGRE_LINES:
        name, tie = f"L{a}-{b}", CIGRE_TIES.get(f"L{a}-{b}")
        if a in (1, 12):
            grid.switch(f"CB_{a}", name, 0, "breaker", head=True)
        else:
            grid.switch(f"SW_{name}_{a}", name, 0, "load_break_switch")
        grid.switch(tie or f"SW_{name}_{b}", name, 1, "load_break_switch", closed=tie is None)
    normal = set(CIGRE_TIES.values())
    grid.state("before", 59_000, normal, [])
    grid.state("fault", 60_410, normal | {"CB_1"}, ["L3-8"])
    grid.state("isolated", 75_000, normal | {"CB_1", "SW_L3-8_3", "SW_L3-8_8"}, ["L3-8"])
    grid.state("after", 600_000, (normal - {"TIE_1"}) | {"SW_L3-8_3", "SW_L3-8_8"}, ["L3-8"])
    return grid


@cache
def oberrhein_grid() -> FakeGrid:
    """179 nodes with geographic coordinates: ``mv_oberrhein`` of pandapower 3.5 (BSD), topology and places alone."""
    data = json.loads(Path(__file__).with_name("oberrhein.json").read_text(encoding="utf-8"))
    grid = FakeGrid(sources=[f"N{row}" for row in data["sources"]])
    for row, x, y, v_kv in data["nodes"]:
        grid.node(f"N{row}", x, y, v_kv)
    for row, start, end in data["lines"]:
        grid.branch(f"L{row}", "line", f"N{start}", f"N{end}")
    for row, upper, lower in data["transformers"]:
        grid.branch(f"T{row}", "transformer", f"N{upper}", f"N{lower}")
    start_of = {row: start for row, start, _ in data["lines"]}
    stations = {lower for _, _, lower in data["transformers"]}
    for row, bus, line, kind, closed in data["switches"]:
        head = bus in stations or kind == "CB"
        name = f"CB_{row}" if head else f"SW_{row}" if closed else f"TIE_{row}"
        side = 0 if start_of[line] == bus else 1
        grid.switch(name, f"L{line}", side, "breaker" if head else "load_break_switch", closed=closed, head=head)
    normal = {s["name"] for s in grid.switches if not s["normally_closed"]}
    head = next(s for s in grid.switches if s["feeder_head"] and _beyond(grid, s, normal) > 15)
    faulted = _downstream_line(grid, head, normal)
    ends = {s["name"] for s in grid.switches if s["branch"] == faulted}
    tie = _restoring_tie(grid, normal | ends, normal)
    grid.state("before", 59_000, normal, [])
    grid.state("fault", 60_410, normal | {head["name"]}, [faulted])
    grid.state("isolated", 75_000, normal | {head["name"]} | ends, [faulted])
    grid.state("after", 600_000, (normal - {tie}) | ends, [faulted])
    return grid


def _beyond(grid: FakeGrid, switch: dict[str, Any], opened: set[str]) -> int:
    return len(grid.energised(opened)[0]) - len(grid.energised(opened | {switch["name"]})[0])


def _downstream_line(grid: FakeGrid, head: dict[str, Any], opened: set[str]) -> str:
    depth, _ = grid.energised(opened)
    lost = depth.keys() - grid.energised(opened | {head["name"]})[0].keys()
    between = [b for b in grid.branches if b["from"] in lost and b["to"] in lost]
    between = [b for b in between if sum(s["branch"] == b["name"] for s in grid.switches) == 2]
    return max(sorted(between, key=lambda b: depth[b["from"]])[::8], key=lambda b: _downstream(grid, b, opened))["name"]


def _downstream(grid: FakeGrid, branch: dict[str, Any], opened: set[str]) -> int:
    """How many nodes go dead without the branch, at most 30 counted (further out is as good)."""
    ends = {s["name"] for s in grid.switches if s["branch"] == branch["name"]}
    return min(len(grid.energised(opened)[0]) - len(grid.energised(opened | ends)[0]), 30)


def _restoring_tie(grid: FakeGrid, opened: set[str], normal: set[str]) -> str:
    return max(sorted(normal), key=lambda tie: len(grid.energised(opened - {tie})[0]))


class FakeJournal:
    """Collects entries; ``lines`` are in the order of time."""

    def __init__(self) -> None:
        self.entries: list[dict[str, Any]] = []

    def add(self, t_ms: int, source: str, kind: str, subject: str, **data: Any) -> None:
        self.entries.append({"t_ms": t_ms, "source": source, "kind": kind, "subject": subject, **data})

    def event(self, t_ms: int, point: str, value: int, source_t_ms: int) -> None:
        data = {"point": point, "value": value, "quality": 0, "source_t_ms": source_t_ms}
        self.add(t_ms, "control_room", "event", point, **data)

    def switched(self, t_ms: int, switch: str, position: str, cause: str, **data: Any) -> None:
        self.add(t_ms, "field", "breaker", switch, position=position, cause=cause, **data)
        self.event(t_ms + 80, f"{switch}.position", 2 if position == "closed" else 1, t_ms)

    def command(self, t_ms: int, number: int, switch: str, action: str, station: str, travel_ms: int) -> int:
        """A whole command; returns when it was confirmed."""
        head = {"command_id": f"C{number}", "switch": switch, "action": action, "plan_id": "P1", "number": number}

        def phase(at_ms: int, name: str) -> None:
            self.add(at_ms, "control_room", "command", switch, **head, phase=name)

        self.add(t_ms, "control_room", "plan_step", "P1", plan_id="P1", number=number, state="executing")
        phase(t_ms, "requested")
        phase(t_ms + 170, "selected")
        phase(t_ms + 170, "executing")
        self.add(t_ms + 250, "field", "command_received", station, switch=switch, action=action)
        phase(t_ms + 340, "activated")
        done = t_ms + 250 + travel_ms
        self.add(t_ms + 300, "field", "breaker", switch, position="intermediate", cause="command")
        self.switched(done, switch, "open" if action == "open" else "closed", "command")
        phase(done + 80, "confirmed")
        phase(done + 90, "terminated")
        self.add(done + 80, "control_room", "plan_step", "P1", plan_id="P1", number=number, state="done")
        return done + 80

    def lines(self) -> list[str]:
        ordered = sorted(self.entries, key=lambda entry: entry["t_ms"])
        return [json.dumps(entry, ensure_ascii=False, separators=(",", ":")) for entry in ordered]


def crowd(indicators: int = 32, dead: int = 44) -> list[dict[str, Any]]:
    """What a fault far out in a large network brings besides: indicators, their events and alarms, dead busbars."""
    journal = FakeJournal()
    for n in range(indicators):
        direction, at_ms = "forward" if n % 2 else "reverse", 60_110 + n
        switch = f"LBS_{n}"
        journal.add(60_016, "field", "indicator", switch, direction=direction, state="set")
        journal.event(at_ms, f"{switch}.fault_{direction}", 1, 60_016)
        rule, words = f"fault_{direction}", f"RTU_{n}: {switch} saw a fault pass, {direction}"
        alarm = {"alarm_id": f"{rule}:{switch}.{rule}", "priority": 2, "text": words, "state": "raised"}
        journal.add(at_ms, "control_room", "alarm", switch, **alarm)
    for n in range(40, 40 + dead):
        alarm = {"alarm_id": f"v_dead:N{n}.v_kv", "priority": 1, "text": f"RTU_{n}: no voltage at N{n}"}
        journal.add(66_000 + 15 * n, "control_room", "alarm", f"N{n}", **alarm, state="raised")
    return journal.entries


PLAN_STEPS = [
    {"number": 1, "switch": "SW_L3-8_3", "action": "open", "purpose": "isolate the fault towards CB_1",
     "expects": "no change of supply"},
    {"number": 2, "switch": "SW_L3-8_8", "action": "open", "purpose": "isolate the fault towards TIE_1",
     "expects": "no change of supply"},
    {"number": 3, "switch": "CB_1", "action": "close", "purpose": "restore N2 to N6 from their own feeder",
     "expects": "loading 46 % on L1-2, lowest voltage 0.991 p.u. at N6"},
    {"number": 4, "switch": "TIE_1", "action": "close", "purpose": "restore N7 to N11 from feeder CB_12",
     "expects": "loading 71 % on L12-13, lowest voltage 0.974 p.u. at N11"},
]  # fmt: skip


def cigre_journal(grid: FakeGrid) -> FakeJournal:
    journal = FakeJournal()
    for n in range(1, 15):
        station = f"RTU_{n}"
        journal.add(120 + 3 * n, "session", "session", station, state="connected", detail="")
        journal.add(210 + 3 * n, "session", "session", station, state="started", detail="STARTDT con")
        journal.add(420 + 7 * n, "session", "session", station, state="interrogated", detail="12 points")
    for t_ms in range(5_000, 600_000, 4_000):
        point = f"CB_{1 if t_ms % 8000 else 12}.i_a"
        value = round(140 + 20 * math.sin(t_ms / 50_000), 1)
        journal.add(t_ms + 80, "control_room", "event", point, point=point, value=value, quality=0, source_t_ms=t_ms)
    _fault_and_trip(journal, grid)
    end_ms = _restoration(journal, grid)
    _comms_loss(journal)
    _verdicts(journal, end_ms)
    return journal


def _fault_and_trip(journal: FakeJournal, grid: FakeGrid) -> None:
    ties = set(CIGRE_TIES.values())
    out = grid.customers_out(ties | {"CB_1"})
    fault = {"id": "fault1", "line": "L3-8", "position": 0.5, "fault_kind": "phase-to-phase", "permanent": True}
    journal.add(60_000, "director", "fault", "fault1", **fault)
    for switch in ("CB_1", "SW_L2-3_2", "SW_L3-8_3"):
        journal.add(60_015, "field", "indicator", switch, direction="forward", state=True)
        journal.event(60_115, f"{switch}.fault_forward", 1, 60_015)
    journal.add(60_020, "field", "relay_pickup", "CB_1", function="50", i_a=2480.0)
    journal.add(60_350, "field", "relay_trip", "CB_1", function="51", i_a=2480.0)
    journal.event(60_430, "CB_1.trip", 1, 60_350)
    journal.switched(60_410, "CB_1", "open", "trip")
    journal.add(60_410, "grid", "supply", "network", customers_interrupted=out, dead_nodes=10)
    alarm = {"alarm_id": "A1", "priority": 1, "text": "CB_1 tripped by protection"}
    journal.add(60_490, "control_room", "alarm", "CB_1", **alarm, state="raised")
    journal.add(61_410, "field", "reclose", "CB_1", shot=1)
    journal.switched(61_470, "CB_1", "closed", "reclose")
    journal.add(61_470, "grid", "supply", "network", customers_interrupted=0, dead_nodes=0)
    journal.add(61_480, "field", "relay_pickup", "CB_1", function="50", i_a=2475.0)
    journal.add(61_810, "field", "relay_trip", "CB_1", function="51", i_a=2475.0)
    journal.switched(61_870, "CB_1", "open", "trip")
    journal.add(61_870, "grid", "supply", "network", customers_interrupted=out, dead_nodes=10)
    journal.add(61_870, "field", "lockout", "CB_1")
    journal.event(61_950, "CB_1.lockout", 1, 61_870)
    lockout = {"alarm_id": "A2", "priority": 1, "text": "CB_1 locked out after 1 reclosing shot"}
    journal.add(61_950, "control_room", "alarm", "CB_1", **lockout, state="raised")
    journal.add(84_000, "control_room", "alarm", "CB_1", **alarm, state="acknowledged")


def _restoration(journal: FakeJournal, grid: FakeGrid) -> int:
    ties, isolated = set(CIGRE_TIES.values()), {"SW_L3-8_3", "SW_L3-8_8"}
    where = {"zones": ["L3-8"], "text": "between SW_L3-8_3 (last indicator that saw the fault) and SW_L3-8_8"}
    journal.add(64_000, "control_room", "location", "feeder CB_1", **where)
    plan = {
        "plan_id": "P1", "application": "flisr", "mode": "automatic", "title": "Isolate L3-8 and restore both sides",
        "why": "CB_1 is locked out; the indicators up to SW_L3-8_3 saw the fault pass, the one at SW_L3-8_8 did not",
        "steps": PLAN_STEPS,
    }  # fmt: skip
    journal.add(64_100, "control_room", "plan", "P1", **plan, outcome="")
    t_ms = journal.command(64_100, 1, "SW_L3-8_3", "open", "RTU_3", 4_200)
    t_ms = journal.command(t_ms, 2, "SW_L3-8_8", "open", "RTU_8", 4_150)
    t_ms = journal.command(t_ms, 3, "CB_1", "close", "RTU_1", 60)
    left = grid.customers_out(ties | isolated)
    journal.add(t_ms - 80, "grid", "supply", "network", customers_interrupted=left, dead_nodes=5)
    t_ms = journal.command(t_ms, 4, "TIE_1", "close", "RTU_14", 4_220)
    journal.add(t_ms - 80, "grid", "supply", "network", customers_interrupted=0, dead_nodes=0)
    journal.add(t_ms, "control_room", "plan", "P1", **plan, outcome="completed: every customer is supplied")
    for alarm_id, words in (("A1", "CB_1 tripped by protection"), ("A2", "CB_1 locked out after 1 reclosing shot")):
        data = {"alarm_id": alarm_id, "priority": 1, "text": words, "state": "cleared"}
        journal.add(t_ms, "control_room", "alarm", "CB_1", **data)
    return t_ms


def _comms_loss(journal: FakeJournal) -> None:
    journal.add(200_000, "director", "comms_loss", "RTU_12", for_ms=20_000)
    journal.add(203_000, "session", "session", "RTU_12", state="lost", detail="no answer to TESTFR within 3 s")
    raised = {"alarm_id": "A3", "priority": 2, "text": "RTU_12 not reachable"}
    journal.add(203_000, "control_room", "alarm", "RTU_12", **raised, state="raised")
    journal.add(221_000, "session", "session", "RTU_12", state="connected", detail="")
    journal.add(221_100, "session", "session", "RTU_12", state="started", detail="STARTDT con")
    journal.add(221_400, "session", "session", "RTU_12", state="interrogated", detail="12 points")
    journal.add(221_400, "control_room", "alarm", "RTU_12", **raised, state="cleared")
    journal.add(300_000, "director", "crew_dispatched", "crew_2", minutes=25)  # a kind the report does not know


VERDICTS = [
    {"id": "trip", "text": "within 1 s of fault1: CB_1.position == open", "passed": True, "t_ms": 60_410,
     "reason": "held 410 ms after fault1"},
    {"id": "restored", "text": "within 60 s of fault1: customers_interrupted <= 140", "passed": True, "t_ms": 77_980,
     "reason": "held 18.5 s after fault1, with 0 customers interrupted"},
    {"id": "loading", "text": "always: loading_max <= 100 %, from 120 s", "passed": True, "t_ms": 600_000,
     "reason": "the highest was 84 % at 4:21"},
    {"id": "on-fault", "text": "never: closed_onto_fault", "passed": True, "t_ms": 600_000, "reason": "never happened"},
    {"id": "voltage", "text": "always: v_min_pu >= 0.975, from 70 s", "passed": False, "t_ms": 261_000,
     "reason": "v_min_pu fell to 0.971 at 4:21, 0.004 below the limit"},
]  # fmt: skip


def _verdicts(journal: FakeJournal, end_ms: int) -> None:
    for verdict in VERDICTS:
        data = {key: verdict[key] for key in ("text", "passed", "reason")}
        journal.add(max(verdict["t_ms"], end_ms), "expectation", "verdict", verdict["id"], **data)


def cigre_summary() -> dict[str, Any]:
    return {
        "scenario": "flisr-permanent-fault-on-feeder-1",
        "description": "A permanent phase-to-phase fault on L3-8; FLISR isolates it and restores both sides.",
        "network": "cigre_mv", "seed": 42, "start": "2026-01-15T18:00:00Z",
        "duration_ms": 600_000, "simulated_ms": 600_000, "wall_s": 7.9, "speed_factor": 75.9, "steps": 6000,
        "status": "completed", "message": "", "exit_code": 1,
        "protocols": {f"RTU_{n}": "dnp3" if n == 12 else "iec104" for n in range(1, 15)},
        "verdicts": VERDICTS,
        "shares": {"solver": 0.21, "mosaik": 0.17, "protocol": 0.43, "rest": 0.19},
        "versions": {"distribution-twin": "0.1.0", "mosaik": "3.6.1", "numpy": "2.4.6", "python": "3.11.9"},
    }  # fmt: skip


def cigre_samples(journal: FakeJournal) -> pa.Table:
    t_ms = np.arange(0, 600_001, 100, dtype=np.int64)
    rng = np.random.default_rng(42)
    supply = [(e["t_ms"], e["customers_interrupted"]) for e in journal.entries if e["kind"] == "supply"]
    customers = np.zeros(t_ms.size)
    for at_ms, count in supply:
        customers[t_ms >= at_ms] = count
    dead = customers > 500
    tied = t_ms >= supply[-1][0]
    wave = 0.012 * np.sin(t_ms / 83_000) + rng.normal(0, 0.0008, t_ms.size)
    v_min = np.where(tied, 0.982, 0.994) + wave
    n8 = np.where(customers > 0, 0.0, v_min + 0.006)
    n8[(t_ms >= 60_000) & (t_ms < 60_410)] = 0.31
    loading = np.where(tied, 0.75, 0.58) + 4 * wave
    columns = {
        "customers_interrupted": customers,
        "loading_max": loading,
        "v_min_pu": v_min,
        "v_max_pu": v_min + 0.041,
        "N8.v_pu": n8,
        "TIE_1.i_a": np.where(tied, 74 + 400 * wave, 0.0),
        "CB_1.i_a": np.where(dead, 0.0, 148 + 600 * wave - 60 * tied),
        "L12-13.loading": loading - 0.04,
    }
    columns["CB_1.i_a"][(t_ms >= 60_000) & (t_ms < 60_410)] = 2480.0
    columns["TIE_1.i_a"][:20] = np.nan
    return pa.table({"t_ms": t_ms, **columns})


SCENARIO_YAML = """scenario: 1
name: flisr-permanent-fault-on-feeder-1
network: cigre_mv
duration: 10 min
seed: 42
events:
  - {at: 60 s, id: fault1, fault: {line: L3-8, kind: phase-to-phase, permanent: true}}
  - {at: 200 s, comms loss: {station: RTU_12, for: 20 s}}
report: {plot: [N8.v_pu, TIE_1.i_a]}
"""


def write_cigre_run(folder: Path, *, coordinates: bool = True, **summary: Any) -> Path:
    """A completed run of the CIGRE network; ``summary`` replaces keys of ``run.json``."""
    grid = cigre_grid(coordinates=coordinates)
    return _write(folder, grid, summary)


def write_crowded_run(folder: Path) -> Path:
    """The CIGRE run with a :func:`crowd` in its journal."""
    write_cigre_run(folder)
    path = folder / "journal.jsonl"
    entries = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    ordered = sorted([*entries, *crowd()], key=lambda entry: entry["t_ms"])
    path.write_text("\n".join(json.dumps(entry) for entry in ordered) + "\n", encoding="utf-8")
    return folder


def write_oberrhein_run(folder: Path, *, coordinates: bool = True, **summary: Any) -> Path:
    """The same story told over a network of 179 nodes (only the pictures of the grid fit it)."""
    grid = copy.deepcopy(oberrhein_grid())
    if not coordinates:
        for node in grid.nodes:
            node["x"] = node["y"] = None
    return _write(folder, grid, {"network": "mv_oberrhein"} | summary)


def _write(folder: Path, grid: FakeGrid, summary: dict[str, Any]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    journal = cigre_journal(cigre_grid())
    (folder / "run.json").write_text(json.dumps(cigre_summary() | summary, indent=1), encoding="utf-8")
    (folder / "journal.jsonl").write_text("\n".join(journal.lines()) + "\n", encoding="utf-8")
    (folder / "grid.json").write_text(json.dumps(grid.to_json()), encoding="utf-8")
    (folder / "scenario.yaml").write_text(SCENARIO_YAML, encoding="utf-8")
    pq.write_table(cigre_samples(journal), folder / "samples.parquet")
    return folder
