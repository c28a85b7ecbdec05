"""How the control room reaches a station: its protocol, the telecontrol network between them, its address.

The settings of a protocol are a block of their own, named after it.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from twin.points.protocols import PLANNED_PROTOCOLS, PROTOCOLS
from twin.scenario.fields import Flag, Name, ScenarioModel
from twin.scenario.findings import did_you_mean
from twin.scenario.telecontrol import RATE_BIT_S
from twin.units import DurationMs, InUnit, PositiveDurationMs, Share, Unit


class ModbusStation(ScenarioModel):
    """How a station is polled over Modbus."""

    poll: Annotated[int, InUnit(Unit.MILLISECOND, low=10)] = 1_000
    """How often positions and indications are read."""
    measurand_poll: Annotated[int, InUnit(Unit.MILLISECOND, low=10)] = 5_000
    """How often measured values are read."""
    answer: PositiveDurationMs = 3_000
    """How long the station may take to answer a request."""
    retries: Annotated[int, Field(strict=True, ge=0, le=10)] = 1
    """How often a read without answer is sent again before the connection is given up."""
    outstanding: Annotated[int, Field(strict=True, ge=1, le=16)] = 1
    """How many requests may wait for their answer at a time."""
    read_back: Flag = True
    """Read a coil or register that was written, and compare."""
    max_registers: Annotated[int, Field(strict=True, ge=2, le=125)] = 125
    """The most registers that one request reads."""
    max_gap: Annotated[int, Field(strict=True, ge=0, le=125)] = 16
    """The most unused registers in a row that are read with the rest, to save a request."""


class Dnp3Station(ScenarioModel):
    """How a station is reached over DNP3; a poll of 0 s is never sent."""

    master: Annotated[int, Field(strict=True, ge=0, le=65_519)] = 1
    """The link address of the control room."""
    unsolicited: Flag = True
    """The station sends its events without being asked; otherwise set the polls."""
    integrity_poll: DurationMs = 3_600_000
    """How often everything is read."""
    class_1_poll: DurationMs = 0
    """How often the events of class 1 are read."""
    class_2_poll: DurationMs = 0
    """How often the events of class 2 are read."""
    class_3_poll: DurationMs = 0
    """How often the events of class 3 are read."""
    time_sync: Literal["lan", "non_lan", "none"] = "lan"
    """The procedure by which the clock is set when the station asks for it."""
    event_limit: Annotated[int, Field(strict=True, ge=1)] = 1_000
    """The most events that the station keeps; the oldest are dropped."""


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
    rate: RATE_BIT_S | None = None
    """How many bits go through in a second, each way; without limit if left out."""
    address: Name | None = None
    """The address the station listens at; chosen by the twin if left out."""
    port: Annotated[int | None, Field(strict=True, ge=1, le=65_535)] = None
    """The TCP port the station listens at; chosen by the twin if left out."""
    answers: Flag = True
    """false: the station takes the connection and says nothing."""
    modbus: ModbusStation = ModbusStation()
    """How the station is polled if its protocol is modbus."""
    dnp3: Dnp3Station = Dnp3Station()
    """How the station is reached if its protocol is dnp3."""

    @field_validator("protocol", mode="after")
    @classmethod
    def _protocol_available(cls, value: str) -> str:
        if value in PLANNED_PROTOCOLS:
            raise ValueError(f"{value} is not available yet; known: {', '.join(PROTOCOLS)}")
        if value not in PROTOCOLS:
            raise ValueError(f"there is no protocol {value}{did_you_mean(value, PROTOCOLS)}")
        return value
