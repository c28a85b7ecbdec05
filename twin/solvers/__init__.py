"""Power flow and short circuit behind small protocols: the only room that solves.

Callers take a solver from :func:`power_flow` or :func:`short_circuit` and name no backend, unless they compare them.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from twin.network.model import Network
from twin.solvers.frequency import FrequencyModel
from twin.solvers.grid_model_mapping import UnsolvableNetworkError
from twin.solvers.held_voltages import MOST_HELD
from twin.solvers.model import (
    FaultKind,
    FaultPlace,
    FaultPoint,
    FaultStudy,
    InputNotFiniteError,
    InputShapeError,
    MissingZeroSequenceError,
    PowerFlow,
    PowerFlowDivergedError,
    PowerFlowResult,
    ShortCircuit,
    ShortCircuitResult,
    ShuntStepOutOfRangeError,
    TapOutOfRangeError,
)
from twin.solvers.power_grid_model import GridModelPowerFlow
from twin.solvers.short_circuit import (
    FaultPointError,
    InconsistentPhaseShiftError,
    MissingShortCircuitDataError,
    SequenceShortCircuit,
    ShortCircuitSettings,
    StandardCurrents,
)
from twin.solvers.state_estimation import StateEstimator

__all__ = [
    "Backend",
    "FaultKind",
    "FaultPlace",
    "FaultPoint",
    "FaultPointError",
    "FaultStudy",
    "FrequencyModel",
    "InconsistentPhaseShiftError",
    "InputNotFiniteError",
    "InputShapeError",
    "MissingShortCircuitDataError",
    "MissingZeroSequenceError",
    "PowerFlow",
    "PowerFlowDivergedError",
    "PowerFlowResult",
    "SequenceShortCircuit",
    "ShortCircuit",
    "ShortCircuitResult",
    "ShortCircuitSettings",
    "ShuntStepOutOfRangeError",
    "StandardCurrents",
    "StateEstimator",
    "TapOutOfRangeError",
    "UnsolvableNetworkError",
    "drain_notes",
    "power_flow",
    "short_circuit",
]


Backend = Literal["sweep", "direct", "power-grid-model"]


def power_flow(network: Network, backend: Backend | None = None) -> PowerFlow:
    """A power flow of the network in its normal state at rated demand, by the backend that suits it best.

    That is the sweep, or for networks whose generating units hold many voltages the direct solver. Where a
    backend does not apply it turns to the next one by itself; see :func:`drain_notes`.

    Raises:
        UnsolvableNetworkError: the network's data admit no model.
    """
    if backend is None:
        backend = "sweep" if np.count_nonzero(~np.isnan(network.generators.v_set_pu)) <= MOST_HELD else "direct"
    if backend == "power-grid-model":
        return GridModelPowerFlow(network)
    if backend == "direct":
        from twin.solvers.direct import DirectPowerFlow  # imports numba, which takes half a second

        return DirectPowerFlow(network)
    from twin.solvers.sweep import SweepPowerFlow

    return SweepPowerFlow(network)


def drain_notes(solver: PowerFlow) -> tuple[str, ...]:
    """What the solver has to say since the last call, for the journal: sentences, each said once."""
    notes: list[str] = getattr(solver, "notes", [])
    said = tuple(notes)
    notes.clear()
    return said


def short_circuit(network: Network, settings: ShortCircuitSettings | None = None) -> SequenceShortCircuit:
    """Short-circuit currents of the network by IEC 60909-0, maximum case unless the settings say otherwise.

    Raises:
        UnsolvableNetworkError: the network's data admit no model.
    """
    return SequenceShortCircuit(network, settings)
