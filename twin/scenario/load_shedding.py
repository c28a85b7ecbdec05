"""The block of load shedding in a scenario."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from twin.scenario.fields import Name, ScenarioModel
from twin.units import DurationMs, FrequencyHz, InUnit, Share, Unit


class SheddingWindow(ScenarioModel):
    """A time of the day (UTC) in which a share of the load is to be off."""

    begin: DurationMs
    """Since midnight, for example 18 h 30 min."""
    end: DurationMs
    """Since midnight; before begin: of the next day."""
    share: Share
    """The share of the net load."""


class LoadSheddingScenario(ScenarioModel):
    """Load shedding: under-frequency stages armed by net load, limits, time of day, restoration."""

    mode: Literal["off", "advisory", "automatic"] = "off"
    """off; advisory: its plans wait for the operator; automatic: its plans are carried out."""
    shares: Annotated[tuple[Share, ...], Field(max_length=8)] = (0.125, 0.125, 0.125, 0.125)
    """The share of the net load that is armed for each stage of the relays, the highest stage first."""
    tolerance: Share = 0.03
    """By how much of the net load a stage may be off."""
    never: tuple[Name, ...] = ()
    """Feeder heads that are never shed."""
    last: tuple[Name, ...] = ()
    """Feeder heads that are shed only where others do not do."""
    period: Annotated[int, InUnit(Unit.MILLISECOND, low=1_000)] = 10_000
    """The time from one look to the next."""
    rotate: DurationMs = 86_400_000
    """How often other feeders are armed; 0 s: never."""
    delay: DurationMs = 30_000
    """How long a limit must be broken until load is shed for it."""
    max_loading: Annotated[float, InUnit(Unit.FRACTION, above=0.0, high=2.0)] = 1.0
    """The loading of feeders and transformers above which load is shed, and up to which it comes back."""
    v_min: Annotated[float, InUnit(Unit.PER_UNIT, low=0.5, high=0.999)] = 0.9
    """The voltage of a busbar below which load is shed."""
    restore_at: FrequencyHz = 49.8
    """The frequency at which restoration begins."""
    stop_at: FrequencyHz = 49.6
    """The frequency below which it pauses."""
    hold: DurationMs = 30_000
    """How long the frequency must hold before each block."""
    least_off: DurationMs = 60_000
    """How long a feeder stays off at least."""
    block: Share = 0.08
    """The largest block that comes back at once, of the net load."""
    cold_load: Annotated[float, InUnit(Unit.FRACTION, low=1.0, high=5.0)] = 1.5
    """What a feeder takes when it comes back, over what it took before."""
    windows: tuple[SheddingWindow, ...] = ()
    """Time-of-day schemes."""
