"""What a scenario sets of the control room's applications."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from twin.scenario.fields import Flag, Name, ScenarioModel, WholeNumber
from twin.scenario.load_shedding import LoadSheddingScenario
from twin.units import DurationMs, Fraction, InUnit, Unit


class FlisrScenario(ScenarioModel):
    """Fault location, isolation and service restoration."""

    mode: Literal["off", "advisory", "automatic"] = "off"
    """off; advisory: its plans wait for the operator; automatic: its plans are carried out."""
    max_loading: Annotated[float, InUnit(Unit.FRACTION, above=0.0, high=2.0)] = 1.0
    """The highest loading of any line or transformer that a plan may lead to."""
    v_min: Annotated[float, InUnit(Unit.PER_UNIT, low=0.5, high=0.999)] = 0.9
    """The lowest voltage that a plan may lead to."""
    v_max: Annotated[float, InUnit(Unit.PER_UNIT, low=1.001, high=1.5)] = 1.1
    """The highest voltage that a plan may lead to."""
    settle: DurationMs = 5_000
    """How long after a trip the application waits for indications to arrive before it locates the fault."""
    max_ties: Annotated[WholeNumber, Field(le=5)] = 3
    """How many normally open points one plan may close."""
    max_cuts: Annotated[WholeNumber, Field(le=5)] = 3
    """How many switches one plan may open to split or drop healthy parts."""
    reclose_feeder_head: Flag = True
    """Restore the part before the fault by closing the breaker at the feeder's head."""
    assume_first_section: Flag = True
    """Without any fault indication, take the section behind the feeder's head as faulty; otherwise make no plan."""
    priority: tuple[Name, ...] = ()
    """Consumers, or load classes (residential, commercial, industrial), that are restored before all others."""
    look_ahead: DurationMs = 14_400_000
    """How long a plan has to keep the limits as demand goes on by load_profile."""
    load_profile: Literal["flat", "winter-weekday"] = "flat"
    """How expected demand goes with the time of day."""
    cold_load: Annotated[float, InUnit(Unit.FRACTION, low=1.0, high=5.0)] = 1.0
    """What consumers take when they are supplied again, as a percentage of what they took before."""
    cold_load_for: DurationMs = 3_600_000
    """How long cold-load pickup lasts; for an exponential one, its time constant."""
    cold_load_shape: Literal["step", "exponential"] = "step"
    """step: cold-load pickup is there for its duration; exponential: it fades."""
    generation_returns: Flag = True
    """The end of a plan has to bear that generating units which lost their supply are back, at the lowest demand."""
    max_reverse: Annotated[float, InUnit(Unit.FRACTION, above=0.0, high=2.0)] = 1.0
    """The highest loading of any line or transformer once generating units are back."""
    close_loops: Flag = False
    """Return to normal without interruption: close a loop to change over. Otherwise open first."""
    drop_supplied: Flag = True
    """Take supplied customers off to isolate a switch of unknown position, if more get their supply back."""


class LoadModelScenario(ScenarioModel):
    """What the control room expects consumers to take."""

    load_profile: Literal["flat", "winter-weekday"] = "flat"
    """How expected demand goes with the time of day."""
    load_scale: Fraction = 1.0
    """Expected demand as a percentage of the rated one."""
    load_spread: Annotated[float, InUnit(Unit.FRACTION, above=0.0, high=5.0)] = 0.5
    """Standard deviation of expected demand, as a percentage of the rated one."""


class StateEstimationScenario(LoadModelScenario):
    """The most likely state of the network, with wrong measurements and suspect switch positions."""

    mode: Literal["off", "advisory", "automatic"] = "off"
    """off; advisory: suspect switch positions are reported; automatic: results rest on them as well."""
    period: Annotated[int, InUnit(Unit.MILLISECOND, low=1_000)] = 10_000
    """The time from one look to the next."""
    settle: DurationMs = 3_000
    """How long to wait after a switch has moved."""
    false_alarm: Annotated[float, InUnit(Unit.FRACTION, above=0.0, high=0.5)] = 0.001
    """The probability to suspect something in one look though nothing is wrong."""


