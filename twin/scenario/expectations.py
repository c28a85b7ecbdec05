"""Watches what a scenario expects, cycle by cycle, and gives one verdict an expectation.

Between two cycles the state is what it was at the earlier one: a deadline that falls in between is
decided on that. A condition *becomes true* at a cycle at which it holds and at the cycle before it did not.
Nothing here runs a world or knows what the state is; the namespace reads it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from twin.scenario.expression import Expression, Namespace, Quantity, describe_value
from twin.scenario.model import Expectation, Scenario
from twin.scenario.syntax import Compare, Name, Number, Word
from twin.timebase import SimTime, clock_text
from twin.units import Unit, describe_quantity, format_quantity


@dataclass(frozen=True, slots=True)
class Verdict:
    """How an expectation came out: ``text`` is the expectation, ``t_ms`` when it was decided, ``reason`` a sentence."""

    id: str
    text: str
    passed: bool
    t_ms: SimTime
    reason: str


@dataclass(frozen=True, slots=True)
class _Look:
    """What one cycle showed; ``values`` in the order of the expression's names."""

    t_ms: SimTime
    holds: bool
    values: tuple[float, ...]


@dataclass
class _Memory:
    """All that a watch remembers from cycle to cycle."""

    last: _Look | None = None
    t0_ms: SimTime | None = None
    rose_ms: SimTime | None = None
    broke_ms: SimTime | None = None
    steady: bool = True
    begun: bool = False
    edges: int = 0
    verdict: Verdict | None = None


class _Watch:
    """One expectation. Subclasses decide; ``None`` means not yet."""

    def __init__(self, expectation: Expectation, namespace: Namespace) -> None:
        self.expectation = expectation
        self.condition = expectation.condition.compile(namespace)
        self.quantities = expectation.condition.quantities(namespace)
        self.memory = _Memory()

    def observe(self, state: Any, now: SimTime) -> Verdict | None:
        """Look at a cycle; the verdict if this cycle decides."""
        memory = self.memory
        values = tuple(float(quantity.getter(state)) for quantity in self.quantities)
        look = _Look(now, self.condition(state), values)
        memory.verdict = self.decide(look)
        memory.last = look
        return memory.verdict

    def event_happened(self, event_id: str, t_ms: SimTime) -> None:
        """An event of the scenario happened."""

    def decide(self, look: _Look) -> Verdict | None:
        """What ``look`` decides; ``memory.last`` is still the cycle before."""
        raise NotImplementedError

    def finish(self, now: SimTime) -> Verdict:
        """The run ended at ``now``."""
        raise NotImplementedError

    def passed(self, t_ms: SimTime, reason: str) -> Verdict:
        return Verdict(self.expectation.id, str(self.expectation), True, t_ms, reason)

    def failed(self, t_ms: SimTime, reason: str) -> Verdict:
        return Verdict(self.expectation.id, str(self.expectation), False, t_ms, reason)

    def violated(self, look: _Look, t_ms: SimTime, wanted: bool = True) -> Verdict:
        return self.failed(t_ms, self.facts(look, t_ms, wanted))

    def facts(self, look: _Look, t_ms: SimTime, wanted: bool = True) -> str:
        """``customers_interrupted was 812 at 00:02:00.000, expected <= 140``."""
        return _facts(self.expectation.condition, self.quantities, look.values, t_ms, wanted)


