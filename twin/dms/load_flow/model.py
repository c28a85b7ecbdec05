"""What load allocation and load flow are shown, and what they find."""

from __future__ import annotations

from dataclasses import dataclass

from twin.dms.load_model import Demand
from twin.network.model import Floats, Ints
from twin.solvers.model import PowerFlowResult


@dataclass(frozen=True)
class MeterImage:
    """One image of the point database, by switch and in network order.

    ``position`` and ``position_quality`` are ``DoublePosition`` and ``Quality`` values. ``p_kw``, ``q_kvar`` (from the
    switch's node into its branch) and ``i_a`` are NaN where there is no value that may be used: not topical, invalid,
    never received. ``generation_kw``/``_kvar`` are the expected outputs of the generating units,
    ``tap_position`` the taps of the transformers.
    """

    position: Ints
    position_quality: Ints
    p_kw: Floats
    q_kvar: Floats
    i_a: Floats
    demand: Demand
    generation_kw: Floats
    generation_kvar: Floats
    tap_position: Ints


@dataclass(frozen=True, slots=True)
class RefusedMeter:
    """A meter that was not believed; its zone went to the next meter upstream."""

    switch: int
    name: str
    why: str


@dataclass(frozen=True)
class LoadFlowResult:
    """Demand as allocated and the load flow on it; consumers, nodes and branches in network order.

    ``consumer``, ``node`` and ``branch`` hold ``Standing`` values. ``meters`` are the rows of the switches whose
    readings were used, ``off`` by how much the calculated flow there differs from the reading, relative.
    ``unmetered`` counts the consumers behind no meter, which keep their expected demand.
    """

    p_kw: Floats
    q_kvar: Floats
    consumer: Ints
    node: Ints
    branch: Ints
    flow: PowerFlowResult
    meters: Ints
    off: Floats
    refused: tuple[RefusedMeter, ...]
    unmetered: int
    unknown_switches: tuple[str, ...]
    losses_kw: float
    rounds: int
    sentences: tuple[str, ...]
