"""Power flow and short circuit behind small protocols: the only room that solves.

Callers take a solver from :func:`power_flow` or :func:`short_circuit` and name no backend, unless they compare them.
"""

from __future__ import annotations

from typing import Literal

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
    "Backend",
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


Backend = Literal["sweep", "power-grid-model"]


def power_flow(network: Network, backend: Backend | None = None) -> PowerFlow:
    """A power flow of the network in its normal state at rated demand, by the backend that suits it best.

    Raises:
        UnsolvableNetworkError: the network's data admit no model.
    """
    if backend == "sweep":
        from twin.solvers.sweep import SweepPowerFlow  # imports numba, which takes half a second

        return SweepPowerFlow(network)
    return GridModelPowerFlow(network)


def short_circuit(network: Network) -> ShortCircuit:
    """Short-circuit currents of the network by IEC 60909-0, maximum case.

    Raises:
        UnsolvableNetworkError: the network's data admit no model.
    """
    return GridModelShortCircuit(network)
