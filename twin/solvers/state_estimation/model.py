"""What state estimation takes and gives: measurements, the estimate, its tests, and what can be wrong.

Measurements are arrays, one row a measurement, in the order the caller likes; results about measurements keep
that order. Not the solution method: that is in :mod:`twin.solvers.state_estimation.estimator`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntEnum

import numpy as np

from twin.errors import Blame, TwinError
from twin.network.model import Bools, Floats, Ints
from twin.solvers.model import PowerFlowResult


class MeasurementKind(IntEnum):
    """What is measured, and the unit of value and sigma."""

    V_PU = 0
    """Voltage magnitude of a node, in per unit of its nominal voltage."""
    P_INJECTION_KW = 1
    """Active power into the network at a node: generation less consumption, shunts apart."""
    Q_INJECTION_KVAR = 2
    """Reactive power into the network at a node: generation less consumption, shunts apart."""
    P_FLOW_KW = 3
    """Active power from the node into a branch, at one end."""
    Q_FLOW_KVAR = 4
    """Reactive power from the node into a branch, at one end."""
    I_FLOW_A = 5
    """Current magnitude at one end of a branch."""


AT_NODE = (MeasurementKind.V_PU, MeasurementKind.P_INJECTION_KW, MeasurementKind.Q_INJECTION_KVAR)
"""Kinds whose place is a node; the place of the others is a branch end."""


@dataclass(frozen=True, slots=True)
class Measurements:
    """Measurements with independent Gaussian errors, all arrays of shape ``(n,)``.

    ``kind`` holds ``MeasurementKind`` values. ``place`` is the row of the node or the branch, ``side`` the end of
    the branch (0 from, 1 to; ignored for nodes). ``sigma`` is the standard deviation in the unit of the value.
    A value of NaN is a measurement that is not available. A pseudo-measurement is one with a large sigma.

    Raises:
        MeasurementError: arrays of different length, an unknown kind or side, a sigma that is not positive.
    """

    kind: Ints
    place: Ints
    side: Ints
    value: Floats
    sigma: Floats

    def __post_init__(self) -> None:
        if len({a.shape for a in (self.kind, self.place, self.side, self.value, self.sigma)}) != 1:
            raise MeasurementError(-1, "the arrays of the measurements differ in length")
        for wrong, what in (
            ((self.kind < 0) | (self.kind > MeasurementKind.I_FLOW_A), "has an unknown kind"),
            ((self.side < 0) | (self.side > 1), "is at neither end of a branch"),
            (~(np.isfinite(self.sigma) & (self.sigma > 0)), "has a sigma that is not a positive number"),
            (np.isinf(self.value), "has an infinite value"),
        ):
            if wrong.any():
                row = int(np.argmax(wrong))
                raise MeasurementError(row, f"measurement {row} {what}")

    @property
    def n(self) -> int:
        return len(self.kind)

    @classmethod
    def of(
        cls, kind: MeasurementKind, place: Ints, value: Floats, sigma: Floats | float, side: int = 0
    ) -> Measurements:
        """Measurements of one kind."""
        n = len(place)
        return cls(
            kind=np.full(n, int(kind), dtype=np.int32),
            place=np.asarray(place, dtype=np.int32),
            side=np.full(n, side, dtype=np.int32),
            value=np.asarray(value, dtype=np.float64),
            sigma=np.broadcast_to(np.asarray(sigma, dtype=np.float64), (n,)).copy(),
        )

    @classmethod
    def join(cls, *parts: Measurements) -> Measurements:
        """All rows of ``parts``, in their order."""
        return cls(
            kind=np.concatenate([p.kind for p in parts]),
            place=np.concatenate([p.place for p in parts]),
            side=np.concatenate([p.side for p in parts]),
            value=np.concatenate([p.value for p in parts]),
            sigma=np.concatenate([p.sigma for p in parts]),
        )

    def with_values(self, value: Floats) -> Measurements:
        """The same measurements with other values."""
        return replace(self, value=value)


@dataclass(frozen=True, slots=True)
class IslandEstimate:
    """How well the estimate of one energised island fits.

    ``objective`` is the weighted sum of squared residuals. If nothing but Gaussian errors of the stated sigmas is
    wrong, it follows a chi-square distribution with ``degrees_of_freedom`` and exceeds ``chi_square_limit`` with
    the false alarm probability of the settings only.
    """

    source: str
    nodes: Ints
    objective: float
    degrees_of_freedom: int
    chi_square_limit: float

    @property
    def suspicious(self) -> bool:
        """True if the chi-square test fails: something is wrong with the measurements or with the network."""
        return self.objective > self.chi_square_limit


@dataclass(frozen=True, slots=True)
class StateEstimate:
    """The most likely state; nodes and branches in network order, measurements in the order they came.

    ``state`` has the shape of a power flow result; dead nodes, and nodes of islands that were left out as not
    observable (``observable`` False), have 0 V. ``p_injection_kw``/``q_injection_kvar`` are the injections at the
    nodes, NaN where only the sum over nodes joined by closed switches can be known. ``sigma_v_pu`` is the standard
    deviation of the voltage magnitude (NaN if tests were not asked for).

    For each measurement: ``value`` estimated, in its unit; ``residual`` measured less estimated;
    ``normalised_residual`` (standard normal if nothing is wrong; 0 for critical ones); ``used`` False for those not
    available, in dead or not observable islands; ``critical`` True for those without redundancy, whose errors
    cannot be seen. The last two tests are filled in by request only.
    """

    state: PowerFlowResult
    observable: Bools
    p_injection_kw: Floats
    q_injection_kvar: Floats
    sigma_v_pu: Floats
    value: Floats
    residual: Floats
    normalised_residual: Floats
    used: Bools
    critical: Bools
    islands: tuple[IslandEstimate, ...]
    iterations: int

    @property
    def objective(self) -> float:
        """The weighted sum of squared residuals over all islands."""
        return float(sum(island.objective for island in self.islands))

    @property
    def degrees_of_freedom(self) -> int:
        """Measurements and constraints less states, over all islands."""
        return sum(island.degrees_of_freedom for island in self.islands)

    @property
    def suspicious(self) -> bool:
        """True if the chi-square test fails for an island."""
        return any(island.suspicious for island in self.islands)


@dataclass(frozen=True, slots=True)
class IslandObservability:
    """What the measurements of one energised island leave undetermined.

    ``missing`` is by how much the rank of the measurements falls short of the number of states;
    ``unobservable`` are the rows of the nodes whose voltage or angle is undetermined.
    """

    source: str
    missing: int
    unobservable: Ints


@dataclass(frozen=True, slots=True)
class BadDataSettings:
    """``false_alarm`` is the probability to accuse any measurement though nothing is wrong.

    The limit of the largest normalised residual follows from it and the number of redundant measurements, and is
    never below ``least_limit``. At most ``max_removals`` measurements are removed.
    """

    false_alarm: float = 0.01
    least_limit: float = 3.0
    max_removals: int = 20


@dataclass(frozen=True, slots=True)
class BadMeasurement:
    """A measurement removed as wrong.

    ``error`` is the estimated gross error in its unit. ``indistinguishable`` are the rows of the measurements that
    could be the wrong one just as well (a critical set), ``rivals`` those that stood out nearly as much.
    """

    measurement: int
    normalised_residual: float
    error: float
    indistinguishable: tuple[int, ...]
    rivals: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class CleanEstimate:
    """The estimate without the measurements that were ``removed``, in the order of their removal.

    ``exhausted`` is True if the limit of removals ended the search with suspects left.
    """

    estimate: StateEstimate
    removed: tuple[BadMeasurement, ...]
    exhausted: bool


class MeasurementError(TwinError):
    """A measurement contradicts itself or refers to what the network does not have."""

    blame = Blame.SCENARIO

    def __init__(self, measurement: int, reason: str) -> None:
        self.measurement = measurement
        super().__init__(reason)


class NotObservableError(TwinError):
    """The measurements do not determine the state of an island."""

    def __init__(self, islands: tuple[IslandObservability, ...], node_names: tuple[str, ...]) -> None:
        self.islands = islands
        first = islands[0]
        names = ", ".join(node_names[node] for node in first.unobservable[:5])
        more = f" and {len(first.unobservable) - 5} more" if len(first.unobservable) > 5 else ""
        others = f"; {len(islands) - 1} other islands neither" if len(islands) > 1 else ""
        super().__init__(
            f"the island of source {first.source} is not observable: {first.missing} independent measurements "
            f"are missing for {names}{more}{others}"
        )


class EstimationDivergedError(TwinError):
    """No state fits the measurements of an observable island: the iteration does not converge."""

    def __init__(self, source: str, iterations: int) -> None:
        self.source = source
        self.iterations = iterations
        super().__init__(
            f"the state estimation of the island of source {source} does not converge in {iterations} steps"
        )
