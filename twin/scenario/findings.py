"""What is wrong with a scenario: one sentence a finding, with its file and line.

Findings are collected and raised together; nothing here reads a file.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from twin.errors import Blame, TwinError

KeyPath = tuple[str | int, ...]
"""Keys and list positions from the top of the document down to a value."""


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """One thing that is wrong; ``line`` counts from 1, 0 if there is none."""

    file: str
    line: int
    sentence: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        return f"{place}: {self.sentence}"


class ScenarioError(TwinError):
    """A scenario cannot be run as it is written; ``str`` has one finding a line."""

    blame = Blame.SCENARIO

    def __init__(self, findings: Sequence[Finding]) -> None:
        self.findings = tuple(findings)
        super().__init__("\n".join(str(finding) for finding in self.findings))


@dataclass(frozen=True)
class SourceMap:
    """Where each value of a scenario was written. All compare equal: a scenario is what it says, not where.

    ``path`` is None for a scenario that was not read from a file.
    """

    path: Path | None = field(default=None, compare=False)
    lines: Mapping[KeyPath, int] = field(default_factory=dict, compare=False)

    @property
    def file(self) -> str:
        """The file as the user named it."""
        return str(self.path) if self.path else "scenario"

    @property
    def folder(self) -> Path:
        """What file names in the scenario are relative to."""
        return self.path.parent if self.path else Path()

    def line(self, path: KeyPath) -> int:
        """The line of ``path``, or of what contains it."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 0)

    def finding(self, path: KeyPath, sentence: str) -> Finding:
        """A finding at ``path``."""
        return Finding(self.file, self.line(path), sentence)


def nearest(name: str, known: Iterable[str]) -> str:
    """The known name that ``name`` was probably meant to be; empty if none is near."""
    candidates = sorted(set(known))
    folded = _folded(name)
    same = [candidate for candidate in candidates if _folded(candidate) == folded]
    close = same or difflib.get_close_matches(name, candidates, n=1, cutoff=0.6)
    return close[0] if close else ""


def did_you_mean(name: str, known: Iterable[str], *, listed: int = 12) -> str:
    """How a sentence about an unknown ``name`` ends: the nearest known name, or the known ones if few."""
    candidates = sorted(set(known))
    near = nearest(name, candidates)
    if near:
        return f"; did you mean {near}?"
    return f"; known: {', '.join(candidates)}" if 0 < len(candidates) <= listed else ""


def _folded(name: str) -> str:
    return "".join(character for character in name.casefold() if character.isalnum())
