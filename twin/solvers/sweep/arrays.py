"""The arrays that the compiled loops work on. Not for anything that calculates a power flow.

Per unit on 1 MVA and the nominal voltage of each node. A *position* is the place of an energised node in the
breadth-first order; position 0 is a fictitious node at 1 pu above all sources, so that no loop has a special case.
Phase shifts of transformers are taken out of the loops: voltages are stored turned back by the clock number
that the node has collected from its source, and only loops and reported angles know of it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from twin.network.model import Bools, Floats, Ints, Network
from twin.solvers.grid_model_mapping import lift_impedance
from twin.solvers.transformer_taps import windings

Complexes = NDArray[np.complex128]
Positions = NDArray[np.uint32]
"""Unsigned, so that the compiled passes need not look for negative indices."""

BASE_KVA = 1e3
_PAGE, _ROW_OFFSET = 512, 72
"""Floats in a page of memory, and by how many the rows of a table are put off against each other."""

MAX_LOOPS = 64
"""More closed loops than this go to the general solver: the loop equations cost their square every iteration."""


class Grid(NamedTuple):
    """What switching and taps leave alone.

    Neighbours in compressed rows: those of node ``n`` are ``start[n] .. start[n + 1]``. ``switch_*`` hold
    all switches, ``branch`` -1 for those between nodes. ``i_from_a`` and ``i_to_a`` are the currents of 1 pu at the
    ends of each branch, ``per_rating_*`` the inverse ratings (0: unknown). ``load_shares`` are the rows of
    ``Consumers.zip_shares``, without columns where no load depends on the voltage; ``generator_set`` is the voltage
    that a generating unit holds (0: none) between its limits of Q. Only ``shunt_y``,
    at each node, follows the steps that are in; ``shunt_node`` are the nodes that have any.
    """

    branch_start: Ints
    branch_row: Ints
    branch_node: Ints
    link_start: Ints
    link_switch: Ints
    link_node: Ints
    branch_from: Ints
    branch_to: Ints
    clock: Ints
    switch_branch: Ints
    switch_side: Ints
    source_node: Ints
    source_v_pu: Floats
    source_angle_rad: Floats
    shunt_node: Ints
    shunt_y: Complexes
    i_from_a: Floats
    i_to_a: Floats
    per_rating_from: Floats
    per_rating_to: Floats
    load_node: Ints
    load_shares: Floats
    generator_node: Ints
    generator_set: Floats
    generator_low: Floats
    generator_high: Floats


class Points(NamedTuple):
    """What of :class:`Grid` a load-only step needs: every array that is handed to compiled code costs its time."""

    load_node: Ints
    load_shares: Floats
    generator_node: Ints
    generator_set: Floats
    generator_low: Floats
    generator_high: Floats


class Branches(NamedTuple):
    """Pi models behind an ideal transformer ``ratio : 1`` at the from end; ``per_ratio`` is the inverse.

    ``half`` is the shunt admittance of one half, ``open_end`` the admittance seen from one end, the other open.
    ``at_node`` adds up the halves at each node with all branches closed; ``lines_at_node`` are those of the lines.
    """

    ratio: Floats
    per_ratio: Floats
    z: Complexes
    half: Complexes
    open_end: Complexes
    at_node: Complexes
    lines_at_node: Complexes


class Tree(NamedTuple):
    """The energised nodes under one set of switch states; ``size`` is (positions, loops, branches not closed).

    By position: ``node``, ``parent`` (a position), ``branch`` above (-1: a source or a closed link), and, at sources
    or once ``traced``, ``root`` (row of the source), ``clock`` collected, and ``turn`` from the stored voltage to the
    true one (rad). By node: ``position`` (0: dead). By branch: which ends are connected, and in ``child`` the position
    below it (0: not in the tree, ``-1 - k``: it closes loop ``k``). ``opened`` are the branches that are not closed at
    both ends, ``load_at`` and ``generator_at`` the positions of consumers and generating units.
    """

    size: NDArray[np.int64]
    position: Ints
    node: Ints
    parent: Positions
    branch: Ints
    root: Ints
    clock: Ints
    turn: Floats
    traced: Bools
    from_on: Bools
    to_on: Bools
    child: Ints
    opened: Ints
    load_at: Positions
    generator_at: Positions


class Spine(NamedTuple):
    """What of :class:`Tree` a load-only step needs."""

    size: NDArray[np.int64]
    position: Ints
    parent: Positions


class Drops(NamedTuple):
    """By position, what :mod:`twin.solvers.sweep.radial` needs besides ``a`` and ``w`` of :class:`Flow`, by rows.

    ``given`` are the voltages without demand, the cosine and the sine of twice their angle. ``work`` is the demand that
    does not depend on the voltage, real and imaginary, and the drop of the squared voltage; then, where demand depends
    on the voltage, that of constant current and of constant impedance.
    """

    given: Floats
    work: Floats


class Flow(NamedTuple):
    """By position, the equations eliminated along the tree and their present solution.

    ``v = a v_parent - w j`` gives the voltages, ``y v + j`` is the current drawn from above, ``s + s1 |v| +
    s2 |v|²`` the demand (conjugate); ``s1`` and ``s2`` are empty where none depends on the voltage. Without loops,
    ``a`` are the voltages without demand and ``w`` the impedances relative to them, so that all transfer is 1 to 1.
    """

    a: Complexes
    w: Complexes
    y: Complexes
    v: Complexes
    j: Complexes
    s: Complexes
    s1: Complexes
    s2: Complexes


class Loops(NamedTuple):
    """By loop: the ``closing`` branch, the positions of its ends, its ratio in their turned frames, its current ``i``.

    ``z`` are the factorised loop equations. ``path`` are the positions between loop ends and sources,
    ``path_size`` how many; ``path_j`` and ``path_v`` hold currents and voltages along them, by position.
    """

    closing: Ints
    end_from: Ints
    end_to: Ints
    ratio: Complexes
    i: Complexes
    z: Complexes
    pivot: Ints
    path_size: NDArray[np.int64]
    path: Ints
    path_j: Complexes
    path_v: Complexes


class Demand(NamedTuple):
    """What the nodes draw and feed in, by the rows of the network's tables."""

    p_kw: Floats
    q_kvar: Floats
    generation_kw: Floats
    generation_kvar: Floats


