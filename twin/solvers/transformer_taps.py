"""What taps do to the windings of balanced transformers: their voltages, and the phase shift between them.

A tap adds a voltage to that of its winding, in phase with it (ratio) or at an angle (phase shifter). Not for three
phases, and not for short circuits, which neglect taps.
"""

from __future__ import annotations

import numpy as np

from twin.network.model import Bools, Floats, Ints, Network, PowerTransformers


def windings(t: PowerTransformers, tap_position: Ints) -> tuple[Floats, Floats, Floats]:
    """Rated voltages of the windings (kV) and by how much the low side lags (rad), at these taps."""
    added = (tap_position - t.tap_neutral) * t.tap_step_percent / 100
    angle = np.radians(t.tap_angle_deg)
    along, across = 1 + added * np.cos(angle), np.where(t.tap_angle_deg == 0, 0.0, added * np.sin(angle))
    turns, ahead = np.hypot(along, across), np.arctan2(across, along)
    at_from = t.tap_side == 0
    shift_rad = np.radians(t.shift_deg) + np.where(at_from, ahead, -ahead)
    return t.v_from_kv * np.where(at_from, turns, 1.0), t.v_to_kv * np.where(at_from, 1.0, turns), shift_rad


def off_the_clock(network: Network) -> Bools:
    """By transformer, whether its phase shift is, or can become, another than that of a clock number."""
    t = network.transformers
    hours = t.shift_deg / 30
    shifting = (t.tap_angle_deg != 0) & (t.tap_step_percent != 0)
    return np.asarray((np.abs(hours - np.round(hours)) > 1e-6) | shifting, dtype=np.bool_)
