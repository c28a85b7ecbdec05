"""State estimation side by side: ``python -m benchmarks.state_estimation [--quick]``.

An estimate hands over all measured values and reads all voltages and angles. All engines take turns in one process and
get the same measurements: P and Q at every node that has any, voltages at every tenth node, P and Q into every
fifth line, with noise. Figures are medians of CPU time; ratios travel better than milliseconds. Agreement is the
largest difference of complex voltages to ours, in pu.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from statistics import median
from typing import Any

import click
import numpy as np
from power_grid_model import CalculationMethod, DatasetType, MeasuredTerminalType, PowerGridModel
from power_grid_model.errors import PowerGridError

from benchmarks.engines import Case, SkippedError, pandapower_net
from benchmarks.synthetic import radial
from twin.network import load_network
from twin.network.model import Network
from twin.solvers import PowerFlowResult, power_flow
from twin.solvers import grid_model_mapping as mapping
from twin.solvers.state_estimation import MeasurementKind as K
from twin.solvers.state_estimation import Measurements, StateEstimator

Estimate = Callable[[Any], Any]
"""From the measured values to the complex voltages of all nodes, pu."""

PANDAPOWER_ROUNDS = 3
PANDAPOWER_TOLERANCE = 1e-7
"""It does not get through some of the networks at 1e-9, and counts a step at 1e-7 already as the last but one."""

ROUNDS = 15


def placed(network: Network) -> Measurements:
    """The measurements of the benchmark, without values."""
    nodes, lines = np.arange(network.nodes.n), np.arange(network.n_branches)
    powered = np.unique(np.concatenate([network.consumers.node, network.generators.node, network.sources.node]))
    volts, ends = nodes[::10], lines[::5]
    return Measurements.join(
        Measurements.of(K.V_PU, volts, np.ones(len(volts)), 0.002),
        *(
            Measurements.of(kind, powered, np.zeros(len(powered)), 0.3)
            for kind in (K.P_INJECTION_KW, K.Q_INJECTION_KVAR)
        ),
        *(Measurements.of(kind, ends, np.zeros(len(ends)), 1.0) for kind in (K.P_FLOW_KW, K.Q_FLOW_KVAR)),
    )


def exact(network: Network, result: PowerFlowResult, m: Measurements) -> Any:
    """What the measurements would read without errors."""
    s_from, s_to = result.p_from_kw + 1j * result.q_from_kvar, result.p_to_kw + 1j * result.q_to_kvar
    injection = np.zeros(network.nodes.n, dtype=np.complex128)
    np.add.at(injection, network.branch_from, s_from)
    np.add.at(injection, network.branch_to, s_to)
    node, branch = np.where(m.kind <= K.Q_INJECTION_KVAR, m.place, 0), np.where(m.kind > K.Q_INJECTION_KVAR, m.place, 0)
    flow, current = np.where(m.side == 0, s_from[branch], s_to[branch]), np.zeros(m.n)
    return np.choose(
        m.kind, [result.v_pu[node], injection[node].real, injection[node].imag, flow.real, flow.imag, current]
    )


def ours(network: Network, m: Measurements) -> Estimate:
    """The product, through its whole interface."""
    estimator = StateEstimator(network)

    def estimate(value: Any) -> Any:
        state = estimator.estimate(m.with_values(value)).state
        return state.v_pu * np.exp(1j * state.angle_rad)

    return estimate


def grid_model(network: Network, m: Measurements) -> Estimate:
    """power-grid-model, Newton-Raphson; P and Q at one place are one sensor, in watts."""
    ids = mapping.ids_of(network)
    data = {
        "node": mapping.node_table(network),
        "line": mapping.line_table(network, ids),
        "source": mapping.source_table(network, ids),
        "sym_load": mapping.load_table(network, ids),
        "sym_gen": mapping.generator_table(network, ids),
    }
    if network.transformers.n:
        data["transformer"] = mapping.transformer_table(network, ids)
    v, p = np.flatnonzero(m.kind == K.V_PU), np.flatnonzero((m.kind == K.P_INJECTION_KW) | (m.kind == K.P_FLOW_KW))
    q = np.flatnonzero((m.kind == K.Q_INJECTION_KVAR) | (m.kind == K.Q_FLOW_KVAR))
    kv = network.nodes.v_nominal_kv[m.place[v]]
    volts = mapping.table("sym_voltage_sensor", ids.end, len(v))
    volts["measured_object"], volts["u_sigma"], volts["u_measured"] = m.place[v], 1e3 * kv * m.sigma[v], 1e3 * kv
    powers = mapping.table("sym_power_sensor", ids.end + len(v), len(p))
    at_node = m.kind[p] == K.P_INJECTION_KW
    branch = np.where(
        m.place[p] < network.lines.n, ids.line + m.place[p], ids.transformer + m.place[p] - network.lines.n
    )
    powers["measured_object"] = np.where(at_node, m.place[p], branch)
    ends = np.where(m.side[p] == 0, MeasuredTerminalType.branch_from, MeasuredTerminalType.branch_to)
    powers["measured_terminal_type"] = np.where(at_node, MeasuredTerminalType.node, ends)
    powers["p_sigma"], powers["q_sigma"] = 1e3 * m.sigma[p], 1e3 * m.sigma[q]
    powers["p_measured"], powers["q_measured"] = 0.0, 0.0
    model: Any = PowerGridModel(data | {"sym_voltage_sensor": volts, "sym_power_sensor": powers}, network.frequency_hz)
    settings = {"calculation_method": CalculationMethod.newton_raphson, "error_tolerance": 1e-8}
    new_v = mapping.table("sym_voltage_sensor", ids.end, len(v), DatasetType.update)
    new_p = mapping.table("sym_power_sensor", ids.end + len(v), len(p), DatasetType.update)

    def estimate(value: Any) -> Any:
        new_v["u_measured"] = 1e3 * kv * value[v]
        new_p["p_measured"], new_p["q_measured"] = 1e3 * value[p], 1e3 * value[q]
        model.update(update_data={"sym_voltage_sensor": new_v, "sym_power_sensor": new_p})
        try:
            node = model.calculate_state_estimation(output_component_types=["node"], **settings)["node"]
        except PowerGridError as error:
            raise SkippedError from error
        return node["u_pu"] * np.exp(1j * node["u_angle"])

    return estimate


def pandapower(network: Network, m: Measurements) -> Estimate:
    """pandapower's weighted least squares; its power measurements at buses count consumption."""
    import pandas as pd
    from pandapower.estimation import estimate as pandapower_estimate

    net = pandapower_net(network)
    busy = (network.consumers.node, network.generators.node, network.sources.node)
    passive = len(np.unique(np.concatenate(busy))) < network.nodes.n
    algorithm = "wls_with_zero_constraint" if passive else "wls"
    settings = {"init": "slack", "zero_injection": "no_inj_bus", "algorithm": algorithm}
    at_line = m.kind > K.Q_INJECTION_KVAR
    trafo = at_line & (m.place >= network.lines.n)
    scale = np.choose(m.kind, [1.0, -1e-3, -1e-3, 1e-3, 1e-3, 1e-3])
    kinds = np.array(["v", "p", "q", "p", "q", "i"], dtype=object)
    ends = np.where(trafo, np.where(m.side == 0, "hv", "lv"), np.where(m.side == 0, "from", "to"))
    net.measurement = pd.DataFrame(
        {
            "name": "",
            "measurement_type": kinds[m.kind],
            "element_type": np.where(trafo, "trafo", np.where(at_line, "line", "bus")),
            "element": np.where(trafo, m.place - network.lines.n, m.place).astype(np.uint32),
            "value": 0.0,
            "std_dev": m.sigma * np.abs(scale),
            "side": np.where(at_line, ends, None),
        }
    )

    def estimate(value: Any) -> Any:
        net.measurement["value"] = value * scale
        done = pandapower_estimate(net, tolerance=PANDAPOWER_TOLERANCE, **settings)
        if not (done["success"] if isinstance(done, dict) else done):
            raise SkippedError
        found = net.res_bus_est
        return found.vm_pu.to_numpy() * np.exp(1j * np.radians(found.va_degree.to_numpy()))

    return estimate


