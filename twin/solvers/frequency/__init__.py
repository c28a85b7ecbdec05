"""Frequency: the response of islands to lost generation, shed load and switching."""

from __future__ import annotations

from twin.solvers.frequency.model import (
    FrequencyEvent,
    FrequencyEventError,
    FrequencyEventKind,
    FrequencyStateError,
    FrequencyStep,
    MachineDataError,
    Machines,
    RelayOperation,
    SheddingStages,
)
from twin.solvers.frequency.response import FrequencyModel

__all__ = [
    "FrequencyEvent",
    "FrequencyEventError",
    "FrequencyEventKind",
    "FrequencyModel",
    "FrequencyStateError",
    "FrequencyStep",
    "MachineDataError",
    "Machines",
    "RelayOperation",
    "SheddingStages",
]
