"""State estimation: the network's state out of telemetry and expected demand, with its tests and doubts."""

from twin.dms.standing import Standing, usable
from twin.dms.state_estimation.application import StateEstimation
from twin.dms.state_estimation.model import (
    EstimationResult,
    Gap,
    Image,
    SuspectSwitch,
    WrongPoint,
)
from twin.dms.state_estimation.settings import Accuracy, StateEstimationSettings
from twin.dms.state_estimation.telemetry import BALANCED, MeasuredPoints, PhaseError, measured_points

__all__ = [
    "BALANCED",
    "Accuracy",
    "EstimationResult",
    "Gap",
    "Image",
    "MeasuredPoints",
    "PhaseError",
    "Standing",
    "StateEstimation",
    "StateEstimationSettings",
    "SuspectSwitch",
    "WrongPoint",
    "measured_points",
    "usable",
]