def grid_of(network: Network) -> Grid:
    """The unchanging arrays of a network, writable and contiguous as the compiled loops expect them."""
    n, s, sources = network.nodes.n, network.switches, network.sources
    v_kv = network.nodes.v_nominal_kv
    links = np.flatnonzero(s.branch < 0).astype(np.int32)
    i_base_a = BASE_KVA / (np.sqrt(3.0) * v_kv)
    branches = np.arange(network.n_branches, dtype=np.int32)
    clock = np.concatenate([np.zeros(network.lines.n), np.round(network.transformers.shift_deg / 30)]).astype(np.int32)
    rating_from, rating_to = _ratings(network)
    return Grid(
        *_neighbours(n, network.branch_from, network.branch_to, branches),
        *_neighbours(n, s.node[links], s.other_node[links], links),
        network.branch_from.copy(),
        network.branch_to.copy(),
        clock,
        s.branch.copy(),
        s.side.copy(),
        sources.node.copy(),
        sources.v_pu.copy(),
        sources.angle_rad.copy(),
        np.unique(network.shunts.node).astype(np.int32),
        shunts_of(network, network.shunts.initial_steps),
        i_base_a[network.branch_from],
        i_base_a[network.branch_to],
        1 / rating_from,
        1 / rating_to,
        network.consumers.node.copy(),
        _shares(network),
        network.generators.node.copy(),
        np.nan_to_num(network.generators.v_set_pu, nan=0.0),
        network.generators.q_min_kvar / BASE_KVA,
        network.generators.q_max_kvar / BASE_KVA,
    )


def points_of(grid: Grid) -> Points:
    """The consumers and generating units."""
    held = grid.generator_set, grid.generator_low, grid.generator_high
    return Points(grid.load_node, grid.load_shares, grid.generator_node, *held)


