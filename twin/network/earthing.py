"""Earthing switches: they carry no load and no power flow knows them, topology processing and interlocks do."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class EarthingSwitches:
    """Each earths ``node``, or (``branch`` >= 0) the conductor of that branch, whose end is at ``node``."""

    names: tuple[str, ...]
    node: NDArray[np.int32]
    branch: NDArray[np.int32]
    normally_closed: NDArray[np.bool_]

    @classmethod
    def none(cls) -> EarthingSwitches:
        """A network without any."""
        empty = np.zeros(0, dtype=np.int32)
        return cls((), empty, empty.copy(), np.zeros(0, dtype=np.bool_))

    @property
    def n(self) -> int:
        return len(self.names)
