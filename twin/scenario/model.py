"""The scenario: what runs on which network, what happens, and what is expected.

Settings models only: reading files is in ``loader``, checking names in ``resolve``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import ConfigDict, Field, PrivateAttr, field_validator, model_validator

from twin.scenario.applications import Applications
from twin.scenario.events import Event, PositionName
from twin.scenario.fields import (
    Condition,
    Flag,
    Instant,
    Name,
    ScenarioModel,
    WholeNumber,
    WithinText,
    exactly_one,
    given,
    keys,
    one_of,
)
from twin.scenario.findings import SourceMap
from twin.scenario.machines import FrequencySettings
from twin.scenario.stations import ListenSettings, StationSettings
from twin.units import (
    ActivePowerKw,
    CurrentA,
    DurationMs,
    Fraction,
    PositiveDurationMs,
)


class NetworkError(ScenarioModel):
    """One deliberate error in the control room's copy of the network."""

    switch: Name | None = None
    """A switch whose normal position is wrong in the copy; goes with normally."""
    normally: PositionName | None = None
    """The normal position that the control room believes."""
    line: Name | None = None
    """A line that is wrong in the copy; goes with missing or rating."""
    missing: Flag | None = None
    """true: the line is not in the copy."""
    rating: CurrentA | None = None
    """The current rating that the control room believes."""
    consumer: Name | None = None
    """A consumer that is wrong in the copy; goes with demand."""
    demand: ActivePowerKw | None = None
    """The rated active power that the control room believes."""

    @model_validator(mode="after")
    def _one_error(self) -> Self:
        found = given(self, "switch", "normally", "line", "missing", "rating", "consumer", "demand")
        forms = (["switch", "normally"], ["line", "missing"], ["line", "rating"], ["consumer", "demand"])
        if found not in forms or self.missing is False:
            raise ValueError(
                "an error of the control room's network is {switch, normally: open or closed}, {line, missing: true}, "
                "{line, rating: 100 A} or {consumer, demand: 300 kW}"
            )
        return self


class LoadSettings(ScenarioModel):
    """The demand of all consumers."""

    scale: Fraction = 1.0
    """The demand as a percentage of the rated one."""
    profile: Name = "flat"
    """How demand goes with time: the name of a shipped profile, or a CSV file (time, a factor per load class)."""
    noise: Fraction = 0.0
    """Standard deviation of the random part of each consumer's demand."""

    @property
    def profile_is_file(self) -> bool:
        """True if ``profile`` names a CSV file rather than a shipped profile."""
        return self.profile.lower().endswith(".csv")


class PlantSettings(ScenarioModel):
    """How the plant behaves."""

    loads: LoadSettings = LoadSettings()
    """The demand of the consumers."""
    frequency: FrequencySettings = FrequencySettings()
    """The machines that make the frequency; nominal if there are none."""
    inverters: str = ""
    """Reactive power of generating units with a rating: "set point", the name of a Q(V) characteristic or its corner
    points; empty: as given. With a derived folder, its own settings count instead."""


EXPECTATION_FORMS = ("within", "by", "at", "always", "never", "count")
_COUNT_LIMITS = ("equals", "at_most", "at_least")


class Expectation(ScenarioModel):
    """What must hold in a run, in exactly one form.

    ``within``, ``by`` and ``at`` go with ``that``; ``count`` goes with ``equals``, ``at_most`` or ``at_least``.
    """

    model_config = ConfigDict(json_schema_extra=one_of(list(EXPECTATION_FORMS)))

    id: Name = ""
    """What the report calls this expectation; made from its place in the list if left out."""
    within: WithinText | None = None
    """The condition must become true within this time of an event, or hold all that time."""
    by: DurationMs | None = None
    """The condition must become true by this time since the start, or hold from the start until then."""
    at: DurationMs | None = None
    """The condition must hold at this time since the start."""
    that: Condition | None = None
    """The condition of within, by and at."""
    for_ms: Annotated[PositiveDurationMs | None, Field(alias="for")] = None
    """How long the condition must then stay true; goes with within and by."""
    always: Condition | None = None
    """This condition must hold in every cycle."""
    never: Condition | None = None
    """This condition must not hold in any cycle."""
    count: Condition | None = None
    """How often this condition becomes true is counted."""
    equals: WholeNumber | None = None
    """The count must be this."""
    at_most: WholeNumber | None = None
    """The count must not exceed this."""
    at_least: WholeNumber | None = None
    """The count must reach this."""
    from_ms: Annotated[DurationMs | None, Field(alias="from")] = None
    """Start of the window of always, never and count; the start of the run if left out."""
    until_ms: Annotated[DurationMs | None, Field(alias="until")] = None
    """End of the window of always, never and count; the end of the run if left out."""

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        exactly_one(given(self, *EXPECTATION_FORMS), list(EXPECTATION_FORMS), "the form of this expectation")
        form = self.form
        needs_that = form in ("within", "by", "at")
        if needs_that and self.that is None:
            raise ValueError(f"{form} goes with that: write the condition, for example that: CB_1.position == open")
        self._refuse(("that",), needs_that)
        self._refuse(("for_ms",), form in ("within", "by"))
        self._refuse(("from_ms", "until_ms"), form in ("always", "never", "count"))
        self._refuse(_COUNT_LIMITS, form == "count")
        if form == "count":
            exactly_one(given(self, *_COUNT_LIMITS), list(_COUNT_LIMITS), "the limit of the count")
        if self.from_ms is not None and self.until_ms is not None and self.from_ms >= self.until_ms:
            raise ValueError("from must be before until")
        return self

    def _refuse(self, names: tuple[str, ...], allowed: bool) -> None:
        found = given(self, *names)
        if found and not allowed:
            raise ValueError(f"{found[0]} does not go with {self.form}")

    @property
    def form(self) -> str:
        """Which of ``EXPECTATION_FORMS`` this is."""
        return given(self, *EXPECTATION_FORMS)[0]

    @property
    def condition(self) -> Condition:
        """The condition, whatever the form."""
        return next(c for c in (self.that, self.always, self.never, self.count) if c is not None)

    def __str__(self) -> str:
        return " ".join(self._words())

    def _words(self) -> list[str]:
        written = self.model_dump(mode="json", by_alias=True, exclude_none=True, exclude={"id"})
        head = [f"{self.form} {written.pop(self.form)}"]
        if self.that is not None:
            head = [f"{head[0]}: {written.pop('that')}"]
        return [*head, *(f"{key.replace('_', ' ')} {value}" for key, value in written.items())]


