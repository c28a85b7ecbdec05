"""The control room as one: what a utility runs on real devices and the world runs on simulated ones."""

from twin.control_room.room import ControlRoom
from twin.control_room.settings import ControlRoomSettings
from twin.control_room.study import Study

__all__ = ["ControlRoom", "ControlRoomSettings", "Study"]