class _Deadline(_Watch):
    """``within X of EVENT`` and ``by X``: must become true in time, or hold all that time."""

    def __init__(self, expectation: Expectation, namespace: Namespace) -> None:
        super().__init__(expectation, namespace)
        within, by = expectation.within, expectation.by
        self.event = within.event if within else ""
        self.limit_ms = within.limit_ms if within else by or 0
        self.hold_ms = expectation.for_ms or 0
        self.memory.t0_ms = None if within else 0

    def event_happened(self, event_id: str, t_ms: SimTime) -> None:
        if event_id == self.event and self.memory.t0_ms is None:
            self.memory.t0_ms = t_ms

    def decide(self, look: _Look) -> Verdict | None:
        t0_ms = self.memory.t0_ms
        if t0_ms is None or look.t_ms < t0_ms:
            return None
        if not self.memory.begun:
            self._begin(look, t0_ms)
        end_ms = t0_ms + self.limit_ms
        return self._ripe(t0_ms, look.t_ms) or self._in_window(look, t0_ms, end_ms) or self._late(look, t0_ms, end_ms)

    def _ripe(self, t0_ms: SimTime, now: SimTime) -> Verdict | None:
        """The state of the last cycle, lasting until ``now``, is enough."""
        memory = self.memory
        if memory.rose_ms is not None and now >= memory.rose_ms + self.hold_ms:
            return self._rose(t0_ms, memory.rose_ms)
        held_until_ms = t0_ms + max(self.limit_ms, self.hold_ms)
        if memory.steady and now > held_until_ms:
            return self.passed(held_until_ms, self._held(t0_ms))
        return None

    def _in_window(self, look: _Look, t0_ms: SimTime, end_ms: SimTime) -> Verdict | None:
        memory = self.memory
        if not look.holds:
            memory.steady = False
            if memory.rose_ms is not None:
                memory.rose_ms, memory.broke_ms = None, look.t_ms
        elif memory.last and not memory.last.holds and look.t_ms <= end_ms:
            memory.steady = False
            memory.rose_ms, memory.broke_ms = look.t_ms, None
        if memory.rose_ms is not None and look.t_ms >= memory.rose_ms + self.hold_ms:
            return self._rose(t0_ms, memory.rose_ms)
        if memory.steady and look.t_ms == t0_ms + max(self.limit_ms, self.hold_ms):
            return self.passed(look.t_ms, self._held(t0_ms))
        return None

    def _begin(self, look: _Look, t0_ms: SimTime) -> None:
        """First cycle of the window: what the last one showed still held when the event happened."""
        self.memory.begun = True
        if look.t_ms > t0_ms:
            self.memory.steady = (self.memory.last or look).holds

    def _late(self, look: _Look, t0_ms: SimTime, end_ms: SimTime) -> Verdict | None:
        memory = self.memory
        if look.t_ms < end_ms or memory.steady or memory.rose_ms is not None:
            return None
        at_end = look if look.t_ms == end_ms or memory.last is None else memory.last
        if memory.broke_ms is not None or at_end.holds:
            return self.failed(look.t_ms, self._broke(memory.broke_ms or look.t_ms))
        return self.violated(at_end, end_ms)

    def finish(self, now: SimTime) -> Verdict:
        memory = self.memory
        if memory.t0_ms is None:
            return self.failed(now, f"never checked: {self.event} did not happen")
        if memory.last is None or now < memory.t0_ms:
            return self.failed(now, f"never checked: the run ended at {clock_text(now)}")
        return self._unfinished(memory.t0_ms, memory.last, now)

    def _unfinished(self, t0_ms: SimTime, last: _Look, now: SimTime) -> Verdict:
        memory = self.memory
        if not memory.begun:
            memory.begun, memory.steady = True, last.holds
        at_end = _Look(now, last.holds, last.values)
        verdict = self._ripe(t0_ms, now) or self._late(at_end, t0_ms, t0_ms + self.limit_ms)
        if verdict is not None:
            return verdict
        if memory.steady and now == t0_ms + max(self.limit_ms, self.hold_ms):
            return self.passed(now, self._held(t0_ms))
        ended = f"the run ended at {clock_text(now)}"
        if memory.rose_ms is not None:
            since = clock_text(memory.rose_ms)
            return self.failed(now, f"true since {since}, but {ended}, before it had stayed so for {self._hold}")
        ended = f"{ended}, before the limit at {clock_text(t0_ms + max(self.limit_ms, self.hold_ms))}"
        if memory.steady:
            return self.failed(now, f"not decided: it held, but {ended}")
        return self.failed(now, f"{ended}; {self.facts(last, now)}")

    @property
    def _hold(self) -> str:
        return format_quantity(self.hold_ms, Unit.MILLISECOND)

    def _rose(self, t0_ms: SimTime, rose_ms: SimTime) -> Verdict:
        limit = format_quantity(self.limit_ms, Unit.MILLISECOND)
        stayed = f" and stayed so for {self._hold}" if self.hold_ms else ""
        when = f"at {clock_text(rose_ms)}"
        if self.event:
            when = f"{format_quantity(rose_ms - t0_ms, Unit.MILLISECOND)} after {self.event}"
        return self.passed(rose_ms + self.hold_ms, f"became true {when}{stayed} (limit {limit})")

    def _held(self, t0_ms: SimTime) -> str:
        until = clock_text(t0_ms + max(self.limit_ms, self.hold_ms))
        return f"held all the time from {clock_text(t0_ms)} to {until}"

    def _broke(self, broke_ms: SimTime) -> str:
        return f"was true only until {clock_text(broke_ms)}, expected to stay so for {self._hold}"


