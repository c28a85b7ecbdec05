"""State estimation at work in the control room: looks at the image every period, publishes what it finds as points.

The estimation itself is ``twin.dms.state_estimation``. Nothing is carried from one look to the next but what the
operator has been told.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from twin.control_room.desk import CyclicDesk, Finding, Host
from twin.control_room.settings import StateEstimationDeskSettings
from twin.control_room.standing import known_only, quality_of
from twin.control_room.telemetered import Machinery
from twin.dms.load_model import ProfiledDemand
from twin.dms.standing import Standing
from twin.dms.state_estimation import (
    EstimationResult,
    Image,
    StateEstimation,
    measured_points,
)
from twin.network.load_profiles import PROFILES
from twin.network.model import Floats, Network
from twin.points.calculated import calculated_point
from twin.points.model import PointDefinition, PointKind
from twin.solvers.state_estimation import EstimationDivergedError
from twin.timebase import SimTime

NAME = "state_estimation"
NODE = {"se_v_pu": "pu"}
BRANCH = {"se_p_kw": "kW", "se_q_kvar": "kvar", "se_i_a": "A", "se_loading": "%"}
WHOLE = {
    "objective": "",
    "degrees_of_freedom": "",
    "measurements": "",
    "wrong_points": "",
    "suspect_switches": "",
    "expected_nodes": "",
    "doubtful_nodes": "",
    "unknown_nodes": "",
}


def state_estimation_points(
    network: Network, definitions: Sequence[PointDefinition], settings: StateEstimationDeskSettings
) -> list[PointDefinition]:
    """Voltages of nodes, P, Q, I (from side) and loading of branches, marks of doubt, and figures of the whole."""
    measured = measured_points(network, definitions, settings.limits)
    return [
        *(calculated_point(n, q, unit) for q, unit in NODE.items() for n in network.nodes.names),
        *(calculated_point(n, q, unit) for q, unit in BRANCH.items() for n in network.branch_names),
        *(calculated_point(n, "se_suspect", kind=PointKind.SINGLE) for n in network.switches.names),
        *(calculated_point(n, "se_wrong", kind=PointKind.SINGLE, equipment=False) for n in measured.names),
        *(calculated_point(NAME, q, unit, equipment=False) for q, unit in WHOLE.items()),
    ]


class StateEstimationDesk(CyclicDesk):
    """Runs state estimation for the whole network of a control room."""

    def __init__(self, host: Host, settings: StateEstimationDeskSettings) -> None:
        super().__init__(NAME, host, settings.period_ms, settings.settle_ms)
        network, limits = host.network, settings.limits
        if settings.mode == "automatic":
            limits = limits.model_copy(update={"assume_suspected": True})
        self._points = measured_points(network, host.definitions, limits)
        self._application = StateEstimation(network, self._points, limits)
        load = settings.load_model
        self._demand = ProfiledDemand(network, PROFILES[load.profile], scale=load.scale, spread=load.spread)
        self._view = host.database.view(self._points.names)
        self._machinery = Machinery(network, host.definitions, host.database)
        published = state_estimation_points(network, host.definitions, settings)
        self._writer = host.database.calculated([point.name for point in published])

    def run(self, now: SimTime) -> None:
        """Estimate, publish, tell."""
        try:
            result = self._application.run(self.image(now))
        except EstimationDivergedError as error:
            self._writer.withdraw()
            why = f"No state fits the measurements: {error}."
            self.findings.update([Finding(NAME, "no estimate", why)], now)
            return
        values, quality = self._values(result)
        self._writer.publish(values, quality, now)
        self.findings.update(findings_of(result), now)

    def image(self, now: SimTime) -> Image:
        """What the point database shows at ``now``."""
        position, (fed_in_kw, fed_in_kvar) = self.host.watch.position, self._machinery.generation()
        return Image(
            position=position.values().astype(np.int32),
            position_quality=position.quality(),
            values=self._view.values,
            good=self._view.good,
            demand=self._demand.at(self.host.time_base.instant(now)),
            generation_kw=fed_in_kw,
            generation_kvar=fed_in_kvar,
            tap_position=self._machinery.tap_position(),
        )

    def _values(self, result: EstimationResult) -> tuple[Floats, Any]:
        """Values and qualities in the order of the published points."""
        network, state = self.host.network, result.estimate.state
        flows = (state.p_from_kw, state.q_from_kvar, state.i_from_a, state.loading)
        wrong = {point.point for point in result.wrong_points}
        suspect = {suspect.switch for suspect in result.suspects}
        whole = [
            result.objective,
            result.estimate.degrees_of_freedom,
            result.telemetered,
            len(result.wrong_points),
            len(result.suspects),
            *(np.count_nonzero(result.node == s) for s in (Standing.EXPECTED, Standing.DOUBTFUL, Standing.UNKNOWN)),
        ]
        values = [
            known_only(state.v_pu, result.node),
            *(known_only(a, result.branch) for a in flows),
            [float(row in suspect) for row in range(network.switches.n)],
            [float(name in wrong) for name in self._points.names],
            whole,
        ]
        marks = network.switches.n + self._points.n + len(whole)
        quality = [quality_of(result.node), *[quality_of(result.branch)] * len(BRANCH), np.zeros(marks, dtype=np.uint8)]
        return np.concatenate([np.asarray(part, dtype=np.float64) for part in values]), np.concatenate(quality)


def findings_of(result: EstimationResult) -> list[Finding]:
    """What an operator should know of a result, a sentence each."""
    found = [Finding(s.name, "suspect switch", s.why, _switch_data(s)) for s in result.suspects]
    found += [
        Finding(
            w.point,
            "wrong measurement",
            w.why,
            {"value": round(w.value, 3), "estimate": round(w.estimate, 3), "sigmas": round(abs(w.sigmas), 1)},
        )
        for w in result.wrong_points
    ]
    found += [
        Finding(name, "unknown switch", f"{name} has no usable position; it is taken for neither open nor closed.")
        for name in result.unknown_switches
    ]
    found += [Finding(g.source, "not observable", g.why, {"missing": g.missing}) for g in result.gaps]
    found += [Finding(NAME, f"unexplained {n}", why) for n, why in enumerate(result.sentences, 1)]
    return found


def _switch_data(suspect: Any) -> dict[str, Any]:
    return {
        "objective": float(f"{suspect.objective:.4g}"),
        "objective_other": float(f"{suspect.objective_other:.4g}"),
        "wrong_points": suspect.wrong_points,
        "wrong_points_other": suspect.wrong_points_other,
    }
