"""Events of a scenario: when something happens, and what."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, Field, field_validator, model_validator

from twin.scenario.fields import Condition, Flag, Name, ScenarioModel, exactly_one, given, keys, one_of
from twin.scenario.telecontrol import HalfOpenAction, MisbehaviourAction, NetworkAction
from twin.units import DurationMs, Fraction, InUnit, PlaceOnLine, PositiveDurationMs, ResistanceOhm, Unit

FaultKindName = Literal["three-phase", "phase-to-phase", "phase-to-phase-to-earth", "phase-to-earth", "double-earth"]
PositionName = Literal["open", "closed"]


class SecondPlace(ScenarioModel):
    """Where a double earth fault meets the earth a second time, in another phase."""

    line: Name
    """The line segment that is struck."""
    position: PlaceOnLine = 0.5
    """Where on the line: 0 at its from end to 1 at its to end, or a percentage."""
    resistance: ResistanceOhm = 0.0
    """The resistance to earth there."""


class FaultAction(ScenarioModel):
    """A short circuit on a line, or an earth fault on two."""

    line: Name
    """The line segment that is struck."""
    position: PlaceOnLine = 0.5
    """Where on the line: 0 at its from end to 1 at its to end, or a percentage."""
    kind: FaultKindName = "three-phase"
    """The type of short circuit."""
    permanent: Flag = True
    """A permanent fault stays until it is repaired; another one goes when its arc has been dead for a while."""
    extinguishes_after: DurationMs = 5_000
    """How long the arc path of a fault that is not permanent must be dead until it is gone."""
    resistance: ResistanceOhm = 0.0
    """The resistance at the fault."""
    second: SecondPlace | None = None
    """The other place of a double earth fault; goes with kind double-earth."""

    @model_validator(mode="after")
    def _two_places(self) -> Self:
        if (self.kind == "double-earth") != (self.second is not None):
            raise ValueError("a double earth fault has two places: kind double-earth goes with second: {line: L3-8}")
        return self


class ClearFaultAction(ScenarioModel):
    """A fault is repaired."""

    id: Name
    """The id of the fault's event."""


class CommsLossAction(ScenarioModel):
    """A station cannot be reached."""

    station: Name
    """The station."""
    for_ms: Annotated[PositiveDurationMs | None, Field(alias="for")] = None
    """For how long; to the end of the run if left out."""


class OperateAction(ScenarioModel):
    """A switch is operated."""

    switch: Name
    """The switch; at the plant also an earthing switch."""
    to: PositionName
    """The position to operate to."""
    at: Literal["plant", "control room"] = "plant"
    """By hand at the switch (plant), or as a remote command through the command path (control room)."""


class LoadAction(ScenarioModel):
    """The demand of a consumer changes by a factor, from now on."""

    consumer: Name
    """The consumer, or all."""
    scale: Fraction
    """The demand as a percentage of the profile's; replaces an earlier scale."""


class DeviceFaultAction(ScenarioModel):
    """A field device fails: a switch's drive, a fault passage indicator, or a measurement."""

    switch: Name | None = None
    """The switch whose drive fails; goes with fails to."""
    fails_to: Annotated[Literal["open", "close"] | None, Field(alias="fails to")] = None
    """The operation that the drive no longer makes."""
    indicator: Name | None = None
    """The switch whose fault passage indicator fails; goes with fails."""
    measurement: Name | None = None
    """The telemetered measurement that fails, such as CB_1.p_kw; goes with reads or fails."""
    reads: Annotated[float, InUnit(Unit.FRACTION)] | None = None
    """What the measurement shows from now on, as a percentage of the true value; 100 % repairs it."""
    fails: Literal["silent", "false", "stuck"] | None = None
    """The indicator says nothing (silent), or indicates the passage of a fault that is not there (false); the
    measurement always shows what it shows now (stuck)."""

    @field_validator("fails", mode="before")
    @classmethod
    def _false_is_a_word(cls, value: Any) -> Any:
        return "false" if value is False else value

    @model_validator(mode="after")
    def _one_device(self) -> Self:
        found = given(self, "switch", "fails_to", "indicator", "measurement", "reads", "fails")
        forms = (["switch", "fails to"], ["indicator", "fails"], ["measurement", "reads"], ["measurement", "fails"])
        if found not in forms or (self.fails is not None and (self.fails == "stuck") != (self.measurement is not None)):
            raise ValueError(
                "a device fault is {switch: NAME, fails to: open or close}, "
                "{indicator: SWITCH, fails: silent or false}, {measurement: POINT, fails: stuck} "
                "or {measurement: POINT, reads: 120 %}"
            )
        return self


class LocalAction(ScenarioModel):
    """A bay is put under local control: remote commands are refused."""

    switch: Name
    """The switch of the bay."""


