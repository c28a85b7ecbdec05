"""What a calculated value is worth, in one scale for all applications that calculate the state of the network."""

from __future__ import annotations

from enum import IntEnum

from twin.network.model import Bools, Ints


class Standing(IntEnum):
    """What a result at a node, a branch or a consumer is worth."""

    MEASURED = 0
    """Determined by telemetry."""
    EXPECTED = 1
    """Rests on expected demand as well, or on a switch position that is assumed."""
    DOUBTFUL = 2
    """Telemetry contradicts it and no explanation was found, or the suspected switch position is not assumed."""
    UNKNOWN = 3
    """Cannot be told: depends on a switch of unknown position, or nothing determines it."""
    DEAD = 4
    """Without supply for certain."""


def usable(standing: Ints) -> Bools:
    """Where a result may be used: measured, expected, or dead for certain."""
    good: Bools = (standing == Standing.MEASURED) | (standing == Standing.EXPECTED) | (standing == Standing.DEAD)
    return good
