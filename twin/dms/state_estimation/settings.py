"""What a person can choose about state estimation."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from twin.solvers.state_estimation import MeasurementKind


class Accuracy(BaseModel):
    """The standard deviation of a kind of measurement: the root of the sum of squares of both parts."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    of_range_percent: float = Field(gt=0, le=50, description="Standard deviation as a part of the range, %")
    of_reading_percent: float = Field(default=0.0, ge=0, le=50, description="Standard deviation, % of the reading")


class StateEstimationSettings(BaseModel):
    """Accuracies, tests, and how far the search for errors goes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    voltage: Accuracy = Field(
        default=Accuracy(of_range_percent=0.3), description="Node voltages; the range is the nominal voltage"
    )
    power: Accuracy = Field(
        default=Accuracy(of_range_percent=0.5, of_reading_percent=0.5),
        description="P and Q through switches; the range is the apparent power at rated current",
    )
    current: Accuracy = Field(
        default=Accuracy(of_range_percent=0.5, of_reading_percent=0.5),
        description="Currents through switches; the range is the rated current",
    )
    unknown_rating_a: float = Field(default=400.0, gt=0, description="Range of currents where no rating is known, A")
    source_sigma_pu: float = Field(
        default=0.02, gt=0, le=0.2, description="Standard deviation of the set voltage of sources, taken as expected"
    )
    generation_spread: float = Field(
        default=1.0, gt=0, le=2, description="Standard deviation of a unit's output, as a part of its rating"
    )
    plausible_v_pu: tuple[float, float] = Field(
        default=(0.5, 1.5), description="A supplied node has a voltage within these, pu; others are no part of the fit"
    )
    false_alarm: float = Field(
        default=0.01, gt=0, lt=0.5, description="Probability to suspect something though nothing is wrong"
    )
    max_removals: int = Field(default=20, ge=0, le=200, description="The most measurements removed as wrong at once")
    max_suspects: int = Field(default=12, ge=0, le=100, description="The most switches tried the other way round")
    assume_suspected: bool = Field(
        default=False, description="Let the result rest on the suspected switch position, not on the reported one"
    )

    def accuracy(self, kind: MeasurementKind) -> Accuracy:
        """The accuracy of a kind of measurement."""
        if kind is MeasurementKind.V_PU:
            return self.voltage
        return self.current if kind is MeasurementKind.I_FLOW_A else self.power
