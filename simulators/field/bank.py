"""The bank: all field devices of a network, advanced together in simulation time.

Takes the state of the grid at an instant (``measure``), holds it, runs what the devices do in the following
milliseconds (``advance``), and hands over what they tell: samples, journal entries, closings, finished commands.
The currents of *other* switches change only with the next ``measure``, so whoever steps the bank measures anew at
every ``next_event_ms``. One object, arrays where all stations are treated alike, a device object only where
something happens. Not in here: the grid, the sockets and the co-simulation.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from enum import Enum
from typing import Protocol, TypeVar

import numpy as np

from simulators.field.bay import EARTH_FAULT_FUNCTION, Bay
from simulators.field.breaker import DriveFailure, Operation
from simulators.field.earthing import EARTHED, EarthingSwitches
from simulators.field.equipment import equip, switch_index
from simulators.field.fault_record import FAULT_RECORD, FaultRecords
from simulators.field.frequency_relay import FrequencyRelays
from simulators.field.indicator import IndicatorFailure
from simulators.field.kernel import DeviceKernel
from simulators.field.measurement import GridMeasurement
from simulators.field.plant import Plant
from simulators.field.regulation.bank import RegulationBank
from simulators.field.remote_terminal_unit import CommandRules, MeasurandScan
from twin.derive.settings import DeviceSettings
from twin.errors import Blame, TwinError
from twin.journal import JournalEntry
from twin.network.model import Bools, Floats, Network
from twin.outstations.model import StationCommand
from twin.points.model import DoublePosition, PointDefinition, PointKind, Sample
from twin.timebase import SimTime

__all__ = ["Derivation", "FieldBank", "GridMeasurement", "SnapshotMismatchError", "UnknownFailureError"]

F = TypeVar("F", bound=Enum)


class Derivation(Protocol):
    """What the bank needs of a telecontrolled network."""

    @property
    def devices(self) -> DeviceSettings: ...

    @property
    def points(self) -> Sequence[PointDefinition]: ...


class SnapshotMismatchError(TwinError):
    """A snapshot of another network, or of other devices, was given to this bank."""

    def __init__(self, network: str, found: str) -> None:
        self.network, self.found = network, found
        super().__init__(
            f"the snapshot of network {found} does not have the devices of network {network} and cannot be restored"
        )


class UnknownFailureError(TwinError):
    """A device is told to fail in a way it cannot."""

    blame = Blame.SCENARIO

    def __init__(self, device: str, failure: str, known: Sequence[str]) -> None:
        self.device, self.failure, self.known = device, failure, tuple(known)
        super().__init__(f"{device} cannot fail by {failure!r}, only by {', '.join(known)}")


class FieldBank:
    """All field devices of a network; the command handler behind every station.

    ``transducer_class`` is the largest ratio error of the measurand transducers in per cent (0.5 for class 0.5,
    IEC 61869); each transducer's own error is drawn once from ``seed``. 0 measures exactly.
    """

    def __init__(
        self, network: Network, derivation: Derivation, seed: int = 0, *, transducer_class: float = 0.0
    ) -> None:
        self.network = network
        earths = [p for p in derivation.points if EarthingSwitches.takes(network, p)]
        points = tuple(p for p in derivation.points if p not in earths) if earths else tuple(derivation.points)
        self._kernel = DeviceKernel()
        self._plant = Plant(network, points)
        self._record = self._plant.record
        self.earthing = EarthingSwitches(network, earths, self._record)
        self._energised = np.zeros(network.nodes.n, dtype=np.bool_)
        equipment = equip(network, derivation.devices)
        self._bays = [Bay(row, eq, self._kernel, self._plant) for row, eq in enumerate(equipment)]
        self._plant.attach(self._bays)
        self._awake = np.zeros(len(self._bays), dtype=np.bool_)
        self._pickup_a, self._indicator_a = _pickups(self._bays)
        self._earth_a = np.array([e.earth_fault.pickup_a if e.earth_fault else np.inf for e in equipment])
        self.regulation = RegulationBank(network, derivation.devices, points, self._kernel, self._record)
        bay_points = [point for point in points if not self.regulation.takes(point)]
        self._frequency = FrequencyRelays(
            network,
            derivation.devices.under_frequency,
            points,
            self._kernel,
            self._record,
            self._plant.closed,
            lambda row, now: self._bays[row].shed(now),
        )
        own = [point for point in bay_points if not self._frequency.takes(point)]
        recorded = [point for point in own if point.quantity in FAULT_RECORD]
        scanned = [p for p in own if p.kind is PointKind.MEASURAND and p.quantity not in FAULT_RECORD]
        random = np.random.default_rng(seed)
        error = random.uniform(-transducer_class, transducer_class, len(scanned))
        relay_error = random.uniform(-transducer_class, transducer_class, len(recorded))
        self._plant.records = FaultRecords(network, recorded, 1.0 + relay_error / 100.0, self._record)
        self._scan = MeasurandScan(network, scanned, 1.0 + error / 100.0)
        self._rules = CommandRules(network, bay_points, self._bays)
        self._regulated = {
            (point.station, point.name): point
            for point in points
            if point.kind.is_output and self.regulation.takes(point)
        }

    # what the plant is

    @property
    def now(self) -> SimTime:
        """How far the devices have been advanced."""
        return self._kernel.now

    @property
    def closed(self) -> Bools:
        """Whether the contacts of each switch conduct now: until the end of opening, from the end of closing."""
        return self._plant.closed.copy()

    @property
    def busy(self) -> bool:
        """A relay is picked up or a switch is moving."""
        if self._plant.moving.any():
            return True
        return any(self._bays[row].relay_active for row in np.flatnonzero(self._awake).tolist())

    def next_event_ms(self) -> SimTime:
        """The earliest pending device event; ``NEVER`` if the devices wait for the grid."""
        return self._kernel.next_due()

    def next_wanted_ms(self) -> SimTime:
        """When a new measurement is wanted although no device event is pending."""
        return self.regulation.next_wanted(self.now)

    # time

    def advance(self, to_ms: SimTime) -> None:
        """Run the device events in (now, ``to_ms``] with the present currents held; the past is left alone."""
        self._kernel.advance(to_ms)

    def measure(self, grid: GridMeasurement, now: SimTime) -> None:
        """The grid is in the state ``grid`` from ``now`` on: relays and indicators see it, measurands are scanned."""
        self._kernel.advance(now)
        held = self._plant.held
        held.take(grid, self._plant.closed)
        self._energised = grid.energised
        self.earthing.measure(grid.energised, self._plant.closed, now)
        seen_a = np.maximum(held.i_a, held.i_fault_a)
        wake = self._awake | (seen_a > self._pickup_a) | (held.i_fault_a > self._indicator_a)
        if held.has_residual:
            wake |= np.abs(held.residual_a) > self._earth_a
        for row in np.flatnonzero(wake).tolist():
            self._bays[row].measure(now)
            self._awake[row] = self._bays[row].awake(now)
        if self.regulation.senses:
            self.regulation.measure(grid.v_kv / self.network.nodes.v_nominal_kv, grid.generation_kw, now)
        self._frequency.measure(grid, now)
        self._kernel.advance(now)  # stages without delay
        self._record.samples += self._scan.scan(held.measurands, now)

    # commands

    def select(self, command: StationCommand, now: SimTime) -> str:
        """Check a command; returns the rule that refuses it, or an empty string."""
        self._kernel.advance(now)
        return self._check(command, "select", now)

    def operate(self, command: StationCommand, now: SimTime) -> str:
        """Check a command again and start it; returns the rule that refuses it, or an empty string."""
        self._kernel.advance(now)
        rule = self._check(command, "operate", now)
        if not rule and (point := self._regulated.get((command.station, command.point))):
            return self.regulation.operate(point, command, now)
        switch = self._rules.switch(command)
        if not rule and (arming := self._frequency.command(command)):
            self._frequency.operate(arming, command, now)
            return ""
        if rule or switch is None:
            return rule
        closing = command.value == DoublePosition.CLOSED
        return self._bays[switch].operate(closing, Operation("command", command.ticket), now)

    def cancel(self, command: StationCommand, now: SimTime) -> None:
        """The control room gives a selection back; a running operation is not stopped."""
        self._kernel.advance(now)
        self._record.write(
            "command_cancelled", command.station, {"point": command.point, "ticket": command.ticket}, now
        )

    # scenario

    def fail(self, switch: int | str, operation: str | None) -> None:
        """From now on the drive jams at ``open`` or ``close``; None repairs it.

        Raises:
            UnknownSwitchError, UnknownFailureError: there is no such switch or failure.
        """
        self._bay(switch).fail_drive(_failure(DriveFailure, switch, operation), self.now)

    def transducer_fails(self, point: str, reads: float | None) -> None:
        """From now on a measurand shows ``reads`` times what it measures; None: always what it shows now.

        Raises:
            UnmeasurablePointError: no transducer measures this point.
        """
        self._scan.fail(point, reads)

    def indicator_fails(self, switch: int | str, mode: str | None) -> None:
        """The indicator is ``silent``, ``false`` (indicates forward at once) or ``reversed``; None repairs it.

        Raises:
            UnknownSwitchError, UnknownFailureError: there is no such switch or failure.
        """
        row = switch_index(self.network, switch)
        self._bays[row].fail_indicator(_failure(IndicatorFailure, switch, mode), self.now)
        self._awake[row] = self._bays[row].awake(self.now)

    def set_local(self, switch: int | str, local: bool) -> None:
        """Put the bay under local control (remote commands are refused, auto-reclose is blocked), or back."""
        self._bay(switch).set_local(local, self.now)

    def force_operate(self, switch: int | str, closed: bool) -> str:
        """Operate by hand in the plant; returns the rule of switch or bay that forbids it, or an empty string."""
        if isinstance(switch, str) and self.earthing.named(switch):
            return self.earthing.operate(switch, closed, self._energised, self._plant.closed, self.now)
        if closed and self.earthing.blocks(switch_index(self.network, switch)):
            return EARTHED
        return self._bay(switch).operate(closed, Operation("local"), self.now)

    # what it tells

    def take_samples(self) -> list[Sample]:
        """The spontaneous samples since the last call, in order of time."""
        taken, self._record.samples = self._record.samples, []
        return taken

    def take_journal(self) -> list[JournalEntry]:
        """The journal entries since the last call, in order of time."""
        taken, self._record.journal = self._record.journal, []
        return taken

    def take_closings(self) -> list[tuple[int, SimTime]]:
        """Each switch (row, time) whose contacts closed since the last call."""
        taken, self._record.closings = self._record.closings, []
        return taken

    def take_finished(self) -> list[tuple[int, bool, SimTime]]:
        """Each operate command (ticket, success, time) that finished since the last call."""
        taken, self._record.finished = self._record.finished, []
        return taken

    def image(self) -> list[Sample]:
        """The present value of every input point, for an interrogation; indications first, then measurands."""
        devices = (self._plant, self.earthing, self._scan, self.regulation, self._frequency)
        return [sample for device in devices for sample in device.image()]

    # snapshot

    def snapshot(self) -> bytes:
        """The whole state as JSON; equal states give equal bytes."""
        state = {
            "network": self.network.name,
            "bays": {bay.name: bay.snapshot() for bay in self._bays},
            "kernel": self._kernel.snapshot(),
            "plant": self._plant.snapshot(),
            "earthing": self.earthing.snapshot(),
            "scan": self._scan.snapshot(),
            "regulation": self.regulation.snapshot(),
            "frequency": self._frequency.snapshot(),
            "awake": np.flatnonzero(self._awake).tolist(),
        }
        return json.dumps(state, separators=(",", ":"), allow_nan=False).encode()

    def restore(self, data: bytes) -> None:
        """Stand where ``data`` was taken, in a bank of the same network and settings.

        Raises:
            SnapshotMismatchError: the snapshot is of other devices.
        """
        state = json.loads(data)
        if state["network"] != self.network.name or list(state["bays"]) != [bay.name for bay in self._bays]:
            raise SnapshotMismatchError(self.network.name, state["network"])
        for bay in self._bays:
            bay.restore(state["bays"][bay.name])
        self._plant.restore(state["plant"])
        self.earthing.restore(state["earthing"])
        self._kernel.restore(state["kernel"])
        self._scan.restore(state["scan"])
        self.regulation.restore(state["regulation"])
        self._frequency.restore(state["frequency"])
        self._awake[:] = False
        self._awake[state["awake"]] = True

    def _bay(self, switch: int | str) -> Bay:
        return self._bays[switch_index(self.network, switch)]

    def _check(self, command: StationCommand, phase: str, now: SimTime) -> str:
        data = {"phase": phase, "point": command.point, "value": command.value, "ticket": command.ticket}
        self._record.write("command_received", command.station, data, now)
        rule = self._refusal(command, now)
        if rule:
            self._record.write("refused", command.station, {**data, "rule": rule}, now)
        return rule

    def _refusal(self, command: StationCommand, now: SimTime) -> str:
        if point := self._regulated.get((command.station, command.point)):
            return self.regulation.refusal(point, command.value, now)
        if arming := self._frequency.command(command):
            return self._frequency.refusal(arming, command.value)
        switch = self._rules.switch(command)
        if switch is not None and command.value == DoublePosition.CLOSED and self.earthing.blocks(switch):
            return EARTHED
        return self._rules.refusal(command)


def _pickups(bays: Sequence[Bay]) -> tuple[Floats, Floats]:
    """The lowest pickup current of each bay's relay and of its indicator, A; infinite without."""
    phase = [
        [stage.settings for stage in bay.stages if stage.settings.function != EARTH_FAULT_FUNCTION] for bay in bays
    ]
    relays = [min((stage.pickup_a for stage in stages), default=np.inf) for stages in phase]
    indicators = [bay.indicator.settings.pickup_a if bay.indicator else np.inf for bay in bays]
    return np.array(relays), np.array(indicators)


def _failure(kind: type[F], device: int | str, failure: str | None) -> F | None:
    if failure is None:
        return None
    known = {str(member.value): member for member in kind}
    if failure not in known:
        raise UnknownFailureError(str(device), failure, tuple(known))
    return known[failure]
