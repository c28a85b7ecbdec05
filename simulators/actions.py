"""What the director tells the other simulators to do to the plant, the network and the people."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from twin.timebase import SimTime


@dataclass(frozen=True, slots=True)
class Action:
    """One event of the scenario, at its time. ``kind`` names the action, ``data`` holds its settings."""

    kind: str
    at_ms: SimTime
    event_id: str
    data: Mapping[str, Any] = field(default_factory=dict)
