"""Settings of the control room: one block an application, by the names of the applications."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from twin.dms.flisr import FlisrSettings

Mode = Literal["off", "advisory", "automatic"]


class ApplicationSettings(BaseModel):
    """What every application has."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    mode: Mode = Field(
        default="off",
        description="off: not there; advisory: its plans wait for the operator; automatic: they are carried out",
    )


class FlisrDeskSettings(ApplicationSettings):
    """Fault location, isolation and service restoration."""

    settle_ms: int = Field(
        default=5_000, ge=0, le=600_000, description="Wait after the last sign of a fault before it is located"
    )
    max_replans: int = Field(default=3, ge=0, le=20, description="New plans after failed commands, for one fault")
    limits: FlisrSettings = Field(default_factory=FlisrSettings, description="Limits and habits of FLISR")


class ControlRoomSettings(BaseModel):
    """Which applications run, in which mode and within which limits."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    flisr: FlisrDeskSettings = Field(default_factory=FlisrDeskSettings, description="FLISR")
