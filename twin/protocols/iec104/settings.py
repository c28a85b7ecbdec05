"""Parameters of one IEC 60870-5-104 connection."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, model_validator


class ConnectionSettings(BaseModel):
    """Window sizes and time-outs (IEC 60870-5-104, 5.1 to 5.5 and 9.6), with the standard's defaults."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    k: int = Field(default=12, ge=1, le=32767, description="most I frames in flight without an acknowledgement")
    w: int = Field(default=8, ge=1, le=32767, description="I frames received until an acknowledgement is sent")
    t1_ms: int = Field(default=15_000, ge=1, le=255_000, description="limit for an acknowledgement of the peer")
    t2_ms: int = Field(default=10_000, ge=1, le=255_000, description="received I frames are acknowledged within it")
    t3_ms: int = Field(default=20_000, ge=1, le=172_800_000, description="idle time after which the line is tested")

    @model_validator(mode="after")
    def _acknowledges_before_the_peer_gives_up(self) -> ConnectionSettings:
        if self.t2_ms >= self.t1_ms:
            raise ValueError("t2 must be shorter than t1")
        return self
