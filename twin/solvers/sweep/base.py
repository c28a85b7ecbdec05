"""What the compiled power flows share: inputs, notes, several switch states at once, the next backend in line.

Not for the solving: a backend gives a *case*, the room for one set of switch states, and attempts it. Chooses
nothing by history: what is done follows from the present inputs alone, so that a solver updated in place equals one
built afresh to the last bit.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

import numpy as np

from twin.network.model import Bools, Floats, Ints, Network
from twin.solvers import grid_model_mapping as mapping
from twin.solvers.inputs import Inputs, check_shape
from twin.solvers.model import InputShapeError, PowerFlow, PowerFlowDivergedError, PowerFlowResult
from twin.solvers.sweep import arrays

_NODES_A_THREAD = 10_000
"""A thread is worth starting for so many nodes to be solved."""

C = TypeVar("C")
Outcome = PowerFlowResult | PowerFlowDivergedError | str
"""A result, the error that there is none, or in words why the backend does not apply."""


class CompiledPowerFlow(ABC, Generic[C]):
    """A :class:`twin.solvers.model.PowerFlow`; the initial state is rated, normal and initial.

    ``notes`` gains a sentence the first time that the next backend has to stand in for each kind of reason; the caller
    may clear it.

    Raises:
        UnsolvableNetworkError: the network's data admit no model.
        InputNotFiniteError: a rated demand or generation is no number.
    """

    INSTEAD = ""
    """Which backend stands in, as the note says it."""

    def __init__(self, network: Network) -> None:
        mapping.check(network)
        self.network = network
        self.notes: list[str] = []
        self._noted: set[str] = set()
        self._inputs = x = Inputs(network)
        self._grid = arrays.grid_of(network)
        self._points = arrays.points_of(self._grid)
        self._branches = arrays.branches_of(network, x.tap_position)
        self._demand = arrays.Demand(x.p_kw, x.q_kvar, x.generation_kw, x.generation_kvar)
        self._present = self._case()
        self._trials: list[C] = []
        self._following: PowerFlow | None = None

    @abstractmethod
    def _case(self) -> C:
        """Room for one set of switch states, nothing in it yet."""

    @abstractmethod
    def _stale(self, case: C, *, switches: bool) -> None:
        """Forget what followed from switches, or from taps and shunts alone."""

    def _tapped(self) -> None:
        """Taps have changed."""

    @abstractmethod
    def _attempt(self, case: C, closed: Bools) -> Outcome:
        """Solve under these switch states."""

    @abstractmethod
    def _next(self) -> PowerFlow:
        """The backend that stands in, in its initial state; built when first needed."""

    def update(
        self,
        *,
        p_kw: Floats | None = None,
        q_kvar: Floats | None = None,
        generation_kw: Floats | None = None,
        generation_kvar: Floats | None = None,
        closed: Bools | None = None,
        tap_position: Ints | None = None,
        shunt_steps: Ints | None = None,
    ) -> None:
        """See :meth:`twin.solvers.model.PowerFlow.update`; either all of it is taken, or none.

        Raises:
            InputShapeError: an array does not fit its table.
            InputNotFiniteError: a demand or generation is NaN or infinite.
            TapOutOfRangeError: a tap that the transformer does not have.
            ShuntStepOutOfRangeError: steps that the shunt does not have.
        """
        x = self._inputs
        switched, tapped, stepped = x.update(
            p_kw, q_kvar, generation_kw, generation_kvar, closed, tap_position, shunt_steps
        )
        if tapped:  # results that are read later keep the old ones
            self._branches = arrays.copy_of(self._branches)
            arrays.set_taps(self._branches, self.network, x.tap_position)
            self._tapped()
        if stepped:
            self._grid.shunt_y[:] = arrays.shunts_of(self.network, x.shunt_steps)
        if tapped or stepped:
            for case in (self._present, *self._trials):
                self._stale(case, switches=False)
        if switched:
            self._stale(self._present, switches=True)

    def solve(self) -> PowerFlowResult:
        """See :meth:`twin.solvers.model.PowerFlow.solve`."""
        outcome = self._attempt(self._present, self._inputs.closed)
        if isinstance(outcome, PowerFlowResult):
            return outcome
        if isinstance(outcome, PowerFlowDivergedError):
            raise outcome
        return self._stand_in(outcome).solve()

    def solve_many(self, closed: Bools) -> list[PowerFlowResult | PowerFlowDivergedError]:
        """See :meth:`twin.solvers.model.PowerFlow.solve_many`.

        Raises:
            InputShapeError: ``closed`` has not one column a switch.
        """
        if closed.ndim != 2:
            raise InputShapeError("closed", (len(closed), self.network.switches.n), closed.shape)
        check_shape("closed", closed, (len(closed), self.network.switches.n))
        attempts = self._attempt_many(np.ascontiguousarray(closed))
        return [self._settled(outcome, states) for outcome, states in zip(attempts, closed, strict=True)]

    def _attempt_many(self, closed: Bools) -> list[Outcome]:
        """All candidates, dealt out to threads: the compiled loops run beside each other."""
        worth = len(closed) * self.network.nodes.n // _NODES_A_THREAD
        n = max(1, min(worth, len(closed), os.cpu_count() or 1))
        while len(self._trials) < n:
            self._trials.append(self._case())
        outcomes: list[Outcome] = [""] * len(closed)

        def work(first: int) -> None:
            for row in range(first, len(closed), n):
                self._stale(self._trials[first], switches=True)
                outcomes[row] = self._attempt(self._trials[first], closed[row])

        if n == 1:
            work(0)
            return outcomes
        with ThreadPoolExecutor(n) as pool:
            list(pool.map(work, range(n)))
        return outcomes

    def _settled(self, outcome: Outcome, closed: Bools) -> PowerFlowResult | PowerFlowDivergedError:
        if isinstance(outcome, str):
            return self._stand_in(outcome).solve_many(closed[np.newaxis])[0]
        return outcome

    def _stand_in(self, reason: str) -> PowerFlow:
        """The next backend, in the present state."""
        if self._following is None:
            self._following = self._next()
        x = self._inputs
        self._following.update(
            p_kw=x.p_kw,
            q_kvar=x.q_kvar,
            generation_kw=x.generation_kw,
            generation_kvar=x.generation_kvar,
            closed=x.closed,
            tap_position=x.tap_position,
            shunt_steps=x.shunt_steps,
        )
        if reason not in self._noted:
            self._noted.add(reason)
            self.notes.append(f"network {self.network.name}: {reason}, so {self.INSTEAD}")
        return self._following
