"""The processes in which foreign stacks run: started from a script alone, ended by ending their input.

A script imports the library and nothing of the twin, so that many of them start soon.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

STOP_LIMIT_S = 10.0
START_LIMIT_S = 60.0
LINE_OCTETS = 1 << 20


async def start_worker(script: Path, *arguments: str) -> asyncio.subprocess.Process:
    """A process that obeys lines on its input and says lines on its output."""
    pipe = asyncio.subprocess.PIPE  # -P: the script's folder may hold modules of a library's name
    return await asyncio.create_subprocess_exec(
        sys.executable, "-P", str(script), *arguments, stdin=pipe, stdout=pipe, limit=LINE_OCTETS
    )


async def end_worker(process: asyncio.subprocess.Process) -> None:
    """End a process: its input first, because a library may abort if it is not stopped, and only then its life."""
    assert process.stdin is not None
    process.stdin.close()
    try:
        await asyncio.wait_for(process.wait(), STOP_LIMIT_S)
    except TimeoutError:
        if process.returncode is None:
            # not process.kill(): that collects the exit code, and whoever waits for it is left without
            os.kill(process.pid, signal.SIGKILL)
        await process.wait()


async def wait_until(ready: asyncio.Event) -> None:
    """Wait for a process to be up; one that takes too long is not waited for any more."""
    try:
        await asyncio.wait_for(ready.wait(), START_LIMIT_S)
    except TimeoutError:
        return
