"""Load flow with load allocation: demand that agrees with the meters, and the network state that follows from it."""

from twin.dms.load_flow.allocation import Allocated, AllocationDivergedError, Flows, Readings, allocate
from twin.dms.load_flow.application import LoadFlow
from twin.dms.load_flow.model import LoadFlowResult, MeterImage, RefusedMeter
from twin.dms.load_flow.per_phase import PhaseLoadFlow, PhaseLoadFlowResult, PhaseMeterError, PhaseMeters
from twin.dms.load_flow.settings import LoadFlowSettings
from twin.dms.load_flow.zones import MeterZones, meter_zones

__all__ = [
    "Allocated",
    "AllocationDivergedError",
    "Flows",
    "LoadFlow",
    "LoadFlowResult",
    "LoadFlowSettings",
    "MeterImage",
    "MeterZones",
    "PhaseLoadFlow",
    "PhaseLoadFlowResult",
    "PhaseMeterError",
    "PhaseMeters",
    "Readings",
    "RefusedMeter",
    "allocate",
    "meter_zones",
]
