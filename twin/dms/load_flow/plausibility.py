"""Which meters can be believed: what a zone takes has to be possible for the consumers in it.

A meter that cannot be right makes two zones implausible, its own and the one upstream. Of the meters concerned, the one
is dropped without which the fewest zones are implausible.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from twin.dms.load_flow.allocation import own_parts
from twin.dms.load_flow.model import RefusedMeter
from twin.dms.load_flow.settings import LoadFlowSettings
from twin.dms.load_flow.zones import MeterZones, meter_zones
from twin.network.model import Bools, Floats, Ints
from twin.network.topology import Topology, TopologyState

_LOSSES = 0.1
"""Losses and charging in a zone are below this part of what the meter reads."""


@dataclass(frozen=True)
class Believed:
    """The zones of the meters that are believed, and the others with the reason."""

    zones: MeterZones
    refused: tuple[RefusedMeter, ...]


@dataclass(frozen=True)
class Plausibility:
    """Judges the meters of one image. ``rated_kva`` by node; ``net_kw`` is expected generation by node."""

    topology: Topology
    state: TopologyState
    p_kw: Floats
    rated_kva: Floats
    net_kw: Floats
    settings: LoadFlowSettings

    def believe(self, metered: Bools) -> Believed:
        """Drop meters until every zone is possible."""
        metered = metered.copy()
        refused: list[RefusedMeter] = []
        zones = self._dividing(metered)
        while (wrong := self._implausible(zones)).size:
            drop = self._culprit(zones, int(wrong[0]), metered)
            refused.append(self._refusal(zones, drop))
            metered[zones.switch[drop]] = False
            zones = self._dividing(metered)
        return Believed(zones, tuple(refused))

    def _dividing(self, metered: Bools) -> MeterZones:
        """The zones with consumers: of meters with none between, those that read P and Q are kept."""
        kept = metered.copy()
        while True:
            zones = meter_zones(self.topology, self.state, kept)
            here = zones.node >= 0
            rated = np.bincount(zones.node[here], self.rated_kva[here], minlength=zones.n)
            empty = np.flatnonzero(rated == 0)
            if not empty.size:
                return zones
            power = np.isfinite(self.p_kw[zones.switch])
            worse = np.flatnonzero((zones.parent >= 0) & ~power)
            worse_child = np.full(zones.n, -1, dtype=np.int32)
            worse_child[zones.parent[worse]] = worse
            better = power[empty] & (worse_child[empty] >= 0)
            drop = np.append(empty[~better], worse_child[empty[better]])
            kept[zones.switch[drop]] = False

    def _taken(self, zones: MeterZones) -> tuple[Floats, Floats, Floats]:
        """What each zone takes by its meters, NaN where a current alone does not say; its least and its most."""
        reading = self.p_kw[zones.switch] * zones.sign
        here = zones.node >= 0
        rated = np.bincount(zones.node[here], self.rated_kva[here], minlength=zones.n)
        fed_in = np.bincount(zones.node[here], self.net_kw[here], minlength=zones.n)
        taken = own_parts(zones.parent, reading) + fed_in
        room = self.settings.slack_kw + _LOSSES * np.abs(reading)
        return taken, -room, self.settings.max_factor * rated + room

    def _implausible(self, zones: MeterZones) -> Ints:
        taken, least, most = self._taken(zones)
        return np.flatnonzero((taken < least) | (taken > most)).astype(np.int32)

    def _culprit(self, zones: MeterZones, meter: int, metered: Bools) -> int:
        concerned = [meter, *np.flatnonzero(zones.parent == meter).tolist()]
        if zones.parent[meter] >= 0:
            concerned.append(int(zones.parent[meter]))

        def left(index: int) -> int:
            without = metered.copy()
            without[zones.switch[index]] = False
            return int(self._implausible(self._dividing(without)).size)

        return min(concerned, key=left)

    def _refusal(self, zones: MeterZones, meter: int) -> RefusedMeter:
        taken, _, most = self._taken(zones)
        switch = int(zones.switch[meter])
        name = self.topology.network.switches.names[switch]
        reading = float(self.p_kw[switch])
        why = (
            f"{name} reads {reading:.0f} kW, which would leave {taken[meter]:.0f} kW for consumers who take between "
            f"0 and {most[meter]:.0f} kW; it is not believed, and the meter before it answers for them."
        )
        return RefusedMeter(switch, name, why)
