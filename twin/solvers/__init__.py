"""Power flow and short circuit behind small protocols: the only room that solves.

Callers take a solver from :func:`power_flow` or :func:`short_circuit` and name no backend.
"""

from __future__ import annotations

from twin.network.model import Network
from twin.solvers.grid_model_mapping import UnsolvableNetworkError
from twin.solvers.iec60909 import FaultPointError, GridModelShortCircuit, MissingShortCircuitPowerError
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
    "FaultPointError",
    "InputNotFiniteError",
    "InputShapeError",
    "MissingShortCircuitPowerError",
    "MissingZeroSequenceError",
    "PowerFlow",
    "PowerFlowDivergedError",
    "PowerFlowResult",
    "ShortCircuit",
    "ShortCircuitResult",
    "TapOutOfRangeError",
    "UnsolvableNetworkError",
    "power_flow",
    "short_circuit",
]


def power_flow(network: Network) -> PowerFlow:
    """A power flow of the network in its normal state at rated demand.

    Raises:
        UnsolvableNetworkError: the network's data admit no model.
    """
    return GridModelPowerFlow(network)


def short_circuit(network: Network) -> ShortCircuit:
    """Short-circuit currents of the network by IEC 60909-0, maximum case.

    Raises:
        UnsolvableNetworkError: the network's data admit no model.
    """
    return GridModelShortCircuit(network)
