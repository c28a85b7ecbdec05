"""The table of protocols holds what the scenario language offers."""

from __future__ import annotations

from simulators.protocols import PROTOCOLS
from twin.points.protocols import PLANNED_PROTOCOLS
from twin.points.protocols import PROTOCOLS as NAMES


def test_protocols__every_name_has_its_sessions() -> None:
    assert list(PROTOCOLS) == list(NAMES)
    assert not set(NAMES) & set(PLANNED_PROTOCOLS)
