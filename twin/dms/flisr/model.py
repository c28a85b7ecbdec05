"""What fault location, isolation and restoration take and hand to each other.

All arrays are in the order of the network's tables. A switch *indicates forward* when fault current
passed from its node into its branch (or its other node), *reverse* when it came out.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from twin.dms.topology import position_known
from twin.dms.zonegraph import ZoneGraph
from twin.errors import TwinError
from twin.network.load_profiles import CLASSES
from twin.network.model import Bools, Floats, Ints, Network
from twin.points.model import DoublePosition
from twin.timebase import SimTime

APPLICATION = "flisr"


class FlisrSettings(BaseModel):
    """Limits and habits of fault location, isolation and supply restoration."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_loading: float = Field(default=1.0, gt=0, le=2, description="Highest loading of any branch, 1.0 = 100 %")
    v_min_pu: float = Field(default=0.9, ge=0.5, lt=1, description="Lowest voltage of any supplied node, pu")
    v_max_pu: float = Field(default=1.1, gt=1, le=1.5, description="Highest voltage of any supplied node, pu")
    max_ties: int = Field(default=3, ge=0, le=5, description="Most normally open points that one plan closes")
    max_cuts: int = Field(default=3, ge=0, le=5, description="Most switches opened to split or drop healthy parts")
    max_evaluations: int = Field(default=2000, ge=1, description="Most power flows the restoration search solves")
    max_reasons: int = Field(default=5, ge=0, description="Most rejected better candidates a plan explains")
    reclose_feeder_head: bool = Field(
        default=True, description="Supply the part before the fault again by closing the feeder head"
    )
    p_silent: float = Field(default=0.02, gt=0, lt=0.5, description="Probability that an indicator misses a fault")
    p_false: float = Field(default=0.005, gt=0, lt=0.5, description="Probability that an indicator shows a false one")
    confidence: float = Field(default=0.9, gt=0.5, lt=1, description="Probability that the area holds the fault")
    reactance_error: float = Field(
        default=0.05, gt=0, le=0.5, description="Standard deviation of a measured fault reactance against the model"
    )
    reactance_error_ohm: float = Field(
        default=0.02, gt=0, le=10, description="What is added to the error of a measured fault reactance, ohm"
    )
    current_error: float = Field(
        default=0.1, gt=0, le=0.5, description="Standard deviation of a measured fault current against the model"
    )
    max_joining_sections: int = Field(
        default=1, ge=0, description="Most improbable sections between probable ones that are isolated with them"
    )
    drop_supplied: bool = Field(
        default=True,
        description="Take supplied customers off to isolate an unknown switch, if more get theirs back",
    )
    priority: tuple[str, ...] = Field(
        default=(), description="Consumers, or load classes, that are restored before all others"
    )
    cold_load_factor: float = Field(
        default=1.0,
        ge=1,
        le=5,
        description="What consumers take when they are supplied again, over what they took before",
    )
    generation_returns: bool = Field(
        default=True, description="Generating units that lost their supply come back: the end of a plan must bear that"
    )
    max_reverse: float = Field(
        default=1.0, gt=0, le=2, description="Highest loading of any branch once generating units are back, 1.0 = 100 %"
    )
    close_loops: bool = Field(
        default=False, description="Return to normal without interruption: close a loop to change over"
    )
    assume_first_section: bool = Field(
        default=True, description="Without any indication: take the section behind the feeder head (else: no plan)"
    )


class UnknownPriorityError(TwinError):
    """The settings give priority to what is neither a consumer nor a load class of the network."""

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(f"priority names {name}, which is neither a consumer nor a load class")


ALIVE_PU = 0.2
"""Above this voltage a node is alive."""

PRIORITY_WEIGHT = 1_000
"""How many customers without priority a customer with priority counts for in a choice between them."""


def priority_weights(network: Network, priority: Sequence[str]) -> Ints:
    """What a customer of each consumer counts.

    Raises:
        UnknownPriorityError: a name is neither a consumer nor a load class.
    """
    consumers = network.consumers
    for name in priority:
        if name not in consumers.names and name not in CLASSES:
            raise UnknownPriorityError(name)
    wanted = [n in priority or c in priority for n, c in zip(consumers.names, consumers.load_class, strict=True)]
    return np.where(wanted, PRIORITY_WEIGHT, 1).astype(np.int32)