def _neighbours(n: int, one: Ints, two: Ints, row: Ints) -> tuple[Ints, Ints, Ints]:
    """(start, row, other node) of each node's edges, those of a node in the order of ``row``."""
    node = np.concatenate([one, two])
    by_node = np.lexsort((np.concatenate([row, row]), node))
    start = np.zeros(n + 1, dtype=np.int32)
    np.cumsum(np.bincount(node, minlength=n), out=start[1:])
    rows = np.concatenate([row, row])[by_node].astype(np.int32)
    return start, rows, np.concatenate([two, one])[by_node].astype(np.int32)


def shunts_of(network: Network, steps: Ints) -> Complexes:
    """The shunt admittance at each node with so many steps in, shape ``(n_nodes,)``."""
    shunts = network.shunts
    y = np.zeros(network.nodes.n, dtype=np.complex128)
    np.add.at(y, shunts.node, steps / shunts.steps * (shunts.p_kw - 1j * shunts.q_kvar) / BASE_KVA)
    return y


def _shares(network: Network) -> Floats:
    shares = network.consumers.zip_shares
    return shares if shares.any() else np.zeros((4, 0))


def _ratings(network: Network) -> tuple[Floats, Floats]:
    """Current ratings of the from and to ends, A, infinite where unknown."""
    t = network.transformers
    to_side = np.concatenate([network.lines.i_max_a, t.s_kva / (np.sqrt(3.0) * t.v_to_kv)])
    one, two = (np.where(side > 0, side, np.inf) for side in (network.branch_i_max_a, to_side))
    return one, two


def branches_of(network: Network, tap_position: Ints) -> Branches:
    """The pi models of all branches at the given taps."""
    lines, transformers = _lines(network), _transformers(network, tap_position)
    ratio, z, half = (np.concatenate(columns) for columns in zip(lines, transformers, strict=True))
    of_lines = np.zeros(network.nodes.n, dtype=np.complex128)
    np.add.at(of_lines, network.lines.node_from, lines[2])
    np.add.at(of_lines, network.lines.node_to, lines[2])
    open_end = half + half / (1 + z * half)
    at_node = np.empty_like(of_lines)
    branches = Branches(ratio, 1 / ratio, z, half, open_end, at_node=at_node, lines_at_node=of_lines)
    _add_up_halves(branches, network)
    return branches


def set_taps(branches: Branches, network: Network, tap_position: Ints) -> None:
    """Write the pi models of the transformers at other taps."""
    rows = slice(network.lines.n, None)
    ratio, z, half = _transformers(network, tap_position)
    branches.ratio[rows], branches.per_ratio[rows] = ratio, 1 / ratio
    branches.z[rows], branches.half[rows] = z, half
    branches.open_end[rows] = half + half / (1 + z * half)
    _add_up_halves(branches, network)


def _add_up_halves(branches: Branches, network: Network) -> None:
    t, rows = network.transformers, slice(network.lines.n, None)
    branches.at_node[:] = branches.lines_at_node
    np.add.at(branches.at_node, t.node_from, branches.half[rows] * branches.per_ratio[rows] ** 2)
    np.add.at(branches.at_node, t.node_to, branches.half[rows])


def copy_of(branches: Branches) -> Branches:
    """The same values elsewhere."""
    b = branches
    columns = b.z.copy(), b.half.copy(), b.open_end.copy(), b.at_node.copy(), b.lines_at_node
    return Branches(b.ratio.copy(), b.per_ratio.copy(), *columns)


def _lines(network: Network) -> tuple[Floats, Complexes, Complexes]:
    lines = network.lines
    v_kv = network.nodes.v_nominal_kv[lines.node_from]
    z_base_ohm = 1e3 * v_kv**2 / BASE_KVA
    r, x = lift_impedance(lines.r_ohm, lines.x_ohm, v_kv)
    b = 2e-9 * np.pi * network.frequency_hz * lines.c_nf
    half = 0.5 * z_base_ohm * _complex(1e-6 * lines.g_us, b)
    return np.ones(lines.n), _complex(r, x) / z_base_ohm, half


