"""Settings of the field devices of a network, by rules a protection engineer would recognise.

Feeder relay: the low stage picks up at 1.2 x the rating of the feeder's first line; its time multiplier makes it
operate in 0.4 s for a fault at its busbar (within 20 x pickup, where the curve ends), so that it
stays below the usual 0.8 s to 1 s of the infeed. The high stage picks up at half the busbar's fault level, but at
4 x the low stage at least, above the inrush of the feeder's transformers, and waits 100 ms for a
transient to pass; where the fault level is unknown it picks up at 8 x the low stage.

A feeder recloses if more than half of its line length in normal operation is overhead: most faults
there are transient, those of a cable are not.
"""

from __future__ import annotations

import math

import numpy as np

from twin.derive.earth_fault import earth_fault_devices
from twin.derive.options import DeriveOptions
from twin.derive.points import legible
from twin.derive.ratings import fault_level_a, switch_rating_a
from twin.derive.regulation import capacitor_banks, controlled_units, tap_changers
from twin.derive.settings import (
    CURVE_RANGE,
    BreakerSettings,
    CapacitorBankSettings,
    Curve,
    DeviceSettings,
    IndicatorSettings,
    InverterSettings,
    LoadBreakSwitchSettings,
    RecloserSettings,
    RelaySettings,
    TapChangerSettings,
    curve_time_ms,
)
from twin.derive.under_frequency import under_frequency_relays
from twin.network.model import Network, SwitchKind
from twin.network.topology import Topology, TopologyState

_HIGH_STAGE_SHARE = 0.5
_HIGH_STAGE_FLOOR = 4.0
_HIGH_STAGE_BLIND = 8.0
_TIME_MULTIPLIER_RANGE = (0.05, 1.0)


def derive_devices(network: Network, options: DeriveOptions) -> DeviceSettings:
    """Settings for every relay, recloser, breaker, load break switch and fault passage indicator."""
    topology = Topology(network)
    state = topology.state(network.switches.normally_closed)
    s = network.switches
    heads = [int(i) for i in np.flatnonzero(s.feeder_head)]
    breakers = np.flatnonzero(s.kind == SwitchKind.BREAKER)
    motor_driven = np.flatnonzero((s.kind == SwitchKind.LOAD_BREAK_SWITCH) | (s.kind == SwitchKind.DISCONNECTOR))
    at_lines = np.flatnonzero((s.branch >= 0) & (s.branch < network.lines.n))
    reclosing = [h for h in heads if overhead_share(topology, state, h) > options.overhead_share_for_reclosing]
    return DeviceSettings(
        relays=tuple(_relay(topology, state, head, options) for head in heads),
        reclosers=tuple(RecloserSettings(breaker=s.names[head]) for head in reclosing),
        breakers=tuple(BreakerSettings(switch=s.names[i]) for i in breakers),
        load_break_switches=tuple(LoadBreakSwitchSettings(switch=s.names[i]) for i in motor_driven),
        indicators=tuple(_indicator(network, int(i), options) for i in at_lines if s.kind[i] != SwitchKind.FUSE),
        tap_changers=tuple(
            TapChangerSettings(transformer=name, automatic=options.regulators) for name in tap_changers(network)
        ),
        capacitor_banks=tuple(CapacitorBankSettings(bank=name) for name in capacitor_banks(network)),
        inverters=tuple(
            InverterSettings(unit=name, curve=options.inverter_curve) for name in controlled_units(network, options)
        ),
        under_frequency=under_frequency_relays(network, options),
        earth_faults=earth_fault_devices(network),
    )


def overhead_share(topology: Topology, state: TopologyState, feeder_head: int) -> float:
    """The share of overhead line in the line length fed through a feeder head (its own line if it is open)."""
    lines = topology.network.lines
    fed = topology.downstream_of_switch(state, feeder_head).branches[: lines.n].copy()
    fed[topology.network.switches.branch[feeder_head]] = True
    length_km = lines.length_km[fed]
    return float(length_km[lines.overhead[fed]].sum() / max(length_km.sum(), 1e-9))


def _relay(topology: Topology, state: TopologyState, head: int, options: DeriveOptions) -> RelaySettings:
    network = topology.network
    pickup_a = legible(options.relay_pickup_factor * switch_rating_a(network, head, options))
    level_a = fault_level_a(topology, state, int(network.switches.node[head]))
    return RelaySettings(
        breaker=network.switches.names[head],
        curve=options.relay_curve,
        pickup_a=pickup_a,
        time_multiplier=_time_multiplier(options, level_a / pickup_a),
        delay_ms=options.relay_target_ms,
        high_pickup_a=legible(_high_pickup_a(pickup_a, level_a)),
    )


def _high_pickup_a(pickup_a: float, level_a: float) -> float:
    if math.isnan(level_a):
        return _HIGH_STAGE_BLIND * pickup_a
    return max(_HIGH_STAGE_FLOOR * pickup_a, _HIGH_STAGE_SHARE * level_a)


def _time_multiplier(options: DeriveOptions, multiple: float) -> float:
    """The multiplier that gives the target time at ``multiple`` of the pickup (NaN: where the curve ends)."""
    low, high = _TIME_MULTIPLIER_RANGE
    if options.relay_curve is Curve.DEFINITE_TIME:
        return high
    within = CURVE_RANGE if math.isnan(multiple) else min(max(multiple, 2.0), CURVE_RANGE)
    wanted = options.relay_target_ms / curve_time_ms(options.relay_curve, within)
    return round(min(max(wanted, low), high), 2)


def _indicator(network: Network, switch: int, options: DeriveOptions) -> IndicatorSettings:
    rating_a = switch_rating_a(network, switch, options)
    return IndicatorSettings(
        switch=network.switches.names[switch], pickup_a=legible(options.indicator_pickup_factor * rating_a)
    )
