"""What the closed loop costs over the bare solve, and what the same wiring costs in mosaik-pandapower beside it.

``python -m benchmarks.cosimulation``: a radial network of 10,000 buses with 100 stations over the in-process link,
every demand new in every cycle. The engines are measured inside the same run, between its cycles, so that a busy moment
meets all of them. CPU time, medians; ratios travel better than milliseconds.
"""

from __future__ import annotations

import sys
import tempfile
import time
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from statistics import mean, median
from typing import Any, ClassVar

import mosaik
import mosaik_api_v3

from benchmarks import engines
from benchmarks.synthetic import radial
from simulators.clock import OverrunPolicy, Pacer
from simulators.control_room.simulator import ControlRoomSimulator
from simulators.preparation import Preparation
from simulators.profiles import PROFILES
from simulators.world import Outputs, World, build_world
from twin.derive import Derivation, Station, derive
from twin.historian import JournalFile, SampleFile
from twin.network.model import Network
from twin.network.pandapower_loader import LoaderOptions, load_pandapower
from twin.points.pointmap import PointMap
from twin.scada.point_database import PointDatabase
from twin.scenario import PlantNamespace
from twin.scenario.loader import read_scenario

STATIONS = 100
WARM_UP = 60
SWING = 0.05
ENGINES = "engines"
EVERY = 10
"""So many cycles lie between two rounds of the engines."""
PEERS = {
    "bare sweep": engines.bare_sweep,
    "power-grid-model": engines.grid_model,
    "lightsim2grid": engines.lightsim,
}
GENERAL = ("power-grid-model", "lightsim2grid")
PUBLISHED = ("1-MV-urban--0-sw", "mv_oberrhein", "1-MVLV-rural-all-0-sw", "1-MVLV-urban-all-0-sw")
"""Those of SimBench by their codes, and one of pandapower's."""
SCENARIO = """\
scenario: 1
name: co-simulated-step
network: {name}
start: 2026-01-15T06:00:00Z
duration: {seconds} s
plant:
  loads: {{profile: winter-weekday}}
stations:
  default: {{protocol: in_process}}
"""


