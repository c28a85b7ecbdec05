"""Parameters of one DNP3 association: the link between a master and an outstation."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

MAX_ADDRESS = 65_519
"""The highest address that one device may have (IEEE 1815, 9.2.3)."""


class LinkSettings(BaseModel):
    """Data link and transport (IEEE 1815, clauses 8 and 9)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    confirmed: bool = Field(default=False, description="send user data with link confirmation; off on TCP")
    timeout_ms: int = Field(default=2_000, ge=1, description="limit for an answer of the peer's data link")
    retries: int = Field(default=2, ge=0, le=100, description="how often an unanswered link frame is sent again")
    keep_alive_ms: int = Field(default=20_000, ge=1, description="idle time after which the link status is asked for")
    max_fragment: int = Field(default=2_048, ge=249, le=65_535, description="most octets of an application fragment")
