"""Types of protection equipment (38 to 40), packed single points (20) and values without quality (21) at a station.

Clauses: IEC 60870-5-101, 7.3.1.20 to 22 (spontaneous only), 7.3.1.10 and 7.3.1.11.
"""

from __future__ import annotations

import pytest
from iec104_bench import BASE, Master, objects, point, request, sample, station, verdicts

from twin.points.model import PointDefinition, PointKind, Quality
from twin.protocols.iec104 import TimeTag
from twin.protocols.iec104 import elements as e

POINTS: list[PointDefinition] = [
    point("states", PointKind.BITSTRING, 1, 20),
    point("share", PointKind.MEASURAND, 2, 21),
    point("relay", PointKind.DOUBLE, 3, 38),
    point("starts", PointKind.BITSTRING, 4, 39),
    point("circuits", PointKind.BITSTRING, 5, 40),
]
MERE_EVENTS = {
    "relay": (38, 2.0, e.ProtectionEvent(2, 0, True, Quality.BLOCKED)),
    "starts": (39, float(0x01F4_0009), e.ProtectionStart(9, 500, quality=Quality.BLOCKED)),
    "circuits": (40, float(0x0028_0003), e.ProtectionTrip(3, 40, quality=Quality.BLOCKED)),
}


def started(**settings: object) -> Master:
    master = Master(station(points=POINTS, **settings))
    master.take()
    return master


@pytest.mark.parametrize("types", ["tagged", "mapped"])
@pytest.mark.parametrize("name", MERE_EVENTS)
def test_protection_event__carries_its_time_tag_always(types: str, name: str) -> None:
    type_id, value, element = MERE_EVENTS[name]
    master = started(event_types=types)
    master.station.update([sample(name, value, 61_007, quality=Quality.BLOCKED)], 61_010)
    (asdu,) = master.take(61_010)
    assert (asdu.type_id, asdu.cause) == (type_id, 3)
    assert [(o.element, o.time) for o in asdu.objects] == [(element, TimeTag.at(61_007, BASE))]


def test_packed_and_unqualified__have_no_time_tag() -> None:
    master = started()
    master.station.update([sample("states", float(0x8001_A5A5), 5), sample("share", 0.5, 6)], 10)
    asdus = master.take(10)
    assert [asdu.type_id for asdu in asdus] == [20, 21]
    assert objects(asdus) == [(1, e.PackedSinglePoints(0xA5A5, 0x8001)), (2, e.NormalizedValue(0.5))]
    assert all(o.time is None for asdu in asdus for o in asdu.objects)


def test_interrogation_and_scans__leave_mere_events_out() -> None:
    master = started(groups={1: ["states", "relay"]}, cyclic_ms=1_000, cyclic_points=["share", "starts"])
    con, *image, term = master.ask(request(100, e.Interrogation(20)))
    assert verdicts([con, term]) == [(7, False), (10, False)]
    assert [ioa for ioa, _ in objects(image)] == [1, 2]
    _, *group, _ = master.ask(request(100, e.Interrogation(21)))
    assert [ioa for ioa, _ in objects(group)] == [1]
    master.session.tick(1_000)
    assert [ioa for ioa, _ in objects(master.take(1_000))] == [2]


@pytest.mark.parametrize("ioa", [3, 4, 5])
def test_read__of_a_mere_event_is_an_unknown_address(ioa: int) -> None:
    master = started()
    assert verdicts(master.ask(request(102, cause=5, ioa=ioa))) == [(47, True)]
    assert verdicts(master.ask(request(102, cause=5, ioa=1))) == [(5, False)]