@dataclass
class Ticks:
    """CPU milliseconds of each cycle, and of each engine between them."""

    cycles: list[float] = field(default_factory=list)
    engines: dict[str, list[float]] = field(default_factory=dict)
    shares: dict[str, float] = field(default_factory=dict)
    mosaik: list[float] = field(default_factory=list)
    """CPU milliseconds from the end of a cycle to where its successor's first simulator steps."""
    samples: int = 0
    """How many values the stations sent after the warm-up."""

    @property
    def cycle_ms(self) -> float:
        return median(self.cycles[WARM_UP:])

    @property
    def mean_ms(self) -> float:
        """With the cycles in which many stations are tested at once."""
        return mean(self.cycles[WARM_UP:])

    @property
    def mosaik_ms(self) -> float:
        return median(self.mosaik[WARM_UP:])

    @property
    def samples_a_cycle(self) -> float:
        return self.samples / len(self.cycles[WARM_UP:])

    def engine_ms(self, name: str) -> float:
        return median(self.engines[name][2:]) if self.engines.get(name) else float("nan")

    def thousand(self, last: bool) -> float:
        """The median of the first, or the last, thousand cycles (or a third of them, in a shorter run)."""
        span = min(1_000, len(self.cycles[WARM_UP:]) // 3)
        kept = self.cycles[WARM_UP:]
        return median(kept[-span:] if last else kept[:span])


def preparation(network: Network, seconds: int, stations: int = STATIONS) -> Preparation:
    """A scenario on a network as it is, with the points of its first stations."""
    scenario = read_scenario(SCENARIO.format(name="radial", seconds=seconds))
    derivation = _with_stations(derive(network), stations)
    namespace = PlantNamespace(network)
    columns = tuple(q for name in ("loading_max", "v_min_pu") if (q := namespace.lookup(name)))
    profile = PROFILES["winter-weekday"]
    return Preparation(scenario, network, network, derivation, namespace, profile, (), columns)


def _with_stations(derivation: Derivation, most: int) -> Derivation:
    kept = {station.name for station in derivation.stations[:most]}
    stations = tuple(_remote(station, station.name in kept) for station in derivation.stations)
    return replace(derivation, stations=stations, points=PointMap(p for p in derivation.points if p.station in kept))


def _remote(station: Station, remote: bool) -> Station:
    return station.model_copy(update={"remote": remote})


def run(
    network: Network, seconds: int, peers: dict[str, engines.Step], stations: int = STATIONS, swing: float = 0.0
) -> Ticks:
    """Run the world for ``seconds`` cycles, with a round of every engine between some of them.

    The demand follows the profile, so that it is new in every cycle but seldom leaves a dead band; with ``swing`` it
    also goes up and down by that share of itself from cycle to cycle, so that the stations send.
    """
    ticks = Ticks(engines={name: [] for name in peers})
    prepared = preparation(network, seconds, stations)
    consumers = network.consumers
    with tempfile.TemporaryDirectory() as folder:
        journal = JournalFile(Path(folder) / "journal.jsonl")
        samples = SampleFile(Path(folder) / "samples.parquet", [column.name for column in prepared.columns])
        outputs = Outputs(journal, samples, lambda now, state, entries: None)
        world = build_world(prepared, outputs, Pacer(0.0, OverrunPolicy.SLIP))
        since = time.process_time()

        database = _database(world)
        if swing:
            _swing(world, swing)
        clock = world.simulators["clock"]
        clock_cycle = clock.cycle

        def first_in_cycle(now: int, received: dict[str, Any]) -> dict[str, Any]:
            ticks.mosaik.append((time.process_time() - since) * 1e3)
            return clock_cycle(now, received)

        clock.cycle = first_in_cycle  # type: ignore[method-assign]
        heard = 0

        def after_cycle(now: int) -> None:
            nonlocal since, heard
            ticks.cycles.append((time.process_time() - since) * 1e3)
            world.context.stopwatch.begin(ENGINES)
            if len(ticks.cycles) == WARM_UP:
                world.context.stopwatch.seconds.clear()
                heard = database.revision
            if len(ticks.cycles) % EVERY == 0:
                factor = 0.9 + 0.001 * (len(ticks.cycles) % 97)
                for name, step in peers.items():
                    begun = time.process_time()
                    step(consumers.p_kw * factor, consumers.q_kvar * factor)
                    ticks.engines[name].append((time.process_time() - begun) * 1e3)
            world.context.stopwatch.end()
            since = time.process_time()

        world.recorder.after_cycle = after_cycle
        try:
            world.run()
        finally:
            world.close()
            journal.close()
            samples.close()
        ticks.shares = {part: s for part, s in world.context.stopwatch.seconds.items() if part != ENGINES}
        ticks.samples = database.revision - heard
    return ticks


def _database(world: World) -> PointDatabase:
    room = world.simulators["control_room"]
    assert isinstance(room, ControlRoomSimulator)
    return room.database


def _swing(world: World, share: float) -> None:
    profiles = world.simulators["profiles"]
    cycle, sign = profiles.cycle, 1.0

    def swung(now: int, received: dict[str, Any]) -> dict[str, Any]:
        nonlocal sign
        sign = -sign
        outputs = cycle(now, received)
        return {**outputs, **{name: outputs[name] * (1.0 + sign * share) for name in ("p_kw", "q_kvar")}}

    profiles.cycle = swung  # type: ignore[method-assign]


def available(network: Network) -> dict[str, engines.Step]:
    """The engines that are installed and take the network."""
    case = engines.Case("co-simulated", network)
    found = {}
    for name, make in PEERS.items():
        try:
            found[name] = make(case)
        except engines.SkippedError as error:
            print(f"{name}: skipped, {error}")
    return found


# -- the peer -----------------------------------------------------------------------------------------------------


class Demand(mosaik_api_v3.Simulator):
    """Gives every load of the peer a new power in each step."""

    def __init__(self) -> None:
        model = {"public": True, "params": ["p_mw"], "attrs": ["P[MW]"]}
        super().__init__({"api_version": "3.0", "type": "time-based", "models": {"Load": model}})
        self.p_mw: dict[str, float] = {}
        self.now = 0

    def create(self, num: int, model: str, **params: Any) -> list[dict[str, Any]]:
        """One entity, with its rated power."""
        name = f"load{len(self.p_mw)}"
        self.p_mw[name] = params["p_mw"]
        return [{"eid": name, "type": model}]

    def step(self, time: int, inputs: dict[str, Any], max_advance: int) -> int:
        """Go on."""
        self.now = time
        return time + 1

    def get_data(self, outputs: dict[str, list[str]]) -> dict[str, Any]:
        """The powers of this step."""
        factor = 0.9 + 0.001 * (self.now % 97)
        return {name: {"P[MW]": self.p_mw[name] * factor} for name in outputs}


class Monitor(mosaik_api_v3.Simulator):
    """Takes the voltages of all buses and dates each step in ``at``, shared by all: mosaik makes the object."""

    at: ClassVar[list[float]] = []

    def __init__(self) -> None:
        model = {"public": True, "any_inputs": True, "params": [], "attrs": []}
        super().__init__({"api_version": "3.0", "type": "hybrid", "models": {"Monitor": model}})

    def create(self, num: int, model: str, **params: Any) -> list[dict[str, Any]]:
        """The one entity."""
        return [{"eid": "monitor", "type": model}]

    def step(self, time: int, inputs: dict[str, Any], max_advance: int) -> int:
        """Note when it is."""
        self.at.append(_cpu_ms())
        return time + 1

    def get_data(self, outputs: dict[str, list[str]]) -> dict[str, Any]:
        """Nothing to give."""
        return {}


def _cpu_ms() -> float:
    return time.process_time() * 1e3


def peer_ms(net: Any, steps: int) -> float:
    """CPU milliseconds of a step of mosaik-pandapower in its usual wiring: a connection a load and a bus.

    ``net`` loses its loads.
    """
    from benchmarks.cosimulation import Monitor as Started  # mosaik's, also where this file is __main__

    Started.at.clear()
    started = mosaik.World(
        {
            "Grid": {"python": "mosaik_components.pandapower:Simulator"},
            "Demand": {"python": "benchmarks.cosimulation:Demand"},
            "Monitor": {"python": "benchmarks.cosimulation:Monitor"},
        },
        skip_greetings=True,
        configure_logging=False,
    )
    try:
        grid = started.start("Grid", step_size=1).Grid(net=net)
        demand, monitor = started.start("Demand"), started.start("Monitor")
        sink = monitor.Monitor()
        buses = {child.eid: child for child in grid.children if child.type == "Bus"}
        for load in net.load.itertuples():
            started.connect(demand.Load(p_mw=float(load.p_mw)), buses[f"Bus-{load.bus}"], ("P[MW]", "P_load[MW]"))
        net.load["p_mw"] = 0.0
        for bus in buses.values():
            started.connect(bus, sink, "Vm[pu]")
        started.run(until=steps, print_progress=False)
    finally:
        started.shutdown()
    return median(b - a for a, b in pairwise(Started.at[1:]))


def published(code: str) -> Any:
    """A published network as pandapower has it."""
    if code == "mv_oberrhein":
        import pandapower.networks

        net = pandapower.networks.mv_oberrhein()
    else:
        import simbench

        net = simbench.get_simbench_net(code)
    net.trafo["tap_changer_type"] = "Ratio"
    return net


@dataclass(frozen=True)
class Beside:
    """CPU milliseconds of a cycle: ours with ``stations``, ours with none, and the peer's, which has none."""

    buses: int
    stations: int
    with_stations_ms: float
    without_ms: float
    peer_ms: float


def beside_the_peer(code: str, cycles: int, steps: int) -> Beside:
    """A published network in our world and in the peer's usual wiring."""
    net = published(code)
    network = load_pandapower(net, name=code, options=LoaderOptions())
    stations = min(STATIONS, len(derive(network).stations))
    ours = [run(network, cycles, {}, some).cycle_ms for some in (stations, 0)]
    return Beside(network.nodes.n, stations, *ours, peer_ms(net, steps))


# -- telling ------------------------------------------------------------------------------------------------------


def tell_step(buses: int, cycles: int, swing: float = 0.0) -> Ticks:
    """Measure and print the closed loop over the bare solves."""
    network = radial(buses, ties=0)
    ticks = run(network, cycles, available(network), swing=swing)
    ours = ticks.cycle_ms
    print(f"demand swings by {swing:.0%}; {ticks.samples_a_cycle:.1f} values a cycle from the stations")
    print(f"closed loop, radial, {buses} buses, {STATIONS} stations: {ours:.2f} ms a cycle (CPU, median of {cycles})")
    for name in ticks.engines:
        print(f"  over {name:18} {ticks.engine_ms(name):7.2f} ms: {ours / ticks.engine_ms(name):5.2f}")
    first, last = ticks.thousand(last=False), ticks.thousand(last=True)
    print(f"  first thousand {first:.2f} ms, last thousand {last:.2f} ms: {last / first:.2f}")
    total = sum(ticks.shares.values())
    parts = sorted(ticks.shares.items(), key=lambda item: -item[1])
    print("  " + ", ".join(f"{name} {100 * seconds / total:.0f} %" for name, seconds in parts))
    print(f"  mean {ticks.mean_ms:.2f} ms; of the median, {ticks.mosaik_ms:.3f} ms are mosaik's (CPU)")
    return ticks


def main(quick: bool) -> None:
    """Measure everything; ``quick`` says whether it works, not how fast it is."""
    if quick:
        tell_step(1_000, 120)
        tell_step(1_000, 120, SWING)
        return
    tell_step(10_000, 3_000)
    tell_step(10_000, 300, SWING)
    for code in PUBLISHED:
        b = beside_the_peer(code, cycles=300, steps=12)
        print(
            f"{code}: {b.buses} buses, ours {b.with_stations_ms:.2f} ms with {b.stations} stations,"
            f" {b.without_ms:.2f} ms without, mosaik-pandapower {b.peer_ms:.0f} ms:"
            f" {b.peer_ms / b.with_stations_ms:.0f} x and {b.peer_ms / b.without_ms:.0f} x"
        )


if __name__ == "__main__":
    main("--quick" in sys.argv)
