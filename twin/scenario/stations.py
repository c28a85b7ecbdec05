"""How the control room reaches a station: its protocol, the telecontrol network between them, its address.

The settings of a protocol are a block of their own, named after it.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, field_validator

from twin.points.protocols import PLANNED_PROTOCOLS, PROTOCOLS
from twin.scenario.fields import Flag, Name, ScenarioModel
from twin.scenario.findings import did_you_mean
from twin.units import DurationMs, Share


class StationSettings(ScenarioModel):
    """How the control room reaches a station; what is left out is taken from default."""

    protocol: Annotated[str, Field(json_schema_extra={"enum": list(PROTOCOLS)})] = "iec104"
    """The telecontrol protocol."""
    latency: DurationMs = 0
    """The one-way delay of the telecontrol network, in simulated time."""
    jitter: DurationMs = 0
    """How much longer a message may take at random; the order of messages is kept."""
    loss: Share = 0.0
    """The share of messages that are lost and sent again."""
    address: Name | None = None
    """The address the station listens at; chosen by the twin if left out."""
    port: Annotated[int | None, Field(strict=True, ge=1, le=65_535)] = None
    """The TCP port the station listens at; chosen by the twin if left out."""
    answers: Flag = True
    """false: the station takes the connection and says nothing."""

    @field_validator("protocol", mode="after")
    @classmethod
    def _protocol_available(cls, value: str) -> str:
        if value in PLANNED_PROTOCOLS:
            raise ValueError(f"{value} is not available yet; known: {', '.join(PROTOCOLS)}")
        if value not in PROTOCOLS:
            raise ValueError(f"there is no protocol {value}{did_you_mean(value, PROTOCOLS)}")
        return value
