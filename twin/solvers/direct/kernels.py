"""The compiled loops of the direct solver: energise, assemble, factorise, iterate.

With the admittance matrix ``Y`` of the buses without a source, the voltages are those without demand less ``Y⁻¹ i``,
where ``i`` are the currents of the demand at the voltages before: a fixed point on factors that stay while only
demand changes. Where it does not contract well (near the voltage limit), or generating units hold voltages, Newton's
method on the currents takes over, in 2x2 real blocks with the same entries. Both start at the voltages without
demand, so that a result depends on the present inputs alone. Islands share no entry: one that has no solution
leaves the others alone.

Not for input checks: indices and finite values are the caller's promise.
"""

from __future__ import annotations

import math

from twin.network.model import Bools, Floats, Ints
from twin.solvers.direct.arrays import Load, Pattern, State, Work
from twin.solvers.sweep.arrays import BASE_KVA, Branches, Complexes, Demand, Grid, Points
from twin.solvers.sweep.compiling import compiled, inner

CONTRACTING = 0.25
"""The squared rate of the fixed point above which Newton's method costs less."""

MOST_FIXED_POINT, MOST_NEWTON, MOST_LIMIT_ROUNDS, CALLS_TO_ALL = 30, 30, 100, 2
ROUNDOFF_PU = 1e-8
"""Newton steps below this that no longer shrink are roundoff: impedances of next to nothing leave no more digits."""

SOLVABLE, CONFLICTING_SOURCES = 0, 2
CONVERGED, DIVERGED, UNSETTLED = 0, 1, 2


# --- values of a state -----------------------------------------------------------------------------------------


@compiled
def prepare(
    grid: Grid, branches: Branches, turn: Complexes, pattern: Pattern, closed: Bools, state: State, queue: Ints
) -> int:
    """Energise, assemble, factorise and find the voltages without demand; returns whether that is possible.

    ``turn`` is the unit phasor of each branch's phase shift, ``queue`` room for all nodes.
    """
    _connect(grid, closed, state)
    if not _energise(grid, pattern, closed, state, queue):
        return CONFLICTING_SOURCES
    _assemble(grid, branches, turn, pattern, state)
    _factorise(pattern, state)
    state.idle[:] = state.fixed
    _substitute(pattern, state, state.idle)
    return SOLVABLE


@inner
def _connect(grid: Grid, closed: Bools, state: State) -> None:
    state.from_on[:] = True
    state.to_on[:] = True
    for s in range(closed.size):
        b = grid.switch_branch[s]
        if b >= 0 and not closed[s]:
            if grid.switch_side[s] == 0:
                state.from_on[b] = False
            else:
                state.to_on[b] = False


@inner
def _energise(grid: Grid, pattern: Pattern, closed: Bools, state: State, queue: Ints) -> bool:
    """Mark what sources reach; False if two sources of different voltages share a bus."""
    energised, bus = state.energised, pattern.bus
    energised[:] = False
    state.free[:] = False
    state.fixed[:] = 0.0
    tail = 0
    for s in range(grid.source_node.size):
        node = grid.source_node[s]
        angle = grid.source_angle_rad[s]
        v = grid.source_v_pu[s] * complex(math.cos(angle), math.sin(angle))
        k = bus[node]
        if state.fixed[k] != 0.0 and state.fixed[k] != v:
            return False
        state.fixed[k] = v
        if not energised[node]:
            energised[node] = True
            queue[tail] = node
            tail += 1
    here = 0
    while here < tail:
        node = queue[here]
        here += 1
        state.free[bus[node]] = state.fixed[bus[node]] == 0.0
        for k in range(grid.branch_start[node], grid.branch_start[node + 1]):
            other, b = grid.branch_node[k], grid.branch_row[k]
            if not energised[other] and state.from_on[b] and state.to_on[b]:
                energised[other] = True
                queue[tail] = other
                tail += 1
        for k in range(grid.link_start[node], grid.link_start[node + 1]):
            other = grid.link_node[k]
            if not energised[other] and closed[grid.link_switch[k]]:
                energised[other] = True
                queue[tail] = other
                tail += 1
    return True


