"""Settings of the control room: one block an application, by the names of the applications."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from twin.dms.flisr import FlisrSettings
from twin.dms.load_flow import LoadFlowSettings
from twin.dms.load_shedding import LoadSheddingSettings
from twin.dms.state_estimation import StateEstimationSettings
from twin.dms.volt_var import VoltVarSettings

Mode = Literal["off", "advisory", "automatic"]


class ApplicationSettings(BaseModel):
    """What every application has."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    mode: Mode = Field(
        default="off",
        description="off: not there; advisory: its plans wait for the operator; automatic: they are carried out",
    )


class LoadModelSettings(BaseModel):
    """What consumers are expected to take."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    profile: Literal["flat", "winter-weekday"] = Field(
        default="flat", description="Factor of rated demand by load class and time of day (UTC)"
    )
    scale: float = Field(default=1.0, ge=0, le=10, description="Rated demand times this")
    spread: float = Field(default=0.5, gt=0, le=5, description="Standard deviation, as a part of the rated demand")


class FlisrDeskSettings(ApplicationSettings):
    """Fault location, isolation and service restoration."""

    settle_ms: int = Field(
        default=5_000, ge=0, le=600_000, description="Wait after the last sign of a fault before it is located"
    )
    max_replans: int = Field(default=3, ge=0, le=20, description="New plans after failed commands, for one fault")
    look_ahead_ms: int = Field(
        default=14_400_000, ge=0, le=86_400_000, description="How long a plan has to hold as demand goes on"
    )
    load_model: LoadModelSettings = Field(default_factory=LoadModelSettings, description="Expected demand")
    cold_load_shape: Literal["step", "exponential"] = Field(
        default="step", description="How cold-load pickup goes: all for its duration, or fading with it"
    )
    cold_load_ms: int = Field(
        default=3_600_000, ge=1_000, le=86_400_000, description="Duration, or time constant, of cold-load pickup"
    )
    limits: FlisrSettings = Field(default_factory=FlisrSettings, description="Limits and habits of FLISR")


class TopologyDeskSettings(ApplicationSettings):
    """Topology processing. It operates nothing: advisory and automatic are the same."""

    period_ms: int = Field(default=60_000, ge=1_000, le=3_600_000, description="Time from one look to the next")
    settle_ms: int = Field(default=1_000, ge=0, le=600_000, description="Wait after a switch has moved")


class StateEstimationDeskSettings(ApplicationSettings):
    """State estimation. It operates nothing; in mode automatic its result rests on suspected switch positions."""

    period_ms: int = Field(default=10_000, ge=1_000, le=3_600_000, description="Time from one look to the next")
    settle_ms: int = Field(default=3_000, ge=0, le=600_000, description="Wait after a switch has moved")
    load_model: LoadModelSettings = Field(default_factory=LoadModelSettings, description="Expected demand")
    limits: StateEstimationSettings = Field(default_factory=StateEstimationSettings, description="Accuracies and tests")


class VoltVarDeskSettings(ApplicationSettings):
    """Volt-VAR control."""

    period_ms: int = Field(default=60_000, ge=1_000, le=86_400_000, description="Time from one look to the next")
    settle_ms: int = Field(default=10_000, ge=0, le=600_000, description="Wait after a switch has moved")
    delay_ms: int = Field(
        default=60_000, ge=0, le=3_600_000, description="How long a voltage must be outside the band before it matters"
    )
    pause_ms: int = Field(
        default=900_000, ge=0, le=86_400_000, description="After a plan, none for savings alone for this long"
    )
    operations_a_day: int = Field(default=20, ge=0, le=1_000, description="Most steps of one mechanism in a day (UTC)")
    inverter_curve: str = Field(
        default="", description="Q(V) characteristic of generating units without a set point; empty: none is known"
    )
    limits: VoltVarSettings = Field(default_factory=VoltVarSettings, description="Band, objective and limits")


class LoadSheddingDeskSettings(ApplicationSettings):
    """Load shedding."""

    period_ms: int = Field(default=10_000, ge=1_000, le=3_600_000, description="Time from one look to the next")
    settle_ms: int = Field(default=1_000, ge=0, le=600_000, description="Wait after a switch has moved")
    rotate_ms: int = Field(default=86_400_000, ge=0, description="How often other feeders are armed; 0: never")
    delay_ms: int = Field(default=30_000, ge=0, description="How long a limit must be broken until load is shed")
    max_loading: float = Field(default=1.0, gt=0, le=2, description="Loading of feeders and transformers")
    v_min_pu: float = Field(default=0.9, ge=0.5, lt=1, description="Voltage of a busbar, pu")
    limits: LoadSheddingSettings = Field(default_factory=LoadSheddingSettings, description="Shares, priorities, times")


class LoadFlowDeskSettings(ApplicationSettings):
    """Load flow with load allocation. It operates nothing: advisory and automatic are the same."""

    period_ms: int = Field(default=60_000, ge=1_000, le=3_600_000, description="Time from one look to the next")
    settle_ms: int = Field(default=3_000, ge=0, le=600_000, description="Wait after a switch has moved")
    load_model: LoadModelSettings = Field(default_factory=LoadModelSettings, description="Expected demand")
    limits: LoadFlowSettings = Field(default_factory=LoadFlowSettings, description="Meters and tolerances")


class ControlRoomSettings(BaseModel):
    """Which applications run, in which mode and within which limits."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    topology: TopologyDeskSettings = Field(default_factory=TopologyDeskSettings, description="Topology processing")
    state_estimation: StateEstimationDeskSettings = Field(
        default_factory=StateEstimationDeskSettings, description="State estimation"
    )
    load_flow: LoadFlowDeskSettings = Field(
        default_factory=LoadFlowDeskSettings, description="Load flow with load allocation"
    )
    flisr: FlisrDeskSettings = Field(default_factory=FlisrDeskSettings, description="FLISR")
    load_shedding: LoadSheddingDeskSettings = Field(
        default_factory=LoadSheddingDeskSettings, description="Load shedding"
    )
    volt_var: VoltVarDeskSettings = Field(default_factory=VoltVarDeskSettings, description="Volt-VAR control")
