"""What every simulator of the world has in common: one cycle, arrays in and out, snapshot and restore.

The simulators are time-based mosaik simulators of one entity each. They step together: the clock announces the
time of the next cycle at every cycle, and everybody returns it to mosaik. Data between simulators are whole
arrays and objects, never one connection a value.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

import mosaik_api_v3

from twin.timebase import SimTime, TimeBase

ENTITY = "world"


class _Watch:
    """Counts the time inside towards a part; entered and left many times, one inside the other."""

    __slots__ = ("_part", "_stopwatch")

    def __init__(self, stopwatch: Stopwatch, part: str) -> None:
        self._stopwatch, self._part = stopwatch, part

    def __enter__(self) -> None:
        self._stopwatch.begin(self._part)

    def __exit__(self, *error: object) -> None:
        self._stopwatch.end()


class Stopwatch:
    """Where the wall-clock time of a run goes; figures for people, never for the simulation."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._running: list[str] = []
        self._since = 0.0
        self._watches: dict[str, _Watch] = {}

    def watch(self, part: str) -> _Watch:
        """Count the time inside towards ``part``, and not towards the part around it."""
        if part not in self._watches:
            self._watches[part] = _Watch(self, part)
        return self._watches[part]

    def begin(self, part: str) -> None:
        """From now on ``part`` runs."""
        self._switch()
        self._running.append(part)

    def end(self) -> None:
        """What ran before runs again."""
        self._switch()
        self._running.pop()

    def _switch(self) -> None:
        now = perf_counter()
        if self._running:
            part = self._running[-1]
            self.seconds[part] = self.seconds.get(part, 0.0) + now - self._since
        self._since = now


@dataclass
class RunContext:
    """What the simulators of one run share besides their connections: no state of the simulation."""

    time_base: TimeBase
    origin_ms: SimTime = 0
    stopwatch: Stopwatch = field(default_factory=Stopwatch)
    failure: BaseException | None = None


class CycleSimulator(mosaik_api_v3.Simulator):
    """Base of the world's simulators: subclasses give ``INPUTS``, ``OUTPUTS`` and :meth:`cycle`.

    ``PART`` is what its time counts as in the run's figures.
    """

    INPUTS: tuple[str, ...] = ()
    OUTPUTS: tuple[str, ...] = ()
    PART = "rest"

    def __init__(self, context: RunContext) -> None:
        attrs = [*self.INPUTS, *self.OUTPUTS, "next_ms"]
        model = {"public": True, "params": [], "attrs": attrs}
        super().__init__({"api_version": "3.0", "type": "time-based", "models": {"World": model}})
        self.context = context
        self.outputs: dict[str, Any] = {}

    def create(self, num: int, model: str, **model_params: Any) -> list[dict[str, Any]]:
        """The one entity of this simulator."""
        return [{"eid": ENTITY, "type": model}]

    def step(self, time: int, inputs: dict[str, Any], max_advance: int) -> int:
        """One cycle at mosaik time ``time``, which counts from the origin of this run."""
        received = {name: next(iter(sources.values())) for name, sources in inputs.get(ENTITY, {}).items()}
        return self.run_cycle(time, received, received.pop("next_ms", None)) - self.context.origin_ms

    def run_cycle(self, time: int, received: dict[str, Any], next_ms: SimTime | None) -> SimTime:
        """One cycle at mosaik time ``time``; ``next_ms`` is when the next one is (None: this simulator says it).

        Returns the time of the next cycle.
        """
        try:
            with self.context.stopwatch.watch(self.PART):
                self.outputs = self.cycle(self.context.origin_ms + time, received)
        except BaseException as error:
            self.context.failure = self.context.failure or error
            raise
        return int(self.outputs["next_ms"] if next_ms is None else next_ms)

    def cycle(self, now: SimTime, received: dict[str, Any]) -> dict[str, Any]:
        """Advance to ``now`` with what the others sent; return the outputs."""
        raise NotImplementedError

    def get_data(self, outputs: dict[str, list[str]]) -> dict[str, Any]:
        """The outputs of the last cycle."""
        return {ENTITY: {name: self.outputs[name] for name in outputs[ENTITY]}}

    def snapshot(self) -> bytes:
        """The state after a cycle, enough to go on from it."""
        raise NotImplementedError

    def restore(self, state: bytes) -> None:
        """Go on from :meth:`snapshot`; the outputs are those of the snapshot's cycle."""
        raise NotImplementedError
