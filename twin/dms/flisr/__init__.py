"""Fault location, isolation and supply restoration (FLISR): pure functions on what the control room knows."""

from twin.dms.flisr.application import make_plan, replan
from twin.dms.flisr.locate import locate
from twin.dms.flisr.model import FlisrSettings, Location, Observation, ZoneCandidate, healthy_observation

__all__ = [
    "FlisrSettings",
    "Location",
    "Observation",
    "ZoneCandidate",
    "healthy_observation",
    "locate",
    "make_plan",
    "replan",
]
