"""The journal: what happened in a run, in order, one JSON object a line.

An entry is made where the thing happens and carried to the recorder; the order of entries
is (time, rank of the source within a cycle, order of making), which is the same in every run
of the same scenario and seed. The wall clock, ports and paths never enter the journal.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from twin.timebase import SimTime


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """One thing that happened at simulation time ``t_ms``.

    ``source`` is the part that saw it (director, grid, field, session, control_room, ...),
    ``subject`` the equipment, point, station or plan it happened to.
    """

    t_ms: SimTime
    source: str
    kind: str
    subject: str
    data: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> str:
        """One line without the line feed; keys in a fixed order."""
        head = {"t_ms": self.t_ms, "source": self.source, "kind": self.kind, "subject": self.subject}
        return json.dumps({**head, **self.data}, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def entry_from_json(line: str) -> JournalEntry:
    """The inverse of :meth:`JournalEntry.to_json`."""
    data = json.loads(line)
    return JournalEntry(data.pop("t_ms"), data.pop("source"), data.pop("kind"), data.pop("subject"), data)
