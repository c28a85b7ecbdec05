"""The settings of each application out of its block of a scenario, where quantities carry units and short names."""

from __future__ import annotations

from twin.control_room.settings import (
    FlisrDeskSettings,
    LoadFlowDeskSettings,
    LoadModelSettings,
    LoadSheddingDeskSettings,
    StateEstimationDeskSettings,
    TopologyDeskSettings,
    VoltVarDeskSettings,
)
from twin.dms.flisr import FlisrSettings
from twin.dms.load_flow import LoadFlowSettings
from twin.dms.load_shedding import LoadSheddingSettings, Window
from twin.dms.state_estimation import StateEstimationSettings
from twin.dms.volt_var import Objective, VoltVarSettings
from twin.scenario.applications import (
    FlisrScenario,
    LoadFlowScenario,
    LoadModelScenario,
    StateEstimationScenario,
    TopologyScenario,
    VoltVarScenario,
)
from twin.scenario.load_shedding import LoadSheddingScenario


def load_model_settings(block: LoadModelScenario) -> LoadModelSettings:
    """Expected demand."""
    return LoadModelSettings(profile=block.load_profile, scale=block.load_scale, spread=block.load_spread)


def topology_settings(block: TopologyScenario) -> TopologyDeskSettings:
    """Topology processing."""
    return TopologyDeskSettings(mode=block.mode, period_ms=block.period, settle_ms=block.settle)


def state_estimation_settings(block: StateEstimationScenario) -> StateEstimationDeskSettings:
    """State estimation."""
    return StateEstimationDeskSettings(
        mode=block.mode,
        period_ms=block.period,
        settle_ms=block.settle,
        load_model=load_model_settings(block),
        limits=StateEstimationSettings(false_alarm=block.false_alarm),
    )


def load_flow_settings(block: LoadFlowScenario) -> LoadFlowDeskSettings:
    """Load flow with load allocation."""
    return LoadFlowDeskSettings(
        mode=block.mode,
        period_ms=block.period,
        settle_ms=block.settle,
        load_model=load_model_settings(block),
        limits=LoadFlowSettings(max_factor=block.max_factor),
    )


def volt_var_settings(block: VoltVarScenario) -> VoltVarDeskSettings:
    """Volt-VAR control."""
    limits = VoltVarSettings(
        objective=Objective(block.objective),
        v_min_pu=block.v_min,
        v_max_pu=block.v_max,
        v_target_pu=block.v_target,
        margin_pu=min(0.003, (block.v_max - block.v_min) / 10),
        least_gain_kw=block.least_gain,
    )
    return VoltVarDeskSettings(
        mode=block.mode,
        period_ms=block.period,
        delay_ms=block.delay,
        pause_ms=block.pause,
        operations_a_day=block.operations_a_day,
        inverter_curve=block.inverter_curve,
        limits=limits,
    )


def load_shedding_settings(block: LoadSheddingScenario) -> LoadSheddingDeskSettings:
    """Load shedding."""
    windows = tuple(Window(begin_ms=w.begin, end_ms=w.end, share=w.share) for w in block.windows)
    limits = LoadSheddingSettings(
        shares=block.shares,
        tolerance=block.tolerance,
        never=block.never,
        last=block.last,
        restore_hz=block.restore_at,
        stop_hz=min(block.stop_at, block.restore_at),
        hold_ms=block.hold,
        least_off_ms=block.least_off,
        block_share=block.block,
        cold_load_factor=block.cold_load,
        windows=windows,
    )
    return LoadSheddingDeskSettings(
        mode=block.mode,
        period_ms=block.period,
        rotate_ms=block.rotate,
        delay_ms=block.delay,
        max_loading=block.max_loading,
        v_min_pu=block.v_min,
        limits=limits,
    )


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
        priority=block.priority,
        close_loops=block.close_loops,
        cold_load_factor=block.cold_load,
        max_reverse=block.max_reverse,
        generation_returns=block.generation_returns,
        drop_supplied=block.drop_supplied,
    )
    return FlisrDeskSettings(
        mode=block.mode,
        settle_ms=block.settle,
        look_ahead_ms=min(block.look_ahead, 86_400_000),
        load_model=LoadModelSettings(profile=block.load_profile),
        cold_load_shape=block.cold_load_shape,
        cold_load_ms=min(max(block.cold_load_for, 1_000), 86_400_000),
        limits=limits,
    )
