"""What the frequency model takes and gives: machines, shedding stages, events in time, one step's result."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np

from twin.errors import Blame, TwinError
from twin.network.model import Floats, Ints


@dataclass(frozen=True, slots=True)
class Machines:
    """Synchronous machines with droop governors and reheat turbines, all arrays of shape ``(n,)``.

    ``inertia_s`` is H on ``s_kva``, ``droop`` R in per unit on ``s_kva``, ``gain`` Km (the part of the power that
    answers the governor; 0 for a machine without), ``high_pressure`` FH the part that answers at once and
    ``reheat_s`` TR the time constant of the rest (Anderson and Mirheydar 1990). ``p_kw`` is the load reference.
    The governor moves the power between ``p_min_kw`` and ``p_max_kw``. Protection trips the machine at or below
    ``low_hz`` or at or above ``high_hz`` after ``trip_delay_ms`` (NaN: never). An external network is a large
    machine. ``island`` numbers the island of each machine from 0; -1 is none.

    Raises:
        MachineDataError: an array of another length, or a constant that is not positive.
    """

    names: tuple[str, ...]
    island: Ints
    s_kva: Floats
    inertia_s: Floats
    droop: Floats
    gain: Floats
    high_pressure: Floats
    reheat_s: Floats
    p_kw: Floats
    p_min_kw: Floats
    p_max_kw: Floats
    low_hz: Floats
    high_hz: Floats
    trip_delay_ms: Floats

    def __post_init__(self) -> None:
        for field in self.__slots__:
            if len(getattr(self, field)) != self.n:
                raise MachineDataError(
                    "", f"the machine data {field} has {len(getattr(self, field))} rows, not {self.n}"
                )
        for field in ("s_kva", "inertia_s", "droop", "reheat_s"):
            values = getattr(self, field)
            wrong = ~(np.isfinite(values) & (values > 0))
            if wrong.any():
                name = self.names[int(np.argmax(wrong))]
                raise MachineDataError(name, f"machine {name} has no positive {field}")

    @property
    def n(self) -> int:
        return len(self.names)

    @classmethod
    def of(
        cls,
        names: tuple[str, ...],
        *,
        s_kva: Floats | float,
        p_kw: Floats | float,
        island: Ints | int = 0,
        inertia_s: Floats | float = 4.0,
        droop: Floats | float = 0.05,
        gain: Floats | float = 0.95,
        high_pressure: Floats | float = 0.3,
        reheat_s: Floats | float = 8.0,
        p_min_kw: Floats | float = -np.inf,
        p_max_kw: Floats | float = np.inf,
        low_hz: Floats | float = np.nan,
        high_hz: Floats | float = np.nan,
        trip_delay_ms: Floats | float = 0.0,
    ) -> Machines:
        """Machines from scalars or arrays; the constants default to the typical set of the paper."""

        def column(values: Floats | float) -> Floats:
            return np.broadcast_to(np.asarray(values, dtype=np.float64), (len(names),)).copy()

        return cls(
            names=names,
            island=np.broadcast_to(np.asarray(island, dtype=np.int32), (len(names),)).copy(),
            s_kva=column(s_kva),
            inertia_s=column(inertia_s),
            droop=column(droop),
            gain=column(gain),
            high_pressure=column(high_pressure),
            reheat_s=column(reheat_s),
            p_kw=column(p_kw),
            p_min_kw=column(p_min_kw),
            p_max_kw=column(p_max_kw),
            low_hz=column(low_hz),
            high_hz=column(high_hz),
            trip_delay_ms=column(trip_delay_ms),
        )


@dataclass(frozen=True, slots=True)
class SheddingStages:
    """Under-frequency load shedding, one row a relay, all arrays of shape ``(n,)``.

    A stage picks up at or below ``level_hz``, or while the frequency is at or below ``arm_hz`` and falls by
    ``rocof_hz_per_s`` or faster (NaN: no such criterion). It sheds ``p_kw`` once it was picked up without a break
    for longer than ``delay_ms`` (relay, trip circuit and breaker together).
    """

    names: tuple[str, ...]
    island: Ints
    level_hz: Floats
    delay_ms: Floats
    p_kw: Floats
    arm_hz: Floats
    rocof_hz_per_s: Floats

    @property
    def n(self) -> int:
        return len(self.names)

    @classmethod
    def of(
        cls,
        names: tuple[str, ...],
        *,
        level_hz: Floats,
        p_kw: Floats,
        delay_ms: Floats | float = 100.0,
        island: Ints | int = 0,
        arm_hz: Floats | float = np.nan,
        rocof_hz_per_s: Floats | float = np.nan,
    ) -> SheddingStages:
        """Stages from scalars or arrays."""

        def column(values: Floats | float) -> Floats:
            return np.broadcast_to(np.asarray(values, dtype=np.float64), (len(names),)).copy()

        return cls(
            names=names,
            island=np.broadcast_to(np.asarray(island, dtype=np.int32), (len(names),)).copy(),
            level_hz=column(level_hz),
            delay_ms=column(delay_ms),
            p_kw=column(p_kw),
            arm_hz=column(arm_hz),
            rocof_hz_per_s=column(rocof_hz_per_s),
        )


class FrequencyEventKind(Enum):
    """What happens, to which index, and what ``p_kw`` means."""

    DEMAND = "demand changes by"
    """Island; the change holds to the end of the step."""
    TRIP = "machine trips"
    SETPOINT = "load reference becomes"
    START = "machine is connected at"
    """Machine; in a dead island it starts at nominal frequency."""
    RECONNECT = "stage is reconnected"


@dataclass(frozen=True, slots=True)
class FrequencyEvent:
    """Something that happens ``after_ms`` from the beginning of a step."""

    after_ms: int
    kind: FrequencyEventKind
    index: int
    p_kw: float = 0.0


@dataclass(frozen=True, slots=True)
class RelayOperation:
    """A stage that shed, or a machine that its protection tripped, ``after_ms`` from the beginning of the step."""

    after_ms: float
    name: str
    index: int
    is_stage: bool


@dataclass(frozen=True, slots=True)
class FrequencyStep:
    """What one step did. ``f_hz`` is the frequency of each island at its end, 0 where dead.

    ``trace_hz`` of shape (k, n_islands) is the course at the ends ``trace_after_ms`` of the inner steps.
    """

    f_hz: Floats
    trace_after_ms: Floats
    trace_hz: Floats
    operations: tuple[RelayOperation, ...]

    @property
    def lowest_hz(self) -> Floats:
        """The lowest frequency of each island during the step."""
        lowest: Floats = self.trace_hz.min(axis=0)
        return lowest


class MachineDataError(TwinError):
    """The data of a machine contradict themselves."""

    blame = Blame.SCENARIO

    def __init__(self, machine: str, reason: str) -> None:
        self.machine = machine
        super().__init__(reason)


class FrequencyEventError(TwinError):
    """An event lies outside its step or names what is not there."""

    def __init__(self, event: FrequencyEvent, reason: str) -> None:
        self.event = event
        super().__init__(f"the event '{event.kind.value}' of row {event.index} at {event.after_ms} ms {reason}")


class FrequencyStateError(TwinError):
    """A state that was taken from another model."""

    def __init__(self, quantity: str) -> None:
        self.quantity = quantity
        super().__init__(f"the frequency state does not fit the model: {quantity} differs in size")