@inner
def _inverse(q: complex) -> complex:
    return q.conjugate() * (1.0 / (q.real * q.real + q.imag * q.imag))


@inner
def _assemble(grid: Grid, branches: Branches, turn: Complexes, pattern: Pattern, state: State) -> None:
    """Admittances; the rows of buses without a free voltage hold it by a one, and their columns move to ``fixed``."""
    diagonal, low, up, free, fixed = state.diagonal, state.low, state.up, state.free, state.fixed
    low[:] = 0.0
    up[:] = 0.0
    for k in range(free.size):
        diagonal[k] = 0.0 if free[k] else 1.0
    for node in range(pattern.bus.size):
        if free[pattern.bus[node]]:
            diagonal[pattern.bus[node]] += grid.shunt_y[node]
    for b in range(pattern.at.size):
        one, two = pattern.bus[grid.branch_from[b]], pattern.bus[grid.branch_to[b]]
        from_on, to_on = state.from_on[b], state.to_on[b]
        per_ratio = branches.per_ratio[b]
        if not (from_on and to_on):
            if from_on and free[one]:
                diagonal[one] += branches.open_end[b] * (per_ratio * per_ratio)
            if to_on and free[two]:
                diagonal[two] += branches.open_end[b]
            continue
        y = _inverse(branches.z[b])
        own = y + branches.half[b]
        down = -y * (per_ratio * turn[b].conjugate())  # what the voltage at the from end drives at the to end
        back = -y * (per_ratio * turn[b])
        if free[one]:
            diagonal[one] += own * (per_ratio * per_ratio)
        if free[two]:
            diagonal[two] += own
        if one == two:
            if free[one]:
                diagonal[one] += down + back
        elif free[one] and free[two]:
            at = pattern.at[b]
            low[at] += down if one < two else back
            up[at] += back if one < two else down
        elif free[one]:
            fixed[one] -= back * fixed[two]
        elif free[two]:
            fixed[two] -= down * fixed[one]


@inner
def _factorise(pattern: Pattern, state: State) -> None:
    """LU without exchange of buses, the diagonal inverted."""
    start, row, target_start, target = pattern.start, pattern.row, pattern.target_start, pattern.target
    diagonal, low, up = state.f_diagonal, state.f_low, state.f_up
    diagonal[:] = state.diagonal
    low[:] = state.low
    up[:] = state.up
    for k in range(diagonal.size):
        inverse = _inverse(diagonal[k])
        diagonal[k] = inverse
        t = target_start[k]
        for a in range(start[k], start[k + 1]):
            scaled = low[a] * inverse
            for b in range(start[k], a):
                at = target[t]
                t += 1
                low[at] -= scaled * up[b]
                up[at] -= low[b] * up[a]  # low[b] is scaled already
            low[a] = scaled
            diagonal[row[a]] -= scaled * up[a]


@inner
def _substitute(pattern: Pattern, state: State, x: Complexes) -> None:
    """Solve in place."""
    start, row = pattern.start, pattern.row
    diagonal, low, up = state.f_diagonal, state.f_low, state.f_up
    n = x.size
    for k in range(n):
        value = x[k]
        for p in range(start[k], start[k + 1]):
            x[row[p]] -= low[p] * value
    for k in range(n - 1, -1, -1):
        value = x[k]
        for p in range(start[k], start[k + 1]):
            value -= up[p] * x[row[p]]
        x[k] = value * diagonal[k]


# --- demand ----------------------------------------------------------------------------------------------------


