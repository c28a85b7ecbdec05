"""Events of a scenario that concern stations and the telecontrol network between them and the control room."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from twin.scenario.fields import Name, ScenarioModel, given, keys
from twin.units import DurationMs, PositiveDurationMs, Share

MisbehaviourKind = Literal[
    "lie", "freeze", "drop", "reorder", "repeat", "late", "restart", "overflow", "refuse", "malformed"
]
RATE_BIT_S = Annotated[int, Field(strict=True, ge=50, le=1_000_000_000)]

_GOES_WITH = {
    "lie": {"point", "value", "scale", "offset"},
    "late": {"delay"},
    "drop": {"share"},
    "reorder": {"share"},
    "repeat": {"share"},
    "malformed": {"share"},
}


class MisbehaviourAction(ScenarioModel):
    """A station does something wrong."""

    station: Name
    """The station."""
    kind: MisbehaviourKind
    """lie about a point, freeze its values, drop, reorder or repeat frames, answer late, restart, overflow with events,
    refuse commands, or send malformed frames."""
    for_ms: Annotated[PositiveDurationMs | None, Field(alias="for")] = None
    """For how long (restart: until it takes connections again); to the end of the run if left out."""
    point: Name | None = None
    """The point that it lies about, such as CB_1.i_a."""
    value: float | None = None
    """What it reports of the point instead of what it measures."""
    scale: float | None = None
    """What it multiplies the measured value by; 1 if left out."""
    offset: float | None = None
    """What it adds to the measured value; 0 if left out."""
    delay: DurationMs | None = None
    """How late it answers; 2 s if left out."""
    share: Share | None = None
    """The share of frames that it drops, reorders, repeats or spoils; all if left out."""

    @model_validator(mode="after")
    def _what_goes_together(self) -> Self:
        detail = set(given(self, "point", "value", "scale", "offset", "delay", "share"))
        wrong = sorted(detail - _GOES_WITH.get(self.kind, set()))
        if wrong:
            raise ValueError(f"{wrong[0]} does not go with {self.kind}")
        if self.kind == "lie" and (self.point is None or not detail & {"value", "scale", "offset"}):
            raise ValueError("a lie is {station, kind: lie, point: NAME} with value, or with scale and offset")
        return self


class NetworkAction(ScenarioModel):
    """The telecontrol network to a station is worse than usual; what is left out stays as it is."""

    station: Name
    """The station."""
    for_ms: Annotated[PositiveDurationMs | None, Field(alias="for")] = None
    """For how long; to the end of the run if left out."""
    latency: DurationMs | None = None
    """The one-way delay."""
    jitter: DurationMs | None = None
    """How much longer a message may take at random."""
    loss: Share | None = None
    """The share of messages that are lost and sent again."""
    rate: RATE_BIT_S | None = None
    """How many bits go through in a second, each way."""

    @model_validator(mode="after")
    def _something(self) -> Self:
        names = ("latency", "jitter", "loss", "rate")
        if not given(self, *names):
            raise ValueError(f"what is worse is missing; write at least one of: {', '.join(keys(type(self), names))}")
        return self


class HalfOpenAction(ScenarioModel):
    """A station forgets its connection without a word; the control room believes that it stands."""

    station: Name
    """The station."""
