"""What a three-phase power flow takes and gives: the unbalanced counterpart of :mod:`twin.solvers.model`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from twin.network.model import Bools, Floats, Ints
from twin.solvers.model import PowerFlowDivergedError


@dataclass(frozen=True, slots=True)
class ThreePhaseResult:
    """A converged unbalanced power flow; rows in the order of the network's tables, columns are the phases A, B, C.

    All arrays are read-only and of shape ``(n, 3)``, NaN where the phase (or the unit of a load) does not exist.
    ``v_pu`` and ``angle_rad`` are the voltages to earth, ``v_pu`` over nominal voltage / sqrt(3). Dead
    phases have ``energised`` False and 0 V. Branch quantities at the from end count positive from
    the from node into the branch, at the to end from the to node into the branch.
    ``consumer_p_kw``/``consumer_q_kvar`` is what each unit draws at its voltage, 0 where it is not supplied.
    ``i_switch_a`` counts positive as :class:`twin.network.three_phase.PhaseSwitches` says; in a
    loop of closed node-to-node switches, which have no impedance, the current divides as over equal resistances.
    """

    v_pu: Floats
    angle_rad: Floats
    energised: Bools
    p_from_kw: Floats
    q_from_kvar: Floats
    i_from_a: Floats
    p_to_kw: Floats
    q_to_kvar: Floats
    i_to_a: Floats
    consumer_p_kw: Floats
    consumer_q_kvar: Floats
    source_p_kw: Floats
    source_q_kvar: Floats
    i_switch_a: Floats


class ThreePhasePowerFlow(Protocol):
    """Built once on a network, updated in place, solved many times."""

    def update(
        self,
        *,
        p_kw: Floats | None = None,
        q_kvar: Floats | None = None,
        generation_kw: Floats | None = None,
        generation_kvar: Floats | None = None,
        closed: Bools | None = None,
        tap_position: Ints | None = None,
        shunt_on: Bools | None = None,
    ) -> None:
        """Replace demand ``(n, 3)``, generation ``(n, 3)``, switch states, taps ``(n,)`` or shunts (None: unchanged).

        ``closed`` and ``shunt_on`` are one bool an equipment, ``(n,)``, or one a pole or unit, ``(n, 3)``.
        Either all of it is taken, or none.
        """
        ...

    def solve(self) -> ThreePhaseResult:
        """Solve for the present state.

        Raises:
            PowerFlowDivergedError: an energised island has no solution; names the island.
        """
        ...

    def solve_many(self, closed: Bools) -> list[ThreePhaseResult | PowerFlowDivergedError]:
        """Solve for many switch states, ``(k, n_switches)`` or ``(k, n_switches, 3)``; the present state stays.

        A candidate without a solution yields its error in place of a result.
        """
        ...
