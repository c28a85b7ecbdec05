"""How the control room reaches a station: its protocol, the telecontrol network between them, its address.

The settings of a protocol are a block of their own, named after it.
"""

from __future__ import annotations

from ipaddress import ip_network
from typing import Annotated, Literal

from pydantic import Field, field_validator

from twin.points.protocols import PLANNED_PROTOCOLS, PROTOCOLS, STACKS
from twin.scenario.fields import Flag, Name, ScenarioModel
from twin.scenario.findings import did_you_mean
from twin.scenario.telecontrol import RATE_BIT_S
from twin.units import DurationMs, InUnit, PositiveDurationMs, Share, Unit


class StationSecurity(ScenarioModel):
    """How a station and its masters prove to each other who they are (TLS, IEC 62351-3)."""

    certificates: Name
    """The folder that twin certificates made: of the authority, the station, the control room, and what is revoked."""
    station: Name | None = None
    """Whose certificate the station shows; its own name if left out."""
    control_room: Name = "control-room"
    """Whose certificate the control room shows."""
    version: Literal["1.2", "1.3"] = "1.2"
    """The oldest version of TLS that is spoken."""


class Iec104Station(ScenarioModel):
    """What is set at a station that is reached over IEC 60870-5-104."""

    event_limit: Annotated[int, Field(strict=True, ge=1)] = 1_000
    """The most events that the station keeps; the oldest are dropped."""
    one_in_control: Flag = False
    """Only the master that started data transfer first commands; the others observe."""
    standby: Flag = False
    """The control room keeps a second connection open, without data transfer, and goes over to it when the first
    fails. Needs a live run."""


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
    """The most events that the station keeps for a master; the oldest are dropped."""
    other_masters: tuple[Annotated[int, Field(strict=True, ge=0, le=65_519)], ...] = ()
    """The link addresses of masters besides the control room, each with its own events."""


class StationSettings(ScenarioModel):
    """How the control room reaches a station; what is left out is taken from default."""

    protocol: Annotated[str, Field(json_schema_extra={"enum": list(PROTOCOLS)})] = "iec104"
    """The telecontrol protocol."""
    stack: Annotated[str, Field(json_schema_extra={"enum": ["own", *STACKS]})] = "own"
    """Whose implementation of the protocol the control room uses; a foreign one needs a live run."""
    security: StationSecurity | None = None
    """TLS between station and masters; needs a live run."""
    sources: tuple[Name, ...] = ()
    """The IP addresses or networks whose masters may connect, the control room's own (127.0.0.1) included; any if left
    out. Needs a live run."""
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
    iec104: Iec104Station = Iec104Station()
    """What is set at the station if its protocol is iec104."""
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

    @field_validator("stack", mode="after")
    @classmethod
    def _stack_known(cls, value: str) -> str:
        if value != "own" and value not in STACKS:
            raise ValueError(f"there is no stack {value}{did_you_mean(value, ['own', *STACKS])}")
        return value

    @field_validator("sources", mode="after")
    @classmethod
    def _sources_are_networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for source in value:
            try:
                ip_network(source, strict=False)
            except ValueError:
                raise ValueError(f"{source} is no IP address and no network such as 10.0.0.0/8") from None
        return value

    @property
    def needs_live(self) -> str:
        """The first setting that only a live run can do; empty if there is none."""
        named = {
            f"the stack {self.stack}": self.stack != "own",
            "security": self.security is not None,
            "sources": bool(self.sources),
            "a standby connection": self.protocol == "iec104" and self.iec104.standby,
        }
        return next((name for name, is_set in named.items() if is_set), "")


class ListenSettings(ScenarioModel):
    """Where stations listen in a live run, so that masters find them at the same place each time."""

    address: Name = "127.0.0.1"
    """The address of all stations that have none of their own; the loopback unless others are to reach them."""
    port: Annotated[int, Field(strict=True, ge=1, le=65_535)] = 24_000
    """The port of the first station; the next ones follow, in the order of the run's table of addresses."""
