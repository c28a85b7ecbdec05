"""The engines of the solver benchmark behind one interface: ``step`` writes all loads, solves and reads all |V|.

A peer that is not installed, or cannot take a network, says why by raising :class:`SkippedError`.
"""

from __future__ import annotations

import importlib.util
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.bare_sweep import BareSweep
from benchmarks.flatten import Flat, flatten
from twin.errors import TwinError
from twin.network.model import Bools, Network
from twin.solvers import grid_model_mapping as mapping
from twin.solvers import power_flow

Step = Callable[[Any, Any], Any]
"""Takes P (kW) and Q (kvar) of the live consumers; gives |V| (pu) of the nodes of the flat network."""

OPENDSS_MOST_NODES = 20_000
"""OpenDSS builds in a time that grows with the square: a minute at 100,000 nodes."""


class SkippedError(TwinError):
    """An engine does not run here, or not on this network."""


class Case:
    """A network in one switch state, as it is and flattened for the peers."""

    def __init__(self, name: str, network: Network, closed: Bools | None = None) -> None:
        self.name = name
        self.network = network
        self.closed = network.switches.normally_closed if closed is None else closed
        self.flat: Flat = flatten(network, self.closed)
        self.live = np.flatnonzero(self.flat.node[network.consumers.node] >= 0)
        self.row = np.full(self.flat.network.nodes.n, -1, dtype=np.int64)
        energised = np.flatnonzero(self.flat.node >= 0)[::-1]
        self.row[self.flat.node[energised]] = energised

    @property
    def compared(self) -> Any:
        """The flat nodes that are nodes of the original, not open ends."""
        return np.flatnonzero(self.row >= 0)


# --- ours ------------------------------------------------------------------------------------------------------


def ours(case: Case, backend: Any) -> Step:
    """A backend of the product, through its whole interface."""
    solver = power_flow(case.network, backend=backend)
    solver.update(closed=case.closed)
    p_all, q_all = case.network.consumers.p_kw.copy(), case.network.consumers.q_kvar.copy()

    def step(p_kw: Any, q_kvar: Any) -> Any:
        solver.update(p_kw=p_kw, q_kvar=q_kvar)
        return solver.solve().v_pu

    def step_of_live(p_kw: Any, q_kvar: Any) -> Any:
        p_all[case.live], q_all[case.live] = p_kw, q_kvar
        return step(p_all, q_all)

    return step if len(case.live) == case.network.consumers.n else step_of_live


def bare_sweep(case: Case) -> Step:
    """The yardstick for the sweep."""
    network = case.flat.network
    if network.sources.n != 1 or network.n_branches != network.nodes.n - 1:
        raise SkippedError("not radial from one source")
    return BareSweep(network).step


# --- peers -----------------------------------------------------------------------------------------------------


def grid_model(case: Case) -> Step:
    """power-grid-model by its own interface, reading |V| alone."""
    from power_grid_model import DatasetType, PowerGridModel

    network = case.flat.network
    ids = mapping.ids_of(network)
    tables = {
        "node": mapping.node_table(network),
        "line": mapping.line_table(network, ids),
        "transformer": mapping.transformer_table(network, ids),
        "source": mapping.source_table(network, ids),
        "sym_load": mapping.load_table(network, ids),
        "sym_gen": mapping.generator_table(network, ids),
        "shunt": mapping.shunt_table(network, ids),
    }
    model = PowerGridModel({name: rows for name, rows in tables.items() if len(rows)}, network.frequency_hz)
    loads = mapping.table("sym_load", ids.load, network.consumers.n, DatasetType.update)

    def step(p_kw: Any, q_kvar: Any) -> Any:
        loads["p_specified"], loads["q_specified"] = 1e3 * p_kw, 1e3 * q_kvar
        model.update(update_data={"sym_load": loads})
        output: Any = model.calculate_power_flow(output_component_types={"node": ["u_pu"]})
        return output["node"]["u_pu"]

    return step


