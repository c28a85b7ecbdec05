"""The arrays of the direct solver: buses in the order of their elimination, and the factors of their equations.

Per unit on 1 MVA and the nominal voltage of each node, like :mod:`twin.solvers.sweep.arrays`, whose unchanging arrays
are used. Nodes that closed bus couplers join are one *bus*. The pattern of the factors holds every branch, in service
or not, so that only a bus coupler changes it; all else that is operated changes values.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from twin.network.model import Bools, Floats, Ints, Network
from twin.solvers.sweep.arrays import Complexes, Grid

Longs = NDArray[np.int64]


class Pattern(NamedTuple):
    """Where the factors have entries: column ``k`` holds the rows ``row[start[k]:start[k + 1]]``, all above ``k``.

    ``bus`` is the bus of each node. ``at`` is the entry of each branch (-1: both ends at one bus). ``target`` are the
    entries that eliminating column ``k`` changes, from ``target_start[k]``, for each pair of its rows.
    """

    bus: Ints
    start: Longs
    row: Longs
    at: Longs
    target_start: Longs
    target: Longs


class State(NamedTuple):
    """Values under one set of switch states, taps and shunt steps.

    By node: ``energised``. By branch: which ends are connected. By bus: ``free`` (energised and without a source),
    ``fixed`` (the currents that sources drive into it, at a source its voltage), ``idle`` (the voltage without
    demand) and the diagonals. By entry: ``low`` and ``up`` are the admittances below and right of the diagonal;
    ``f_*`` are the factors, whose diagonal is inverted.
    """

    energised: Bools
    from_on: Bools
    to_on: Bools
    free: Bools
    fixed: Complexes
    idle: Complexes
    diagonal: Complexes
    low: Complexes
    up: Complexes
    f_diagonal: Complexes
    f_low: Complexes
    f_up: Complexes


class Load(NamedTuple):
    """Net demand by bus, conjugate: ``s0 + s1 |v| + s2 |v|²``; ``s1`` and ``s2`` may be empty.

    ``held`` is the voltage that generating units hold at the bus (0: none) and ``low`` to ``high`` how much
    reactive power all of them may feed in; ``limit`` is 1 or -1 where they feed in as much or as little as that.
    """

    s0: Complexes
    s1: Complexes
    s2: Complexes
    held: Floats
    low: Floats
    high: Floats
    limit: Ints
    fed: Floats


class Work(NamedTuple):
    """Room for Newton's method, by bus and entry: blocks of 2x2 reals, row by row, and right sides of 2."""

    diagonal: Floats
    low: Floats
    up: Floats
    right: Floats
    last: Floats


def state_for(network: Network, pattern: Pattern) -> State:
    """Room for the values of a pattern."""
    n, entries, branches = len(pattern.start) - 1, len(pattern.row), network.n_branches
    return State(
        energised=_bools(network.nodes.n),
        from_on=_bools(branches),
        to_on=_bools(branches),
        free=_bools(n),
        fixed=_complexes(n),
        idle=_complexes(n),
        diagonal=_complexes(n),
        low=_complexes(entries),
        up=_complexes(entries),
        f_diagonal=_complexes(n),
        f_low=_complexes(entries),
        f_up=_complexes(entries),
    )


def load_for(n: int, grid: Grid) -> Load:
    """Room for the demand at ``n`` buses."""
    more = n if grid.load_shares.size else 0
    held = n if grid.generator_set.any() else 0
    return Load(
        s0=_complexes(n),
        s1=_complexes(more),
        s2=_complexes(more),
        held=np.zeros(held),
        low=np.zeros(held),
        high=np.zeros(held),
        limit=np.zeros(held, dtype=np.int32),
        fed=np.zeros(held),
    )


def _bools(size: int) -> Bools:
    return np.zeros(size, dtype=np.bool_)


def _complexes(size: int) -> Complexes:
    return np.zeros(size, dtype=np.complex128)


def work_for(pattern: Pattern) -> Work:
    """Room for Newton's method."""
    n, entries = len(pattern.start) - 1, len(pattern.row)
    return Work(np.zeros((n, 4)), np.zeros((entries, 4)), np.zeros((entries, 4)), np.zeros((n, 2)), np.zeros(n))
