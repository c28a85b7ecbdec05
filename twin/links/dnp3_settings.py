"""What is set at the master of a DNP3 outstation."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from twin.protocols.dnp3 import MAX_ADDRESS, LinkSettings

EventClass = Literal[1, 2, 3]


class Dnp3LinkSettings(BaseModel):
    """What is set at the master for one outstation. A period of 0 means never."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    address: int = Field(default=1, ge=0, le=MAX_ADDRESS, description="link address of the master")
    outstation: int | None = Field(
        default=None, ge=0, le=MAX_ADDRESS, description="link address of the outstation; its common address if left out"
    )
    link: LinkSettings = Field(default=LinkSettings(), description="data link and transport")
    unsolicited: tuple[EventClass, ...] = Field(default=(1, 2, 3), description="classes sent without being asked for")
    integrity_period_ms: int = Field(default=3_600_000, ge=0, description="from one integrity poll to the next")
    class_1_period_ms: int = Field(default=0, ge=0, description="from one poll of class 1 to the next")
    class_2_period_ms: int = Field(default=0, ge=0, description="from one poll of class 2 to the next")
    class_3_period_ms: int = Field(default=0, ge=0, description="from one poll of class 3 to the next")
    response_timeout_ms: int = Field(
        default=5_000, ge=1, description="limit for a response, and for each fragment of it"
    )
    retries: int = Field(default=2, ge=0, le=100, description="how often an unanswered request is sent again")
    time_sync: Literal["lan", "non_lan", "none"] = Field(default="lan", description="procedure when time is needed")
    time_retry_ms: int = Field(default=60_000, ge=1, description="wait before the clock is set again in vain")
    select_hold_ms: int = Field(default=2_000, ge=0, description="how long a select keeps other requests back")
    pulse_ms: int = Field(default=200, ge=0, le=2**32 - 1, description="on-time of pulsed controls")

    @property
    def periods(self) -> dict[tuple[int, ...], int]:
        """The polls that repeat: the classes (none: integrity) and their period."""
        by_class = {1: self.class_1_period_ms, 2: self.class_2_period_ms, 3: self.class_3_period_ms}
        polls: dict[tuple[int, ...], int] = {(c,): period for c, period in by_class.items() if period}
        return {**({(): self.integrity_period_ms} if self.integrity_period_ms else {}), **polls}
