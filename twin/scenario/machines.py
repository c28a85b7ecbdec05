"""Rotating machines of the plant: what makes its frequency."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from twin.scenario.fields import Flag, Name, ScenarioModel
from twin.units import ActivePowerKw, DurationMs, FrequencyHz, InUnit, PositiveDurationMs, Share, Unit


class MachineSettings(ScenarioModel):
    """A synchronous machine with governor and turbine (Anderson and Mirheydar 1990)."""

    name: Name
    """What events and the journal call the machine."""
    at: Name
    """Where it feeds in: an external network (which then consists of its machines alone), or a generating unit."""
    rated: Annotated[float, InUnit(Unit.KILOWATT, above=0.0)]
    """The rated power; the machine gives no more."""
    output: ActivePowerKw | None = None
    """The power at the start; left out: its part, by rated power, of what is needed."""
    inertia: PositiveDurationMs = 4_000
    """The inertia constant H."""
    droop: Annotated[float, InUnit(Unit.FRACTION, low=0.001, high=1.0)] = 0.05
    """By how much of the nominal frequency it falls from no load to full load."""
    gain: Share = 0.95
    """The part of the power that answers the governor; 0 % for a machine without one."""
    high_pressure: Share = 0.3
    """The part of that which answers at once; the rest goes through the reheater."""
    reheat: PositiveDurationMs = 8_000
    """The time constant of the reheater."""
    under_frequency: FrequencyHz = 47.5
    """At or below this frequency the machine trips."""
    over_frequency: FrequencyHz = 51.5
    """At or above this frequency the machine trips."""
    trip_delay: DurationMs = 200
    """How long the frequency must be outside until it trips."""
    v: Annotated[float, InUnit(Unit.PER_UNIT, low=0.5, high=1.5)] = 1.0
    """The voltage at the node of a generating unit that feeds an island alone."""


class UnderFrequencyRelays(ScenarioModel):
    """Under-frequency relays at every feeder head; with a derived folder, its own settings count instead."""

    stages: Annotated[tuple[FrequencyHz, ...], Field(min_length=1, max_length=8)]
    """The levels of the stages that every relay has."""
    delay: Annotated[int, InUnit(Unit.MILLISECOND, low=20, high=60_000)] = 100
    """How long the frequency must be below until a stage trips."""
    armed: Flag = False
    """true: one stage a feeder is armed from the start, in turn; false: only what the control room arms trips."""


class FrequencySettings(ScenarioModel):
    """The frequency of the plant; without machines it is nominal wherever there is voltage."""

    machines: tuple[MachineSettings, ...] = ()
    """The machines. An external network that none is at is stiff: its frequency does not move."""
    damping: Annotated[float, InUnit(Unit.COUNT, low=0.0, high=5.0)] = 1.0
    """By how many per cent the demand falls for one per cent less frequency."""
    secondary: PositiveDurationMs | None = None
    """The time constant of the control that brings the frequency back to nominal; left out: there is none."""

    relays: UnderFrequencyRelays | None = None
    """Under-frequency relays at the feeder heads; none if left out."""

    @model_validator(mode="after")
    def _names_once(self) -> FrequencySettings:
        names = [machine.name for machine in self.machines]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two machines are called {name}")
        return self
