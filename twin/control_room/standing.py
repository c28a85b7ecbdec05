"""The quality of calculated points by the standing of the results that they show."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from twin.dms.standing import Standing
from twin.network.model import Floats, Ints
from twin.points.model import Quality

_QUALITY = np.zeros(len(Standing), dtype=np.uint8)
_QUALITY[Standing.EXPECTED] = Quality.SUBSTITUTED
_QUALITY[[Standing.DOUBTFUL, Standing.UNKNOWN]] = Quality.INVALID


def quality_of(standing: Ints) -> NDArray[np.uint8]:
    """Substituted marks what rests on expected demand; what is doubtful or unknown is invalid."""
    return _QUALITY[standing]


def known_only(values: Floats, standing: Ints) -> Floats:
    """The values, NaN where they cannot be told."""
    return np.asarray(np.where(standing == Standing.UNKNOWN, np.nan, values))
