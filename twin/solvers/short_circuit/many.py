"""Many faults on one topology in one call: arrays for the compiled loop, threads over its ranges."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from twin.network.model import Ints
from twin.solvers.model import FaultPoint, FaultStudy
from twin.solvers.short_circuit.factor import Factor
from twin.solvers.short_circuit.kernels import Cases, Factors, Monitor, Rows, Sources, Study, solve_range
from twin.solvers.short_circuit.single import CODES
from twin.solvers.short_circuit.state import Site, State, bridge

_SMALLEST_RANGE = 32
_RANGES_A_WORKER = 4

Located = Sequence[tuple[FaultPoint, list[Site]]]


def solve_many(
    state: State, faults: Located, nodes: Sequence[int], branches: Sequence[int], workers: int | None
) -> FaultStudy:
    """Solve located faults; see :meth:`twin.solvers.short_circuit.SequenceShortCircuit.solve_many`."""
    earth = any(fault.kind.to_earth and sites for fault, sites in faults)
    f1, row1 = _factors(state.positive)
    f0, row0 = _factors(state.zero) if earth else (f1, row1)
    cases = _cases(state, faults, row1, row0)
    monitor = _monitor(state, np.asarray(nodes, dtype=np.int32), np.asarray(branches, dtype=np.int32), row1, row0)
    sources = Sources(row1[state.converter_bus], state.converter_pu)
    study = _study(len(faults), len(nodes), len(branches))
    ranges = _ranges(len(faults), workers or len(os.sched_getaffinity(0)))
    with ThreadPoolExecutor(workers or len(os.sched_getaffinity(0))) as pool:
        for done in [
            pool.submit(solve_range, first, last, cases, f1, f0, sources, monitor, study) for first, last in ranges
        ]:
            done.result()
    return FaultStudy(
        energised=cases.n_sites > 0,
        i_fault_a=study.i_fault,
        i_earth_a=study.i_earth,
        nodes=np.asarray(nodes, dtype=np.int32),
        v_pu=study.v,
        branches=np.asarray(branches, dtype=np.int32),
        i_from_a=study.i[0],
        i_to_a=study.i[1],
        residual_from_a=study.residual[0],
        residual_to_a=study.residual[1],
        into_from=study.into[0],
        into_to=study.into[1],
    )


def _ranges(n: int, workers: int) -> list[tuple[int, int]]:
    size = max(_SMALLEST_RANGE, -(-n // (workers * _RANGES_A_WORKER)))
    return [(start, min(start + size, n)) for start in range(0, n, size)]


def _factors(factor: Factor) -> tuple[Factors, Rows]:
    t = factor.triangular
    return Factors(t.start, t.below, t.value, t.diagonal, t.parent), t.row


def _cases(state: State, faults: Located, row1: Rows, row0: Rows) -> Cases:
    k = len(faults)
    buses, elements = state.buses, state.elements
    flat = [(f, s, site) for f, (_, sites) in enumerate(faults) for s, site in enumerate(sites)]
    at = np.array([(f, s) for f, s, _ in flat], dtype=np.int64).reshape(-1, 2).T
    number = np.zeros((3, k, 2), dtype=np.int64)
    number[:, at[0], at[1]] = np.array([(x.a, x.b, x.line) for *_, x in flat], dtype=np.int64).reshape(-1, 3).T
    value = np.zeros((3, k, 2))
    value[:, at[0], at[1]] = np.array([(x.position, x.resistance_pu, x.v_kv) for *_, x in flat]).reshape(-1, 3).T
    a, b, line = number
    position, resistance, v_kv = value
    placed = v_kv > 0
    v_kv = np.where(placed, v_kv, 1.0)
    share = np.where(placed & (line >= 0), position * (1.0 - position), 0.0)
    on = np.maximum(line, 0)
    z1, z0 = (np.append(z, 0j) if not len(z) else z for z in (elements.z1, elements.z0))
    pairs = [sites if len(sites) == 2 else None for _, sites in faults]
    mutual = np.array([[bridge(p[0], p[1], z) if p else 0j for p in pairs] for z in (elements.z1, elements.z0)])
    return Cases(
        kind=np.array([CODES[fault.kind] for fault, _ in faults], dtype=np.int64),
        n_sites=placed.sum(axis=1).astype(np.int64),
        a=row1[a],
        b=row1[b],
        a0=row0[a],
        b0=row0[b],
        position=position,
        line=np.where(placed, line, -1),
        resistance=resistance,
        voltage=elements.settings.voltage_factor(v_kv),
        amperes=1e3 / (np.sqrt(3.0) * v_kv),
        inner1=share * z1[on],
        inner0=share * z0[on],
        mutual1=mutual[0],
        mutual0=mutual[1],
        floating=buses.floating0[a],
        one_part=np.asarray(buses.part0[a[:, 0]] == buses.part0[a[:, 1]]),
        shift=buses.shift_rad[a],
    )


def _monitor(state: State, nodes: Ints, branches: Ints, row1: Rows, row0: Rows) -> Monitor:
    buses, elements, network = state.buses, state.elements, state.elements.network
    at = buses.of_node[nodes]
    ends = np.maximum(buses.ends[:, branches], 0)
    v_kv = network.nodes.v_nominal_kv[np.stack([network.branch_from[branches], network.branch_to[branches]])]
    return Monitor(
        node1=row1[at],
        node0=row0[at],
        node_prior=np.where(buses.fed[at], elements.c[nodes], 0.0),
        node_shift=buses.shift_rad[at],
        branch=branches.astype(np.int64),
        end1=row1[ends],
        end0=row0[ends],
        live=buses.live[branches],
        y1=np.ascontiguousarray(elements.positive.y[:, branches]),
        y0=np.ascontiguousarray(elements.zero.y[:, branches]),
        end_amperes=1e3 / (np.sqrt(3.0) * v_kv),
        end_shift=buses.shift_rad[ends],
    )


def _study(n_faults: int, n_nodes: int, n_branches: int) -> Study:
    by_branch = (2, n_faults, n_branches)
    return Study(
        np.zeros(n_faults),
        np.zeros(n_faults),
        np.zeros((n_faults, n_nodes)),
        np.zeros(by_branch),
        np.zeros(by_branch),
        np.zeros(by_branch, dtype=np.bool_),
    )
