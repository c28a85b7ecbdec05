"""The compiled three-phase network: read-only numpy arrays under CIM names, one column a phase.

For unbalanced calculation: mutual coupling, single-phase laterals, regulators, delta loads. Columns 0, 1, 2 are the
phases A, B, C; the neutral is earthed everywhere and reduced into the impedances (Kron), so voltages are to earth.
States that change (demand, switch positions, taps, capacitor steps) are *not* in here. Loads are positive as
consumption. Every equipment name is unique within the network. Not for balanced networks: see
:mod:`twin.network.model`, whose networks :func:`twin.network.three_phase_expand.expand` turns into these.

The *branches* are the line segments followed by the transformers, in one index.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from twin.network.model import Bools, EquipmentKind, EquipmentRef, Floats, Ints

Complexes = NDArray[np.complex128]
Codes = NDArray[np.int8]

PHASES = ("A", "B", "C")
EARTH = 3
"""Terminal code of a winding end that is solidly earthed."""
STAR = 4
"""Terminal code of a winding end at the isolated star point of its side."""
ABSENT = -1
"""Terminal code of a winding unit that is not there."""


@dataclass(frozen=True)
class PhaseNodes:
    """Connectivity nodes. ``v_nominal_kv`` is line to line; ``phases`` ``(n, 3)`` says which phases exist there."""

    names: tuple[str, ...]
    v_nominal_kv: Floats
    phases: Bools
    x: Floats
    y: Floats

    @property
    def n(self) -> int:
        return len(self.names)


@dataclass(frozen=True)
class PhaseLineSegments:
    """Pi model over the whole length: ``z_ohm`` and ``y_s`` ``(n, 3, 3)``, zero in the rows of absent phases.

    ``y_s`` is the total shunt admittance, half of it at each end. ``i_max_a`` is NaN where unknown.
    """

    names: tuple[str, ...]
    node_from: Ints
    node_to: Ints
    phases: Bools
    length_km: Floats
    z_ohm: Complexes
    y_s: Complexes
    i_max_a: Floats

    @property
    def n(self) -> int:
        return len(self.names)


@dataclass(frozen=True)
class PhaseTransformers:
    """Transformers and regulators as up to three single-phase units, each with two windings.

    ``from_plus``, ``from_minus``, ``to_plus``, ``to_minus`` ``(n, 3)``: where the winding ends of a unit lie: a phase
    (0, 1, 2), ``EARTH``, ``STAR`` or ``ABSENT``. ``v_from_kv``/``v_to_kv`` are the rated voltages *of a winding*
    (line to earth for a star winding), ``s_kva`` is the rating *of a unit*, and ``r_pu``, ``x_pu``, ``g_pu``, ``b_pu``
    (magnetising, half at each winding) refer to both. ``earth_b_pu`` is a reactance from each winding end to
    earth which keeps the potential of an unearthed side defined. A tap position multiplies the voltage of its side by
    ``1 + (position - tap_neutral) * tap_step_percent / 100``; ``tap_side`` is 0 for from, 1 for to.
    ``neutral_s`` ``(n, 2)`` joins the star points (``STAR``) of the sides to earth, 0 leaves them isolated.
    ``bank`` groups single-phase units to one bank, "" for none.
    """

    names: tuple[str, ...]
    bank: tuple[str, ...]
    node_from: Ints
    node_to: Ints
    from_plus: Codes
    from_minus: Codes
    to_plus: Codes
    to_minus: Codes
    s_kva: Floats
    v_from_kv: Floats
    v_to_kv: Floats
    r_pu: Floats
    x_pu: Floats
    g_pu: Floats
    b_pu: Floats
    earth_b_pu: Floats
    neutral_s: Complexes
    tap_side: Ints
    tap_min: Ints
    tap_max: Ints
    tap_neutral: Ints
    tap_step_percent: Floats
    tap_position: Ints

    @property
    def n(self) -> int:
        return len(self.names)


@dataclass(frozen=True)
class PhaseSwitches:
    """Switches without impedance, at a branch end or between two nodes; the columns as in ``model.Switches``.

    ``phases`` ``(n, 3)`` are the poles there are; ``normally_closed`` ``(n, 3)`` is their normal state.
    """

    names: tuple[str, ...]
    kind: Ints
    node: Ints
    branch: Ints
    side: Ints
    other_node: Ints
    phases: Bools
    normally_closed: Bools
    feeder_head: Bools

    @property
    def n(self) -> int:
        return len(self.names)


@dataclass(frozen=True)
class PhaseConsumers:
    """Demand per unit ``(n, 3)``: columns A, B, C of a star-connected load, AB, BC, CA of one in ``delta``.

    At the unit voltage ``v = |V| / v_nominal_kv`` the demand is ``p_kw * (zip_p[0] + zip_p[1] v + zip_p[2] v^2)``,
    Q likewise with ``zip_q``: shares of constant power, current and impedance. Below ``v_min_pu`` and above
    ``v_max_pu`` the load is the constant impedance that continues it. ``units`` says which units exist.
    """

    names: tuple[str, ...]
    node: Ints
    delta: Bools
    units: Bools
    p_kw: Floats
    q_kvar: Floats
    v_nominal_kv: Floats
    zip_p: Floats
    zip_q: Floats
    v_min_pu: Floats
    v_max_pu: Floats
    customers: Ints

    @property
    def n(self) -> int:
        return len(self.names)


@dataclass(frozen=True)
class PhaseGenerators:
    """Constant power per phase to earth, positive as generation; ``p_kw``, ``q_kvar``, ``units`` are ``(n, 3)``."""

    names: tuple[str, ...]
    node: Ints
    units: Bools
    p_kw: Floats
    q_kvar: Floats
    s_kva: Floats

    @property
    def n(self) -> int:
        return len(self.names)


@dataclass(frozen=True)
class PhaseShunts:
    """Constant admittances ``(n, 3)`` by consumption at ``v_nominal_kv``; a capacitor has negative Q.

    Columns and ``delta`` as for the consumers.
    """

    names: tuple[str, ...]
    node: Ints
    delta: Bools
    units: Bools
    p_kw: Floats
    q_kvar: Floats
    v_nominal_kv: Floats

    @property
    def n(self) -> int:
        return len(self.names)


@dataclass(frozen=True)
class PhaseSources:
    """Voltages to earth (``v_pu``, ``angle_rad`` ``(n, 3)``) behind ``z_ohm`` ``(n, 3, 3)``; all zero means stiff."""

    names: tuple[str, ...]
    node: Ints
    v_pu: Floats
    angle_rad: Floats
    z_ohm: Complexes

    @property
    def n(self) -> int:
        return len(self.names)


@dataclass(frozen=True)
class ThreePhaseNetwork:
    """A compiled, read-only three-phase network."""

    name: str
    frequency_hz: float
    nodes: PhaseNodes
    lines: PhaseLineSegments
    transformers: PhaseTransformers
    switches: PhaseSwitches
    consumers: PhaseConsumers
    generators: PhaseGenerators
    shunts: PhaseShunts
    sources: PhaseSources
    notes: tuple[str, ...] = field(default=())
    """What the loader left out or replaced, a sentence each."""

    def __post_init__(self) -> None:
        for table in self._tables().values():
            for column in fields(table):  # type: ignore[arg-type]
                value = getattr(table, column.name)
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
    def branch_phases(self) -> Bools:
        """Which phases each branch end touches, ``(n_branches, 2, 3)``."""
        lines = np.repeat(self.lines.phases[:, np.newaxis, :], 2, axis=1)
        t = self.transformers
        sides = ((t.from_plus, t.from_minus), (t.to_plus, t.to_minus))
        touched = [
            np.stack([((plus == p) | (minus == p)).any(axis=1) for p in range(3)], axis=1) for plus, minus in sides
        ]
        return np.concatenate([lines, np.stack(touched, axis=1)])
