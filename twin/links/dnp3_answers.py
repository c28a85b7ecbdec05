"""Why an outstation did not take a control, as the cause of a refusal."""

from __future__ import annotations

from collections.abc import Sequence

from twin.protocols.dnp3 import CommandStatus, Fragment, Iin, ObjectHeader
from twin.protocols.dnp3.controls import controls_of

NEGATIVE_CONFIRMATION = "negative confirmation"
UNKNOWN_ADDRESS = "unknown address"


def refusal(fragment: Fragment, headers: Sequence[ObjectHeader]) -> str:
    """Why the outstation did not take a control; empty if it did."""
    statuses = [control.status for header in headers for _, control in controls_of(header)]
    if not statuses:
        unknown = (fragment.iin or Iin.NONE) & (Iin.OBJECT_UNKNOWN | Iin.NO_FUNCTION)
        return UNKNOWN_ADDRESS if unknown else NEGATIVE_CONFIRMATION
    return refusal_text(statuses[0])


def refusal_text(status: int) -> str:
    """Why a control with this status was refused; empty if it was not."""
    if status == CommandStatus.SUCCESS:
        return ""
    known = status in _STATUSES
    name = CommandStatus(status).name.lower().replace("_", " ") if known else f"status {status}"
    return f"{NEGATIVE_CONFIRMATION}: {name}"


_STATUSES = {int(status) for status in CommandStatus}