@inner
def _place(grid: Points, pattern: Pattern, state: State, demand: Demand, load: Load) -> bool:
    """The net demand of each bus; True if generating units hold a voltage somewhere."""
    load.s0[:] = 0.0
    load.s1[:] = 0.0
    load.s2[:] = 0.0
    load.held[:] = 0.0
    load.low[:] = 0.0
    load.high[:] = 0.0
    per_kva = 1.0 / BASE_KVA
    shares = grid.load_shares
    for c in range(grid.load_node.size):
        p, q = demand.p_kw[c] * per_kva, -demand.q_kvar[c] * per_kva
        k = pattern.bus[grid.load_node[c]]
        if shares.size:
            load.s1[k] += complex(p * shares[0, c], q * shares[2, c])
            load.s2[k] += complex(p * shares[1, c], q * shares[3, c])
            load.s0[k] += complex(p * (1.0 - shares[0, c] - shares[1, c]), q * (1.0 - shares[2, c] - shares[3, c]))
        else:
            load.s0[k] += complex(p, q)
    holds = False
    for g in range(grid.generator_node.size):
        node = grid.generator_node[g]
        k = pattern.bus[node]
        p = demand.generation_kw[g] * per_kva
        if load.held.size and grid.generator_set[g] > 0.0 and state.free[k]:
            load.s0[k] -= p
            if load.held[k] == 0.0:
                load.held[k] = grid.generator_set[g]
            load.low[k] += grid.generator_low[g]
            load.high[k] += grid.generator_high[g]
            holds = True
        else:
            load.s0[k] -= complex(p, -demand.generation_kvar[g] * per_kva)
    return holds


# --- iterate ---------------------------------------------------------------------------------------------------


@compiled
def solve(
    points: Points,
    pattern: Pattern,
    state: State,
    demand: Demand,
    load: Load,
    work: Work,
    tolerance_pu: float,
    v: Complexes,
    v_pu: Floats,
) -> int:
    """Solve for the demand: the voltage by bus, its magnitude by node (0: dead), and whether it converged."""
    holds = _place(points, pattern, state, demand, load)
    status = DIVERGED
    if holds:
        status = _newton_within_limits(pattern, state, load, work, tolerance_pu, v)
    elif _fixed_point(pattern, state, load, tolerance_pu, v):
        status = CONVERGED
    else:
        v[:] = state.idle
        status = CONVERGED if _newton(pattern, state, load, work, tolerance_pu, v) else DIVERGED
    for node in range(v_pu.size):
        u = v[pattern.bus[node]]
        v_pu[node] = math.sqrt(u.real * u.real + u.imag * u.imag) if state.energised[node] else 0.0
    return status


@inner
def _fixed_point(pattern: Pattern, state: State, load: Load, tolerance_pu: float, v: Complexes) -> bool:
    """Iterate on the factors; False if Newton's method should rather."""
    n = v.size
    x = v.copy()
    v[:] = state.idle
    before = math.inf
    for iteration in range(MOST_FIXED_POINT):
        _draw(state, load, v, x)
        _substitute(pattern, state, x)
        largest = 0.0
        for k in range(n):
            new = state.idle[k] - x[k]
            step_re, step_im = new.real - v[k].real, new.imag - v[k].imag
            v[k] = new
            largest = max(largest, step_re * step_re + step_im * step_im)
        if not largest < math.inf:
            return False
        squared_rate = largest / before if iteration > 0 else 1.0
        if iteration > 1 and squared_rate > CONTRACTING and largest > 1e-4 * tolerance_pu * tolerance_pu:
            return False
        if largest * min(1.0, max(1e-3, 4.0 * squared_rate)) <= tolerance_pu * tolerance_pu:
            return True
        before = largest
    return False


@inner
def _draw(state: State, load: Load, v: Complexes, i: Complexes) -> None:
    """The currents of the demand."""
    for k in range(v.size):
        i[k] = load.s0[k] * v[k] * (1.0 / (v[k].real * v[k].real + v[k].imag * v[k].imag))
    for k in range(load.s1.size):
        i[k] += (load.s1[k] * (1.0 / abs(v[k])) + load.s2[k]) * v[k]
    for k in range(v.size):
        if not state.free[k]:
            i[k] = 0.0


@inner
def _newton_within_limits(
    pattern: Pattern, state: State, load: Load, work: Work, tolerance_pu: float, v: Complexes
) -> int:
    """Newton's method; units that would have to leave their limits of Q stay at them until the voltage calls them back.

    While any bus is beyond a limit nobody is called back. The first calls go to all buses at once, later ones to the
    bus furthest off alone: several that share a task would otherwise come and go together for ever.
    """
    v[:] = state.idle
    load.limit[:] = 0
    for k in range(v.size):
        if load.held[k] > 0.0:
            v[k] *= load.held[k] / abs(v[k])
    calls = 0
    for _ in range(MOST_LIMIT_ROUNDS):
        if not _newton(pattern, state, load, work, tolerance_pu, v):
            return DIVERGED
        if _take_to_limits(pattern, state, load, work, v):
            continue
        if not _call_back(load, v, calls < CALLS_TO_ALL):
            return CONVERGED
        calls += 1
    return UNSETTLED