def _transformers(network: Network, tap_position: Ints) -> tuple[Floats, Complexes, Complexes]:
    """Ratio, series impedance and half the shunt at the to side, of the windings as the taps set them."""
    t, v_kv = network.transformers, network.nodes.v_nominal_kv
    v_from, v_to, _ = windings(t, tap_position)
    ratio = (v_from / v_to) / (v_kv[t.node_from] / v_kv[t.node_to])
    to_base = (v_to / v_kv[t.node_to]) ** 2
    r, z = t.vkr_percent / 100, t.vk_percent / 100
    series = (BASE_KVA / t.s_kva * to_base) * _complex(r, np.sqrt(z**2 - r**2))
    g = t.p_iron_kw / BASE_KVA
    total = np.maximum(t.i0_percent / 100 * t.s_kva / BASE_KVA, g)
    return ratio, series, 0.5 / to_base * _complex(g, -np.sqrt(total**2 - g**2))


def _complex(real: Floats, imaginary: Floats) -> Complexes:
    return np.asarray(real + 1j * imaginary, dtype=np.complex128)


def tree_for(network: Network) -> Tree:
    """Room for the order under one set of switch states."""
    n, b = network.nodes.n, network.n_branches
    return Tree(
        size=np.zeros(3, dtype=np.int64),
        position=_ints(n),
        node=_ints(n + 1),
        parent=np.zeros(n + 1, dtype=np.uint32),
        branch=_ints(n + 1),
        root=_ints(n + 1),
        clock=_ints(n + 1),
        turn=np.zeros(n + 1),
        traced=np.zeros(1, dtype=np.bool_),
        from_on=np.zeros(b, dtype=np.bool_),
        to_on=np.zeros(b, dtype=np.bool_),
        child=_ints(b),
        opened=_ints(b),
        load_at=np.zeros(network.consumers.n, dtype=np.uint32),
        generator_at=np.zeros(network.generators.n, dtype=np.uint32),
    )


def drops_for(network: Network) -> Drops:
    """Room for the equations of a radial network."""
    stride = _stride(network)
    return Drops(np.zeros((3, stride)), np.zeros((7 if network.consumers.zip_shares.any() else 3, stride)))


def _stride(network: Network) -> int:
    """A position and some: rows that begin at the same place of a memory page would hinder each other."""
    least = network.nodes.n + 1
    return least + (_ROW_OFFSET - least) % _PAGE


def flow_for(network: Network) -> Flow:
    """Room for the passes."""
    n = network.nodes.n + 1
    more = n if network.consumers.zip_shares.any() else 0
    a, w, y, v, j, s = (_complexes(n) for _ in range(6))
    return Flow(a, w, y, v, j, s, _complexes(more), _complexes(more))


def fresh_demand(flow: Flow) -> Flow:
    """The same equations with room of their own for voltages and demand, not cleared."""
    v, s = np.empty_like(flow.v), np.empty_like(flow.s)
    return Flow(flow.a, flow.w, flow.y, v, flow.j, s, np.empty_like(flow.s1), np.empty_like(flow.s2))


def fresh_currents(flow: Flow, loops: Loops) -> tuple[Flow, Loops]:
    """The same equations and voltages with room of their own for currents, not cleared."""
    own = flow._replace(j=np.empty_like(flow.j))
    path_j, path_v = np.empty_like(loops.path_j), np.empty_like(loops.path_v)
    return own, loops._replace(i=np.empty_like(loops.i), path_j=path_j, path_v=path_v)


def loops_for(network: Network) -> Loops:
    """Room for as many loops as are allowed."""
    n = network.nodes.n + 1
    return Loops(
        closing=_ints(MAX_LOOPS),
        end_from=_ints(MAX_LOOPS),
        end_to=_ints(MAX_LOOPS),
        ratio=_complexes(MAX_LOOPS),
        i=_complexes(MAX_LOOPS),
        z=np.zeros((MAX_LOOPS, MAX_LOOPS), dtype=np.complex128),
        pivot=_ints(MAX_LOOPS),
        path_size=np.zeros(1, dtype=np.int64),
        path=_ints(n),
        path_j=_complexes(n),
        path_v=_complexes(n),
    )


def _ints(size: int) -> Ints:
    return np.zeros(size, dtype=np.int32)


def _complexes(size: int) -> Complexes:
    return np.zeros(size, dtype=np.complex128)
