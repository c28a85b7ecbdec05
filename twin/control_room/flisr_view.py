"""What FLISR is shown of a fault: the watch's observation with the demand before the fault and the one to come."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import numpy as np

from twin.control_room.desk import Host
from twin.control_room.incident import Incident
from twin.control_room.settings import FlisrDeskSettings
from twin.dms.flisr import Observation
from twin.dms.load_estimate import DemandEstimate, demand_behind_heads
from twin.dms.load_flow import LoadFlow
from twin.dms.load_model import ColdLoad, ProfiledDemand, least_factor, peak_factor
from twin.network.load_profiles import PROFILES
from twin.network.model import Bools
from twin.solvers.model import PowerFlow
from twin.timebase import SimTime


class FlisrView:
    """Makes the observations of a desk; ``solver`` is a power flow of the network, used while it is asked."""

    def __init__(self, host: Host, settings: FlisrDeskSettings, solver: PowerFlow) -> None:
        self._watch = host.watch
        self._time_base = host.time_base
        self._load_flow = LoadFlow(host.network, solver)
        self._expected = ProfiledDemand(host.network, PROFILES[settings.load_model.profile])
        self._look_ahead = timedelta(milliseconds=settings.look_ahead_ms)
        self._cold_load = ColdLoad(
            settings.limits.cold_load_factor,
            settings.cold_load_shape,
            timedelta(milliseconds=settings.cold_load_ms),
        )

    def demand(self, closed_before: Bools) -> DemandEstimate:
        """Demand before the fault, feeder by feeder what its head measured then."""
        return demand_behind_heads(self._load_flow, closed_before, self._watch.head_measurements())

    def observe(self, incident: Incident, now: SimTime) -> Observation:
        """All that is known of a fault now."""
        seen = self._watch.observe(now, incident.trip_t_ms, np.array(incident.p_kw), np.array(incident.q_kvar))
        base, begin = self._time_base.instant(incident.trip_t_ms), self._time_base.instant(now)
        span = (self._expected, base, begin, self._look_ahead)
        return replace(
            seen,
            closed_before=np.array(incident.closed_before, dtype=np.bool_),
            peak_factor=peak_factor(*span),
            pickup_factor=peak_factor(*span, self._cold_load),
            least_factor=least_factor(*span),
        )