def pandapower_net(network: Network) -> Any:
    """The flat network in pandapower."""
    import pandapower as pp

    net = pp.create_empty_network(f_hz=network.frequency_hz, sn_mva=1.0)
    pp.create_buses(net, network.nodes.n, vn_kv=network.nodes.v_nominal_kv)
    for node, v_pu, angle in zip(network.sources.node, network.sources.v_pu, network.sources.angle_rad, strict=True):
        pp.create_ext_grid(net, int(node), vm_pu=float(v_pu), va_degree=float(np.degrees(angle)))
    _pandapower_branches(net, network)
    c, g, s = network.consumers, network.generators, network.shunts
    pp.create_loads(net, c.node, p_mw=c.p_kw / 1e3, q_mvar=c.q_kvar / 1e3)
    if g.n:
        pp.create_sgens(net, g.node, p_mw=g.p_kw / 1e3, q_mvar=g.q_kvar / 1e3)
    for row in range(s.n):
        pp.create_shunt(net, int(s.node[row]), p_mw=s.p_kw[row] / 1e3, q_mvar=s.q_kvar[row] / 1e3)
    return net


def _pandapower_branches(net: Any, network: Network) -> None:
    import pandapower as pp

    lines, t = network.lines, network.transformers
    parameters = {"r_ohm_per_km": lines.r_ohm, "x_ohm_per_km": lines.x_ohm, "c_nf_per_km": lines.c_nf}
    pp.create_lines_from_parameters(
        net, lines.node_from, lines.node_to, 1.0, max_i_ka=1.0, g_us_per_km=lines.g_us, **parameters
    )
    for row in range(t.n):
        pp.create_transformer_from_parameters(
            net,
            int(t.node_from[row]),
            int(t.node_to[row]),
            sn_mva=t.s_kva[row] / 1e3,
            vn_hv_kv=t.v_from_kv[row],
            vn_lv_kv=t.v_to_kv[row],
            vk_percent=t.vk_percent[row],
            vkr_percent=t.vkr_percent[row],
            pfe_kw=t.p_iron_kw[row],
            i0_percent=t.i0_percent[row],
            shift_degree=t.shift_deg[row],
            tap_side="lv" if t.tap_side[row] else "hv",
            tap_neutral=t.tap_neutral[row],
            tap_min=t.tap_min[row],
            tap_max=t.tap_max[row],
            tap_pos=t.tap_position[row],
            tap_step_percent=t.tap_step_percent[row],
            tap_changer_type="Ratio",
        )


def reference(case: Case) -> Any:
    """Complex voltages by pandapower's Newton-Raphson at 1e-8 MVA."""
    import pandapower as pp

    net = pandapower_net(case.flat.network)
    pp.runpp(net, tolerance_mva=1e-8, trafo_model="pi", calculate_voltage_angles=True, init="dc", lightsim2grid=False)
    return net.res_bus.vm_pu.to_numpy() * np.exp(1j * np.radians(net.res_bus.va_degree.to_numpy()))


_RECYCLE = {"bus_pq": True, "trafo": False, "gen": False}
PANDAPOWER_SETTINGS: tuple[dict[str, Any], ...] = (
    {"init": "results", "recycle": _RECYCLE},
    {"init": "results"},
    {"init": "dc"},
    {"init": "flat", "algorithm": "bfsw"},
)


BFSW_MOST_NODES = 2_000
"""pandapower's own sweep inverts matrices and is never the fastest above."""


def pandapower_fastest(case: Case, with_lightsim: bool = False) -> Step:
    """pandapower in whichever of its settings takes the least time here; on request with lightsim2grid inside."""
    if with_lightsim and importlib.util.find_spec("lightsim2grid") is None:
        raise SkippedError("lightsim2grid is not installed")
    settings = [{**s, "lightsim2grid": with_lightsim} for s in PANDAPOWER_SETTINGS]
    if with_lightsim or case.flat.network.nodes.n > BFSW_MOST_NODES:
        settings = [s for s in settings if s.get("algorithm") != "bfsw"]
    timed = [(*_tried(case, setting), row) for row, setting in enumerate(settings)]
    best, step, _ = min(timed, key=lambda one: (one[0], one[2]))
    if not np.isfinite(best):
        raise SkippedError("no setting converges")
    return step