@inner
def _take_to_limits(pattern: Pattern, state: State, load: Load, work: Work, v: Complexes) -> bool:
    """Let units that would have to feed in more than they can do what they can; True if there were any."""
    changed = False
    for k in range(v.size):
        if not load.held[k] > 0.0 or load.limit[k] != 0:
            continue
        fed = _reactive_power(pattern, state, load, work, v, k)
        load.fed[k] = fed
        if fed > load.high[k] + 1e-9 or fed < load.low[k] - 1e-9:
            load.limit[k] = 1 if fed > load.high[k] else -1
            load.fed[k] = load.high[k] if fed > load.high[k] else load.low[k]
            load.s0[k] += complex(0.0, load.fed[k])
            changed = True
    return changed


@inner
def _call_back(load: Load, v: Complexes, everybody: bool) -> bool:
    """Let units at a limit hold their voltage again where it is on the wrong side; True if there were any."""
    worst, furthest = -1, 1e-9
    for k in range(v.size):
        if load.held[k] > 0.0 and load.limit[k] != 0:
            off = (abs(v[k]) - load.held[k]) * load.limit[k]
            if off > furthest:
                worst, furthest = k, off
    if worst < 0:
        return False
    for k in range(v.size):
        if load.held[k] > 0.0 and load.limit[k] != 0:
            off = (abs(v[k]) - load.held[k]) * load.limit[k]
            if k == worst or (everybody and off > 1e-9):
                load.s0[k] -= complex(0.0, load.fed[k])
                load.limit[k] = 0
    return True


@inner
def _reactive_power(pattern: Pattern, state: State, load: Load, work: Work, v: Complexes, k: int) -> float:
    """What the units at a bus must feed in; ``work.right`` holds the currents into the network from the last step."""
    size = abs(v[k])
    s = load.s0[k]
    if load.s1.size:
        s += load.s1[k] * size + load.s2[k] * (size * size)
    current = complex(work.right[k, 0], work.right[k, 1])
    fed: float = (v[k] * current.conjugate()).imag - s.imag
    return fed


@inner
def _newton(pattern: Pattern, state: State, load: Load, work: Work, tolerance_pu: float, v: Complexes) -> bool:
    """Newton's method from the present voltages; ``work.last`` keeps the last step of each bus.

    Leaves the currents into the network at the final voltages in ``work.right``.
    """
    before = math.inf
    for _ in range(MOST_NEWTON):
        _currents(pattern, state, v, work.right)
        _blocks(pattern, state, load, work, v)
        _factorise_blocks(pattern, work)
        _substitute_blocks(pattern, work)
        largest = 0.0
        sound = True
        for k in range(v.size):
            step = complex(work.right[k, 0], work.right[k, 1])
            v[k] -= step
            work.last[k] = abs(step)
            largest = max(largest, work.last[k])
            sound &= work.last[k] < math.inf
        if sound and (largest <= tolerance_pu or (largest <= ROUNDOFF_PU and largest > 0.25 * before)):
            _currents(pattern, state, v, work.right)
            return True
        before = largest
    return False


@inner
def _currents(pattern: Pattern, state: State, v: Complexes, into: Floats) -> None:
    """What the voltages drive into the network at each bus."""
    start, row = pattern.start, pattern.row
    for k in range(v.size):
        i = state.diagonal[k] * v[k] - state.fixed[k]
        into[k, 0], into[k, 1] = i.real, i.imag
    for k in range(v.size):
        for p in range(start[k], start[k + 1]):
            j = row[p]
            here, there = state.up[p] * v[j], state.low[p] * v[k]
            into[k, 0] += here.real
            into[k, 1] += here.imag
            into[j, 0] += there.real
            into[j, 1] += there.imag


