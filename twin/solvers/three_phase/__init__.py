"""Unbalanced three-phase power flow behind a small protocol.

Callers take a solver from :func:`three_phase_power_flow` and name no backend.
"""

from __future__ import annotations

from twin.network.three_phase import ThreePhaseNetwork
from twin.solvers.three_phase.current_injection import CurrentInjection
from twin.solvers.three_phase.model import ThreePhasePowerFlow, ThreePhaseResult

__all__ = ["ThreePhasePowerFlow", "ThreePhaseResult", "three_phase_power_flow"]


def three_phase_power_flow(network: ThreePhaseNetwork) -> ThreePhasePowerFlow:
    """A power flow of the network in its normal state at rated demand.

    Raises:
        UnsolvableNetworkError: the network's data admit no model.
    """
    return CurrentInjection(network)
