"""The settings of each application out of its block of a scenario, where quantities carry units and short names."""

from __future__ import annotations

from twin.control_room.settings import FlisrDeskSettings
from twin.dms.flisr import FlisrSettings
from twin.scenario.model import FlisrScenario


def flisr_settings(block: FlisrScenario) -> FlisrDeskSettings:
    """FLISR."""
    limits = FlisrSettings(
        max_loading=block.max_loading,
        v_min_pu=block.v_min,
        v_max_pu=block.v_max,
        max_ties=block.max_ties,
        max_cuts=block.max_cuts,
        reclose_feeder_head=block.reclose_feeder_head,
        assume_first_section=block.assume_first_section,
    )
    return FlisrDeskSettings(mode=block.mode, settle_ms=block.settle, limits=limits)