@inner
def _blocks(pattern: Pattern, state: State, load: Load, work: Work, v: Complexes) -> None:
    """The derivatives, and what the equations miss in ``right``, which holds the currents into the network."""
    start, row = pattern.start, pattern.row
    for k in range(v.size):
        current = complex(work.right[k, 0], work.right[k, 1])
        _own_block(state, load, work, v, k, current)
        for p in range(start[k], start[k + 1]):
            j = row[p]
            _put(work.up, p, _seen(load, state.up[p], v[k], k), load.held.size > 0 and _is_held(load, k))
            _put(work.low, p, _seen(load, state.low[p], v[j], j), load.held.size > 0 and _is_held(load, j))


@inner
def _is_held(load: Load, k: int) -> bool:
    held: bool = load.held[k] > 0.0 and load.limit[k] == 0
    return held


@inner
def _seen(load: Load, y: complex, v: complex, k: int) -> complex:
    """The admittance in the equations of bus ``k``: for currents, or for power where the voltage is held."""
    return v.conjugate() * y if load.held.size > 0 and _is_held(load, k) else y


@inner
def _put(blocks: Floats, p: int, y: complex, power: bool) -> None:
    """The block that multiplies a voltage by ``y``; of power only the real part is an equation."""
    blocks[p, 0], blocks[p, 1] = y.real, -y.imag
    blocks[p, 2], blocks[p, 3] = (0.0, 0.0) if power else (y.imag, y.real)


@inner
def _own_block(state: State, load: Load, work: Work, v: Complexes, k: int, current: complex) -> None:
    """The block of a bus with itself and its two equations."""
    u, y = v[k], state.diagonal[k]
    size = abs(u)
    s1, s2 = 0j, 0j
    if load.s1.size:
        s1, s2 = load.s1[k], load.s2[k]
    if not state.free[k]:
        _put(work.diagonal, k, 1.0 + 0j, False)
        work.right[k, 0], work.right[k, 1] = 0.0, 0.0
    elif load.held.size > 0 and _is_held(load, k):
        _put(work.diagonal, k, u.conjugate() * y, True)
        slope = (s1.real + 2.0 * s2.real * size) / size
        work.diagonal[k, 0] += current.real + slope * u.real
        work.diagonal[k, 1] += current.imag + slope * u.imag
        work.diagonal[k, 2], work.diagonal[k, 3] = 2.0 * u.real, 2.0 * u.imag
        demand = load.s0[k].real + s1.real * size + s2.real * size * size
        work.right[k, 0] = (u.conjugate() * current).real + demand
        work.right[k, 1] = size * size - load.held[k] * load.held[k]
    else:
        per_conj = u * (1.0 / (size * size))  # 1 / conj(u)
        drawn = load.s0[k] * per_conj + (s1 * (1.0 / size) + s2) * u
        _put(work.diagonal, k, y + s1 * (0.5 / size) + s2, False)
        c = -load.s0[k] * per_conj * per_conj - s1 * u * u * (0.5 / (size * size * size))
        work.diagonal[k, 0] += c.real
        work.diagonal[k, 1] += c.imag
        work.diagonal[k, 2] += c.imag
        work.diagonal[k, 3] -= c.real
        work.right[k, 0], work.right[k, 1] = current.real + drawn.real, current.imag + drawn.imag


@inner
def _factorise_blocks(pattern: Pattern, work: Work) -> None:
    """LU by blocks without exchange, the diagonal inverted, the part below it scaled."""
    start, row, target_start, target = pattern.start, pattern.row, pattern.target_start, pattern.target
    diagonal, low, up = work.diagonal, work.low, work.up
    for k in range(diagonal.shape[0]):
        a, b, c, d = diagonal[k, 0], diagonal[k, 1], diagonal[k, 2], diagonal[k, 3]
        determinant = a * d - b * c
        per = 1.0 / determinant if abs(determinant) < math.inf else math.nan  # no step of 0 out of an overflow
        diagonal[k, 0], diagonal[k, 1], diagonal[k, 2], diagonal[k, 3] = d * per, -b * per, -c * per, a * per
        t = target_start[k]
        for p in range(start[k], start[k + 1]):
            _times(low, p, low, p, diagonal, k)
            for q in range(start[k], p):
                _subtract(low, target[t], low, p, up, q)
                _subtract(up, target[t], low, q, up, p)
                t += 1
            _subtract(diagonal, row[p], low, p, up, p)


