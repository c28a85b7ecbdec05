"""The interlock against energising an earth, in the control room of a small network.

SRC ─ BB ─[CB_1]─ L1 ─ N1 ─[S1]─ L2 ─[S2]─ N2     ES_1 earths L2 at N2, ES_2 earths N2
"""

from __future__ import annotations

import pytest

from twin.derive import derive
from twin.network.builder import NetworkBuilder
from twin.network.model import Network, SwitchKind
from twin.points.model import DoublePosition
from twin.scada.authority import Originator, Role
from twin.scada.earthing import EarthInterlock
from twin.scada.interlocks import CommandRequest
from twin.scada.point_database import Reading
from twin.scada.tags import SwitchAction

OPEN, CLOSED = float(DoublePosition.OPEN), float(DoublePosition.CLOSED)


def network() -> Network:
    b = NetworkBuilder("earthed")
    for name in ("BB", "N1", "N2"):
        b.node(name, v_kv=20.0)
    b.source("SRC", "BB")
    for name, ends in {"L1": ("BB", "N1"), "L2": ("N1", "N2")}.items():
        b.line(name, *ends, length_km=1, r_ohm_per_km=0.2, x_ohm_per_km=0.3)
    b.switch("CB_1", SwitchKind.BREAKER, "BB", branch="L1", feeder_head=True)
    b.switch("S1", SwitchKind.LOAD_BREAK_SWITCH, "N1", branch="L2")
    b.switch("S2", SwitchKind.LOAD_BREAK_SWITCH, "N2", branch="L2")
    b.earthing_switch("ES_1", "N2", branch="L2")
    b.earthing_switch("ES_2", "N2")
    return b.build()


class Positions:
    """A view in which every position is good unless it is in ``lost``."""

    def __init__(self, closed: set[str], lost: set[str] = frozenset()) -> None:
        self.closed, self.lost = closed, lost

    def reading(self, equipment: str, quantity: str) -> Reading | None:
        if quantity != "position":
            return None
        return Reading(CLOSED if equipment in self.closed else OPEN, equipment not in self.lost, 0)


def refusal(
    switch: str, closed: set[str], lost: set[str] = frozenset(), action: SwitchAction = SwitchAction.CLOSE
) -> str:
    grid = network()
    output = next(p for p in derive(grid).points if p.name == f"{switch}.operate")
    request = CommandRequest(output, CLOSED, action, Originator("anna", Role.DISPATCHER), 0)
    return EarthInterlock(grid).check(request, Positions(closed, lost))


def test_points__show_every_earthing_switch_and_operate_none() -> None:
    points = {p.name: p for p in derive(network()).points if p.equipment.startswith("ES")}
    assert list(points) == ["ES_1.position", "ES_2.position"]
    assert len({p.address for p in derive(network()).points}) == len(derive(network()).points)


def test_closing__towards_an_earth_is_refused_however_far_it_is() -> None:
    assert refusal("S1", {"CB_1", "ES_1"}) == "closing S1 would energise L2, which ES_1 earths"
    assert "ES_2" in refusal("CB_1", {"S1", "S2", "ES_2"})


@pytest.mark.parametrize("closed", [{"CB_1"}, {"CB_1", "S2"}])
def test_closing__is_free_where_nothing_is_earthed(closed: set[str]) -> None:
    assert refusal("S1", closed) == ""


def test_closing__stops_at_an_open_switch() -> None:
    assert refusal("S1", {"CB_1", "ES_2"}) == ""
    assert refusal("CB_1", {"S2", "ES_1", "ES_2"}) == ""


def test_closing__takes_unknown_positions_for_closed() -> None:
    assert "its earthing switch ES_1 is not known" in refusal("S1", {"CB_1"}, {"ES_1"})
    assert "ES_2" in refusal("S1", {"CB_1", "ES_2"}, {"S2"})


def test_opening_and_joining_dead_parts__are_free() -> None:
    assert refusal("S1", {"CB_1", "S1", "ES_1"}, action=SwitchAction.OPEN) == ""
    assert refusal("S1", {"ES_1"}) == ""
