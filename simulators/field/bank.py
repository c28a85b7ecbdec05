"""The bank: all field devices of a network, advanced together in simulation time.

Takes the state of the grid at an instant (``measure``), holds it, runs what the devices do in the following
milliseconds (``advance``), and hands over what they tell: samples, journal entries, closings, finished commands.
One object, arrays where all stations are treated alike, a device object only where something happens.
Not in here: the grid, the sockets and the co-simulation.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from simulators.field.bay import INDICATIONS, Bay, BayMeasurement
from simulators.field.breaker import Operation
from simulators.field.equipment import equip, switch_index
from simulators.field.indicator import IndicatorFailure
from simulators.field.kernel import DeviceKernel
from simulators.field.remote_terminal_unit import CommandRules, MeasurandScan, switch_row
from twin.derive.settings import DeviceSettings
from twin.errors import TwinError
from twin.journal import JournalEntry
from twin.network.model import Bools, Floats, Network
from twin.outstations.model import StationCommand
from twin.points.model import DoublePosition, PointDefinition, PointKind, Quality, Sample
from twin.timebase import SimTime

HEALTHY_V_PU = 0.8
"""From this voltage on a cable counts as healthy for its fault passage indicator."""

SOURCE = "field"
"""The name under which the field devices write the journal."""


@dataclass(frozen=True, slots=True)
class GridMeasurement:
    """The grid at an instant. Node arrays: ``v_kv``, ``energised``; the others have one entry a switch.

    Load quantities count positive from the switch's node into its branch. ``i_fault_a`` is 0 where no fault
    current flows; ``fault_into_branch`` is its direction and meaningless where it is 0.
    """

    v_kv: Floats
    energised: Bools
    i_a: Floats
    p_kw: Floats
    q_kvar: Floats
    i_fault_a: Floats
    fault_into_branch: Bools


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
        super().__init__(f"the snapshot is of {found}, it cannot be restored into the field devices of {network}")


@dataclass
class _Told:
    """What the devices told since it was last taken."""

    samples: list[Sample]
    journal: list[JournalEntry]
    closings: list[tuple[int, SimTime]]
    finished: list[tuple[int, bool, SimTime]]


class FieldBank:
    """All field devices of a network; the command handler behind every station.

    ``transducer_class`` is the largest ratio error of the measurand transducers in per cent (0.5 for class 0.5,
    IEC 61869); each transducer's own error is drawn once from ``seed``. 0 measures exactly.
    """

    def __init__(
        self, network: Network, derivation: Derivation, seed: int = 0, *, transducer_class: float = 0.0
    ) -> None:
        self.network = network
        self._kernel = DeviceKernel()
        self._told = _Told([], [], [], [])
        self._held = _Held(network)
        self._bays = [Bay(row, eq, self._kernel, self) for row, eq in enumerate(equip(network, derivation.devices))]
        self._index_bays()
        points = tuple(derivation.points)
        scanned = [point for point in points if point.kind is PointKind.MEASURAND]
        error = np.random.default_rng(seed).uniform(-transducer_class, transducer_class, len(scanned))
        self._scan = MeasurandScan(network, scanned, 1.0 + error / 100.0)
        self._rules = CommandRules(network, points, self._bays)
        self._indications = {
            (switch_row(network, point), point.quantity): point
            for point in points
            if not point.kind.is_output and point.quantity in INDICATIONS
        }
        self._changed_ms = dict.fromkeys(self._indications, 0)

    def _index_bays(self) -> None:
        """Set up the arrays that tell which bays have to look at a measurement."""
        bays = self._bays
        self._pickup_a = np.array([min((s.settings.pickup_a for s in b.stages), default=np.inf) for b in bays])
        self._indicator_a = np.array([b.indicator.settings.pickup_a if b.indicator else np.inf for b in bays])
        self._awake = np.zeros(len(bays), dtype=np.bool_)
        self._closed = np.array([bay.switchgear.conducting for bay in bays], dtype=np.bool_)
        self._moving = np.array([bay.switchgear.moving for bay in bays], dtype=np.bool_)

    # what the plant is

    @property
    def now(self) -> SimTime:
        """How far the devices have been advanced."""
        return self._kernel.now

    @property
    def closed(self) -> Bools:
        """Whether the contacts of each switch conduct now: until the end of opening, from the end of closing."""
        return self._closed.copy()

    @property
    def busy(self) -> bool:
        """A relay is picked up or a switch is moving."""
        if self._moving.any():
            return True
        return any(self._bays[row].relay_active for row in np.flatnonzero(self._awake).tolist())

    def next_event_ms(self) -> SimTime:
        """The earliest pending device event; ``NEVER`` if the devices wait for the grid."""
        return self._kernel.next_due()

    # time

    def advance(self, to_ms: SimTime) -> None:
        """Run the device events in (now, ``to_ms``] with the present currents held; the past is left alone."""
        self._kernel.advance(to_ms)

    def measure(self, grid: GridMeasurement, now: SimTime) -> None:
        """The grid is in the state ``grid`` from ``now`` on: relays and indicators see it, measurands are scanned."""
        self._kernel.advance(now)
        held = self._held
        held.take(grid, self._closed)
        seen_a = np.maximum(held.i_a, held.i_fault_a)
        wake = self._awake | (seen_a > self._pickup_a) | (held.i_fault_a > self._indicator_a)
        for row in np.flatnonzero(wake).tolist():
            self._bays[row].measure(now)
            self._awake[row] = self._bays[row].awake(now)
        self._kernel.advance(now)  # stages without delay
        self._told.samples += self._scan.scan(held.measurands, now)

    # commands

    def select(self, command: StationCommand, now: SimTime) -> str:
        """Check a command; returns the rule that refuses it, or an empty string."""
        self._kernel.advance(now)
        return self._check(command, "select", now)

    def operate(self, command: StationCommand, now: SimTime) -> str:
        """Check a command again and start it; returns the rule that refuses it, or an empty string."""
        self._kernel.advance(now)
        rule = self._check(command, "operate", now)
        switch = self._rules.switch(command)
        if rule or switch is None:
            return rule
        closing = command.value == DoublePosition.CLOSED
        return self._bays[switch].operate(closing, Operation("command", command.ticket), now)

    def cancel(self, command: StationCommand, now: SimTime) -> None:
        """The control room gives a selection back; a running operation is not stopped."""
        self._kernel.advance(now)
        self._write("command_cancelled", command.station, {"point": command.point, "ticket": command.ticket}, now)

    # scenario

    def fail(self, switch: int | str, operation: str | None) -> None:
        """From now on the drive jams at ``open`` or ``close``; None repairs it."""
        self._bay(switch).fail_drive(operation, self.now)

    def indicator_fails(self, switch: int | str, mode: str | None) -> None:
        """The indicator is ``silent``, ``false`` (indicates forward at once) or ``reversed``; None repairs it."""
        row = switch_index(self.network, switch)
        self._bays[row].fail_indicator(None if mode is None else IndicatorFailure(mode), self.now)
        self._awake[row] = self._bays[row].awake(self.now)

    def set_local(self, switch: int | str, local: bool) -> None:
        """Put the bay under local control (remote commands are refused, auto-reclose is blocked), or back."""
        self._bay(switch).set_local(local, self.now)

    def force_operate(self, switch: int | str, closed: bool) -> str:
        """Operate by hand in the plant; returns the switch's own rule that forbids it, or an empty string."""
        return self._bay(switch).operate(closed, Operation("local"), self.now)

    # what it tells

    def take_samples(self) -> list[Sample]:
        """The spontaneous samples since the last call, in order of time."""
        taken, self._told.samples = self._told.samples, []
        return taken

    def take_journal(self) -> list[JournalEntry]:
        """The journal entries since the last call, in order of time."""
        taken, self._told.journal = self._told.journal, []
        return taken

    def take_closings(self) -> list[tuple[int, SimTime]]:
        """Each switch (row, time) whose contacts closed since the last call."""
        taken, self._told.closings = self._told.closings, []
        return taken

    def take_finished(self) -> list[tuple[int, bool, SimTime]]:
        """Each operate command (ticket, success, time) that finished since the last call."""
        taken, self._told.finished = self._told.finished, []
        return taken

    def image(self) -> list[Sample]:
        """The present value of every input point, for an interrogation; indications first, then measurands."""
        states = [bay.indications() for bay in self._bays]
        return [
            self._sample(point, states[row][quantity], self._changed_ms[row, quantity], spontaneous=False)
            for (row, quantity), point in self._indications.items()
        ] + self._scan.image()

    # snapshot

    def snapshot(self) -> bytes:
        """The whole state as JSON; equal states give equal bytes."""
        told = self._told
        state = {
            "network": self.network.name,
            "bays": {bay.name: bay.snapshot() for bay in self._bays},
            "kernel": self._kernel.snapshot(),
            "held": self._held.snapshot(),
            "scan": self._scan.snapshot(),
            "awake": np.flatnonzero(self._awake).tolist(),
            "changed_ms": list(self._changed_ms.values()),
            "samples": [_sample_row(sample) for sample in told.samples],
            "journal": [[e.t_ms, e.source, e.kind, e.subject, dict(e.data)] for e in told.journal],
            "closings": told.closings,
            "finished": told.finished,
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
        self._index_bays()
        self._awake[state["awake"]] = True
        self._kernel.restore(state["kernel"])
        self._held.restore(state["held"])
        self._scan.restore(state["scan"])
        self._changed_ms = dict(zip(self._changed_ms, state["changed_ms"], strict=True))
        self._told = _Told(
            [_sample_from_row(row) for row in state["samples"]],
            [JournalEntry(*row) for row in state["journal"]],
            [(row, t_ms) for row, t_ms in state["closings"]],
            [(ticket, success, t_ms) for ticket, success, t_ms in state["finished"]],
        )

    # what the bays report

    def measured(self, switch: int) -> BayMeasurement:
        """What the transducers of a bay see now."""
        return self._held.bay(switch)

    def contacts_changed(self, switch: int, now: SimTime) -> None:
        """A drive started or came to rest."""
        gear = self._bays[switch].switchgear
        self._moving[switch] = gear.moving
        if self._closed[switch] == gear.conducting:
            return
        self._closed[switch] = gear.conducting
        self._held.interrupt(switch)
        if gear.conducting:
            self._told.closings.append((switch, now))

    def indication(self, switch: int, quantity: str, value: int, now: SimTime) -> None:
        """An indication of a bay changed."""
        point = self._indications.get((switch, quantity))
        if point is not None:
            self._changed_ms[switch, quantity] = now
            self._told.samples.append(self._sample(point, value, now, spontaneous=True))

    def journal(self, switch: int, kind: str, data: Mapping[str, Any], now: SimTime) -> None:
        """Something happened in a bay."""
        self._write(kind, self._bays[switch].name, data, now)

    def finished(self, ticket: int, success: bool, now: SimTime) -> None:
        """A command's operation came to its end."""
        self._told.finished.append((ticket, success, now))

    def _bay(self, switch: int | str) -> Bay:
        return self._bays[switch_index(self.network, switch)]

    def _check(self, command: StationCommand, phase: str, now: SimTime) -> str:
        data = {"phase": phase, "point": command.point, "value": command.value, "ticket": command.ticket}
        self._write("command_received", command.station, data, now)
        rule = self._rules.refusal(command)
        if rule:
            self._write("refused", command.station, {**data, "rule": rule}, now)
        return rule

    def _write(self, kind: str, subject: str, data: Mapping[str, Any], now: SimTime) -> None:
        self._told.journal.append(JournalEntry(now, SOURCE, kind, subject, data))

    def _sample(self, point: PointDefinition, value: int, t_ms: SimTime, *, spontaneous: bool) -> Sample:
        return Sample(point.station, point.name, float(value), Quality.GOOD, t_ms, spontaneous)


class _Held:
    """The last measurement, held; open contacts carry nothing."""

    def __init__(self, network: Network) -> None:
        n = network.switches.n
        self._nodes, self._switches = network.nodes.n, n
        self._node = network.switches.node
        self._healthy_kv = HEALTHY_V_PU * network.nodes.v_nominal_kv
        self.measurands: Floats = np.zeros(self._nodes + 3 * n)
        self.i_a: Floats = np.zeros(n)
        self.i_fault_a: Floats = np.zeros(n)
        self.forward: Bools = np.zeros(n, dtype=np.bool_)
        self.healthy: Bools = np.zeros(n, dtype=np.bool_)

    def take(self, grid: GridMeasurement, closed: Bools) -> None:
        """Hold ``grid``; switches that do not conduct carry nothing and know nothing of the voltage behind them."""
        np.concatenate((grid.v_kv, grid.i_a, grid.p_kw, grid.q_kvar), out=self.measurands)
        np.multiply(grid.i_a, closed, out=self.i_a)
        np.multiply(grid.i_fault_a, closed, out=self.i_fault_a)
        np.copyto(self.forward, grid.fault_into_branch)
        healthy_node = grid.energised & (grid.v_kv >= self._healthy_kv)
        np.logical_and(healthy_node[self._node], closed, out=self.healthy)

    def interrupt(self, switch: int) -> None:
        """The contacts opened or closed: nothing is known until the next measurement."""
        self.i_a[switch] = self.i_fault_a[switch] = 0.0
        self.healthy[switch] = False

    def bay(self, switch: int) -> BayMeasurement:
        return BayMeasurement(
            float(self.i_a[switch]),
            float(self.i_fault_a[switch]),
            bool(self.forward[switch]),
            bool(self.healthy[switch]),
        )

    def snapshot(self) -> dict[str, Any]:
        arrays = (self.i_a, self.i_fault_a, self.forward, self.healthy)
        return dict(zip(("i_a", "i_fault_a", "forward", "healthy"), (a.tolist() for a in arrays), strict=True))

    def restore(self, state: Mapping[str, Any]) -> None:
        self.i_a, self.i_fault_a = np.array(state["i_a"]), np.array(state["i_fault_a"])
        self.forward = np.array(state["forward"], dtype=np.bool_)
        self.healthy = np.array(state["healthy"], dtype=np.bool_)


def _sample_row(sample: Sample) -> list[Any]:
    return [sample.station, sample.point, sample.value, int(sample.quality), sample.source_t_ms, sample.spontaneous]


def _sample_from_row(row: list[Any]) -> Sample:
    station, point, value, quality, source_t_ms, spontaneous = row
    return Sample(station, point, value, Quality(quality), source_t_ms, spontaneous)
