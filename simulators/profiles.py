"""Demand and generation over time: rated values of the network times a profile, a scale and seeded noise.

Profiles give a factor per hour of the day and load class, interpolated in between. They are shapes for
scenarios, not forecasts.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from simulators.cycle import CycleSimulator, RunContext
from twin.errors import Blame, TwinError
from twin.network.model import Floats, Network
from twin.timebase import SimTime

DAY_MS = 86_400_000
CLASSES = ("residential", "commercial", "industrial")

# Factors of rated demand at each full hour, residential / commercial / industrial: drawn after the
# standard load profile shapes in common use (evening peak, working-hours plateau), rounded, peak 1.
WINTER_WEEKDAY = {
    "residential": (
        0.38, 0.33, 0.30, 0.29, 0.30, 0.36, 0.55, 0.70, 0.68, 0.62, 0.60, 0.64,
        0.68, 0.62, 0.58, 0.60, 0.72, 0.90, 1.00, 0.98, 0.90, 0.78, 0.62, 0.48,
    ),
    "commercial": (
        0.30, 0.28, 0.28, 0.28, 0.30, 0.36, 0.52, 0.76, 0.94, 1.00, 1.00, 0.99,
        0.96, 0.95, 0.95, 0.93, 0.90, 0.85, 0.74, 0.58, 0.46, 0.40, 0.36, 0.32,
    ),
    "industrial": (
        0.62, 0.60, 0.60, 0.60, 0.62, 0.70, 0.86, 0.96, 1.00, 1.00, 1.00, 0.98,
        0.92, 0.98, 1.00, 0.96, 0.90, 0.82, 0.76, 0.74, 0.72, 0.70, 0.68, 0.64,
    ),
}  # fmt: skip
FLAT = dict.fromkeys(CLASSES, (1.0,))
PROFILES: Mapping[str, Mapping[str, Sequence[float]]] = {"flat": FLAT, "winter-weekday": WINTER_WEEKDAY}


class ProfileError(TwinError):
    """A load profile cannot be read."""

    blame = Blame.SCENARIO


def load_profile(name: str, base_dir: Path) -> Mapping[str, Sequence[float]]:
    """A shipped profile, or a CSV file with a column a load class and rows evenly over one day.

    Raises:
        ProfileError: neither exists, or the file's content is no profile.
    """
    if name in PROFILES:
        return PROFILES[name]
    path = base_dir / name
    if not path.is_file():
        known = ", ".join(PROFILES)
        raise ProfileError(f"there is no load profile {name}: neither one of {known} nor a file beside the scenario")
    try:
        return _read_profile(path)
    except OSError as error:
        raise ProfileError(f"{path.name} cannot be read: {error.strerror}") from error
    except (csv.Error, KeyError, TypeError, ValueError) as error:
        raise ProfileError(
            f"{path.name} is no load profile: it needs rows of factors, 0 or more, under {', '.join(CLASSES)}"
        ) from error


def _read_profile(path: Path) -> Mapping[str, Sequence[float]]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    profile = {key: [float(row[key]) for row in rows] for key in CLASSES}
    if not rows or not all(0.0 <= factor < math.inf for factors in profile.values() for factor in factors):
        raise ValueError("no rows, or a factor that is none")
    return profile


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
        self._factors = [np.asarray(profile[name]) for name in CLASSES]
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
        factor = self._class_factors(now)[self._class] * self._scale * self._noise_factor(now)
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

    def _class_factors(self, now: SimTime) -> Floats:
        day = ((self._midnight_ms + now) % DAY_MS) / DAY_MS
        return np.array([_interpolate(factors, day) for factors in self._factors])

    def _noise_factor(self, now: SimTime) -> Floats | float:
        """Noise of the minute ``now`` lies in: the same in every run, whatever the steps."""
        if not self._noise:
            return 1.0
        draw = np.random.default_rng((self._seed, now // 60_000)).standard_normal(self._consumers.n)
        return np.clip(1.0 + self._noise * draw, 0.0, None)

    def snapshot(self) -> bytes:
        return json.dumps({"scale": self._scale.tolist()}).encode()

    def restore(self, state: bytes) -> None:
        self._scale = np.array(json.loads(state)["scale"])


def _interpolate(factors: Floats, day: float) -> float:
    """The factor at a fraction of the day, linear between its points, the first following the last."""
    place = day * len(factors)
    low = math.floor(place) % len(factors)
    weight = place - math.floor(place)
    return float(factors[low] * (1.0 - weight) + factors[(low + 1) % len(factors)] * weight)
