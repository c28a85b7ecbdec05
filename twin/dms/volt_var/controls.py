"""The devices that Volt-VAR control may set, each with the levels it can take.

A setting of all devices is a tuple of level numbers. Not for choosing one: ``search`` does.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np

from twin.errors import TwinError
from twin.network.model import Floats, Ints, Network

Setting = tuple[int, ...]
"""The number of the chosen level of each control."""


class ControlKind(Enum):
    """What a control acts on."""

    TAP_CHANGER = "tap changer"
    CAPACITOR = "capacitor"
    INVERTER = "inverter"


class UnknownControlError(TwinError):
    """A control refers to equipment that cannot be controlled."""

    def __init__(self, equipment: str) -> None:
        self.equipment = equipment
        super().__init__(f"{equipment} has no tap changer, no capacitor steps and no inverter that could be set")


@dataclass(frozen=True, slots=True)
class Control:
    """One device: row ``row`` of its table takes one of ``levels`` (tap, steps in, or kvar), ascending.

    ``present`` is the number of its level now. ``operations_left`` bounds how many levels it may still move today;
    ``why_fixed`` says why it must not be moved at all, empty if it may. Inverter settings cost no operations.
    """

    name: str
    kind: ControlKind
    row: int
    levels: tuple[float, ...]
    present: int
    operations_left: int = 1_000_000
    why_fixed: str = ""

    @property
    def value(self) -> float:
        """The present tap, steps or kvar."""
        return self.levels[self.present]

    @property
    def wears(self) -> bool:
        """True if every level moved is an operation of a mechanism."""
        return self.kind is not ControlKind.INVERTER

    def allowed(self) -> range:
        """The numbers of the levels that it may be set to."""
        if self.why_fixed:
            return range(self.present, self.present + 1)
        reach = self.operations_left if self.wears else len(self.levels)
        return range(max(0, self.present - reach), min(len(self.levels), self.present + reach + 1))

    def operations(self, level: int) -> int:
        """Operations that it takes to get to ``level``."""
        return abs(level - self.present) if self.wears else 0


def present_setting(controls: Sequence[Control]) -> Setting:
    """The levels all controls have now."""
    return tuple(control.present for control in controls)


def operations(controls: Sequence[Control], setting: Setting) -> int:
    """Operations from the present levels to ``setting``."""
    return sum(control.operations(level) for control, level in zip(controls, setting, strict=True))


def tap_changer(network: Network, name: str, position: int, **limits: int | str) -> Control:
    """The tap changer of a transformer.

    Raises:
        UnknownControlError: there is no such transformer, or its ratio is fixed.
    """
    row = _row(network.transformers.names, name)
    lowest, highest = int(network.transformers.tap_min[row]), int(network.transformers.tap_max[row])
    if lowest >= highest or network.transformers.tap_step_percent[row] == 0.0:
        raise UnknownControlError(name)
    levels = tuple(float(tap) for tap in range(lowest, highest + 1))
    return Control(name, ControlKind.TAP_CHANGER, row, levels, position - lowest, **limits)  # type: ignore[arg-type]


def capacitor(network: Network, name: str, steps_in: int, **limits: int | str) -> Control:
    """A switched capacitor (or reactor) bank.

    Raises:
        UnknownControlError: there is no such bank.
    """
    row = _row(network.shunts.names, name)
    levels = tuple(float(step) for step in range(int(network.shunts.steps[row]) + 1))
    return Control(name, ControlKind.CAPACITOR, row, levels, steps_in, **limits)  # type: ignore[arg-type]


def inverter(
    network: Network, name: str, p_kw: float, q_kvar: float, *, levels: int = 9, why_fixed: str = ""
) -> Control:
    """Reactive power of a converter that feeds ``p_kw`` now, in ``levels`` equal parts of what its rating leaves.

    The present reactive power (positive as generation) becomes a level of its own, so that leaving it costs nothing.

    Raises:
        UnknownControlError: there is no such unit, or it has no rating.
    """
    row = _row(network.generators.names, name)
    s_kva = float(network.generators.s_kva[row])
    if not s_kva > 0.0:
        raise UnknownControlError(name)
    most = float(np.sqrt(max(s_kva**2 - p_kw**2, 0.0)))
    values = sorted({round(q, 3) for q in np.linspace(-most, most, levels).tolist()} | {round(q_kvar, 3)})
    present = values.index(round(q_kvar, 3))
    return Control(name, ControlKind.INVERTER, row, tuple(values), present, why_fixed=why_fixed)


def _row(names: tuple[str, ...], name: str) -> int:
    if name not in names:
        raise UnknownControlError(name)
    return names.index(name)


@dataclass(frozen=True, slots=True)
class Inputs:
    """A setting as a power flow takes it."""

    tap_position: Ints
    shunt_steps: Ints
    generation_kvar: Floats


class SettingWriter:
    """Turns settings into the arrays of a power flow; what no control sets stays as given."""

    def __init__(self, controls: Sequence[Control], base: Inputs) -> None:
        self._controls = controls
        self._base = base

    def write(self, setting: Setting) -> Inputs:
        """The arrays of ``setting``."""
        base = self._base
        inputs = Inputs(base.tap_position.copy(), base.shunt_steps.copy(), base.generation_kvar.copy())
        for control, value in self._values(setting):
            if control.kind is ControlKind.TAP_CHANGER:
                inputs.tap_position[control.row] = int(value)
            elif control.kind is ControlKind.CAPACITOR:
                inputs.shunt_steps[control.row] = int(value)
            else:
                inputs.generation_kvar[control.row] = value
        return inputs

    def _values(self, setting: Setting) -> Iterator[tuple[Control, float]]:
        for control, level in zip(self._controls, setting, strict=True):
            yield control, control.levels[level]
