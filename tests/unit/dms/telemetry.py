"""A plant to measure for the tests of state estimation and load allocation: power flow in, point values out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from twin.derive import derive
from twin.dms.load_model import Demand
from twin.dms.state_estimation import Image, MeasuredPoints, StateEstimationSettings, measured_points
from twin.network.model import Network
from twin.points.model import DoublePosition, PointDefinition
from twin.solvers import PowerFlowResult, power_flow
from twin.solvers.state_estimation import MeasurementKind as K


@dataclass
class Plant:
    """A network, its points, and the values that error-free transducers would send."""

    network: Network
    definitions: list[PointDefinition]
    points: MeasuredPoints
    settings: StateEstimationSettings

    @classmethod
    def of(cls, network: Network, **settings: Any) -> Plant:
        chosen = StateEstimationSettings(**settings)
        definitions = list(derive(network).points)
        return cls(network, definitions, measured_points(network, definitions, chosen), chosen)

    def flow(self, closed: Any, p_kw: Any = None, q_kvar: Any = None) -> PowerFlowResult:
        solver = power_flow(self.network, "power-grid-model")
        solver.update(closed=closed, p_kw=p_kw, q_kvar=q_kvar)
        return solver.solve()

    def values(self, flow: PowerFlowResult) -> Any:
        """The values of the measured points, in their units."""
        m, n = self.points, self.network
        node, branch = np.where(m.switch < 0, m.place, 0), np.where(m.switch < 0, 0, m.place)

        def end(a: Any, b: Any) -> Any:
            return np.where(m.side == 0, a[branch], b[branch])

        v_kv = flow.v_pu[node] * n.nodes.v_nominal_kv[node]
        p, q = end(flow.p_from_kw, flow.p_to_kw), end(flow.q_from_kvar, flow.q_to_kvar)
        i = end(flow.i_from_a, flow.i_to_a)
        return np.select([m.kind == K.V_PU, m.kind == K.P_FLOW_KW, m.kind == K.Q_FLOW_KVAR], [v_kv, p, q], i)

    def sigma(self, values: Any) -> Any:
        """Standard deviations in the units of the points."""
        return self.points.measurements(values, np.ones(self.points.n, dtype=bool)).sigma / self.points.factor

    def demand(self, p_kw: Any = None, q_kvar: Any = None, spread: float = 0.5) -> Demand:
        c = self.network.consumers
        sigma = np.maximum(spread * np.hypot(c.p_kw, c.q_kvar), 1.0)
        return Demand(c.p_kw if p_kw is None else p_kw, c.q_kvar if q_kvar is None else q_kvar, sigma, sigma)

    def image(self, closed: Any, values: Any, **changes: Any) -> Image:
        position = np.where(closed, int(DoublePosition.CLOSED), int(DoublePosition.OPEN)).astype(np.int32)
        given = {
            "position": position,
            "position_quality": np.zeros(len(position), dtype=np.int32),
            "values": values,
            "good": np.ones(self.points.n, dtype=bool),
            "demand": self.demand(),
            "generation_kw": self.network.generators.p_kw,
            "generation_kvar": self.network.generators.q_kvar,
            "tap_position": self.network.transformers.tap_position,
        }
        return Image(**{**given, **changes})

    def row(self, point: str) -> int:
        return self.points.names.index(point)

    def switch(self, name: str) -> int:
        return self.network.switches.names.index(name)