class ReportSettings(ScenarioModel):
    """What the report shows besides the verdicts."""

    plot: tuple[Name, ...] = ()
    """The quantities to plot, such as N8.v_pu."""


class Scenario(ScenarioModel):
    """A run of the twin: network, stations, events, expectations."""

    scenario: Literal[1]
    """The version of the scenario language."""
    name: Name
    """What the run is called."""
    description: str = ""
    """What the run is to show, for people."""
    network: Name
    """The name of a shipped network, or a file."""
    derived: Name | None = None
    """A folder with stations, points and protection settings; derived from the network if left out."""
    start: Instant
    """The instant at which the run starts, UTC."""
    duration: PositiveDurationMs
    """How long the run lasts."""
    step: PositiveDurationMs = 1_000
    """The base step of the world."""
    seed: WholeNumber = 0
    """Seed of everything random; the same scenario and seed give the same journal."""
    control_room_network: tuple[NetworkError, ...] = ()
    """Deliberate errors in the control room's copy of the network."""
    plant: PlantSettings = PlantSettings()
    """How the plant behaves."""
    applications: Applications = Applications()
    """The applications of the control room; those left out are off."""
    stations: dict[str, StationSettings] = Field(default_factory=lambda: {"default": StationSettings()})
    """How stations are reached, by their name; default holds for all others."""
    listen: ListenSettings | None = None
    """Where stations listen in a live run; at free ports of the loopback if left out."""
    events: tuple[Event, ...] = ()
    """What happens in the run."""
    expect: tuple[Expectation, ...] = ()
    """What must hold in the run."""
    report: ReportSettings = ReportSettings()
    """What the report shows besides the verdicts."""

    _source: SourceMap = PrivateAttr(default_factory=SourceMap)

    @field_validator("stations", mode="before")
    @classmethod
    def _names_as_text(cls, value: Any) -> Any:
        return (
            {str(getattr(key, "text", key)): item for key, item in value.items()} if isinstance(value, dict) else value
        )

    @field_validator("stations", mode="after")
    @classmethod
    def _take_from_default(cls, value: dict[str, StationSettings]) -> dict[str, StationSettings]:
        default = value.get("default", StationSettings())
        merged = {name: _over(default, station) for name, station in value.items() if name != "default"}
        return {"default": default, **merged}

    @field_validator("events", mode="after")
    @classmethod
    def _event_ids(cls, value: tuple[Event, ...]) -> tuple[Event, ...]:
        return tuple(_with_id(event, f"event{n}") for n, event in enumerate(value, 1))

    @field_validator("expect", mode="after")
    @classmethod
    def _expectation_ids(cls, value: tuple[Expectation, ...]) -> tuple[Expectation, ...]:
        return tuple(_with_id(expectation, f"expectation{n}") for n, expectation in enumerate(value, 1))

    @property
    def source(self) -> SourceMap:
        """Where this scenario was written."""
        return self._source

    def with_source(self, source: SourceMap) -> Scenario:
        """The same scenario, read from ``source``."""
        copy = self.model_copy()
        copy._source = source
        return copy

    def station(self, name: str) -> StationSettings:
        """The settings of a station, the default ones if it has none of its own."""
        return self.stations.get(name, self.stations["default"])

    def event(self, event_id: str) -> Event | None:
        """The event of this id, or None."""
        return next((event for event in self.events if event.id == event_id), None)

    @property
    def network_file(self) -> Path | None:
        """The network's file, or None for a shipped network."""
        is_file = ":" not in self.network and (bool(Path(self.network).suffix) or "/" in self.network)
        return self.source.folder / self.network if is_file else None

    @property
    def derived_folder(self) -> Path | None:
        """The folder of derived data, or None."""
        return self.source.folder / self.derived if self.derived else None

    @property
    def profile_file(self) -> Path | None:
        """The CSV file of the load profile, or None for a shipped one."""
        loads = self.plant.loads
        return self.source.folder / loads.profile if loads.profile_is_file else None


_Item = TypeVar("_Item", Event, Expectation)


def _over(default: StationSettings, station: StationSettings) -> StationSettings:
    """``station`` with what it leaves out taken from ``default``."""
    written: Mapping[str, Any] = {name: getattr(station, name) for name in sorted(station.model_fields_set)}
    return default.model_copy(update=dict(written))


def _with_id(item: _Item, made: str) -> _Item:
    return item if item.id else item.model_copy(update={"id": made})


def known_keys(model: type[ScenarioModel]) -> Sequence[str]:
    """The keys of a block, as they are written."""
    return keys(model, tuple(model.model_fields))
