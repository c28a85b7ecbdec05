"""What consumers are expected to take: rated demand times the profile of their class at the time of day.

Gives state estimation its pseudo-measurements and load allocation its start. A forecast plugs in by being a
:class:`DemandModel` too. Not a measurement: each value carries the standard deviation that it deserves.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal, Protocol

import numpy as np

from twin.network.load_profiles import CLASSES, Profile, class_factors
from twin.network.model import Floats, Network


@dataclass(frozen=True, slots=True)
class Demand:
    """Expected demand of each consumer, kW and kvar, with standard deviations; all arrays of shape (n_consumers,).

    Balanced: the sum of the phases. A three-phase model would add a last axis of the phases to every array.
    """

    p_kw: Floats
    q_kvar: Floats
    sigma_p_kw: Floats
    sigma_q_kvar: Floats

    @classmethod
    def certain(cls, p_kw: Floats, q_kvar: Floats) -> Demand:
        """Demand whose spread is of no interest."""
        none = np.zeros(len(p_kw))
        return cls(p_kw, q_kvar, none, none)


class DemandModel(Protocol):
    """Whatever can say what consumers take at an instant: load profiles, a forecast."""

    def at(self, instant: datetime) -> Demand:
        """The demand expected at a UTC instant."""
        ...


class ProfiledDemand:
    """Rated demand x class profile; ``spread`` is the standard deviation as a part of the rated demand.

    Rated kW and kvar stand for the rating of the supply point, so that consumers of one class differ by their kVA.
    """

    def __init__(self, network: Network, profile: Profile, *, scale: float = 1.0, spread: float = 0.5) -> None:
        consumers = network.consumers
        self._p_kw, self._q_kvar = scale * consumers.p_kw, scale * consumers.q_kvar
        self._class = np.array([CLASSES.index(name) for name in consumers.load_class], dtype=np.intp)
        self._profile = profile
        rated_kva = np.hypot(self._p_kw, self._q_kvar)
        self._sigma = np.maximum(spread * rated_kva, 1e-3 * max(float(rated_kva.max(initial=1.0)), 1.0))

    def at(self, instant: datetime) -> Demand:
        """The demand at a UTC instant."""
        utc = instant.astimezone(UTC)
        ms_of_day = ((utc.hour * 60 + utc.minute) * 60 + utc.second) * 1_000 + utc.microsecond // 1_000
        factor = class_factors(self._profile, ms_of_day)[self._class]
        return Demand(self._p_kw * factor, self._q_kvar * factor, self._sigma, self._sigma)


@dataclass(frozen=True, slots=True)
class ColdLoad:
    """Cold-load pickup: consumers that are supplied again take ``factor`` times what they would take otherwise.

    ``step``: for ``duration``, then 1. ``exponential``: 1 + (factor - 1) exp(-t / duration).
    """

    factor: float = 1.0
    shape: Literal["step", "exponential"] = "step"
    duration: timedelta = timedelta(hours=1)

    def at(self, after: timedelta) -> float:
        """The factor some time after the supply is back."""
        if self.shape == "exponential":
            return 1.0 + (self.factor - 1.0) * math.exp(-(after / self.duration))
        return self.factor if after < self.duration else 1.0


_PEAK_STEP = timedelta(minutes=15)


def peak_factor(
    model: DemandModel, base: datetime, begin: datetime, look_ahead: timedelta, cold: ColdLoad | None = None
) -> Floats:
    """The highest expected demand of each consumer from ``begin`` on, over that at ``base``; 1 where that is 0.

    With ``cold`` it is that of a consumer that is supplied again at ``begin``.
    """
    pickup = cold or ColdLoad()
    after = _steps(look_ahead)
    return _over(
        model, base, np.max([model.at(begin + t).p_kw * pickup.at(t) for t in after], axis=0), pickup.at(after[0])
    )


def least_factor(model: DemandModel, base: datetime, begin: datetime, look_ahead: timedelta) -> Floats:
    """The lowest expected demand of each consumer from ``begin`` on, over that at ``base``; 1 where that is 0."""
    return _over(model, base, np.min([model.at(begin + t).p_kw for t in _steps(look_ahead)], axis=0), 1.0)


def _steps(look_ahead: timedelta) -> list[timedelta]:
    return [k * _PEAK_STEP for k in range(int(look_ahead / _PEAK_STEP) + 1)]


def _over(model: DemandModel, base: datetime, demand: Floats, otherwise: float) -> Floats:
    reference = model.at(base).p_kw
    factor: Floats = np.divide(demand, reference, out=np.full_like(reference, otherwise), where=reference > 0)
    return factor
