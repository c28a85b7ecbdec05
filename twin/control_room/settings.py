"""Settings of the control room as a whole."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from twin.dms.flisr import FlisrSettings

Mode = Literal["off", "advisory", "automatic"]


class ControlRoomSettings(BaseModel):
    """Which applications run, in which mode and within which limits."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    flisr_mode: Mode = Field(
        default="off", description="off; advisory: plans wait for the operator; automatic: carried out"
    )
    flisr_settle_ms: int = Field(
        default=5_000, ge=0, le=600_000, description="Wait after the last sign of a fault before it is located"
    )
    flisr: FlisrSettings = Field(default_factory=FlisrSettings, description="Limits and habits of FLISR")
    max_replans: int = Field(default=3, ge=0, le=20, description="New plans after failed commands, for one fault")
