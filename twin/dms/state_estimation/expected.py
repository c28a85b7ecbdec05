"""Pseudo-measurements: what is expected where nothing is telemetered.

Consumers and generating units give injections with the spread of their model, sources their set voltage. Nodes without
any of them have no injection at all, which the estimator holds exactly. What may flow through a switch of unknown
position widens the spread at its ends by the rating there: a bound, not a guess.
"""

from __future__ import annotations

import numpy as np

from twin.dms.load_model import Demand
from twin.dms.state_estimation.settings import StateEstimationSettings
from twin.network.model import Bools, Floats, Network
from twin.solvers.state_estimation import MeasurementKind as K
from twin.solvers.state_estimation import Measurements


class Expected:
    """The pseudo-measurements of one network, always the same rows: P, then Q at ``nodes`` (all but those
    of sources), then V of the sources."""

    def __init__(self, network: Network, settings: StateEstimationSettings) -> None:
        self._network = network
        fed = np.zeros(network.nodes.n, dtype=np.bool_)
        fed[network.consumers.node] = fed[network.generators.node] = True
        source = np.zeros(network.nodes.n, dtype=np.bool_)
        source[network.sources.node] = True
        self.passive: Bools = ~(fed | source)
        self.nodes = np.flatnonzero(~source).astype(np.int32)
        self._spread = settings.generation_spread * network.generators.s_kva
        self._source_sigma = settings.source_sigma_pu

    def measurements(
        self, demand: Demand, generation_kw: Floats, generation_kvar: Floats, slack_kva: Floats
    ) -> Measurements:
        """Injections count generation less consumption; passive nodes have one only where there is slack."""
        network, nodes = self._network, self.nodes
        p_kw = self._at_nodes(generation_kw, demand.p_kw)
        q_kvar = self._at_nodes(generation_kvar, demand.q_kvar)
        slack = slack_kva[nodes]
        exact = self.passive[nodes] & (slack == 0)
        p_kw[exact] = q_kvar[exact] = np.nan
        parts = [
            Measurements.of(K.P_INJECTION_KW, nodes, p_kw, np.hypot(self._sigma(demand.sigma_p_kw), slack)),
            Measurements.of(K.Q_INJECTION_KVAR, nodes, q_kvar, np.hypot(self._sigma(demand.sigma_q_kvar), slack)),
            Measurements.of(K.V_PU, network.sources.node, network.sources.v_pu, self._source_sigma),
        ]
        return Measurements.join(*parts)

    def _at_nodes(self, generation: Floats, consumption: Floats) -> Floats:
        n = self._network.nodes.n
        fed_in = np.bincount(self._network.generators.node, generation, minlength=n)
        taken = np.bincount(self._network.consumers.node, consumption, minlength=n)
        return np.asarray(fed_in - taken)[self.nodes]

    def _sigma(self, consumers: Floats) -> Floats:
        n = self._network.nodes.n
        variance = np.bincount(self._network.consumers.node, consumers**2, minlength=n)
        variance = variance + np.bincount(self._network.generators.node, self._spread**2, minlength=n)
        sigma = np.sqrt(variance[self.nodes])
        return np.asarray(np.maximum(sigma, 1e-3 * max(float(sigma.max(initial=1.0)), 1.0)))

    def name(self, row: int) -> str:
        """What a row of the measurements is, in words."""
        n = len(self.nodes)
        names = self._network.nodes.names
        if row < 2 * n:
            what = "active" if row < n else "reactive"
            return f"The expected {what} demand at {names[self.nodes[row % n]]}"
        return f"The set voltage of {self._network.sources.names[row - 2 * n]}"
