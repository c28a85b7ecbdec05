"""Settings of stations and field devices: what a person can edit after they were derived.

Times are integer milliseconds, currents amperes on the primary side, at the nominal voltage of the switch.
Models only: the rules that choose the values are in ``twin.derive.devices``, the behaviour is the plant's.
"""

from __future__ import annotations

import math
from enum import StrEnum
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

_NAME = Field(min_length=1, description="Name of the switch in the network")


class Settings(BaseModel):
    """Base of all settings: immutable, unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Station(Settings):
    """A remote terminal unit (RTU) at one busbar."""

    name: str = Field(min_length=1, description="Name of the station, for example RTU_12")
    common_address: int = Field(ge=1, le=65534, description="IEC 60870-5-104 common address")
    nodes: tuple[str, ...] = Field(min_length=1, description="Network nodes of the busbar")
    bays: tuple[str, ...] = Field(min_length=1, description="Switches of the station, each a bay")
    remote: bool = Field(default=True, description="Telecontrolled; a station that is not is operated by crews only")


class Curve(StrEnum):
    """Dependent time characteristics of overcurrent relays, IEC 60255-151 types A, B and C, and independent time."""

    STANDARD_INVERSE = "standard_inverse"
    VERY_INVERSE = "very_inverse"
    EXTREMELY_INVERSE = "extremely_inverse"
    DEFINITE_TIME = "definite_time"


_CONSTANTS = {
    Curve.STANDARD_INVERSE: (0.14, 0.02),
    Curve.VERY_INVERSE: (13.5, 1.0),
    Curve.EXTREMELY_INVERSE: (80.0, 2.0),
}
"""k in s and alpha of IEC 60255-151:2009, annex A, table A.1."""

CURVE_RANGE = 20.0
"""Above this multiple of the pickup the operating time stays constant (IEC 60255-151, 5.2)."""


class RelaySettings(Settings):
    """Two-stage phase overcurrent relay of a feeder breaker."""

    breaker: str = _NAME
    curve: Curve = Field(default=Curve.STANDARD_INVERSE, description="Time characteristic of the low stage")
    pickup_a: float = Field(gt=0, description="Pickup of the low stage, A")
    time_multiplier: float = Field(default=0.1, ge=0.01, le=10, description="Time multiplier of an inverse curve")
    delay_ms: int = Field(default=500, ge=0, le=60_000, description="Delay of the low stage if it is definite time, ms")
    high_pickup_a: float | None = Field(default=None, gt=0, description="Pickup of the high stage, A; empty: none")
    high_delay_ms: int = Field(default=100, ge=0, le=10_000, description="Delay of the high stage, ms")

    def operating_time_ms(self, i_a: float) -> float:
        """Time from fault inception to the trip command at a constant current of ``i_a`` A; infinite below pickup."""
        if not i_a > self.pickup_a:
            low = math.inf
        elif self.curve is Curve.DEFINITE_TIME:
            low = float(self.delay_ms)
        else:
            low = self.time_multiplier * curve_time_ms(self.curve, i_a / self.pickup_a)
        high = self.high_delay_ms if self.high_pickup_a is not None and i_a >= self.high_pickup_a else math.inf
        return min(low, high)


def curve_time_ms(curve: Curve, multiple: float) -> float:
    """Operating time in ms of an inverse ``curve`` at time multiplier 1 and ``multiple`` (> 1) of the pickup.

    t = k / (multiple ** alpha - 1), IEC 60255-151:2009, equation (1).
    """
    k_s, alpha = _CONSTANTS[curve]
    return 1000.0 * k_s / (math.pow(min(multiple, CURVE_RANGE), alpha) - 1.0)


class RecloserSettings(Settings):
    """Auto-reclosing of a feeder breaker; a breaker without these settings does not reclose."""

    breaker: str = _NAME
    dead_times_ms: tuple[int, ...] = Field(
        default=(500, 15_000), min_length=1, max_length=4, description="Dead time before each shot, ms"
    )
    reclaim_ms: int = Field(
        default=10_000,
        ge=1,
        le=600_000,
        description="Time after a successful reclosing until the cycle starts anew, ms",
    )

    @property
    def shots(self) -> int:
        """How many reclosings are tried before lockout."""
        return len(self.dead_times_ms)


class BreakerSettings(Settings):
    """A circuit breaker with a spring drive (rated operating sequence of IEC 62271-100: O - 0.3 s - CO)."""

    switch: str = _NAME
    open_ms: int = Field(default=60, ge=1, le=5000, description="Trip command to current interruption, ms")
    close_ms: int = Field(default=80, ge=1, le=5000, description="Close command to contact touch, ms")
    spring_charge_ms: int = Field(default=10_000, ge=1, le=600_000, description="Time to charge the closing spring, ms")
    stored_sequence: Literal["O", "O-C", "O-C-O"] = Field(
        default="O-C-O", description="Operations that a closed, fully charged breaker can do without recharging"
    )


class LoadBreakSwitchSettings(Settings):
    """A load break switch or disconnector with a motor drive."""

    switch: str = _NAME
    open_ms: int = Field(default=500, ge=1, le=60_000, description="Open command to open position, ms")
    close_ms: int = Field(default=500, ge=1, le=60_000, description="Close command to closed position, ms")


class IndicatorSettings(Settings):
    """A fault passage indicator at a switch, looking into its line."""

    switch: str = _NAME
    pickup_a: float = Field(gt=0, description="Phase current above which a fault is seen, A")
    minimum_time_ms: int = Field(default=40, ge=0, le=10_000, description="How long the current must persist, ms")
    reset_ms: int = Field(
        default=60_000, ge=0, le=86_400_000, description="Healthy voltage for this long resets the indication, ms"
    )
    directional: bool = Field(default=True, description="Tells forward (into the line) from reverse")


class EarthFaultSettings(Settings):
    """The directional earth-fault function at a switch, looking into its line."""

    switch: str = _NAME
    method: Literal["residual", "sin_phi", "cos_phi"] = Field(
        description="What tells the direction: the residual current (earthed neutral), its reactive part (isolated) "
        "or its active part (compensated)"
    )
    pickup_a: float = Field(gt=0, description="Pickup of that current, A")
    displacement_pu: float = Field(
        default=0.05, ge=0, le=1, description="Released from this displacement of the neutral, pu of phase to earth"
    )
    delay_ms: int = Field(default=500, ge=0, le=60_000, description="Delay of the trip, ms")
    trips: bool = Field(default=False, description="Trips the breaker; otherwise the fault is indicated only")


class TapChangerSettings(Settings):
    """The on-load tap changer of a transformer, with or without its own voltage regulator."""

    transformer: str = Field(min_length=1, description="Name of the transformer in the network")
    step_ms: int = Field(default=5_000, ge=100, le=120_000, description="Time of one step, ms")
    automatic: bool = Field(
        default=False, description="Its own regulator holds the voltage of the low side; remote steps are refused"
    )
    v_set_pu: float = Field(default=1.0, ge=0.8, le=1.2, description="Set point of the regulator, pu")
    half_band_pu: float = Field(default=0.0125, gt=0, le=0.1, description="Half the width of the regulator's band, pu")
    delay_ms: int = Field(default=30_000, ge=0, le=600_000, description="Outside the band this long: first step, ms")
    step_delay_ms: int = Field(default=10_000, ge=100, le=600_000, description="From one step to the next, ms")


class CapacitorBankSettings(Settings):
    """A switched capacitor bank."""

    bank: str = Field(min_length=1, description="Name of the shunt compensator in the network")
    step_ms: int = Field(default=1_000, ge=100, le=60_000, description="Time to switch one step in or out, ms")
    discharge_ms: int = Field(
        default=300_000, ge=0, le=3_600_000, description="Until a step that was taken out may go in again, ms"
    )


class InverterSettings(Settings):
    """Reactive power of a converter-fed generating unit."""

    unit: str = Field(min_length=1, description="Name of the generating unit in the network")
    curve: str = Field(
        default="",
        description="Q(V) characteristic: ieee1547_a, ieee1547_b, vde_ar_n_4105 or corner points; empty: set point",
    )
    response_s: float = Field(default=5.0, gt=0, le=600, description="Time to 90 % of a new set point, s")


class UnderFrequencyStage(Settings):
    """One stage of an under-frequency relay: by level, and by slope below a level of its own."""

    level_hz: float = Field(gt=0, description="Picks up at or below this frequency, Hz")
    delay_ms: int = Field(default=100, ge=20, le=60_000, description="How long it must stay there until the trip, ms")
    arm_hz: float | None = Field(default=None, gt=0, description="Below this the slope counts too, Hz; empty: never")
    rocof_hz_per_s: float = Field(default=1.0, gt=0, le=50, description="Slope of the fall that picks up, Hz/s")


class UnderFrequencyRelaySettings(Settings):
    """Under-frequency load shedding at a breaker; a stage trips only while it is armed."""

    breaker: str = _NAME
    stages: tuple[UnderFrequencyStage, ...] = Field(
        min_length=1, max_length=8, description="The stages, as a rule from the highest level down"
    )
    armed: tuple[int, ...] = Field(default=(), description="Stages that are armed at the start, from 1")
    drop_off_hz: float = Field(default=0.05, ge=0, le=1, description="Above level by this much the stage lets go, Hz")


class DeviceSettings(Settings):
    """The settings of all field devices of a network, each list in the order of the network's switches."""

    relays: tuple[RelaySettings, ...] = ()
    reclosers: tuple[RecloserSettings, ...] = ()
    breakers: tuple[BreakerSettings, ...] = ()
    load_break_switches: tuple[LoadBreakSwitchSettings, ...] = ()
    indicators: tuple[IndicatorSettings, ...] = ()
    tap_changers: tuple[TapChangerSettings, ...] = ()
    capacitor_banks: tuple[CapacitorBankSettings, ...] = ()
    inverters: tuple[InverterSettings, ...] = ()
    under_frequency: tuple[UnderFrequencyRelaySettings, ...] = ()
    earth_faults: tuple[EarthFaultSettings, ...] = ()
