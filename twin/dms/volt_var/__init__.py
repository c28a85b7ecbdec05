"""Volt-VAR control: tap changers, capacitor banks and inverters set by power flow."""

from twin.dms.volt_var.application import APPLICATION, VoltVarObservation, VoltVarResult, make_plan
from twin.dms.volt_var.controls import (
    Control,
    ControlKind,
    Inputs,
    UnknownControlError,
    capacitor,
    inverter,
    tap_changer,
)
from twin.dms.volt_var.followers import Followers, NotSettledError
from twin.dms.volt_var.settings import Objective, VoltVarSettings

__all__ = [
    "APPLICATION",
    "Control",
    "ControlKind",
    "Followers",
    "Inputs",
    "NotSettledError",
    "Objective",
    "UnknownControlError",
    "VoltVarObservation",
    "VoltVarResult",
    "VoltVarSettings",
    "capacitor",
    "inverter",
    "make_plan",
    "tap_changer",
]
