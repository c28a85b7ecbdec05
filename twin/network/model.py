"""The compiled network: read-only numpy arrays under CIM names.

Two ways to look at it: by table (``network.lines.r_ohm``) on the hot path, by name
(``network.find("L3-8")``) at the rim. States that change (switch positions, loads, taps) are
*not* in here; they are arrays beside it, in the order of these tables. Loads are positive as
consumption. Every equipment name is unique within the network.

The *branches* are the line segments followed by the power transformers, in one index:
branch ``b`` is line ``b`` if ``b < lines.n`` and transformer ``b - lines.n`` otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, IntEnum
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from twin.network.earthing import EarthingSwitches

Floats = NDArray[np.float64]
Ints = NDArray[np.int32]
Bools = NDArray[np.bool_]


class EquipmentKind(Enum):
    """Which table a name belongs to."""

    NODE = "connectivity node"
    LINE = "line segment"
    TRANSFORMER = "power transformer"
    SWITCH = "switch"
    CONSUMER = "consumer"
    GENERATOR = "generating unit"
    SHUNT = "shunt compensator"
    SOURCE = "external network"
    EARTHING = "earthing switch"


class SwitchKind(IntEnum):
    """CIM switch classes."""

    BREAKER = 0
    LOAD_BREAK_SWITCH = 1
    DISCONNECTOR = 2
    FUSE = 3


@dataclass(frozen=True, slots=True)
class EquipmentRef:
    """An equipment by kind and row in the table of that kind."""

    kind: EquipmentKind
    index: int


@dataclass(frozen=True)
class ConnectivityNodes:
    """``x``/``y`` are diagram or geographic coordinates, NaN where unknown."""

    names: tuple[str, ...]
    v_nominal_kv: Floats
    x: Floats
    y: Floats

    @property
    def n(self) -> int:
        return len(self.names)


@dataclass(frozen=True)
class LineSegments:
    """Pi model over the whole length; zero-sequence values are NaN where unknown."""

    names: tuple[str, ...]
    node_from: Ints
    node_to: Ints
    length_km: Floats
    r_ohm: Floats
    x_ohm: Floats
    c_nf: Floats
    g_us: Floats
    r0_ohm: Floats
    x0_ohm: Floats
    c0_nf: Floats
    i_max_a: Floats
    overhead: Bools

    @property
    def n(self) -> int:
        return len(self.names)


@dataclass(frozen=True)
class PowerTransformers:
    """Two windings, ``node_from`` is the high-voltage side.

    ``vk_percent``/``vkr_percent`` refer to ``s_kva``. ``tap_side`` is 0 for high, 1 for low voltage;
    ``tap_position`` is the initial one. ``shift_deg`` is by how much the low side lags, at the neutral tap. The voltage
    that a tap adds leads that of its winding by ``tap_angle_deg``: 0 for a ratio, 90 for a quadrature booster.

    For short circuits: ``vector_group`` such as ``YNd`` or ``Dyn`` (clock number optional, empty where unknown);
    ``vk0_percent``/``vkr0_percent`` of the zero sequence, ``mag0_percent`` its magnetising impedance in percent of
    the leakage impedance with ``mag0_rx`` as R/X and ``si0_from`` as the share of the leakage on the from side (all
    NaN where unknown; an unknown magnetising impedance is taken as infinite); ``rn_*``/``xn_*`` the impedance
    between neutral and earth, 0 for solid, infinite for isolated. ``oltc`` matters for the transformer of a power
    station unit, and ``pt_percent`` is its permanently used off-load tap (signed, 0 none); ``k_sc`` replaces the
    correction factor of IEC 60909 where it is not NaN.
    """

    names: tuple[str, ...]
    node_from: Ints
    node_to: Ints
    s_kva: Floats
    v_from_kv: Floats
    v_to_kv: Floats
    vk_percent: Floats
    vkr_percent: Floats
    p_iron_kw: Floats
    i0_percent: Floats
    shift_deg: Floats
    tap_side: Ints
    tap_min: Ints
    tap_max: Ints
    tap_neutral: Ints
    tap_step_percent: Floats
    tap_angle_deg: Floats
    tap_position: Ints
    vector_group: tuple[str, ...]
    vk0_percent: Floats
    vkr0_percent: Floats
    mag0_percent: Floats
    mag0_rx: Floats
    si0_from: Floats
    rn_from_ohm: Floats
    xn_from_ohm: Floats
    rn_to_ohm: Floats
    xn_to_ohm: Floats
    k_sc: Floats
    pt_percent: Floats
    oltc: Bools

    @property
    def n(self) -> int:
        return len(self.names)


@dataclass(frozen=True)
class Switches:
    """A switch sits between a node and one end of a branch, or between two nodes.

    ``branch`` is the branch index and ``side`` 0 (from) or 1 (to) for a switch at a branch end,
    with ``other_node`` -1; for a switch between ``node`` and ``other_node``, ``branch`` and
    ``side`` are -1. Current through a switch counts positive from ``node`` into the branch
    (into ``other_node``). ``kind`` holds ``SwitchKind`` values. ``feeder_head`` marks the
    breakers that feed a feeder from its busbar. ``tie`` marks normally open points.
    """

    names: tuple[str, ...]
    kind: Ints
    node: Ints
    branch: Ints
    side: Ints
    other_node: Ints
    normally_closed: Bools
    feeder_head: Bools

    @property
    def n(self) -> int:
        return len(self.names)

    @property
    def tie(self) -> Bools:
        return ~self.normally_closed


@dataclass(frozen=True)
class Consumers:
    """Rated demand and the number of customers behind each supply point.

    ``load_class`` is ``residential``, ``commercial`` or ``industrial``. The demand holds at nominal voltage; of P the
    share ``p_current_share`` changes with the voltage and ``p_impedance_share`` with its square, the rest is constant
    power, and the same for Q (ZIP model).
    """

    names: tuple[str, ...]
    node: Ints
    p_kw: Floats
    q_kvar: Floats
    customers: Ints
    load_class: tuple[str, ...]
    p_current_share: Floats
    p_impedance_share: Floats
    q_current_share: Floats
    q_impedance_share: Floats

    @property
    def n(self) -> int:
        return len(self.names)

    @property
    def zip_shares(self) -> Floats:
        """The four shares as rows, shape ``(4, n)``: P current, P impedance, Q current, Q impedance."""
        shares = (self.p_current_share, self.p_impedance_share, self.q_current_share, self.q_impedance_share)
        return np.stack(shares)


@dataclass(frozen=True)
class GeneratingUnits:
    """Injections of P and Q (positive as generation), ``kind`` such as ``pv`` or ``wind``.

    A unit with a ``v_set_pu`` that is no NaN holds the voltage of its node by as much reactive power as
    ``q_min_kvar`` and ``q_max_kvar`` allow; its ``q_kvar`` does not matter then.

    For short circuits (NaN where unknown): ``machine`` is ``synchronous``, ``asynchronous`` (a motor has negative
    P), ``converter``, or empty if unknown. ``v_rated_kv`` and ``s_kva`` are its ratings; synchronous: ``cos_phi``
    rated power factor, ``xdss_pu`` saturated subtransient reactance, ``r_sc_ohm`` stator resistance,
    ``pg_percent`` by how much its terminal voltage is permanently above the rated one, ``r0_ohm`` and
    ``x0_ohm`` the zero-sequence impedance with three times that of the neutral (NaN: neutral isolated),
    ``unit_transformer`` the row of its power station transformer (-1: none); asynchronous: ``lrc_pu`` locked rotor
    to rated current, ``rx_sc`` R/X at standstill, ``pole_pairs`` (0 unknown); converter: ``i_sc_pu``
    short-circuit to rated current.
    """

    names: tuple[str, ...]
    node: Ints
    p_kw: Floats
    q_kvar: Floats
    s_kva: Floats
    kind: tuple[str, ...]
    v_set_pu: Floats
    q_min_kvar: Floats
    q_max_kvar: Floats
    machine: tuple[str, ...]
    v_rated_kv: Floats
    cos_phi: Floats
    xdss_pu: Floats
    r_sc_ohm: Floats
    r0_ohm: Floats
    x0_ohm: Floats
    lrc_pu: Floats
    rx_sc: Floats
    i_sc_pu: Floats
    pg_percent: Floats
    pole_pairs: Ints
    unit_transformer: Ints

    @property
    def n(self) -> int:
        return len(self.names)


@dataclass(frozen=True)
class ShuntCompensators:
    """Constant admittance: consumption at nominal voltage with all ``steps`` in, ``initial_steps`` at first.

    ``r0_ohm``/``x0_ohm`` is the zero-sequence impedance to earth, that of an earthing transformer with three times
    the impedance of its neutral (resistor or arc suppression coil); NaN where there is no path to earth.
    """

    names: tuple[str, ...]
    node: Ints
    p_kw: Floats
    q_kvar: Floats
    steps: Ints
    initial_steps: Ints
    r0_ohm: Floats
    x0_ohm: Floats

    @property
    def n(self) -> int:
        return len(self.names)


@dataclass(frozen=True)
class ExternalNetworks:
    """Stiff sources behind a short-circuit impedance.

    The power flow takes the voltage at the node as given (the impedance is for faults only).
    ``s_sc_mva``/``rx`` (largest) and ``s_sc_min_mva``/``rx_min`` (smallest short-circuit power), ``x0x1`` = X0/X1
    (infinite: neutral isolated) and ``r0x0`` = R0/X0 are NaN where unknown.
    """

    names: tuple[str, ...]
    node: Ints
    v_pu: Floats
    angle_rad: Floats
    s_sc_mva: Floats
    rx: Floats
    s_sc_min_mva: Floats
    rx_min: Floats
    x0x1: Floats
    r0x0: Floats

    @property
    def n(self) -> int:
        return len(self.names)


@dataclass(frozen=True)
class Network:
    """A compiled, read-only distribution network."""

    name: str
    frequency_hz: float
    nodes: ConnectivityNodes
    lines: LineSegments
    transformers: PowerTransformers
    switches: Switches
    consumers: Consumers
    generators: GeneratingUnits
    shunts: ShuntCompensators
    sources: ExternalNetworks
    earthing: EarthingSwitches = field(default_factory=EarthingSwitches.none)

    def __post_init__(self) -> None:
        for table in self._tables().values():
            for value in vars(table).values():
                if isinstance(value, np.ndarray):
                    value.flags.writeable = False

    def _tables(self) -> dict[EquipmentKind, object]:
        return {
            EquipmentKind.NODE: self.nodes,
            EquipmentKind.LINE: self.lines,
            EquipmentKind.TRANSFORMER: self.transformers,
            EquipmentKind.SWITCH: self.switches,
            EquipmentKind.CONSUMER: self.consumers,
            EquipmentKind.GENERATOR: self.generators,
            EquipmentKind.SHUNT: self.shunts,
            EquipmentKind.SOURCE: self.sources,
            EquipmentKind.EARTHING: self.earthing,
        }

    @cached_property
    def index(self) -> dict[str, EquipmentRef]:
        """Every equipment name with its table and row."""
        return {
            name: EquipmentRef(kind, row)
            for kind, table in self._tables().items()
            for row, name in enumerate(table.names)  # type: ignore[attr-defined]
        }

    def find(self, name: str) -> EquipmentRef | None:
        """The equipment called ``name``, or None."""
        return self.index.get(name)

    @property
    def n_branches(self) -> int:
        return self.lines.n + self.transformers.n

    @cached_property
    def branch_names(self) -> tuple[str, ...]:
        return self.lines.names + self.transformers.names

    @cached_property
    def branch_from(self) -> Ints:
        return np.concatenate([self.lines.node_from, self.transformers.node_from]).astype(np.int32)

    @cached_property
    def branch_to(self) -> Ints:
        return np.concatenate([self.lines.node_to, self.transformers.node_to]).astype(np.int32)

    @cached_property
    def branch_i_max_a(self) -> Floats:
        """Current rating of each branch at its from side, A."""
        t = self.transformers
        return np.concatenate([self.lines.i_max_a, t.s_kva / (np.sqrt(3.0) * t.v_from_kv)])
