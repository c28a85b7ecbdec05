"""Load profiles: the factor of rated demand by load class and time of day.

Shapes for scenarios and for the control room's load models; not forecasts.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from twin.errors import Blame, TwinError
from twin.network.model import Floats

DAY_MS = 86_400_000
CLASSES = ("residential", "commercial", "industrial")

Profile = Mapping[str, Sequence[float]]
"""For each load class factors of rated demand, evenly over a day from midnight on."""

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
PROFILES: Mapping[str, Profile] = {"flat": FLAT, "winter-weekday": WINTER_WEEKDAY}


class ProfileError(TwinError):
    """A load profile cannot be read."""

    blame = Blame.SCENARIO


def load_profile(name: str, base_dir: Path) -> Profile:
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


def _read_profile(path: Path) -> Profile:
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    profile = {key: [float(row[key]) for row in rows] for key in CLASSES}
    if not rows or not all(0.0 <= factor < math.inf for factors in profile.values() for factor in factors):
        raise ValueError("no rows, or a factor that is none")
    return profile


def interpolate(factors: Sequence[float] | Floats, day: float) -> float:
    """The factor at a fraction of the day, linear between its points, the first following the last."""
    place = day * len(factors)
    low = math.floor(place) % len(factors)
    weight = place - math.floor(place)
    return float(factors[low] * (1.0 - weight) + factors[(low + 1) % len(factors)] * weight)


def class_factors(profile: Profile, ms_of_day: int) -> Floats:
    """The factor of each of ``CLASSES`` at a time of day, shape (3,)."""
    day = (ms_of_day % DAY_MS) / DAY_MS
    return np.array([interpolate(profile[name], day) for name in CLASSES])
