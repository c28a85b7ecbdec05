"""Load flow at work in the control room: allocates demand to the meters every period and publishes the state.

The application itself is ``twin.dms.load_flow``. In a study it answers what a switch or a value would change.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from twin.control_room.desk import CyclicDesk, Finding, Host
from twin.control_room.settings import LoadFlowDeskSettings
from twin.control_room.standing import known_only, quality_of
from twin.control_room.telemetered import Machinery
from twin.control_room.watch import SwitchPoints
from twin.dms.load_flow import AllocationDivergedError, LoadFlow, LoadFlowResult, MeterImage
from twin.dms.load_model import ProfiledDemand
from twin.dms.standing import Standing, usable
from twin.network.load_profiles import PROFILES
from twin.network.model import Floats, Network
from twin.points.calculated import calculated_point
from twin.points.model import PointDefinition, Quality
from twin.solvers import PowerFlowDivergedError, power_flow
from twin.timebase import SimTime

NAME = "load_flow"
CONSUMER = {"lf_p_kw": "kW", "lf_q_kvar": "kvar"}
NODE = {"lf_v_pu": "pu"}
BRANCH = {"lf_p_kw": "kW", "lf_q_kvar": "kvar", "lf_i_a": "A", "lf_loading": "%"}
WHOLE = {
    "loading_max": "%",
    "v_min_pu": "pu",
    "v_max_pu": "pu",
    "load_kw": "kW",
    "losses_kw": "kW",
    "meters": "",
    "refused_meters": "",
    "unmetered_consumers": "",
    "unknown_nodes": "",
}


def load_flow_points(
    network: Network, definitions: Sequence[PointDefinition], settings: LoadFlowDeskSettings
) -> list[PointDefinition]:
    """Allocated demand of consumers, voltages of nodes, P, Q, I (from side) and loading of branches, and the whole."""
    return [
        *(calculated_point(n, q, unit) for q, unit in CONSUMER.items() for n in network.consumers.names),
        *(calculated_point(n, q, unit) for q, unit in NODE.items() for n in network.nodes.names),
        *(calculated_point(n, q, unit) for q, unit in BRANCH.items() for n in network.branch_names),
        *(calculated_point(NAME, q, unit, equipment=False) for q, unit in WHOLE.items()),
    ]


class LoadFlowDesk(CyclicDesk):
    """Runs load allocation and load flow for the whole network of a control room."""

    def __init__(self, host: Host, settings: LoadFlowDeskSettings) -> None:
        super().__init__(NAME, host, settings.period_ms, settings.settle_ms)
        network = host.network
        self._application = LoadFlow(network, power_flow(network), settings.limits)
        load = settings.load_model
        self._demand = ProfiledDemand(network, PROFILES[load.profile], scale=load.scale, spread=load.spread)
        self._meters = [SwitchPoints(network, host.database, host.definitions, q) for q in ("p_kw", "q_kvar", "i_a")]
        self._machinery = Machinery(network, host.definitions, host.database)
        published = load_flow_points(network, host.definitions, settings)
        self._writer = host.database.calculated([point.name for point in published])

    def run(self, now: SimTime) -> None:
        """Allocate, solve, publish, tell."""
        try:
            result = self._application.run(self.image(now))
        except (AllocationDivergedError, PowerFlowDivergedError) as error:
            self._writer.withdraw()
            self.findings.update([Finding(NAME, "no result", f"There is no load flow: {error}.")], now)
            return
        values, quality = self._values(result)
        self._writer.publish(values, quality, now)
        self.findings.update(findings_of(result), now)

    def image(self, now: SimTime) -> MeterImage:
        """What the point database shows at ``now``."""
        position, (fed_in_kw, fed_in_kvar) = self.host.watch.position, self._machinery.generation()
        p_kw, q_kvar, i_a = (np.where(meter.good(), meter.values(), np.nan) for meter in self._meters)
        return MeterImage(
            position=position.values().astype(np.int32),
            position_quality=position.quality(),
            p_kw=p_kw,
            q_kvar=q_kvar,
            i_a=i_a,
            demand=self._demand.at(self.host.time_base.instant(now)),
            generation_kw=fed_in_kw,
            generation_kvar=fed_in_kvar,
            tap_position=self._machinery.tap_position(),
        )

    def _values(self, result: LoadFlowResult) -> tuple[Floats, Any]:
        """Values and qualities in the order of the published points."""
        flow = result.flow
        supplied = result.consumer != Standing.DEAD
        alive = flow.v_pu[usable(result.node) & flow.energised]
        whole = [
            flow.loading[usable(result.branch)].max(initial=0.0),
            alive.min() if alive.size else np.nan,
            alive.max() if alive.size else np.nan,
            result.p_kw[supplied].sum(),
            result.losses_kw,
            len(result.meters),
            len(result.refused),
            result.unmetered,
            np.count_nonzero(result.node == Standing.UNKNOWN),
        ]
        values = [
            *(known_only(np.where(supplied, a, 0.0), result.consumer) for a in (result.p_kw, result.q_kvar)),
            known_only(flow.v_pu, result.node),
            *(known_only(a, result.branch) for a in (flow.p_from_kw, flow.q_from_kvar, flow.i_from_a, flow.loading)),
            np.array(whole, dtype=np.float64),
        ]
        quality = [
            *[quality_of(result.consumer)] * len(CONSUMER),
            quality_of(result.node),
            *[quality_of(result.branch)] * len(BRANCH),
            np.full(len(whole), Quality.GOOD, dtype=np.uint8),
        ]
        return np.concatenate(values), np.concatenate(quality)


def findings_of(result: LoadFlowResult) -> list[Finding]:
    """What an operator should know of a result, a sentence each."""
    found = [Finding(meter.name, "meter not believed", meter.why) for meter in result.refused]
    found += [
        Finding(name, "unknown switch", f"{name} has no usable position; the meter zones beside it cannot be told.")
        for name in result.unknown_switches
    ]
    found += [Finding(NAME, f"note {n}", why) for n, why in enumerate(result.sentences, 1)]
    return found
