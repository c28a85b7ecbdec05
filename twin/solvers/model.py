"""What every solver takes and gives. Backends implement these protocols; no backend type leaves the room."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from twin.errors import Blame, TwinError
from twin.network.model import Bools, Floats, Ints

Phasors = NDArray[np.complex128]


@dataclass(frozen=True, slots=True)
class PowerFlowResult:
    """A converged balanced power flow; nodes and branches in the order of the network's tables.

    Dead nodes have ``energised`` False and 0 V. Branch quantities at the from end count positive from
    the from node into the branch, at the to end from the to node into the branch.
    ``loading`` is the larger end current (each against the rating of its side) over the rating, 1.0 = 100 %.
    ``generation_kvar`` is what each generating unit feeds in, found for those that hold a voltage (empty where a solver
    knows none).
    """

    v_pu: Floats
    angle_rad: Floats
    energised: Bools
    p_from_kw: Floats
    q_from_kvar: Floats
    i_from_a: Floats
    p_to_kw: Floats
    q_to_kvar: Floats
    i_to_a: Floats
    loading: Floats
    generation_kvar: Floats = field(default_factory=lambda: np.zeros(0))


AT_ONCE = ("v_pu", "energised")
"""What a deferred result holds from the start."""


class DeferredResult(PowerFlowResult):
    """A result whose angles and branch quantities are worked out when the first of them is read.

    It stays what it was when it was solved, whatever the solver does afterwards. ``later`` gives the fields that are
    not in ``AT_ONCE``, in their order; where ``angles`` gives the angles by themselves, without these.
    """

    __slots__ = ("_angles", "_later")
    _later: Callable[[], Sequence[Any]] | None
    _angles: Callable[[], Floats] | None

    def __init__(
        self,
        v_pu: Floats,
        energised: Bools,
        later: Callable[[], Sequence[Any]],
        angles: Callable[[], Floats] | None = None,
    ) -> None:
        put = object.__setattr__
        put(self, "v_pu", v_pu)
        put(self, "energised", energised)
        put(self, "_later", later)
        put(self, "_angles", angles)

    def __getattr__(self, name: str) -> Any:
        """Reached only by fields that are not there yet."""
        put, get = object.__setattr__, object.__getattribute__
        angles = get(self, "_angles") if name in _DEFERRED else None
        if name == "angle_rad" and angles is not None:
            put(self, name, angles())
            return get(self, name)
        later = get(self, "_later") if name in _DEFERRED else None
        if later is None:
            raise AttributeError(name)
        for deferred, value in zip(_DEFERRED if angles is None else _BESIDE_ANGLES, later(), strict=True):
            put(self, deferred, value)
        put(self, "_later", None)
        return get(self, name)


_DEFERRED = tuple(name for name in PowerFlowResult.__dataclass_fields__ if name not in AT_ONCE)
_BESIDE_ANGLES = tuple(name for name in _DEFERRED if name != "angle_rad")


class PowerFlow(Protocol):
    """Built once on a network, updated in place, solved many times."""

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
        """Replace consumer demand, generation, switch states, taps or steps of the shunts (None: unchanged).

        ``generation_kvar`` of units that hold a voltage does not matter.
        """
        ...

    def solve(self) -> PowerFlowResult:
        """Solve for the present state.

        Raises:
            PowerFlowDivergedError: an energised island has no solution; names the island.
        """
        ...

    def solve_many(self, closed: Bools) -> list[PowerFlowResult | PowerFlowDivergedError]:
        """Solve for many switch states at once, shape ``(k, n_switches)``; the present state stays as it is.

        Demand, generation and taps are the present ones. A candidate without a solution yields its
        error in place of a result.
        """
        ...


class PowerFlowDivergedError(TwinError):
    """No voltage solution exists (or none was found) for an energised island."""

    def __init__(self, island: str, detail: str = "") -> None:
        self.island = island
        super().__init__(f"the power flow of island {island} does not converge{': ' + detail if detail else ''}")


class InputShapeError(TwinError):
    """An input array does not fit the table it belongs to."""

    def __init__(self, quantity: str, expected: tuple[int, ...], got: tuple[int, ...]) -> None:
        self.quantity = quantity
        self.expected = expected
        self.got = got
        super().__init__(f"the input {quantity} has the shape {got} instead of {expected}")


class InputNotFiniteError(TwinError):
    """A demand or generation is not a finite number."""

    def __init__(self, equipment: str, quantity: str, value: float) -> None:
        self.equipment = equipment
        self.quantity = quantity
        self.value = value
        super().__init__(f"the input {quantity} of {equipment} is {value}, not a finite number")


class TapOutOfRangeError(TwinError):
    """A tap position that the tap changer does not have."""

    def __init__(self, transformer: str, position: int, lowest: int, highest: int) -> None:
        self.transformer = transformer
        self.position = position
        self.lowest = lowest
        self.highest = highest
        super().__init__(f"transformer {transformer} has no tap {position}: its taps run from {lowest} to {highest}")


class ShuntStepOutOfRangeError(TwinError):
    """A number of steps that the shunt does not have."""

    def __init__(self, shunt: str, steps: int, most: int) -> None:
        self.shunt = shunt
        self.steps = steps
        self.most = most
        super().__init__(f"shunt {shunt} cannot have {steps} steps in: it has 0 to {most}")


class FaultKind(Enum):
    """Short-circuit types, IEC 60909; a double earth fault is one of phase b at one place and phase c at another."""

    THREE_PHASE = "three-phase"
    PHASE_TO_PHASE = "phase-to-phase"
    PHASE_TO_PHASE_TO_EARTH = "phase-to-phase-to-earth"
    PHASE_TO_EARTH = "phase-to-earth"
    DOUBLE_EARTH = "double-earth"

    @property
    def to_earth(self) -> bool:
        """True if the zero sequence takes part."""
        return self not in (FaultKind.THREE_PHASE, FaultKind.PHASE_TO_PHASE)


@dataclass(frozen=True, slots=True)
class FaultPlace:
    """Where: on a line (``position`` 0 at the from end .. 1) or at a node (``line`` -1), with its resistance."""

    line: int = -1
    position: float = 0.5
    node: int = -1
    resistance_ohm: float = 0.0


@dataclass(frozen=True, slots=True)
class FaultPoint:
    """Where and what: on a line (``position`` 0 at the from end .. 1) or at a node (``line`` -1).

    ``resistance_ohm`` is that of each phase to the star point (three-phase), between the two phases
    (phase-to-phase), or to earth. ``second`` is the other place of a double earth fault.
    """

    kind: FaultKind
    line: int = -1
    position: float = 0.5
    node: int = -1
    resistance_ohm: float = 0.0
    second: FaultPlace | None = None

    @property
    def places(self) -> tuple[FaultPlace, ...]:
        """The one place, or both of a double earth fault."""
        first = FaultPlace(self.line, self.position, self.node, self.resistance_ohm)
        return (first,) if self.second is None else (first, self.second)


@dataclass(frozen=True, slots=True)
class ShortCircuitResult:
    """Currents and retained voltages while a fault persists.

    ``i_fault_a`` is the largest phase current at the fault point, ``i_earth_a`` what goes into the earth there (at the
    first of two places). Branch currents are the largest phase current at each end; ``residual_from_a`` and
    ``residual_to_a`` are three times the zero-sequence current there. ``into_from``/``into_to`` are True where fault
    power at that end flows from the node into the branch (towards the fault), False where it comes out of the
    branch, and meaningless where the current is 0. ``residual_into_from``/``residual_into_to`` say the same of the
    residual current, measured against that of the fault. ``v_pu`` is the smallest line-to-line voltage of each
    node.

    Phasors, phases a, b, c in the last axis, in the angles of the fault point's voltage level: ``v_phase_pu`` of
    each node (1 is nominal phase to earth), ``i_from_phase_a`` and ``i_to_phase_a`` of each branch, into it.
    """

    energised: bool
    i_fault_a: float
    i_earth_a: float
    v_pu: Floats
    i_from_a: Floats
    i_to_a: Floats
    into_from: Bools
    into_to: Bools
    residual_from_a: Floats
    residual_to_a: Floats
    residual_into_from: Bools
    residual_into_to: Bools
    v_phase_pu: Phasors
    i_from_phase_a: Phasors
    i_to_phase_a: Phasors

    def residual_power_pu(self, node: Ints, *, side: int) -> Phasors:
        """V0 (pu) times the conjugate residual current (A) at one end of all branches, ``node`` being theirs.

        Its real part is what a wattmetric relay (cos phi) sees, its imaginary part what a reactive one (sin phi)
        sees: an earth fault behind the branch end shows a negative active part.
        """
        currents = (self.i_from_phase_a, self.i_to_phase_a)[side].sum(axis=1)
        power: Phasors = self.v_phase_pu[node].mean(axis=1) * currents.conj()
        return power


@dataclass(frozen=True, slots=True)
class FaultStudy:
    """Many faults on one topology, one row a fault; zeros where it is not energised.

    ``i_fault_a`` and ``i_earth_a`` as in :class:`ShortCircuitResult`; the second axis of the others are the
    monitored ``nodes`` and ``branches`` in the order they were asked for.
    """

    energised: Bools
    i_fault_a: Floats
    i_earth_a: Floats
    nodes: Ints
    v_pu: Floats
    branches: Ints
    i_from_a: Floats
    i_to_a: Floats
    residual_from_a: Floats
    residual_to_a: Floats
    into_from: Bools
    into_to: Bools


class ShortCircuit(Protocol):
    """Short-circuit currents on the current topology."""

    def solve(self, fault: FaultPoint, closed: Bools) -> ShortCircuitResult:
        """Currents for one fault with the given switch states.

        Raises:
            MissingZeroSequenceError: an earth fault on a network without zero-sequence data.
        """
        ...

    def solve_many(
        self,
        faults: Sequence[FaultPoint],
        closed: Bools,
        *,
        nodes: Sequence[int] = (),
        branches: Sequence[int] = (),
        workers: int | None = None,
    ) -> FaultStudy:
        """Currents of many faults with the given switch states, the same whatever the number of workers."""
        ...


class MissingZeroSequenceError(TwinError):
    """An earth fault needs zero-sequence data that the network lacks; ``equipment`` is all that states too little."""

    blame = Blame.SCENARIO

    def __init__(self, network: str, equipment: tuple[str, ...]) -> None:
        self.network = network
        self.equipment = equipment
        names = ", ".join(equipment[:20]) + (f" and {len(equipment) - 20} more" if len(equipment) > 20 else "")
        super().__init__(
            f"network {network} has no zero-sequence data of {names}, so an earth fault cannot be calculated"
        )
