"""What is set at an emulated IEC 60870-5-104 station, with the names of its clause 9 where it has them."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from twin.protocols.iec104 import ConnectionSettings

GROUPS = range(1, 17)
COUNTER_GROUPS = range(1, 5)


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


def is_among(address: str, sources: Iterable[str]) -> bool:
    """Whether an IP address lies in one of the addresses or networks."""
    here = ipaddress.ip_address(address)
    return any(here in ipaddress.ip_network(source, strict=False) for source in sources)


class RedundancyGroupSettings(_Settings):
    """Connections of one control centre, of which one at a time has data transfer (IEC 60870-5-104, 10)."""

    name: str = Field(min_length=1, description="name of the group")
    sources: tuple[str, ...] = Field(
        default=(), description="IP addresses or networks its connections come from; none: every address"
    )

    @field_validator("sources")
    @classmethod
    def _are_networks(cls, sources: tuple[str, ...]) -> tuple[str, ...]:
        for source in sources:
            ipaddress.ip_network(source, strict=False)
        return sources

    def takes(self, address: str) -> bool:
        """Whether a connection from ``address`` belongs to the group."""
        return not self.sources or (bool(address) and is_among(address, self.sources))


class StationClockSettings(_Settings):
    """The station's own clock. As it ships it keeps simulation time exactly, and only measures the master's offset."""

    error_ms: int = Field(default=0, description="how much it is ahead at the start, ms")
    drift_ppm: float = Field(default=0.0, ge=-1e5, le=1e5, description="how much too fast it runs, ppm")
    set_by_master: bool = Field(
        default=False, description="clock synchronisation sets it; until the first one, time tags are invalid"
    )


class Iec104OutstationSettings(_Settings):
    """What is set at a station."""

    connection: ConnectionSettings = Field(default=ConnectionSettings(), description="window and time-outs")
    select_timeout_ms: int = Field(default=10_000, ge=1, description="how long a select stands without its execute")
    event_limit: int = Field(default=1_000, ge=1, description="most events kept for masters; the oldest are dropped")
    reply_limit: int = Field(
        default=1_000,
        ge=100,
        description="most ASDUs waiting for one master; from half of it on, interrogations are refused",
    )
    overflow_point: str = Field(default="", description="SINGLE input that is on while events have been dropped")
    event_types: Literal["tagged", "mapped"] = Field(
        default="tagged", description="type of spontaneous objects: with time tag, or as in the point map"
    )
    return_information: bool = Field(
        default=False, description="cause 11 for the feedback of a command in execution, instead of 3"
    )
    groups: dict[int, tuple[str, ...]] = Field(
        default_factory=dict, description="inputs by interrogation group 1 to 16"
    )
    counter_groups: dict[int, tuple[str, ...]] = Field(
        default_factory=dict, description="counters by counter group 1 to 4"
    )
    report_frozen: bool = Field(
        default=False, description="frozen counters are sent spontaneously (mode D), not only on request (mode C)"
    )
    cyclic_ms: int = Field(default=0, ge=0, description="period of cyclic transmission, ms; 0: none")
    cyclic_points: tuple[str, ...] = Field(default=(), description="inputs sent cyclically from the start")
    background_ms: int = Field(default=0, ge=0, description="period of the background scan, ms; 0: none")
    command_max_age_ms: int = Field(
        default=0, ge=0, description="a command whose time tag is older, or this far ahead, is refused; 0: not judged"
    )
    one_in_control: bool = Field(
        default=False, description="only the master that started first commands; the others observe"
    )
    redundancy_groups: tuple[RedundancyGroupSettings, ...] = Field(
        default=(), description="connections from elsewhere are a group each"
    )
    clock: StationClockSettings = Field(default=StationClockSettings(), description="the station's own clock")

    @field_validator("groups")
    @classmethod
    def _groups_exist(cls, groups: dict[int, tuple[str, ...]]) -> dict[int, tuple[str, ...]]:
        if wrong := sorted(set(groups) - set(GROUPS)):
            raise ValueError(f"there is no interrogation group {wrong[0]}, only 1 to 16")
        return groups

    @field_validator("counter_groups")
    @classmethod
    def _counter_groups_exist(cls, groups: dict[int, tuple[str, ...]]) -> dict[int, tuple[str, ...]]:
        if wrong := sorted(set(groups) - set(COUNTER_GROUPS)):
            raise ValueError(f"there is no counter group {wrong[0]}, only 1 to 4")
        return groups
