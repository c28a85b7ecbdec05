"""Work over a range of cases, cut into blocks and dealt out to threads: bounded memory, results in order.

For compiled loops that release the interpreter's lock. Not for what has to be in its own process.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
Work = Callable[[int, int], T]
"""Takes the first case and the one behind the last, gives whatever the caller wants of them."""


def run_blocks(total: int, size: int, make_work: Callable[[], Work[T]], workers: int | None = None) -> Iterator[T]:
    """The results of all blocks of ``size`` cases, in order; the last block may be shorter.

    ``make_work`` is called once a thread and may allocate what that thread alone uses. At most two blocks a worker are
    under way or wait to be taken, so that a slow consumer holds the work up. What a block raises is raised
    when it is its turn. ``workers`` defaults to the cores.
    """
    bounds = [(start, min(start + size, total)) for start in range(0, total, size)]
    n = max(1, min(workers or os.cpu_count() or 1, len(bounds)))
    if n == 1:
        work = make_work()
        yield from (work(*bound) for bound in bounds)
        return
    own = threading.local()

    def run(start: int, stop: int) -> T:
        if not hasattr(own, "work"):
            own.work = make_work()
        work: Work[T] = own.work
        return work(start, stop)

    waiting: deque[Future[T]] = deque()
    with ThreadPoolExecutor(n) as pool:
        try:
            for bound in bounds:
                if len(waiting) == 2 * n:
                    yield waiting.popleft().result()
                waiting.append(pool.submit(run, *bound))
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