class LoadFlowScenario(LoadModelScenario):
    """Demand that agrees with the meters, and the load flow on it."""

    mode: Literal["off", "advisory", "automatic"] = "off"
    """off; advisory and automatic: results and findings are published, nothing is operated."""
    period: Annotated[int, InUnit(Unit.MILLISECOND, low=1_000)] = 60_000
    """The time from one look to the next."""
    settle: DurationMs = 3_000
    """How long to wait after a switch has moved."""
    max_factor: Annotated[float, InUnit(Unit.FRACTION, above=1.0, high=100.0)] = 5.0
    """A meter zone above this percentage of its rated demand is not believed."""


class VoltVarScenario(ScenarioModel):
    """Voltages inside their band, with tap changers, capacitor banks and inverters."""

    mode: Literal["off", "advisory", "automatic"] = "off"
    """off; advisory: its plans wait for the operator; automatic: its plans are carried out."""
    objective: Literal["band", "losses", "conservation", "operations"] = "band"
    """What is improved inside the band: nothing but the distance to v_target; losses; the demand; fewest operations."""
    v_min: Annotated[float, InUnit(Unit.PER_UNIT, low=0.5, high=1.2)] = 0.95
    """The lower edge of the voltage band."""
    v_max: Annotated[float, InUnit(Unit.PER_UNIT, low=0.8, high=1.5)] = 1.05
    """The upper edge of the voltage band."""
    v_target: Annotated[float, InUnit(Unit.PER_UNIT, low=0.8, high=1.2)] = 1.0
    """The voltage that objective band aims at."""
    period: Annotated[int, InUnit(Unit.MILLISECOND, low=1_000)] = 60_000
    """The time from one look to the next."""
    delay: DurationMs = 60_000
    """How long a voltage must be outside the band before it matters."""
    pause: DurationMs = 900_000
    """After a plan, none for savings alone for this long."""
    operations_a_day: Annotated[WholeNumber, Field(le=1_000)] = 20
    """How many steps one tap changer or capacitor bank may make in a day."""
    inverter_curve: str = ""
    """The characteristic that generating units without a set point follow, as far as the control room knows."""
    least_gain: Annotated[float, InUnit(Unit.KILOWATT, low=0.0)] = 1.0
    """A plan for savings must save at least this."""

    @model_validator(mode="after")
    def _band(self) -> Self:
        if self.v_min >= self.v_max:
            raise ValueError("v_min must be below v_max")
        return self


class TopologyScenario(ScenarioModel):
    """What is supplied, dead, earthed, in parallel or in a loop, as far as positions are known."""

    mode: Literal["off", "advisory", "automatic"] = "off"
    """off; advisory and automatic are the same, because it operates nothing."""
    period: Annotated[int, InUnit(Unit.MILLISECOND, low=1_000)] = 60_000
    """The time from one look to the next."""
    settle: DurationMs = 1_000
    """How long to wait after a switch has moved: longer than it is on its way."""


class Applications(ScenarioModel):
    """The applications of the control room."""

    topology: TopologyScenario = TopologyScenario()
    """Topology processing."""
    state_estimation: StateEstimationScenario = StateEstimationScenario()
    """The most likely state of the network."""
    flisr: FlisrScenario = FlisrScenario()
    """Fault location, isolation and service restoration."""
    load_flow: LoadFlowScenario = LoadFlowScenario()
    """Demand that agrees with the meters, and the load flow on it."""
    load_shedding: LoadSheddingScenario = LoadSheddingScenario()
    """Load shedding by frequency, limits and the time of the day."""
    volt_var: VoltVarScenario = VoltVarScenario()
    """Voltages inside their band."""