class _Instant(_Watch):
    """``at X``."""

    def decide(self, look: _Look) -> Verdict | None:
        t_ms = self.expectation.at or 0
        if look.t_ms < t_ms:
            return None
        last = self.memory.last
        return self._at(look if look.t_ms == t_ms or last is None else last, t_ms)

    def finish(self, now: SimTime) -> Verdict:
        t_ms = self.expectation.at or 0
        if self.memory.last is None or now < t_ms:
            return self.failed(now, f"never checked: the run ended at {clock_text(now)}, before {clock_text(t_ms)}")
        return self._at(self.memory.last, t_ms)

    def _at(self, look: _Look, t_ms: SimTime) -> Verdict:
        if not look.holds:
            return self.violated(look, t_ms)
        return self.passed(t_ms, f"{_values(self.quantities, look.values)} at {clock_text(t_ms)}")


class _Windowed(_Watch):
    """A watch from ``from`` to ``until``; subclasses count or check what they are shown of it."""

    def decide(self, look: _Look) -> Verdict | None:
        memory, from_ms, until_ms = self.memory, self.expectation.from_ms or 0, self.expectation.until_ms
        if look.t_ms < from_ms:
            return None
        if not memory.begun:
            memory.begun = True
            if look.t_ms > from_ms and memory.last and (verdict := self.check(memory.last, from_ms)):
                return verdict
        if until_ms is not None and look.t_ms > until_ms:
            return self.close(until_ms)
        return self.check(look, look.t_ms) or (self.close(look.t_ms) if look.t_ms == until_ms else None)

    def finish(self, now: SimTime) -> Verdict:
        from_ms, until_ms = self.expectation.from_ms or 0, self.expectation.until_ms
        last = self.memory.last
        if last is None or now < from_ms:
            return self.failed(now, f"never checked: the run ended at {clock_text(now)}, before {clock_text(from_ms)}")
        if not self.memory.begun and (verdict := self.check(last, from_ms)):
            return verdict
        if until_ms is not None and now < until_ms:
            ended = f"the run ended at {clock_text(now)}, before {clock_text(until_ms)}"
            return self.failed(now, f"not decided: {ended}")
        return self.close(now)

    def check(self, look: _Look, t_ms: SimTime) -> Verdict | None:
        """A cycle within the window."""
        raise NotImplementedError

    def close(self, t_ms: SimTime) -> Verdict:
        """The window ended with nothing decided."""
        raise NotImplementedError


class _Invariant(_Windowed):
    """``always`` and ``never``: decided by the first violation."""

    def check(self, look: _Look, t_ms: SimTime) -> Verdict | None:
        wanted = self.expectation.form == "always"
        return self.violated(look, t_ms, wanted) if look.holds is not wanted else None

    def close(self, t_ms: SimTime) -> Verdict:
        held = "held" if self.expectation.form == "always" else "did not happen"
        since = clock_text(self.expectation.from_ms or 0)
        return self.passed(t_ms, f"{held} from {since} to {clock_text(t_ms)}")


class _Count(_Windowed):
    """``count``: how often the condition becomes true."""

    def check(self, look: _Look, t_ms: SimTime) -> Verdict | None:
        memory, wanted = self.memory, self.expectation
        if not (look is not memory.last and look.holds and memory.last and not memory.last.holds):
            return None
        memory.edges += 1
        most = wanted.equals if wanted.equals is not None else wanted.at_most
        if most is not None and memory.edges > most:
            return self.failed(t_ms, self._counted(f"the last at {clock_text(t_ms)}"))
        if wanted.at_least is not None and memory.edges >= wanted.at_least:
            return self.passed(t_ms, self._counted(f"the last at {clock_text(t_ms)}"))
        return None

    def close(self, t_ms: SimTime) -> Verdict:
        least = self.expectation.equals if self.expectation.equals is not None else self.expectation.at_least
        decide = self.failed if least is not None and self.memory.edges < least else self.passed
        return decide(t_ms, self._counted(f"up to {clock_text(t_ms)}"))

    def _counted(self, when: str) -> str:
        wanted, times = self.expectation, self.memory.edges
        limits = {"": wanted.equals, "at most ": wanted.at_most, "at least ": wanted.at_least}
        expected = next(f"{word}{n}" for word, n in limits.items() if n is not None)
        return f"became true {times} time{'s' if times != 1 else ''}, {when}, expected {expected}"