def in_turns(engines: dict[str, Estimate], values: list[Any], rounds: dict[str, int]) -> dict[str, list[float]]:
    """Milliseconds of CPU time of each engine, taking turns."""
    times: dict[str, list[float]] = {name: [] for name in engines}
    for turn, value in enumerate(values):
        for name, estimate in engines.items():
            if turn < rounds[name]:
                start = time.process_time()
                with suppress(SkippedError):
                    estimate(value)
                times[name].append(1e3 * (time.process_time() - start))
    return times


def bad_data_ms(network: Network, m: Measurements, value: Any) -> float:
    """CPU time to find one gross error of 20 sigma, at the most redundant flow, and to estimate without it."""
    estimator = StateEstimator(network)
    good = estimator.estimate(m.with_values(value), tests=True)
    kept = np.abs(good.residual / good.normalised_residual / m.sigma)
    wrong = int(np.argmax(np.where(m.kind == K.P_FLOW_KW, kept, 0.0)))
    value = value.copy()
    value[wrong] += 20 * m.sigma[wrong]
    times = []
    for _ in range(5):
        start = time.process_time()
        removed = estimator.identify_bad_data(m.with_values(value)).removed
        times.append(1e3 * (time.process_time() - start))
        assert [bad.measurement for bad in removed] == [wrong], removed
    return median(times)


