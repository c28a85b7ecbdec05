"""What a person can choose about load allocation and the load flow on it."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class LoadFlowSettings(BaseModel):
    """Which meters are believed, and when the allocation is done."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_factor: float = Field(
        default=5.0, gt=1, le=100, description="A meter zone above this times its rated demand is not believed"
    )
    slack_kw: float = Field(
        default=20.0, ge=0, description="A zone may come out negative by this much and count as zero, kW"
    )
    tolerance: float = Field(
        default=1e-4, gt=0, le=0.01, description="Largest difference of a calculated to a measured flow, relative"
    )
    acceptable_off: float = Field(
        default=0.02,
        gt=0,
        le=0.2,
        description="Phase by phase: the difference to live with where more phases are read than loads can follow",
    )
    max_rounds: int = Field(default=30, ge=1, le=200, description="The most power flows of one allocation")
