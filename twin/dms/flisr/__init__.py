"""Fault location, isolation and supply restoration (FLISR): pure functions on what the control room knows."""

from twin.dms.flisr.application import make_plan, replan
from twin.dms.flisr.locate import locate
from twin.dms.flisr.model import FaultDistance, FlisrSettings, Location, Observation, ZoneCandidate, healthy_observation
from twin.dms.flisr.normal import return_to_normal
from twin.dms.flisr.trigger import FlisrTrigger, HeadSigns, TriggerState

__all__ = [
    "FaultDistance",
    "FlisrSettings",
    "FlisrTrigger",
    "HeadSigns",
    "Location",
    "Observation",
    "TriggerState",
    "ZoneCandidate",
    "healthy_observation",
    "locate",
    "make_plan",
    "replan",
    "return_to_normal",
]