def switch_ms(network: Network, m: Measurements, value: Any) -> float:
    """CPU time of an estimate after a switch has moved: order, pattern, proof of observability and all."""
    estimator = StateEstimator(network)
    closed, times = network.switches.normally_closed.copy(), []
    away = int(np.argmin(network.switches.feeder_head))
    for _ in range(6):
        closed[away] = not closed[away]
        start = time.process_time()
        estimator.update(closed=closed)
        estimator.estimate(m.with_values(value), skip_unobservable=True)
        times.append(1e3 * (time.process_time() - start))
    return median(times)


def measure(network: Network, most_pandapower: int) -> None:
    """One size: all engines, agreement and ratios."""
    n = network.nodes.n
    rng = np.random.default_rng(n)
    m = placed(network)
    clean = exact(network, power_flow(network).solve(), m)
    values = [clean + rng.normal(0, m.sigma) for _ in range(ROUNDS)]
    engines = {"ours": ours(network, m), "power-grid-model": grid_model(network, m)}
    if n <= most_pandapower:
        engines["pandapower"] = pandapower(network, m)
    reference = engines["ours"](values[0])
    off = {}
    for name, estimate in list(engines.items()):
        try:
            off[name] = float(np.abs(estimate(values[0]) - reference).max())
        except SkippedError:
            print(f"{n:>7,} nodes  {name:<17} does not converge")
            del engines[name]
    rounds = {name: PANDAPOWER_ROUNDS if name == "pandapower" else ROUNDS for name in engines}
    if n > 1_000:
        rounds["pandapower"] = 1
    taken = {name: median(times) for name, times in in_turns(engines, values, rounds).items()}
    for name, ms in taken.items():
        print(f"{n:>7,} nodes  {name:<17} {ms:10.2f} ms  {ms / taken['ours']:8.1f} times ours  off {off[name]:.1e} pu")
    bad = bad_data_ms(network, m, values[1])
    print(f"{n:>7,} nodes  bad data found    {bad:10.2f} ms  {bad / taken['ours']:8.1f} estimates")
    if not network.switches.n:
        return
    switched = switch_ms(network, m, values[1])
    print(f"{n:>7,} nodes  after a switch    {switched:10.2f} ms  {switched / taken['ours']:8.1f} estimates")


def soaked(name: str, runs: int = 500) -> bool:
    """Whether the objective averages to the degrees of freedom, and redundant errors of 20 sigma are found."""
    network = load_network(name)
    m, rng, estimator = placed(network), np.random.default_rng(500), StateEstimator(network)
    m = Measurements.join(m, m)
    clean = exact(network, power_flow(network).solve(), m)
    objectives, accused, found = [], 0, 0
    first = estimator.estimate(m.with_values(clean + rng.normal(0, m.sigma)), tests=True)
    redundant = np.flatnonzero(~first.critical & first.used)
    for _ in range(runs):
        value = clean + rng.normal(0, m.sigma)
        objectives.append(estimator.estimate(m.with_values(value)).objective)
        accused += bool(estimator.identify_bad_data(m.with_values(value)).removed)
        wrong = int(rng.choice(redundant))
        value[wrong] += 20 * m.sigma[wrong] * rng.choice([-1, 1])
        removed = [bad.measurement for bad in estimator.identify_bad_data(m.with_values(value)).removed]
        found += wrong in removed
    ratio = float(np.mean(objectives)) / first.degrees_of_freedom
    print(f"{name}: mean objective {ratio:.4f} of the {first.degrees_of_freedom} degrees of freedom in {runs} runs")
    print(f"{name}: 20 sigma errors identified {found / runs:.1%}, runs without error accused {accused / runs:.1%}")
    return abs(ratio - 1) < 0.05 and found >= 0.99 * runs


@click.command(help=__doc__)
@click.option("--quick", is_flag=True, help="pandapower up to 1,000 nodes only.")
@click.option("--soak", is_flag=True, help="500 noisy runs and 500 gross errors instead; exit code 1 if they fail.")
def main(quick: bool, soak: bool) -> None:
    """Measure and print."""
    warnings.simplefilter("ignore")
    if soak:
        raise SystemExit(0 if all([soaked("cigre_mv"), soaked("mv_oberrhein")]) else 1)
    real = [Case(name, load_network(name)).flat.network for name in ("pandapower:case33bw", "mv_oberrhein")]
    for network in (*real, radial(1_000), radial(10_000)):
        measure(network, 1_000 if quick else 10_000)


if __name__ == "__main__":
    main()
