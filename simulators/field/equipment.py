"""What stands in each bay: from derived device settings to the equipment of every switch of a network.

Not in here: choosing settings (``twin.derive``) and behaviour (the devices).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar

from simulators.field.bay import BayEquipment
from simulators.field.breaker import Drive
from simulators.field.overcurrent import StageSettings, stages_of
from twin.derive.settings import BreakerSettings, DeviceSettings, LoadBreakSwitchSettings, RelaySettings
from twin.errors import Blame, TwinError
from twin.network.model import EquipmentKind, Network, SwitchKind

T = TypeVar("T")


class UnknownSwitchError(TwinError):
    """Something refers to a switch that the network does not have."""

    blame = Blame.SCENARIO

    def __init__(self, network: str, switch: str) -> None:
        self.network, self.switch = network, switch
        super().__init__(f"network {network} has no switch named {switch}")


def switch_index(network: Network, switch: int | str) -> int:
    """Row of a switch given by name or row.

    Raises:
        UnknownSwitchError: there is no such switch.
    """
    if isinstance(switch, str):
        found = network.find(switch)
        if found is None or found.kind is not EquipmentKind.SWITCH:
            raise UnknownSwitchError(network.name, switch)
        return found.index
    if not 0 <= switch < network.switches.n:
        raise UnknownSwitchError(network.name, str(switch))
    return int(switch)


def equip(network: Network, devices: DeviceSettings) -> list[BayEquipment]:
    """The equipment of every switch, in the order of the network's switches.

    A switch without settings of its own gets the drive that the settings' defaults describe.

    Raises:
        UnknownSwitchError: settings name a switch that is not there.
    """
    relays = _by_switch(network, devices.relays, [r.breaker for r in devices.relays])
    reclosers = _by_switch(network, devices.reclosers, [r.breaker for r in devices.reclosers])
    breakers = _by_switch(network, devices.breakers, [b.switch for b in devices.breakers])
    load_break = _by_switch(network, devices.load_break_switches, [s.switch for s in devices.load_break_switches])
    indicators = _by_switch(network, devices.indicators, [i.switch for i in devices.indicators])
    earth_faults = _by_switch(network, devices.earth_faults, [e.switch for e in devices.earth_faults])
    switches = network.switches
    return [
        BayEquipment(
            name=name,
            kind=SwitchKind(switches.kind[row]),
            drive=_drive(SwitchKind(switches.kind[row]), breakers.get(row), load_break.get(row), name),
            closed=bool(switches.normally_closed[row]),
            stages=_stages(relays.get(row)),
            recloser=reclosers.get(row),
            indicator=indicators.get(row),
            earth_fault=earth_faults.get(row),
        )
        for row, name in enumerate(switches.names)
    ]


def _by_switch(network: Network, settings: Sequence[T], names: Iterable[str]) -> dict[int, T]:
    return {switch_index(network, name): item for name, item in zip(names, settings, strict=True)}


def _stages(relay: RelaySettings | None) -> tuple[StageSettings, ...]:
    return stages_of(relay) if relay is not None else ()


def _drive(
    kind: SwitchKind, breaker: BreakerSettings | None, load_break: LoadBreakSwitchSettings | None, name: str
) -> Drive:
    if breaker is None and load_break is None and kind is SwitchKind.BREAKER:
        breaker = BreakerSettings(switch=name)
    if breaker is not None:
        return Drive(breaker.open_ms, breaker.close_ms, breaker.stored_sequence, breaker.spring_charge_ms)
    motor = load_break or LoadBreakSwitchSettings(switch=name)
    return Drive(motor.open_ms, motor.close_ms)