class OperatorAction(ScenarioModel):
    """The operator does something at the control room's desk."""

    acknowledge: Name | None = None
    """Acknowledge the alarms of this equipment, or all."""
    approve_plan: Annotated[Name | None, Field(alias="approve plan")] = None
    """Approve the waiting plan of this id, or all."""
    reject_plan: Annotated[Name | None, Field(alias="reject plan")] = None
    """Reject the waiting plan of this id, or all."""
    repaired: Name | None = None
    """Report the fault on this line, transformer or node as repaired: FLISR plans the return to normal."""
    hold_off: Annotated[Name | None, Field(alias="hold off")] = None
    """Hang a hold-off tag on this switch: live-line work behind it, it must not be closed after a trip."""

    @model_validator(mode="after")
    def _one_deed(self) -> Self:
        names = ("acknowledge", "approve_plan", "reject_plan", "repaired", "hold_off")
        exactly_one(given(self, *names), keys(type(self), names), "what the operator does")
        return self


class CallAction(ScenarioModel):
    """A customer calls."""

    from_node: Annotated[Name, Field(alias="from")]
    """The node the customer is supplied from."""
    text: str = "no supply"
    """What the customer says."""


class OutageAction(ScenarioModel):
    """An infeed is lost: a machine or a generating unit trips, or an external network goes away."""

    name: Name
    """The machine, the generating unit or the external network."""
    for_ms: Annotated[PositiveDurationMs | None, Field(alias="for")] = None
    """After how long it is connected again; not in this run if left out."""


Action = (
    FaultAction
    | ClearFaultAction
    | CommsLossAction
    | OperateAction
    | LoadAction
    | DeviceFaultAction
    | LocalAction
    | OperatorAction
    | CallAction
    | MisbehaviourAction
    | NetworkAction
    | HalfOpenAction
    | OutageAction
)

ACTIONS = (
    "fault",
    "clear_fault",
    "comms_loss",
    "operate",
    "load",
    "device_fault",
    "local",
    "operator",
    "call",
    "misbehaviour",
    "telecontrol",
    "half_open",
    "trip_generator",
    "lose_external_network",
)
"""The fields of :class:`Event` that hold an action."""

_ACTION_KEYS = [name.replace("_", " ") for name in ACTIONS]


class Event(ScenarioModel):
    """Something that happens in a run: exactly one trigger (at, when) and exactly one action."""

    model_config = ConfigDict(json_schema_extra={"allOf": [one_of(["at", "when"]), one_of(_ACTION_KEYS)]})

    id: Name = ""
    """What expectations and other events call this event; made from its place in the list if left out."""
    at: DurationMs | None = None
    """The event happens at this time since the start of the run."""
    when: Condition | None = None
    """The event happens once, when this condition first holds."""
    after: DurationMs = 0
    """How long after the condition the event happens; goes with when."""
    fault: FaultAction | None = None
    """A short circuit on a line."""
    clear_fault: Annotated[ClearFaultAction | None, Field(alias="clear fault")] = None
    """A fault is repaired."""
    comms_loss: Annotated[CommsLossAction | None, Field(alias="comms loss")] = None
    """A station cannot be reached."""
    operate: OperateAction | None = None
    """A switch is operated."""
    load: LoadAction | None = None
    """The demand of a consumer, or of all, changes."""
    device_fault: Annotated[DeviceFaultAction | None, Field(alias="device fault")] = None
    """A drive or a fault passage indicator fails."""
    local: LocalAction | None = None
    """A bay is put under local control."""
    operator: OperatorAction | None = None
    """The operator does something at the desk."""
    call: CallAction | None = None
    """A customer calls."""
    misbehaviour: MisbehaviourAction | None = None
    """A station does something wrong."""
    telecontrol: NetworkAction | None = None
    """The telecontrol network to a station is worse than usual."""
    half_open: Annotated[HalfOpenAction | None, Field(alias="half open")] = None
    """A station forgets its connection without a word."""
    trip_generator: Annotated[OutageAction | None, Field(alias="trip generator")] = None
    """A machine or a generating unit trips."""
    lose_external_network: Annotated[OutageAction | None, Field(alias="lose external network")] = None
    """An external network goes away, with all its machines."""

    @model_validator(mode="after")
    def _one_trigger_one_action(self) -> Self:
        exactly_one(given(self, "at", "when"), ["at", "when"], "the trigger of this event")
        exactly_one(given(self, *ACTIONS), _ACTION_KEYS, "the action of this event")
        if self.after and self.at is not None:
            raise ValueError("after goes with when; with at, write the later time")
        return self

    @property
    def kind(self) -> str:
        """The key of the action, such as ``comms loss``."""
        return given(self, *ACTIONS)[0]

    @property
    def action(self) -> Action:
        """The one action."""
        action: Action = next(getattr(self, name) for name in ACTIONS if getattr(self, name) is not None)
        return action