@inner
def _times(into: Floats, i: int, one: Floats, p: int, two: Floats, q: int) -> None:
    a, b, c, d = one[p, 0], one[p, 1], one[p, 2], one[p, 3]
    e, f, g, h = two[q, 0], two[q, 1], two[q, 2], two[q, 3]
    into[i, 0], into[i, 1], into[i, 2], into[i, 3] = a * e + b * g, a * f + b * h, c * e + d * g, c * f + d * h


@inner
def _subtract(into: Floats, i: int, one: Floats, p: int, two: Floats, q: int) -> None:
    into[i, 0] -= one[p, 0] * two[q, 0] + one[p, 1] * two[q, 2]
    into[i, 1] -= one[p, 0] * two[q, 1] + one[p, 1] * two[q, 3]
    into[i, 2] -= one[p, 2] * two[q, 0] + one[p, 3] * two[q, 2]
    into[i, 3] -= one[p, 2] * two[q, 1] + one[p, 3] * two[q, 3]


@inner
def _substitute_blocks(pattern: Pattern, work: Work) -> None:
    start, row, x = pattern.start, pattern.row, work.right
    diagonal, low, up = work.diagonal, work.low, work.up
    for k in range(x.shape[0]):
        a, b = x[k, 0], x[k, 1]
        for p in range(start[k], start[k + 1]):
            j = row[p]
            x[j, 0] -= low[p, 0] * a + low[p, 1] * b
            x[j, 1] -= low[p, 2] * a + low[p, 3] * b
    for k in range(x.shape[0] - 1, -1, -1):
        a, b = x[k, 0], x[k, 1]
        for p in range(start[k], start[k + 1]):
            j = row[p]
            a -= up[p, 0] * x[j, 0] + up[p, 1] * x[j, 1]
            b -= up[p, 2] * x[j, 0] + up[p, 3] * x[j, 1]
        x[k, 0] = diagonal[k, 0] * a + diagonal[k, 1] * b
        x[k, 1] = diagonal[k, 2] * a + diagonal[k, 3] * b


# --- report ----------------------------------------------------------------------------------------------------


@compiled
def report(
    grid: Grid,
    branches: Branches,
    turn: Complexes,
    pattern: Pattern,
    state: State,
    v: Complexes,
    angle_rad: Floats,
    out: Floats,
) -> None:
    """Angles by node; by branch P (kW), Q (kvar) and I (A) at the from end, the same at the to end, and the loading."""
    for node in range(angle_rad.size):
        u = v[pattern.bus[node]]
        angle_rad[node] = math.atan2(u.imag, u.real) if state.energised[node] else 0.0
    for b in range(out.shape[1]):
        one, two = grid.branch_from[b], grid.branch_to[b]
        live_one, live_two = state.from_on[b] and state.energised[one], state.to_on[b] and state.energised[two]
        v_one, v_two = v[pattern.bus[one]], v[pattern.bus[two]]
        per_ratio = branches.per_ratio[b]
        seen = v_one * (per_ratio * turn[b].conjugate())
        i_one, i_two = 0j, 0j
        if state.from_on[b] and state.to_on[b]:
            if live_one:
                through = (seen - v_two) * _inverse(branches.z[b])
                i_one = (through + branches.half[b] * seen) * (per_ratio * turn[b])
                i_two = branches.half[b] * v_two - through
        elif live_one:
            i_one = branches.open_end[b] * v_one * (per_ratio * per_ratio)
        elif live_two:
            i_two = branches.open_end[b] * v_two
        s_one, s_two = v_one * i_one.conjugate(), v_two * i_two.conjugate()
        out[0, b], out[1, b], out[2, b] = s_one.real * BASE_KVA, s_one.imag * BASE_KVA, abs(i_one) * grid.i_from_a[b]
        out[3, b], out[4, b], out[5, b] = s_two.real * BASE_KVA, s_two.imag * BASE_KVA, abs(i_two) * grid.i_to_a[b]
        out[6, b] = max(out[2, b] * grid.per_rating_from[b], out[5, b] * grid.per_rating_to[b])