_WATCHES: dict[str, type[_Watch]] = {
    "within": _Deadline,
    "by": _Deadline,
    "at": _Instant,
    "always": _Invariant,
    "never": _Invariant,
    "count": _Count,
}


class ExpectationMonitor:
    """Watches all expectations of a scenario.

    ``event_times`` are the events that have already happened. Call :meth:`event_happened` for each event before
    :meth:`observe` of the cycle it happened in, :meth:`observe` once a cycle, and :meth:`finish` at the end.

    Raises:
        ExpressionError: a condition has a name that is unknown, or compares what cannot be compared.
    """

    def __init__(
        self, scenario: Scenario, namespace: Namespace, event_times: Mapping[str, SimTime] | None = None
    ) -> None:
        self._watches = [_WATCHES[expectation.form](expectation, namespace) for expectation in scenario.expect]
        for event_id, t_ms in (event_times or {}).items():
            self.event_happened(event_id, t_ms)

    def event_happened(self, event_id: str, t_ms: SimTime) -> None:
        """An event happened at ``t_ms``; only its first time counts."""
        for watch in self._watches:
            watch.event_happened(event_id, t_ms)

    def observe(self, state: Any, now: SimTime) -> list[Verdict]:
        """Look at the state of a cycle. Returns the verdicts that this cycle decided."""
        undecided = [watch for watch in self._watches if watch.memory.verdict is None]
        return [verdict for watch in undecided if (verdict := watch.observe(state, now))]

    @property
    def verdicts(self) -> list[Verdict]:
        """Those decided so far, in the order of the scenario."""
        return [watch.memory.verdict for watch in self._watches if watch.memory.verdict]

    def finish(self, now: SimTime) -> list[Verdict]:
        """The run ended at ``now``: one verdict an expectation, in the order of the scenario."""
        for watch in self._watches:
            if watch.memory.verdict is None:
                watch.memory.verdict = watch.finish(now)
        return self.verdicts

    def snapshot(self) -> dict[str, Any]:
        """All that was remembered, as JSON-able data."""
        return {"watches": [_memory_to_json(watch.memory) for watch in self._watches]}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from a :meth:`snapshot` of a monitor of the same scenario."""
        for watch, saved in zip(self._watches, state["watches"], strict=True):
            watch.memory = _memory_from_json(saved)


def _memory_to_json(memory: _Memory) -> dict[str, Any]:
    saved = asdict(memory)
    if memory.last:
        saved["last"]["values"] = [None if math.isnan(value) else value for value in memory.last.values]
    return saved


def _memory_from_json(saved: Mapping[str, Any]) -> _Memory:
    memory = _Memory(**saved)
    if last := saved["last"]:
        values = tuple(math.nan if value is None else float(value) for value in last["values"])
        memory.last = _Look(last["t_ms"], last["holds"], values)
    memory.verdict = Verdict(**saved["verdict"]) if saved["verdict"] else None
    return memory


# ---------------------------------------------------------------- sentences


def _facts(
    condition: Expression, quantities: Sequence[Quantity], values: Sequence[float], t_ms: SimTime, wanted: bool
) -> str:
    when = f"at {clock_text(t_ms)}"
    root = condition.root
    if isinstance(root, Name):
        return f"{_values(quantities, values)} {when}, expected {'true' if wanted else 'false'}"
    if isinstance(root, Compare) and isinstance(root.left, Name) and not isinstance(root.right, Name):
        never = "" if wanted else "never "
        was = _compared(root.right, quantities[0], values[0])
        return f"{root.left} was {was} {when}, expected {never}{root.operator} {root.right}"
    return f"{_values(quantities, values)} {when}, expected {'' if wanted else 'never '}{condition}"


def _compared(limit: Number | Word, quantity: Quantity, value: float) -> str:
    """``value`` with as many digits as tell it from the limit."""
    if not isinstance(limit, Number):
        return describe_value(value, quantity.unit)
    limit_value = limit.value(quantity.unit)
    texts = [describe_quantity(value, quantity.unit, digits) for digits in (6, 9, 17)]
    differing = (text for text in texts if text != describe_quantity(limit_value, quantity.unit))
    return texts[0] if value == limit_value else next(differing, texts[-1])


def _values(quantities: Sequence[Quantity], values: Sequence[float]) -> str:
    pairs = zip(quantities, values, strict=True)
    return " and ".join(f"{quantity.name} was {describe_value(value, quantity.unit)}" for quantity, value in pairs)