def _tried(case: Case, setting: dict[str, Any]) -> tuple[float, Step]:
    """CPU seconds of a step with one setting, infinite if it does not work."""
    import pandapower as pp

    c = case.flat.network.consumers
    net = pandapower_net(case.flat.network)
    options = {"trafo_model": "pi", "calculate_voltage_angles": True, "check_connectivity": False, "numba": True}
    options |= {"tolerance_mva": 1e-8, **setting}

    def step(p_kw: Any, q_kvar: Any) -> Any:
        net.load["p_mw"], net.load["q_mvar"] = p_kw / 1e3, q_kvar / 1e3
        pp.runpp(net, **options)
        return net.res_bus.vm_pu.to_numpy()

    spent = []
    try:
        pp.runpp(net, **{**options, "init": "dc", "recycle": None, "algorithm": "nr"})
        for _ in range(2):
            start = time.process_time()
            step(c.p_kw, c.q_kvar)
            spent.append(time.process_time() - start)
    except (pp.LoadflowNotConverged, NotImplementedError, ImportError, ValueError, UserWarning, KeyError):
        return np.inf, step
    return min(spent), step


def lightsim(case: Case) -> Step:
    """lightsim2grid on its own, KLU, from the last voltages."""
    try:
        from lightsim2grid.network import init_from_pandapower
    except ImportError as error:
        raise SkippedError("lightsim2grid is not installed") from error
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        net = pandapower_net(case.flat.network)
        model = init_from_pandapower(net)
    n = case.flat.network.consumers.n
    every = np.ones(n, dtype=np.bool_)
    v = reference(case)

    def step(p_kw: Any, q_kvar: Any) -> Any:
        model.update_loads_p(every, (p_kw / 1e3).astype(np.float32))
        model.update_loads_q(every, (q_kvar / 1e3).astype(np.float32))
        solved = model.ac_pf(v, 20, 1e-8)
        if not solved.size:
            raise SkippedError("it does not converge")
        v[:] = solved
        return np.abs(solved)

    return step


def opendss(case: Case) -> Step:
    """OpenDSS through dss-python; all loads scaled by its load multiplier, the cheapest way to change them all."""
    try:
        from dss import DSS
    except ImportError as error:
        raise SkippedError("dss-python is not installed") from error
    network = case.flat.network
    if network.transformers.n or network.sources.n != 1 or network.generators.n or network.shunts.n:
        raise SkippedError("mapped for lines and loads behind one source only")
    if network.nodes.n > OPENDSS_MOST_NODES:
        raise SkippedError("takes minutes to build")
    _opendss_circuit(DSS.Text, network)
    circuit, p_rated = DSS.ActiveCircuit, network.consumers.p_kw
    buses = [int(name[1:]) for name in circuit.AllBusNames]
    order, v_nominal = np.argsort(buses), 1e3 * network.nodes.v_nominal_kv[buses] / np.sqrt(3)

    def step(p_kw: Any, q_kvar: Any) -> Any:
        circuit.Solution.LoadMult = float(p_kw[0] / p_rated[0])
        circuit.Solution.Solve()
        return (np.asarray(circuit.AllBusVmag).reshape(-1, 3)[:, 0] / v_nominal)[order]

    return step


def _opendss_circuit(text: Any, network: Network) -> None:
    lines, c, v_kv = network.lines, network.consumers, network.nodes.v_nominal_kv
    root = int(network.sources.node[0])
    commands = [
        "Clear",
        f"Set DefaultBaseFrequency={network.frequency_hz}",
        f"New Circuit.C bus1=N{root} basekv={v_kv[root]} pu={network.sources.v_pu[0]} MVAsc3=1e12 MVAsc1=1e12",
    ]
    for row in range(lines.n):
        r, x, nf = lines.r_ohm[row], lines.x_ohm[row], lines.c_nf[row]
        ends = f"bus1=N{lines.node_from[row]} bus2=N{lines.node_to[row]}"
        commands.append(f"New Line.L{row} {ends} phases=3 r1={r} x1={x} c1={nf} r0={r} x0={x} c0={nf} length=1")
    for row in range(c.n):
        at = f"bus1=N{c.node[row]} phases=3 conn=wye model=1 kV={v_kv[c.node[row]]}"
        commands.append(f"New Load.D{row} {at} kW={c.p_kw[row]} kvar={c.q_kvar[row]} vminpu=0.5 vmaxpu=1.5")
    commands += ["Set tolerance=1e-8", "Set maxiterations=100", "Set controlmode=off", "Solve"]
    for command in commands:
        text.Command = command
