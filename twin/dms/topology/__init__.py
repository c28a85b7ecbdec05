"""Network topology from telemetered positions (NCA): what is connected, supplied, earthed, in parallel, in a loop.

:func:`assess` works out one image at once; :class:`TopologyProcessor` follows operations and touches only what they
change. Unknown positions stay unknown: no answer rests on a guess. Without measurements of current or voltage.
"""

from __future__ import annotations

from twin.dms.topology.graph import ConnectionGraph
from twin.dms.topology.processor import (
    Effect,
    Known,
    NodeStates,
    TopologyProcessor,
)
from twin.dms.topology.supply import (
    UNKNOWN_ROW,
    UNUSABLE_QUALITY,
    NetworkTopology,
    SupplyState,
    SwitchState,
    assess,
    assess_network,
    position_known,
    switch_states,
)

__all__ = [
    "UNKNOWN_ROW",
    "UNUSABLE_QUALITY",
    "ConnectionGraph",
    "Effect",
    "Known",
    "NetworkTopology",
    "NodeStates",
    "SupplyState",
    "SwitchState",
    "TopologyProcessor",
    "assess",
    "assess_network",
    "position_known",
    "switch_states",
]
