"""State estimation: the most likely state of the network from measurements that contradict each other a little."""

from __future__ import annotations

from twin.solvers.state_estimation.estimator import StateEstimator
from twin.solvers.state_estimation.model import (
    AT_NODE,
    BadDataSettings,
    BadMeasurement,
    CleanEstimate,
    EstimationDivergedError,
    IslandEstimate,
    IslandObservability,
    MeasurementError,
    MeasurementKind,
    Measurements,
    NotObservableError,
    StateEstimate,
)

__all__ = [
    "AT_NODE",
    "BadDataSettings",
    "BadMeasurement",
    "CleanEstimate",
    "EstimationDivergedError",
    "IslandEstimate",
    "IslandObservability",
    "MeasurementError",
    "MeasurementKind",
    "Measurements",
    "NotObservableError",
    "StateEstimate",
    "StateEstimator",
]
