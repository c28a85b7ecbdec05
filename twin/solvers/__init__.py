"""Power flow and short circuit behind small protocols: the only room that solves.

Callers take a solver from :func:`power_flow` and name no backend.
"""

from __future__ import annotations

from twin.network.model import Network
from twin.solvers.grid_model_mapping import UnsolvableNetworkError
from twin.solvers.model import (
    FaultKind,
    FaultPoint,
    InputNotFiniteError,
    InputShapeError,
    MissingZeroSequenceError,
    PowerFlow,
    PowerFlowDivergedError,
    PowerFlowResult,
    ShortCircuit,
    ShortCircuitResult,
    TapOutOfRangeError,
)
from twin.solvers.power_grid_model import GridModelPowerFlow

__all__ = [
    "FaultKind",
    "FaultPoint",
    "InputNotFiniteError",
    "InputShapeError",
    "MissingZeroSequenceError",
    "PowerFlow",
    "PowerFlowDivergedError",
    "PowerFlowResult",
    "ShortCircuit",
    "ShortCircuitResult",
    "TapOutOfRangeError",
    "UnsolvableNetworkError",
    "power_flow",
]


def power_flow(network: Network) -> PowerFlow:
    """A power flow of the network in its normal state at rated demand.

    Raises:
        UnsolvableNetworkError: the network's data admit no model.
    """
    return GridModelPowerFlow(network)
