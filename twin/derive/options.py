"""What a person can choose when stations, points and settings are derived from a network."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from twin.derive.settings import Curve, Settings


class DeriveOptions(Settings):
    """The rules of derivation; the defaults suit a medium-voltage network with ring main units."""

    remote: Literal["all", "ties"] = Field(
        default="all",
        description="Which stations are telecontrolled: all, or those with a feeder head or a normally open point",
    )
    every_nth: int = Field(
        default=0, ge=0, description="With remote: ties, telecontrol also every n-th of the other stations; 0: none"
    )
    current_dead_band_percent: float = Field(default=2.0, ge=0, le=100, description="Dead band of I, % of rating")
    power_dead_band_percent: float = Field(default=2.0, ge=0, le=100, description="Dead band of P and Q, % of rated VA")
    voltage_dead_band_percent: float = Field(default=0.5, ge=0, le=100, description="Dead band of V, % of nominal")
    unknown_rating_a: float = Field(default=400.0, gt=0, description="Rating of branches that state none, A")
    relay_curve: Curve = Field(default=Curve.STANDARD_INVERSE, description="Time characteristic of feeder relays")
    relay_pickup_factor: float = Field(default=1.2, gt=0, le=10, description="Relay pickup over the line rating")
    relay_target_ms: int = Field(
        default=400, ge=50, le=10_000, description="Operating time of the low stage for a fault at the busbar, ms"
    )
    indicator_pickup_factor: float = Field(default=1.5, gt=0, le=10, description="Indicator pickup over line rating")
    inverters: bool = Field(
        default=False, description="Telecontrol the reactive power of generating units that have a rating"
    )
    inverter_curve: str = Field(
        default="",
        description="Q(V) characteristic of all inverters: ieee1547_a, ieee1547_b, vde_ar_n_4105, corner points; none",
    )
    regulators: bool = Field(
        default=False, description="Tap changers have their own voltage regulator, and refuse remote steps"
    )
    under_frequency_stages_hz: tuple[float, ...] = Field(
        default=(), max_length=8, description="Levels of the under-frequency relays at feeder heads, Hz; empty: none"
    )
    under_frequency_delay_ms: int = Field(
        default=100, ge=20, le=60_000, description="Delay of every under-frequency stage, ms"
    )
    under_frequency_armed: bool = Field(
        default=False, description="Arm one under-frequency stage a feeder from the start, in turn"
    )
    overhead_share_for_reclosing: float = Field(
        default=0.5, ge=0, le=1, description="Feeders with more than this share of overhead line length reclose"
    )
