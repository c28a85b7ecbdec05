"""Short circuits on sequence networks: any fault on any topology, one or many."""

from twin.solvers.short_circuit.loop import loop_impedance_ohm, loop_reactance_ohm
from twin.solvers.short_circuit.settings import (
    FaultPointError,
    InconsistentPhaseShiftError,
    MissingShortCircuitDataError,
    ShortCircuitSettings,
)
from twin.solvers.short_circuit.solver import SequenceShortCircuit
from twin.solvers.short_circuit.standard import StandardCurrents

__all__ = [
    "FaultPointError",
    "InconsistentPhaseShiftError",
    "MissingShortCircuitDataError",
    "SequenceShortCircuit",
    "ShortCircuitSettings",
    "StandardCurrents",
    "loop_impedance_ohm",
    "loop_reactance_ohm",
]
