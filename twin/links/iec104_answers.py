"""What a station may answer to a command, as one table; an answer that is absent was not asked for."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from twin.links.model import ReplyKind
from twin.protocols.iec104 import Cause


class CommandStage(Enum):
    """What was asked last of a command point, and what came back."""

    SELECTING = "selecting"
    SELECTED = "selected"
    OPERATING = "operating"
    ACTIVATED = "activated"
    CANCELLING = "cancelling"


Step = tuple[CommandStage | None, ReplyKind]
_S, _K, _C = CommandStage, ReplyKind, Cause
ANSWERS: dict[tuple[CommandStage, Cause, bool], Step] = {
    (_S.SELECTING, _C.ACTIVATION_CON, False): (_S.SELECTED, _K.SELECTED),
    (_S.SELECTING, _C.ACTIVATION_CON, True): (None, _K.REFUSED),
    (_S.OPERATING, _C.ACTIVATION_CON, False): (_S.ACTIVATED, _K.ACTIVATED),
    (_S.OPERATING, _C.ACTIVATION_CON, True): (None, _K.REFUSED),
    (_S.ACTIVATED, _C.ACTIVATION_TERMINATION, False): (None, _K.TERMINATED),
    (_S.ACTIVATED, _C.ACTIVATION_TERMINATION, True): (None, _K.REFUSED),
    (_S.CANCELLING, _C.DEACTIVATION_CON, False): (None, _K.CANCELLED),
    (_S.CANCELLING, _C.DEACTIVATION_CON, True): (None, _K.REFUSED),
}
"""(stage, cause of the answer, P/N) → (next stage, reply); an answer that is absent here was not asked for."""


@dataclass(slots=True)
class PendingCommand:
    """The command a point is busy with; a newer one for the same point takes its place."""

    command_id: int
    stage: CommandStage
