"""Reactive power that a converter gives by itself, from the voltage at its terminals.

Sources: IEEE 1547-2018 table 8 (voltage-reactive power mode, categories A and B); VDE-AR-N 4105:2018 clause 5.7.2.4
as a characteristic within EN 50549-1:2019 clause 4.7.2.3.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from twin.errors import Blame, TwinError
from twin.network.model import Floats


class CurveError(TwinError):
    """A characteristic whose voltages do not rise or whose reactive power rises with voltage."""

    blame = Blame.SCENARIO

    def __init__(self, name: str, detail: str) -> None:
        self.name = name
        super().__init__(f"the Q(V) characteristic {name} {detail}")


@dataclass(frozen=True, slots=True)
class VoltVarCurve:
    """Corner points ``v_pu`` (rising) and ``q_share`` of the rated apparent power (positive: fed in, falling).

    ``response_s`` is the open-loop response time: after it 90 % of a step are reached.

    Raises:
        CurveError: voltages do not rise, reactive power rises, or a share is beyond the rating.
    """

    name: str
    v_pu: tuple[float, ...]
    q_share: tuple[float, ...]
    response_s: float

    def __post_init__(self) -> None:
        if len(self.v_pu) != len(self.q_share) or len(self.v_pu) < 2:
            raise CurveError(self.name, "needs as many voltages as reactive powers, two or more")
        if not (np.diff(self.v_pu) > 0).all():
            raise CurveError(self.name, "needs rising voltages")
        if not (np.diff(self.q_share) <= 0).all() or max(map(abs, self.q_share)) > 1:
            raise CurveError(self.name, "needs reactive powers that fall with voltage, between -1 and 1")
        if not self.response_s > 0:
            raise CurveError(self.name, "needs a response time above 0 s")

    def q_kvar(self, v_pu: Floats, s_kva: Floats, p_kw: Floats) -> Floats:
        """Reactive power in the end, kvar, positive as generation; active power has priority over it.

        All arrays of one shape.
        """
        wanted = np.interp(v_pu, self.v_pu, self.q_share) * s_kva
        room = np.sqrt(np.maximum(s_kva**2 - p_kw**2, 0.0))
        result: Floats = np.clip(wanted, -room, room)
        return result

    def follow(self, q_kvar: Floats, target_kvar: Floats, elapsed_s: float) -> Floats:
        """First-order approach to ``target_kvar`` over ``elapsed_s``; 90 % after ``response_s``."""
        left = 0.1 ** (elapsed_s / self.response_s)
        result: Floats = target_kvar + (q_kvar - target_kvar) * left
        return result


IEEE_1547_A = VoltVarCurve("ieee1547_a", (0.90, 1.00, 1.10), (0.25, 0.0, -0.25), 10.0)
IEEE_1547_B = VoltVarCurve("ieee1547_b", (0.92, 0.98, 1.02, 1.08), (0.44, 0.0, 0.0, -0.44), 5.0)
VDE_AR_N_4105 = VoltVarCurve("vde_ar_n_4105", (0.93, 0.97, 1.03, 1.07), (0.436, 0.0, 0.0, -0.436), 10.0)

CURVES = {curve.name: curve for curve in (IEEE_1547_A, IEEE_1547_B, VDE_AR_N_4105)}
"""The characteristics by name."""


def reactive_curve(spec: str, response_s: float = 10.0) -> VoltVarCurve:
    """A characteristic by name, or by its corner points: "0.92:0.44 0.98:0 1.02:0 1.08:-0.44" (pu : share of rating).

    EN 50549-1 leaves the corner points to the responsible party; the named ones are those of other documents.

    Raises:
        CurveError: no such name, or corner points that are no characteristic.
    """
    if spec in CURVES:
        return CURVES[spec]
    if ":" not in spec:
        raise CurveError(spec, f"is none of {', '.join(CURVES)}, and no corner points such as 0.93:0.4 1.07:-0.4")
    try:
        corners = [tuple(float(part) for part in corner.split(":")) for corner in spec.split()]
        v_pu, q_share = zip(*corners, strict=True)
    except ValueError:
        raise CurveError(spec, "has a corner point that is not two numbers with a colon between") from None
    return VoltVarCurve(spec, v_pu, q_share, response_s)
