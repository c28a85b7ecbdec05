"""What the Volt-VAR application aims at and what it must not exceed."""

from __future__ import annotations

from enum import Enum
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Objective(Enum):
    """What is improved once every voltage is inside the band."""

    BAND = "band"
    """Nothing more: act only on a voltage outside the band, with the smallest deviation from the target after it."""
    LOSSES = "losses"
    """Least losses."""
    CONSERVATION = "conservation"
    """Least power drawn from the external networks (conservation voltage reduction)."""
    OPERATIONS = "operations"
    """Nothing more: act only on a voltage outside the band, with the fewest operations."""


class VoltVarSettings(BaseModel):
    """Band, objective and limits of Volt-VAR control."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    objective: Objective = Field(default=Objective.BAND, description="What is improved inside the voltage band")
    v_min_pu: float = Field(default=0.95, ge=0.5, lt=1.2, description="Lower edge of the voltage band, pu")
    v_max_pu: float = Field(default=1.05, gt=0.8, le=1.5, description="Upper edge of the voltage band, pu")
    v_target_pu: float = Field(default=1.0, gt=0.8, lt=1.2, description="The voltage that objective band aims at, pu")
    margin_pu: float = Field(
        default=0.003,
        ge=0,
        lt=0.05,
        description="How far inside the band a plan should leave the voltages, so that the next change of load does "
        "not call for the opposite (pu)",
    )
    transient_pu: float = Field(
        default=0.02,
        ge=0,
        le=0.5,
        description="How much further out of limits that are broken already a state on the way to a better one may be, "
        "summed over nodes and branches (pu)",
    )
    max_loading: float = Field(default=1.0, gt=0, le=2, description="Highest loading of any branch, 1.0 = 100 %")
    operation_price_kw: float = Field(
        default=0.5, ge=0, description="Losses or demand that one operation must save to be worth it, kW"
    )
    least_gain_kw: float = Field(default=1.0, ge=0, description="A plan that saves less than this is not made, kW")
    least_gain_percent: float = Field(
        default=1.0, ge=0, le=100, description="Nor one that saves less than this share of losses or demand, %"
    )
    max_evaluations: int = Field(default=5_000, ge=10, description="Most power flows that one search solves")

    @model_validator(mode="after")
    def _band(self) -> Self:
        if self.v_min_pu + 2 * self.margin_pu >= self.v_max_pu:
            raise ValueError("the voltage band less its margins is empty: v_min + 2 margin must be below v_max")
        return self
