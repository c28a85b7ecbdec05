"""System frequency response of many islands at once, stepped finely inside a grid step.

Each island is one rotating mass, the sum of its machines, each with its own governor and turbine
(P. M. Anderson, M. Mirheydar: A low-order system frequency response model, IEEE Trans. Power Systems 5, 1990).
Integrated by Runge-Kutta of fourth order at no more than 10 ms; events fall between the inner steps exactly, relays
act at their ends. Not for swings between the machines of an island.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import numpy as np

from twin.network.model import Bools, Floats, Ints
from twin.solvers.frequency.model import (
    FrequencyEvent,
    FrequencyEventError,
    FrequencyEventKind,
    FrequencyStateError,
    FrequencyStep,
    Machines,
    RelayOperation,
    SheddingStages,
)
from twin.solvers.model import InputShapeError

_READY, _OPERATED, _HANDED_OVER = 0, 1, 2

_STATE = ("speed", "reheat", "running", "set_kw", "machine_island", "stage_island", "stage_state", "timers_ms")


class FrequencyModel:
    """Frequencies of ``n_islands`` islands; starts at nominal frequency with all machines running.

    ``damping`` is by how much per unit of ``damping_base_kw`` (default: the demand of each step) the demand
    falls for each per unit of frequency.

    Raises:
        ValueError: an inner step above 10 ms or not positive.
    """

    def __init__(
        self,
        machines: Machines,
        stages: SheddingStages | None = None,
        *,
        n_islands: int = 1,
        nominal_hz: float = 50.0,
        damping: float = 1.0,
        damping_base_kw: Floats | None = None,
        inner_step_ms: int = 10,
    ) -> None:
        if not 0 < inner_step_ms <= 10:
            raise ValueError(f"the inner step of the frequency model must lie within 10 ms, not {inner_step_ms}")
        self.machines = machines
        self.stages = stages or SheddingStages.of((), level_hz=np.zeros(0), p_kw=np.zeros(0))
        self.n_islands = n_islands
        self.nominal_hz = nominal_hz
        self.damping = damping
        self.inner_step_ms = inner_step_ms
        self._damping_base_kw = damping_base_kw
        self._speed = np.zeros(n_islands)
        self._reheat = np.zeros(machines.n)
        self._running: Bools = np.ones(machines.n, dtype=np.bool_)
        self._set_kw = machines.p_kw.copy()
        self._machine_island = machines.island.copy()
        self._stage_island = self.stages.island.copy()
        self._stage_state = np.zeros(self.stages.n, dtype=np.int32)
        self._timers_ms = np.zeros(machines.n + self.stages.n)
        self._gain_kw = machines.gain * machines.s_kva / machines.droop
        self._inertia_kws = machines.inertia_s * machines.s_kva

    @property
    def f_hz(self) -> Floats:
        """The frequency of each island, 0 where no machine runs."""
        return np.where(self.energised, self.nominal_hz * np.maximum(1 + self._speed, 0), 0.0)

    @property
    def energised(self) -> Bools:
        """Which islands have a running machine."""
        alive: Bools = np.zeros(self.n_islands, dtype=np.bool_)
        alive[self._machine_island[self._running & (self._machine_island >= 0)]] = True
        return alive

    @property
    def running(self) -> Bools:
        """Which machines are connected."""
        return self._running.copy()

    @property
    def shed(self) -> Bools:
        """Which stages have operated and are not reconnected."""
        return np.asarray(self._stage_state != _READY)

    def step(
        self, dt_ms: int, demand_kw: Floats, events: Iterable[FrequencyEvent] = (), *, phase_ms: int = 0
    ) -> FrequencyStep:
        """Advance by ``dt_ms`` with this demand at nominal frequency of each island (losses in, inverters off).

        ``phase_ms`` is the time at which the step begins: inner steps end at whole multiples, whatever the steps.
        Stages that operate take their load off the demand, in later steps too, until :meth:`hand_over`.

        Raises:
            InputShapeError: ``demand_kw`` has not one value an island.
            FrequencyEventError: an event outside the step or about what is not there.
        """
        if demand_kw.shape != (self.n_islands,):
            raise InputShapeError("demand_kw", (self.n_islands,), demand_kw.shape)
        due = sorted(events, key=lambda event: event.after_ms)
        for event in due:
            self._check(event, dt_ms)
        demand, now = demand_kw.astype(np.float64), 0
        base = demand if self._damping_base_kw is None else self._damping_base_kw
        damping_kw = self.damping * base
        spans: list[FrequencyStep] = []
        for event in due:
            if event.after_ms > now:
                spans += self._span(now, event.after_ms, phase_ms, demand, damping_kw)
                now = event.after_ms
            self._apply(event, demand)
        if dt_ms > now or not spans:
            spans += self._span(now, dt_ms, phase_ms, demand, damping_kw)
        return FrequencyStep(
            f_hz=self.f_hz,
            trace_after_ms=np.concatenate([span.trace_after_ms for span in spans]),
            trace_hz=np.concatenate([span.trace_hz for span in spans]),
            operations=tuple(operation for span in spans for operation in span.operations),
        )

    def forecast(self, dt_ms: int, demand_kw: Floats, *, phase_ms: int = 0) -> FrequencyStep:
        """What :meth:`step` would do without events; the model stays where it is."""
        saved = {name: getattr(self, f"_{name}").copy() for name in _STATE}
        try:
            return self.step(dt_ms, demand_kw, phase_ms=phase_ms)
        finally:
            for name, values in saved.items():
                setattr(self, f"_{name}", values)

    @property
    def p_kw(self) -> Floats:
        """The mechanical power of each machine as governed now, 0 where it is not connected."""
        m = self.machines
        speed = np.append(self._speed, 0.0)[self._machine_island]
        valve = np.clip(-self._gain_kw * speed, m.p_min_kw - self._set_kw, m.p_max_kw - self._set_kw)
        return np.where(self._running, self._set_kw + m.high_pressure * valve + self._reheat, 0.0)

    @property
    def references_kw(self) -> Floats:
        """The load reference of each machine."""
        return self._set_kw.copy()

    def set_references(self, p_kw: Floats) -> None:
        """Give every machine its load reference, within its limits."""
        self._set_kw = np.clip(p_kw, self.machines.p_min_kw, self.machines.p_max_kw)

    def shift_references(self, share: float) -> None:
        """Secondary control: shift each load reference by ``share`` of what the governor asks for now."""
        speed = np.append(self._speed, 0.0)[self._machine_island]
        shifted = self._set_kw - np.where(self._running, share * self._gain_kw * speed, 0.0)
        self._set_kw = np.clip(shifted, self.machines.p_min_kw, self.machines.p_max_kw)

    def pull_to_nominal(self, machine: int) -> None:
        """A machine at nominal frequency was connected unmatched: it and its island meet at the mean by inertia."""
        island = int(self._machine_island[machine])
        if island >= 0:
            here = self._running & (self._machine_island == island)
            self._speed[island] *= 1.0 - self._inertia_kws[machine] / self._inertia_kws[here].sum()

    def begin_in(self, machine_island: Ints, n_islands: int) -> None:
        """Put the machines into their first islands, at nominal frequency."""
        self.n_islands = n_islands
        self._machine_island = machine_island.astype(np.int32)
        self._speed = np.zeros(n_islands)

    def hand_over(self) -> None:
        """The demand of the next steps no longer holds the load of the stages that have operated."""
        self._stage_state[self._stage_state == _OPERATED] = _HANDED_OVER

    def regroup(self, machine_island: Ints, stage_island: Ints, n_islands: int) -> None:
        """Put machines and stages into other islands after switching (-1: none).

        A part of an island keeps its frequency; islands that join meet at the mean of their frequencies, weighted
        by inertia. An island without a running machine is dead.

        Raises:
            InputShapeError: an array has not one row a machine or stage.
        """
        for quantity, got, present in (
            ("machine_island", machine_island, self._machine_island),
            ("stage_island", stage_island, self._stage_island),
        ):
            if got.shape != present.shape:
                raise InputShapeError(quantity, present.shape, got.shape)
        rotor = np.append(self._speed, 0.0)[self._machine_island]
        counts = self._running & (machine_island >= 0)
        weight = np.bincount(machine_island[counts], self._inertia_kws[counts], minlength=n_islands)
        momentum = np.bincount(machine_island[counts], (self._inertia_kws * rotor)[counts], minlength=n_islands)
        self._speed = np.divide(momentum, weight, out=np.zeros(n_islands), where=weight > 0)
        self.n_islands = n_islands
        self._machine_island = machine_island.astype(np.int32)
        self._stage_island = stage_island.astype(np.int32)

    def snapshot(self) -> dict[str, Any]:
        """The state as lists and numbers."""
        return {name: getattr(self, f"_{name}").tolist() for name in _STATE} | {"n_islands": self.n_islands}

    def restore(self, state: dict[str, Any]) -> None:
        """Take up a state from :meth:`snapshot`.

        Raises:
            FrequencyStateError: it belongs to other machines or stages.
        """
        n_islands = int(state["n_islands"])
        arrays = {name: np.asarray(state[name], dtype=getattr(self, f"_{name}").dtype) for name in _STATE}
        for name, values in arrays.items():
            if len(values) != (n_islands if name == "speed" else len(getattr(self, f"_{name}"))):
                raise FrequencyStateError(name)
        self.n_islands = n_islands
        for name, values in arrays.items():
            setattr(self, f"_{name}", values)

    def _check(self, event: FrequencyEvent, dt_ms: int) -> None:
        if not 0 <= event.after_ms <= dt_ms:
            raise FrequencyEventError(event, f"lies outside its step of {dt_ms} ms")
        stages = event.kind is FrequencyEventKind.RECONNECT
        size = self.stages.n if stages else self.machines.n
        if not 0 <= event.index < (self.n_islands if event.kind is FrequencyEventKind.DEMAND else size):
            raise FrequencyEventError(event, "names what is not there")

    def _apply(self, event: FrequencyEvent, demand_kw: Floats) -> None:
        match event.kind:
            case FrequencyEventKind.DEMAND:
                demand_kw[event.index] += event.p_kw
            case FrequencyEventKind.TRIP:
                self._running[event.index] = False
                self._reheat[event.index] = 0.0
            case FrequencyEventKind.SETPOINT:
                self._set_kw[event.index] = event.p_kw
            case FrequencyEventKind.START:
                self._start(event.index, event.p_kw)
            case FrequencyEventKind.RECONNECT:
                self._stage_state[event.index] = _READY

    def _start(self, machine: int, p_kw: float) -> None:
        island = self._machine_island[machine]
        if island >= 0 and not self.energised[island]:
            self._speed[island] = 0.0
        self._running[machine] = True
        self._set_kw[machine] = p_kw
        self._reheat[machine] = 0.0

    def _span(
        self, begin_ms: int, end_ms: int, phase_ms: int, demand_kw: Floats, damping_kw: Floats
    ) -> list[FrequencyStep]:
        """To the next whole inner step, whole ones, what is left: a longer span begins just as a shorter one does."""
        step_ms = self.inner_step_ms
        first = min(begin_ms - (begin_ms + phase_ms) % -step_ms, end_ms)
        whole = max(end_ms - (end_ms + phase_ms) % step_ms, first)
        cuts = list(dict.fromkeys((begin_ms, first, whole, end_ms)))
        if len(cuts) == 1:
            cuts *= 2
        return [self._advance(a, b, demand_kw, damping_kw) for a, b in pairwise(cuts)]

    def _advance(self, begin_ms: int, end_ms: int, demand_kw: Floats, damping_kw: Floats) -> FrequencyStep:
        """One span without events, in equal inner steps."""
        from twin.solvers.frequency import kernels  # late: numba takes half a second

        n = -(-(end_ms - begin_ms) // self.inner_step_ms)
        h_ms = (end_ms - begin_ms) / n if n else 0.0
        m, s = self.machines, self.stages
        trace_hz = np.zeros((n, self.n_islands))
        tripped = np.full(m.n, -1, dtype=np.int64)
        operated = np.full(s.n, -1, dtype=np.int64)
        kernels.advance(
            n,
            h_ms,
            self.nominal_hz,
            self._speed,
            self._reheat,
            self._machine_island,
            self._running,
            self._set_kw,
            self._gain_kw,
            m.high_pressure,
            m.reheat_s,
            m.p_min_kw,
            m.p_max_kw,
            self._inertia_kws,
            m.low_hz,
            m.high_hz,
            m.trip_delay_ms,
            self._timers_ms[: m.n],
            tripped,
            self._stage_island,
            s.p_kw,
            s.level_hz,
            s.delay_ms,
            s.arm_hz,
            s.rocof_hz_per_s,
            self._stage_state,
            self._timers_ms[m.n :],
            operated,
            demand_kw,
            damping_kw,
            trace_hz,
        )
        after_ms: Floats = begin_ms + h_ms * np.arange(1, n + 1, dtype=np.float64)
        operations = [
            RelayOperation(float(after_ms[operated[i]]), s.names[i], i, True)
            for i in np.flatnonzero(operated >= 0).tolist()
        ]
        operations += [
            RelayOperation(float(after_ms[tripped[i]]), m.names[i], i, False)
            for i in np.flatnonzero(tripped >= 0).tolist()
        ]
        return FrequencyStep(self.f_hz, after_ms, trace_hz, tuple(sorted(operations, key=lambda o: o.after_ms)))
