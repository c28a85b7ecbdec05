"""Timetable: times are worked out anew only for stations that something happened to."""

from __future__ import annotations

from twin.timebase import NEVER
from twin.transport import Timetable


class Stations:
    """Times that a test sets, and how often they were asked for."""

    def __init__(self, **times: tuple[int, int]) -> None:
        self.times = dict(times)
        self.asked: list[str] = []
        self.table = Timetable(times, self.of)

    def of(self, station: str) -> tuple[int, int]:
        self.asked.append(station)
        return self.times[station]


def test_timetable__asks_each_station_once_and_then_only_what_was_touched():
    stations = Stations(A=(30, 40), B=(20, 90))
    assert (stations.table.next_due(), stations.table.next_wanted()) == (20, 40)
    assert stations.asked == ["A", "B"]
    stations.times["B"] = (50, 60)
    assert stations.table.next_due() == 20
    stations.table.touch("B")
    assert (stations.table.next_due(), stations.table.next_wanted()) == (30, 40)
    assert stations.asked == ["A", "B", "B"]


def test_timetable__names_what_is_due_in_the_order_of_the_stations():
    stations = Stations(C=(10, 10), A=(5, 5), B=(11, 11))
    assert stations.table.due(10) == ["C", "A"]
    assert stations.table.due(4) == []


def test_timetable__of_no_stations_is_never():
    assert Timetable((), lambda station: (0, 0)).next_due() == NEVER
