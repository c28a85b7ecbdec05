"""Demand and generation over time: rated values of the network times a profile, a scale and seeded noise.

Profiles give a factor per hour of the day and load class, interpolated in between. They are shapes for
scenarios, not forecasts.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from simulators.cycle import CycleSimulator, RunContext
from twin.network.load_profiles import (
    CLASSES,
    DAY_MS,
    FLAT,
    PROFILES,
    WINTER_WEEKDAY,
    ProfileError,
    class_factors,
    load_profile,
)
from twin.network.model import Floats, Network
from twin.timebase import SimTime

__all__ = [
    "CLASSES",
    "DAY_MS",
    "FLAT",
    "PROFILES",
    "WINTER_WEEKDAY",
    "ProfileError",
    "ProfileSimulator",
    "load_profile",
]


class ProfileSimulator(CycleSimulator):
    """Gives the demand of every consumer and the output of every generating unit."""

    INPUTS = ("actions",)
    OUTPUTS = ("p_kw", "q_kvar", "generation_kw", "generation_kvar")

    def __init__(
        self,
        context: RunContext,
        *,
        network: Network,
        profile: Mapping[str, Sequence[float]],
        scale: float = 1.0,
        noise: float = 0.0,
        seed: int = 0,
    ) -> None:
        super().__init__(context)
        self._consumers = network.consumers
        self._generators = network.generators
        self._profile = profile
        self._class = np.array([CLASSES.index(c) for c in network.consumers.load_class], dtype=np.intp)
        self._scale = np.full(network.consumers.n, scale)
        self._noise = noise
        self._seed = seed
        start = context.time_base.start
        self._midnight_ms = ((start.hour * 60 + start.minute) * 60 + start.second) * 1000
        self._rows = {name: row for row, name in enumerate(network.consumers.names)}

    def cycle(self, now: SimTime, received: dict[str, Any]) -> dict[str, Any]:
        for action in received.get("actions", ()):
            if action.kind == "load":
                self._rescale(action.data["consumer"], action.data["scale"])
        factor = class_factors(self._profile, self._midnight_ms + now)[self._class] * self._scale
        if self._noise:
            factor = factor * self._noise_factor(now)
        return {
            "p_kw": self._consumers.p_kw * factor,
            "q_kvar": self._consumers.q_kvar * factor,
            "generation_kw": self._generators.p_kw,
            "generation_kvar": self._generators.q_kvar,
        }

    def _rescale(self, consumer: str, scale: float) -> None:
        if consumer == "all":
            self._scale[:] = scale
        else:
            self._scale[self._rows[consumer]] = scale

    def _noise_factor(self, now: SimTime) -> Floats:
        """Noise of the minute ``now`` lies in: the same in every run, whatever the steps."""
        draw = np.random.default_rng((self._seed, now // 60_000)).standard_normal(self._consumers.n)
        return np.clip(1.0 + self._noise * draw, 0.0, None)

    def snapshot(self) -> bytes:
        return json.dumps({"scale": self._scale.tolist()}).encode()

    def restore(self, state: bytes) -> None:
        self._scale = np.array(json.loads(state)["scale"])
