"""All inverters of a network: reactive power by set point or by a characteristic of the voltage.

Arrays over the units; each unit's reactive power follows its target with its response time. Active power is given by
the sun or the wind and has priority: what the rating leaves is the room for reactive power.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from twin.derive.reactive_curves import VoltVarCurve
from twin.network.model import Floats, Ints
from twin.timebase import SimTime

SETTLED_KVAR = 0.01
"""Closer to its target than this, reactive power is there."""


class Inverters:
    """``rows`` of the generating units; ``curves``: the characteristic of each, None: by set point."""

    def __init__(self, rows: Ints, s_kva: Floats, curves: Sequence[VoltVarCurve | None], response_s: Floats) -> None:
        self.rows = rows
        self.q_set_kvar = np.zeros(len(rows))
        self.q_kvar = np.zeros(len(rows))
        self._s_kva = s_kva
        self._curves = tuple(curves)
        self._response_s = np.array(
            [c.response_s if c else s for c, s in zip(curves, response_s.tolist(), strict=True)]
        )
        self._target = np.zeros(len(rows))
        self._now: SimTime = 0

    @property
    def settled(self) -> bool:
        """True if no reactive power is on its way."""
        return bool((np.abs(self._target - self.q_kvar) <= SETTLED_KVAR).all())

    def by_set_point(self, index: int) -> bool:
        """True if the unit takes set points."""
        return self._curves[index] is None

    def advance(self, now: SimTime) -> None:
        """Let reactive power follow the targets of the last measurement until ``now``."""
        elapsed_s = (now - self._now) / 1000.0
        self._now = now
        if elapsed_s > 0.0 and len(self.rows):
            left = 0.1 ** (elapsed_s / self._response_s)
            self.q_kvar = self._target + (self.q_kvar - self._target) * left
            self.q_kvar = np.where(np.abs(self._target - self.q_kvar) <= SETTLED_KVAR, self._target, self.q_kvar)

    def measure(self, v_pu: Floats, p_kw: Floats, now: SimTime) -> None:
        """Terminal voltages (0: dead, the unit is off) and active powers of the units from ``now`` on."""
        self.advance(now)
        room = np.sqrt(np.maximum(self._s_kva**2 - p_kw**2, 0.0))
        self._target = np.clip(self.q_set_kvar, -room, room)
        for index, curve in enumerate(self._curves):
            if curve is not None:
                one = slice(index, index + 1)
                self._target[one] = curve.q_kvar(v_pu[one], self._s_kva[one], p_kw[one])
        dead = v_pu <= 0.0
        self._target[dead] = 0.0
        self.q_kvar[dead] = 0.0

    def snapshot(self) -> dict[str, Any]:
        """State ready for JSON."""
        arrays = {"q_set_kvar": self.q_set_kvar, "q_kvar": self.q_kvar, "target": self._target}
        return {"now": self._now, **{name: values.tolist() for name, values in arrays.items()}}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Stand as in ``state``."""
        self._now = state["now"]
        self.q_set_kvar = np.array(state["q_set_kvar"], dtype=np.float64)
        self.q_kvar = np.array(state["q_kvar"], dtype=np.float64)
        self._target = np.array(state["target"], dtype=np.float64)
