"""CIM files as networks: CGMES node-breaker models (balanced) and CIM100 distribution feeders (three-phase)."""

from __future__ import annotations

from pathlib import Path

from twin.network.cim.balanced import CimNetwork, balanced_network
from twin.network.cim.connectivity import NodeBreakerModel, node_breaker
from twin.network.cim.reader import CimFileError, CimFinding, CimModel, read_cim
from twin.network.cim.three_phase import three_phase_network
from twin.network.model import Network
from twin.network.three_phase import ThreePhaseNetwork

__all__ = [
    "CimFileError",
    "CimFinding",
    "CimModel",
    "CimNetwork",
    "NodeBreakerModel",
    "balanced_network",
    "load_balanced",
    "load_three_phase",
    "node_breaker",
    "read_cim",
    "three_phase_network",
]

_SINGLE_PHASES = ("PerLengthPhaseImpedance", "TransformerTank", "ACLineSegmentPhase", "EnergyConsumerPhase")


def load_balanced(path: Path) -> Network:
    """The balanced network of a CGMES file or zip of profiles.

    Raises:
        CimFileError: no CIM, not enough of it, or a feeder with single phases; all findings.
    """
    model = read_cim(path)
    for item in model.of(*_SINGLE_PHASES)[:1]:
        model.find(item, "makes this a three-phase feeder; twin.network.cim.load_three_phase reads it")
    model.check()
    return balanced_network(model).network


def load_three_phase(path: Path, *, frequency_hz: float = 60.0) -> ThreePhaseNetwork:
    """The three-phase network of a CIM100 distribution feeder.

    Raises:
        CimFileError: no CIM, or not enough of it; all findings.
    """
    return three_phase_network(read_cim(path), frequency_hz=frequency_hz)
