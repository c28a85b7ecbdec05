"""The mosaik simulator of the control room: the adapter between ``twin.control_room`` and the world.

Takes what the stations announced, lets the links deliver it, lets the control room work, and hands over what it
wants sent. No decision is made here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from simulators.actions import Action
from simulators.cycle import CycleSimulator, RunContext
from simulators.recorder import ControlRoomState
from simulators.station_events import condition
from twin.control_room import ControlRoom
from twin.links.live import LiveLinks
from twin.links.lockstep import LockstepLinks
from twin.points.model import DoublePosition, Quality
from twin.scada.point_database import PointDatabase
from twin.scenario import PlantNamespace
from twin.timebase import SimTime
from twin.transport import Handover

UNUSABLE = int(Quality.INVALID | Quality.NOT_TOPICAL | Quality.BLOCKED | Quality.OVERFLOW)


Links = LockstepLinks | LiveLinks


class ControlRoomSimulator(CycleSimulator):
    """The control room with its links."""

    INPUTS = ("tokens_up", "actions")
    OUTPUTS = (
        "tokens_down",
        "control_room_state",
        "control_room_wanted",
        "control_room_changed",
        "control_room_journal",
    )
    PART = "control room"

    def __init__(self, context: RunContext, *, room: ControlRoom, links: Links, names: PlantNamespace) -> None:
        super().__init__(context)
        self._room = room
        self._links = links
        self._started = False
        self._plant_row = np.array(
            [
                room.network.switches.names.index(n) if n in room.network.index else -1
                for n in names.network.switches.names
            ]
        )
        self._calculated = _CalculatedValues(room.front_end.database, [point.name for point in names.calculated])
        self._seen: tuple[int, Any, Any] = (-1, None, None)
        self.tokens_again: list[Handover] = []

    def cycle(self, now: SimTime, received: dict[str, Any]) -> dict[str, Any]:
        if not self._started:
            self._started = True
            self._links.start(now)
        for action in received.get("actions", ()):
            self._act(action, now)
        with self.context.stopwatch.watch("protocol"):
            self._links.accept(received["tokens_up"])
            events = self._links.advance(now)
        self._room.step(events, now)
        if addressed := self._room.front_end.take_addressed():
            with self.context.stopwatch.watch("protocol"):
                self._links.flush(now, addressed)
        tokens = self._links.take_handovers()
        return {
            "tokens_down": tokens,
            "control_room_state": self._state(),
            "control_room_wanted": min(self._room.next_wanted(), self._links.next_wanted()),
            "control_room_changed": any(s.urgent for token in tokens for s in token.segments),
            "control_room_journal": self._room.take_journal(),
        }

    @property
    def database(self) -> PointDatabase:
        """The image of all points."""
        return self._room.front_end.database

    @property
    def has_news(self) -> bool:
        """Whether something arrived that no cycle has taken yet."""
        return self._links.has_news

    def _act(self, action: Action, now: SimTime) -> None:
        data = action.data
        if action.kind == "comms loss":
            self._links.cut(data["station"], now, now + data["for_ms"])
        elif action.kind == "telecontrol":
            self._links.worsen(data["station"], condition(data, now))
        elif action.kind == "operate" and data["at"] == "control room":
            self._room.operate(data["switch"], data["closed"], now)
        elif action.kind == "operator":
            self._room.operator(data, now)
        elif action.kind == "call":
            self._room.call(data["node"], data["text"], now)

    def _state(self) -> ControlRoomState:
        revision = self._room.front_end.database.revision
        if revision != self._seen[0]:  # the image is read only where something was written
            position = self._room.positions()
            seen = np.where(self._plant_row >= 0, position[self._plant_row], int(DoublePosition.INTERMEDIATE))
            self._seen = revision, seen, self._calculated.read()
        _, seen, calculated = self._seen
        return ControlRoomState(position=seen, calculated=calculated, **self._room.counts())

    def finalize(self) -> None:
        """Hang up everywhere."""
        self._links.close()

    def snapshot(self) -> bytes:
        return json.dumps({"room": self._room.snapshot(), "links": self._links.snapshot()}).encode()

    def restore(self, state: bytes) -> None:
        saved = json.loads(state)
        self._room.restore(saved["room"])
        self._ports, self.tokens_again = self._links.restore(saved["links"])
        self._started = True

    @property
    def ports(self) -> Mapping[str, int]:
        """After a restore: where the standing connections come from now."""
        return self._ports


class _CalculatedValues:
    """The calculated points that a scenario may name; those of equipment the control room lacks are never known."""

    def __init__(self, database: PointDatabase, names: Sequence[str]) -> None:
        self._there = np.array([name in database for name in names], dtype=np.bool_)
        self._view = database.view([name for name in names if name in database])

    def read(self) -> Any:
        """The values, NaN where the quality says that they must not be used; substituted ones may."""
        values = np.full(self._there.size, np.nan)
        values[self._there] = np.where((self._view.quality & UNUSABLE) == 0, self._view.values, np.nan)
        return values
