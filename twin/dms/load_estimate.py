"""Consumer demand from what the feeder heads measured: load allocation with the heads as its only meters.

For applications that need the demand of one past moment, of which nothing but the heads was kept. Where a feeder has
no usable measurement its rated demand stands, and a sentence says so.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from twin.dms.load_flow import AllocationDivergedError, LoadFlow, MeterImage
from twin.dms.load_model import Demand
from twin.network.model import Bools, Floats, Ints
from twin.points.model import DoublePosition
from twin.solvers.model import PowerFlowDivergedError


@dataclass(frozen=True)
class HeadMeasurements:
    """Last good values per switch: from the node into the branch, kW and kvar."""

    p_kw: Floats
    q_kvar: Floats
    valid: Bools


@dataclass(frozen=True)
class DemandEstimate:
    """Demand per consumer and the sentences of what had to be assumed."""

    p_kw: Floats
    q_kvar: Floats
    sentences: tuple[str, ...]


def demand_behind_heads(
    load_flow: LoadFlow,
    closed: Bools,
    measured: HeadMeasurements,
    *,
    generation_kw: Floats | None = None,
    generation_kvar: Floats | None = None,
    tap_position: Ints | None = None,
) -> DemandEstimate:
    """Scale the rated demand behind each feeder head to its measurement, losses apart.

    ``closed`` is the switching state at the time of measuring; generation and taps are those of that time (None:
    those of the network). A feeder head behind another one is measured for itself. Consumers without supply keep
    their rated demand: they will want it back. So do all if no demand leads to what was measured.
    """
    network = load_flow.network
    consumers, generators = network.consumers, network.generators
    use = measured.valid & network.switches.feeder_head
    image = MeterImage(
        position=np.where(closed, int(DoublePosition.CLOSED), int(DoublePosition.OPEN)).astype(np.int32),
        position_quality=np.zeros(network.switches.n, dtype=np.int32),
        p_kw=np.where(use, measured.p_kw, np.nan),
        q_kvar=np.where(use, measured.q_kvar, np.nan),
        i_a=np.full(network.switches.n, np.nan),
        demand=Demand.certain(consumers.p_kw, consumers.q_kvar),
        generation_kw=generators.p_kw if generation_kw is None else generation_kw,
        generation_kvar=generators.q_kvar if generation_kvar is None else generation_kvar,
        tap_position=network.transformers.tap_position if tap_position is None else tap_position,
    )
    try:
        found = load_flow.run(image)
    except (AllocationDivergedError, PowerFlowDivergedError) as error:
        why = f"No demand leads to what the feeder heads measured, so the rated demand stands: {error}."
        return DemandEstimate(consumers.p_kw, consumers.q_kvar, (why,))
    return DemandEstimate(found.p_kw, found.q_kvar, (*(meter.why for meter in found.refused), *found.sentences))
