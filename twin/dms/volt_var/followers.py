"""Generating units whose reactive power follows the voltage by a characteristic: they answer every move of a tap.

A tap that lowers the voltage makes them feed in more reactive power, which lifts it again: a plan that took their
reactive power for constant would see its voltages missed, and move again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from twin.derive.reactive_curves import VoltVarCurve
from twin.errors import TwinError
from twin.network.model import Floats, Ints

_MOST_ROUNDS = 60
_SETTLED = 1e-4
"""Reactive power this close to the characteristic, as a part of the rating, is on it."""
_STEEPEST = 50.0


class NotSettledError(TwinError):
    """The reactive power of units on a characteristic and their voltages do not come to rest."""

    def __init__(self, rounds: int) -> None:
        self.rounds = rounds
        super().__init__(f"the reactive power of the inverters on a characteristic does not settle in {rounds} rounds")


@dataclass(frozen=True)
class Followers:
    """Rows of the generating units, their characteristics, ratings and active powers now."""

    rows: Ints
    curves: tuple[VoltVarCurve, ...]
    s_kva: Floats
    p_kw: Floats

    @classmethod
    def none(cls) -> Followers:
        """Nobody follows anything."""
        return cls(np.zeros(0, dtype=np.int32), (), np.zeros(0), np.zeros(0))

    @property
    def n(self) -> int:
        return len(self.rows)

    def wanted(self, v_pu: Floats) -> Floats:
        """Reactive power by the characteristics, kvar; none of a unit without voltage."""
        wanted = np.zeros(self.n)
        for k, curve in enumerate(self.curves):
            one = slice(k, k + 1)
            wanted[one] = curve.q_kvar(v_pu[one], self.s_kva[one], self.p_kw[one])
        return np.where(v_pu > 0.0, wanted, 0.0)

    def settle(self, start_kvar: Floats, voltages: Callable[[Floats], Floats]) -> Floats:
        """The reactive power at which characteristics and network agree; ``voltages`` is one power flow.

        Secant steps: the network's answer to more reactive power is a higher voltage, for which the characteristic
        wants less, so a full step would overshoot and may never end.

        Raises:
            NotSettledError: they do not agree.
            PowerFlowDivergedError: from ``voltages``.
        """
        q_kvar, before, wanted_before = start_kvar.astype(np.float64), None, None
        for _ in range(_MOST_ROUNDS):
            wanted = self.wanted(voltages(q_kvar))
            miss = wanted - q_kvar
            if (np.abs(miss) <= _SETTLED * self.s_kva).all():
                return q_kvar
            slope = np.zeros(self.n)
            if before is not None and wanted_before is not None:
                np.divide(wanted - wanted_before, q_kvar - before, out=slope, where=np.abs(q_kvar - before) > 1e-9)
            before, wanted_before = q_kvar, wanted
            q_kvar = q_kvar + miss / (1.0 - np.clip(slope, -_STEEPEST, 0.0))
        raise NotSettledError(_MOST_ROUNDS)
