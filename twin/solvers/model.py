"""What every solver takes and gives. Backends implement these protocols; no backend type leaves the room."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from twin.errors import TwinError
from twin.network.model import Bools, Floats, Ints


@dataclass(frozen=True, slots=True)
class PowerFlowResult:
    """A converged balanced power flow; nodes and branches in the order of the network's tables.

    Dead nodes have ``energised`` False and 0 V. Branch quantities at the from end count positive from
    the from node into the branch, at the to end from the to node into the branch.
    ``loading`` is the larger end current (each against the rating of its side) over the rating, 1.0 = 100 %.
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
    ) -> None:
        """Replace consumer demand, generation, switch states or taps (None: unchanged)."""
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


class FaultKind(Enum):
    """Short-circuit types, IEC 60909."""

    THREE_PHASE = "three-phase"
    PHASE_TO_PHASE = "phase-to-phase"
    PHASE_TO_PHASE_TO_EARTH = "phase-to-phase-to-earth"
    PHASE_TO_EARTH = "phase-to-earth"


@dataclass(frozen=True, slots=True)
class FaultPoint:
    """Where and what: on a line (``position`` 0 at the from end .. 1) or at a node (``line`` -1)."""

    kind: FaultKind
    line: int = -1
    position: float = 0.5
    node: int = -1
    resistance_ohm: float = 0.0


@dataclass(frozen=True, slots=True)
class ShortCircuitResult:
    """Currents and retained voltages while a fault persists.

    ``i_fault_a`` is the largest phase current at the fault point. Branch currents are the largest phase
    current at each end. ``into_from``/``into_to`` are True where fault power at that end
    flows from the node into the branch (towards the fault), False where it comes out of the branch, and
    meaningless where the current is 0. ``v_pu`` is the smallest line-to-line voltage of each node.
    """

    energised: bool
    i_fault_a: float
    v_pu: Floats
    i_from_a: Floats
    i_to_a: Floats
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


class MissingZeroSequenceError(TwinError):
    """An earth fault needs zero-sequence impedances that the network lacks."""

    def __init__(self, network: str) -> None:
        self.network = network
        super().__init__(f"network {network} has no zero-sequence data, so an earth fault cannot be calculated")
