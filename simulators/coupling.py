"""How the simulators of a world are coupled: each in mosaik for itself, or all seven bundled into one.

Bundled, mosaik sees one simulator that steps the seven in the order of their data flow. The cycle and its results are
the same; mosaik's scheduling, which costs more than the rest of a small world, is paid once instead of seven times.
Separate is what a world with simulators of other makers needs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import mosaik_api_v3

from simulators.cycle import ENTITY, CycleSimulator
from twin.timebase import SimTime

Flow = tuple[str, str, tuple[str, ...]]
"""From one simulator to another, what flows."""


class Bundle(mosaik_api_v3.Simulator):
    """The simulators of a world as one time-based mosaik simulator.

    They step in the order of ``simulators``; the first one announces the next cycle. ``same_cycle`` flows must go down
    that order, ``next_cycle`` flows up it: their source has then not stepped again when their target reads them.
    ``initial`` is what the latter carry into the first cycle. ``recess`` is called after each cycle with when the next
    one is to be, and returns when it is.
    """

    def __init__(
        self,
        simulators: Mapping[str, CycleSimulator],
        same_cycle: Sequence[Flow],
        next_cycle: Sequence[Flow],
        initial: Mapping[str, Any],
        recess: Callable[[SimTime], SimTime] | None = None,
    ) -> None:
        super().__init__({"api_version": "3.0", "type": "time-based", "models": {"World": _MODEL}})
        self._simulators = list(simulators.values())
        names = list(simulators)
        self._sources: list[list[tuple[str, CycleSimulator]]] = [[] for _ in names]
        for source, target, attrs in (*same_cycle, *next_cycle):
            self._sources[names.index(target)] += [(attr, simulators[source]) for attr in attrs]
        self._initial: dict[str, Any] = dict(initial)
        self._recess = recess

    def create(self, num: int, model: str, **model_params: Any) -> list[dict[str, Any]]:
        """The one entity."""
        return [{"eid": ENTITY, "type": model}]

    def step(self, time: int, inputs: dict[str, Any], max_advance: int) -> int:
        """One cycle of all simulators."""
        initial, self._initial = self._initial, {}
        next_ms: int | None = None
        for simulator, sources in zip(self._simulators, self._sources, strict=True):
            received = {attr: initial[attr] if attr in initial else source.outputs[attr] for attr, source in sources}
            next_ms = simulator.run_cycle(time, received, next_ms)
        assert next_ms is not None
        if self._recess is not None:
            next_ms = self._recess(next_ms)
        return next_ms - self._simulators[0].context.origin_ms

    def get_data(self, outputs: dict[str, list[str]]) -> dict[str, Any]:
        """Nothing leaves the bundle."""
        return {}

    def finalize(self) -> None:
        """End every simulator."""
        for simulator in self._simulators:
            simulator.finalize()


_MODEL = {"public": True, "params": [], "attrs": []}
