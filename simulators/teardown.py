"""Ends what mosaik leaves running: the tasks of a run that broke, and the watching thread of its progress bars."""

from __future__ import annotations

import asyncio

import mosaik
from tqdm import tqdm


def shut_down(world: mosaik.World) -> None:
    """Cancel what still waits in the world, end every simulator, close its loop; harmless when done before."""
    if world.loop.is_closed():
        return
    _cancel_tasks(world.loop)
    world.shutdown()
    _end_progress_monitor()


def _cancel_tasks(loop: asyncio.AbstractEventLoop) -> None:
    """Where one simulator failed, the others wait for it for ever."""
    tasks = asyncio.all_tasks(loop)
    for task in tasks:
        task.cancel()
    if tasks:
        loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))


def _end_progress_monitor() -> None:
    """Progress bars that are switched off start it all the same."""
    if tqdm.monitor is not None:
        tqdm.monitor.exit()
        tqdm.monitor = None
