"""What state estimation is shown, and what it finds."""

from __future__ import annotations

from dataclasses import dataclass

from twin.dms.load_model import Demand
from twin.network.model import Bools, Floats, Ints
from twin.solvers.state_estimation import IslandEstimate, StateEstimate


@dataclass(frozen=True)
class Image:
    """One image of the point database; switches and measured points as in the network and ``MeasuredPoints``.

    ``position`` and ``position_quality`` are ``DoublePosition`` and ``Quality`` values per switch. ``values`` are in
    the points' units; ``good`` is False for what must not be used (not topical, invalid, blocked, never received).
    ``generation_kw``/``_kvar`` are the expected outputs of the generating units,
    ``tap_position`` the taps of the transformers.
    """

    position: Ints
    position_quality: Ints
    values: Floats
    good: Bools
    demand: Demand
    generation_kw: Floats
    generation_kvar: Floats
    tap_position: Ints


@dataclass(frozen=True, slots=True)
class WrongPoint:
    """A telemetered point that was found to be wrong and was left out.

    ``value`` is what it reads and ``estimate`` what it should read, in the point's unit; ``sigmas`` the normalised
    residual. ``could_be`` are points that could be the wrong one just as well.
    """

    point: str
    value: float
    estimate: float
    sigmas: float
    could_be: tuple[str, ...]
    why: str


@dataclass(frozen=True, slots=True)
class SuspectSwitch:
    """A switch that is reported in the wrong position, as far as the measurements say.

    ``objective`` is the misfit with the reported position and ``objective_other`` with the other one. ``wrong_points``
    is how many points would have to be wrong at once if the report were right, ``wrong_points_other`` if not.
    ``contradicting`` are those points.
    """

    switch: int
    name: str
    reported_closed: bool
    objective: float
    objective_other: float
    wrong_points: int
    wrong_points_other: int
    contradicting: tuple[str, ...]
    why: str


@dataclass(frozen=True, slots=True)
class Gap:
    """What telemetry alone leaves undetermined in the island of ``source``.

    ``missing`` independent measurements, for ``nodes``. ``bridged`` is True where expected demand fills the gap.
    """

    source: str
    missing: int
    nodes: tuple[str, ...]
    bridged: bool
    why: str


@dataclass(frozen=True)
class EstimationResult:
    """The state as far as it can be told, and all that is remarkable about it.

    ``estimate`` is in network order; its measurements are the telemetered points followed by what is expected.
    ``node`` and ``branch`` hold ``Standing`` values. ``telemetered`` is how many points were used. ``islands`` are
    the tests of the whole fit, telemetry and expected values together.
    """

    estimate: StateEstimate
    node: Ints
    branch: Ints
    telemetered: int
    wrong_points: tuple[WrongPoint, ...]
    suspects: tuple[SuspectSwitch, ...]
    gaps: tuple[Gap, ...]
    unknown_switches: tuple[str, ...]
    islands: tuple[IslandEstimate, ...]
    sentences: tuple[str, ...]

    @property
    def objective(self) -> float:
        """The weighted sum of squared residuals after wrong points were left out."""
        return self.estimate.objective

    @property
    def suspicious(self) -> bool:
        """True if something is wrong that was not explained."""
        return any(island.suspicious for island in self.islands)