@dataclass(frozen=True)
class Observation:
    """What the control room knows when it looks at a fault; nothing in here is the plant's own truth.

    Per switch: ``position`` (DoublePosition) with ``quality`` (Quality flags); ``closed_before``: the last good
    position before the fault; ``tripped``: protection trip; ``lockout``: auto-reclose has given up;
    ``fault_forward``/``fault_reverse`` where ``indication_valid`` (there is an indicator, its value is good and
    belongs to this fault); ``remote``: can be commanded from here; ``blocked``: tagged, under local control
    or failed, not to be operated; ``hold_off``: tagged for live-line work (None: nowhere): it may be opened, but not
    closed, and what it fed before the fault must not be energised again. ``faulted`` are zones with another fault,
    known or possible: they stay dead as well. ``peak_factor`` per consumer: the highest demand to come while the plan
    stands, over the present one (None: 1 for all). ``fault_phase_a`` (n, 3) and ``fault_x_ohm`` are what the relay
    of each switch recorded of this fault: phase currents, and the reactance of the loop into the branch (NaN or None:
    nothing).
    ``pickup_factor`` is the same for a consumer that is supplied again by the plan (None: ``peak_factor`` times the
    setting for cold-load pickup); ``least_factor`` the lowest demand to come (None: 1). ``v_pu`` is the voltage
    that each node measures, whoever makes it (NaN: not known; None: nowhere).
    Per consumer: ``p_kw``/``q_kvar``, the demand estimated for just before the fault.
    Per generating unit: ``generation_kw``/``generation_kvar`` then (None: none). Units that lost their supply
    are off while the plan is carried out, and may come back later. ``tap_position`` per transformer (None: as built).
    """

    t_ms: SimTime
    position: Ints
    quality: Ints
    closed_before: Bools
    tripped: Bools
    lockout: Bools
    fault_forward: Bools
    fault_reverse: Bools
    indication_valid: Bools
    remote: Bools
    blocked: Bools
    p_kw: Floats
    q_kvar: Floats
    generation_kw: Floats | None = None
    generation_kvar: Floats | None = None
    tap_position: Ints | None = None
    hold_off: Bools | None = None
    faulted: tuple[int, ...] = ()
    peak_factor: Floats | None = None
    fault_phase_a: Floats | None = None
    fault_x_ohm: Floats | None = None
    pickup_factor: Floats | None = None
    least_factor: Floats | None = None
    v_pu: Floats | None = None

    @property
    def held_off(self) -> Bools:
        """Per switch: tagged for live-line work."""
        return np.zeros(len(self.position), np.bool_) if self.hold_off is None else self.hold_off

    @property
    def position_known(self) -> Bools:
        """Per switch: its position is good and is open or closed."""
        return position_known(self.position, self.quality)

    @property
    def closed(self) -> Bools:
        """Per switch: known to be closed."""
        closed: Bools = self.position_known & (self.position == DoublePosition.CLOSED)
        return closed

    @property
    def open(self) -> Bools:
        """Per switch: known to be open."""
        is_open: Bools = self.position_known & (self.position == DoublePosition.OPEN)
        return is_open

    def at_peak(self) -> Observation:
        """The same observation with the highest demand to come: a plan has to hold until then."""
        peak = self._peak()
        return replace(
            self,
            p_kw=self.p_kw * peak,
            q_kvar=self.q_kvar * peak,
            peak_factor=None,
            pickup_factor=None if self.pickup_factor is None else self.pickup_factor / peak,
            least_factor=self._least() / peak,
        )

    def _peak(self) -> Floats:
        return np.ones(len(self.p_kw)) if self.peak_factor is None else np.maximum(self.peak_factor, 1.0)

    def _least(self) -> Floats:
        return np.ones(len(self.p_kw)) if self.least_factor is None else np.minimum(self.least_factor, 1.0)

    def pickup(self, dead: Bools, cold_load_factor: float) -> Floats:
        """Per consumer: what it takes more than now if it is ``dead`` and is supplied again."""
        factor = np.full(len(dead), cold_load_factor) if self.pickup_factor is None else self.pickup_factor
        return np.where(dead, np.maximum(factor, 1.0), 1.0)

    def still_live(self, network: Network, graph: ZoneGraph) -> tuple[int, ...]:
        """Zones of islands without a source that generation feeds: it has units, all its measured nodes are alive."""
        dead = ~graph.energised(self.closed)
        if self.v_pu is None or not network.generators.n or not dead.any():
            return ()
        labels = graph.components(self.closed)
        of_node = labels[graph.node_zone]
        alive = np.isin(labels, of_node[self.v_pu > ALIVE_PU]) & ~np.isin(labels, of_node[self.v_pu <= ALIVE_PU])
        alive &= np.isin(labels, of_node[network.generators.node])
        return tuple(np.flatnonzero(dead & alive).tolist())

    def with_blocked(self, switches: Iterable[int]) -> Observation:
        """The same observation with further switches not to be operated."""
        blocked = self.blocked.copy()
        blocked[list(switches)] = True
        return replace(self, blocked=blocked)


