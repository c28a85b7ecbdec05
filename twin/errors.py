"""The one root error of the project and whose fault a failure is.

Leaves live beside the code that raises them and are named for the physical fault;
each carries its data in fields and reads as one clear sentence.
"""

from __future__ import annotations

from enum import Enum, IntEnum


class ExitCode(IntEnum):
    """What a command of the twin hands back to the shell."""

    PASSED = 0
    EXPECTATION_FAILED = 1
    INTERRUPTED = 2
    BROKEN = 3
    USAGE = 4
    DEADLINE_MISSED = 6


class Blame(Enum):
    """Whose fault a failure is: it decides the exit code and what the user is told to do."""

    SCENARIO = "scenario"
    PEER = "peer"
    OURS = "ours"
    MACHINE = "machine"


class TwinError(Exception):
    """Root of every error the project raises; ``str(error)`` is one sentence for the user."""

    blame: Blame = Blame.OURS

    @property
    def exit_code(self) -> ExitCode:
        """The exit code this failure leads to."""
        return ExitCode.USAGE if self.blame is Blame.SCENARIO else ExitCode.BROKEN
