"""Under-frequency relays at feeder heads, where they are asked for: their settings and their points.

Addresses in a bay's slot ``s`` (see ``twin.derive.points``):

    3000 + 10 s + 3  f_hz        2000 + 10 s + 7  ufls_trip
    9000 + 10 s + k  ufls_armed_k                 6000 + 10 s + k  arm_ufls_k        k = 1 for the first stage
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from twin.derive.options import DeriveOptions
from twin.derive.settings import Station, UnderFrequencyRelaySettings, UnderFrequencyStage
from twin.network.model import Network
from twin.points.model import PointAddress, PointDefinition, PointKind
from twin.points.pointmap import TYPE_IDS

FREQUENCY_DEAD_BAND_HZ = 0.02
_SLOT, _SLOTS, _PAGE = 10, 100, 10_000


def under_frequency_relays(network: Network, options: DeriveOptions) -> tuple[UnderFrequencyRelaySettings, ...]:
    """One relay a feeder head with every stage of the table; none without a table."""
    if not options.under_frequency_stages_hz:
        return ()
    stages = tuple(
        UnderFrequencyStage(level_hz=level, delay_ms=options.under_frequency_delay_ms)
        for level in options.under_frequency_stages_hz
    )
    heads = np.flatnonzero(network.switches.feeder_head).tolist()
    armed = [(1 + turn % len(stages),) if options.under_frequency_armed else () for turn in range(len(heads))]
    names = network.switches.names
    return tuple(
        UnderFrequencyRelaySettings(breaker=names[head], stages=stages, armed=turn)
        for head, turn in zip(heads, armed, strict=True)
    )


def under_frequency_points(
    station: Station, slot: int, switch: str, *, is_head: bool, options: DeriveOptions
) -> Iterator[PointDefinition]:
    """The points of the relay of one bay: frequency, trip, and for each stage its arming and whether it is armed."""
    stages = len(options.under_frequency_stages_hz)
    if not (is_head and stages):
        return
    page, place = divmod(slot, _SLOTS)

    def point(kind: PointKind, base: int, quantity: str, **more: object) -> PointDefinition:
        address = PointAddress(station.common_address, base + page * _PAGE + place * _SLOT, TYPE_IDS[kind][0])
        name = f"{switch}.{quantity}"
        return PointDefinition(station.name, name, kind, switch, quantity, address, **more)  # type: ignore[arg-type]

    yield point(PointKind.MEASURAND, 3003, "f_hz", unit="Hz", dead_band=FREQUENCY_DEAD_BAND_HZ)
    yield point(PointKind.SINGLE, 2007, "ufls_trip")
    for k in range(1, stages + 1):
        armed = f"ufls_armed_{k}"
        yield point(PointKind.SINGLE, 9000 + k, armed)
        yield point(PointKind.SINGLE_COMMAND, 6000 + k, f"arm_ufls_{k}", feedback=f"{switch}.{armed}")