def healthy_observation(network: Network, *, t_ms: SimTime = 0) -> Observation:
    """The network in its normal state, everything remote-controlled, good and quiet, at rated demand."""
    n = network.switches.n
    closed = network.switches.normally_closed.copy()
    return Observation(
        t_ms=t_ms,
        position=np.where(closed, int(DoublePosition.CLOSED), int(DoublePosition.OPEN)).astype(np.int32),
        quality=np.zeros(n, np.int32),
        closed_before=closed,
        tripped=np.zeros(n, np.bool_),
        lockout=np.zeros(n, np.bool_),
        fault_forward=np.zeros(n, np.bool_),
        fault_reverse=np.zeros(n, np.bool_),
        indication_valid=np.ones(n, np.bool_),
        remote=np.ones(n, np.bool_),
        blocked=np.zeros(n, np.bool_),
        p_kw=network.consumers.p_kw.copy(),
        q_kvar=network.consumers.q_kvar.copy(),
    )


@dataclass(frozen=True, slots=True)
class ZoneCandidate:
    """A zone that may hold the fault: its equipment by name, and how probable it is."""

    zone: int
    probability: float
    nodes: tuple[str, ...]
    branches: tuple[str, ...]

    @property
    def name(self) -> str:
        """The zone by its branches, or by its nodes where it has none."""
        return ", ".join(self.branches or self.nodes)


@dataclass(frozen=True, slots=True)
class FaultDistance:
    """A place at the distance that was measured: on ``branch``, ``km_from_node`` behind ``node``.

    ``km_low`` to ``km_high`` is the part of the branch that the measurement does not exclude. ``km`` counts from the
    feeder head, known within ``km_spread``; ``zone`` is the section that it lies in.
    """

    branch: str
    node: str
    km_from_node: float
    km_low: float
    km_high: float
    km: float
    km_spread: float
    zone: int

    def __str__(self) -> str:
        within = f"{self.km_low:.2f} to {self.km_high:.2f} km"
        return f"in {self.branch} {self.km_from_node:.2f} km from {self.node} ({within})"


@dataclass(frozen=True, slots=True)
class Location:
    """Where the fault is thought to be.

    ``device`` is the tripped switch (row), ``candidates`` are ranked, ``area`` holds the zones to isolate
    (connected, empty when ``located`` is False), ``sentence`` says how it was found or why not. ``places`` are all
    places at the measured distance that the indicators do not exclude, the section that is most probable first;
    ``remarks`` are sentences on that.
    """

    device: int
    candidates: tuple[ZoneCandidate, ...]
    area: tuple[int, ...]
    sentence: str
    places: tuple[FaultDistance, ...] = ()
    remarks: tuple[str, ...] = ()

    @property
    def why(self) -> tuple[str, ...]:
        """All sentences."""
        return (self.sentence, *self.remarks)

    @property
    def located(self) -> bool:
        """True if there is an area to isolate."""
        return bool(self.area)


@dataclass(frozen=True, slots=True)
class Isolation:
    """Which switches separate the fault.

    ``area`` holds the isolated zones (at least the location's), ``to_open`` the closed switches around it to be
    opened, ``already_open`` those that are open; ``remarks`` say why the area grew. ``problem`` is a
    sentence if the area cannot be isolated.
    """

    area: tuple[int, ...]
    to_open: tuple[int, ...]
    already_open: tuple[int, ...]
    remarks: tuple[str, ...] = ()
    problem: str = ""
