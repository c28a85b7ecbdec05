"""The image of the points: its rules one by one, then against a dict that follows the same rules."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scada_toy import CLOSED, OPEN, STATION_OF, sample, toy_definitions

from twin.points.model import Quality, TimeSource
from twin.scada.point_database import (
    STAMP_SLACK_MS,
    DuplicatePointError,
    PointDatabase,
    SnapshotMismatchError,
    UnknownPointError,
)

POSITION = "CB_1.position"
DEFINITIONS = toy_definitions()


@pytest.fixture
def database() -> PointDatabase:
    return PointDatabase(DEFINITIONS)


def test_database__starts_not_topical_and_without_values(database):
    assert math.isnan(database.value(POSITION))
    assert database.quality(POSITION) == Quality.NOT_TOPICAL
    assert not database.good(POSITION)
    assert not database.received(POSITION)


def test_database__holds_inputs_only(database):
    assert POSITION in database
    assert "CB_1.operate" not in database
    assert len(database) == sum(not d.kind.is_output for d in DEFINITIONS)
    assert database.stations == ("RTU_1", "RTU_2", "RTU_3")


def test_revision__moves_with_everything_that_is_written(database):
    other = PointDatabase(DEFINITIONS)
    seen = [database.revision]

    def note() -> None:
        seen.append(database.revision)

    database.apply(sample(POSITION, OPEN, 0))
    note()
    saved = database.snapshot()
    database.session_lost("RTU_1", 1)
    note()
    database.copy_from(other)
    note()
    database.restore(json.loads(json.dumps(saved)))
    note()
    assert len(set(seen)) == len(seen)


def test_revision__stands_while_nothing_is_written(database):
    database.apply(sample(POSITION, OPEN, 1_000))
    before = database.revision
    database.view([POSITION]).values  # noqa: B018
    database.snapshot()
    assert database.revision == before


def test_database__refuses_a_name_twice():
    with pytest.raises(DuplicatePointError, match="SS\\.v_kv twice"):
        PointDatabase([*DEFINITIONS, DEFINITIONS[0]])


def test_database__refuses_points_it_does_not_know(database):
    with pytest.raises(UnknownPointError):
        database.value("CB_9.position")
    with pytest.raises(UnknownPointError, match="of station RTU_2"):
        database.apply(sample(POSITION, OPEN, 0, station="RTU_2"))
    with pytest.raises(UnknownPointError):
        database.view([POSITION, "CB_1.operate"])


def test_database__reports_the_first_value_as_initial(database):
    change = database.apply(sample(POSITION, CLOSED, 5, arrived=85, gi=True))
    assert change.initial
    assert math.isnan(change.old_value)
    assert (change.new_value, change.source_t_ms, change.t_ms) == (CLOSED, 5, 85)
    assert not change.is_event
    assert not change.value_changed


def test_database__reports_changes_of_value_and_of_quality_but_no_repetition(database):
    database.apply(sample(POSITION, CLOSED, 0, gi=True))
    assert database.apply(sample(POSITION, CLOSED, 1)) is None
    moved = database.apply(sample(POSITION, OPEN, 2))
    assert moved.is_event
    assert moved.value_changed
    blocked = database.apply(sample(POSITION, OPEN, 3, quality=Quality.BLOCKED))
    assert blocked.is_event
    assert not blocked.value_changed
    assert (blocked.old_quality, blocked.new_quality) == (Quality.GOOD, Quality.BLOCKED)


def test_database__takes_measurands_silently(database):
    assert database.apply(sample("SS.v_kv", 20.1, 0)) is None
    assert database.apply(sample("SS.v_kv", 19.0, 9, quality=Quality.INVALID)) is None
    assert database.value("SS.v_kv") == 19.0
    assert not database.good("SS.v_kv")


def test_database__reports_a_late_event_without_overwriting(database):
    database.apply(sample(POSITION, CLOSED, 100))
    late = database.apply(sample(POSITION, OPEN, 99, arrived=200))
    assert late.late
    assert late.contradicts
    assert late.is_event
    assert database.value(POSITION) == CLOSED


def test_database__late_interrogation_and_late_measurand_are_dropped(database):
    database.apply(sample(POSITION, CLOSED, 100))
    database.apply(sample("SS.v_kv", 20.0, 100))
    assert database.apply(sample(POSITION, OPEN, 99, gi=True)) is None
    assert database.apply(sample("SS.v_kv", 1.0, 99)) is None
    assert (database.value(POSITION), database.value("SS.v_kv")) == (CLOSED, 20.0)


def test_database__same_source_time_overwrites_in_order_of_arrival(database):
    database.apply(sample(POSITION, CLOSED, 100))
    assert database.apply(sample(POSITION, OPEN, 100)).new_value == OPEN
    assert database.value(POSITION) == OPEN


def test_database__a_clock_that_runs_ahead_does_not_freeze_a_point(database):
    database.apply(sample(POSITION, CLOSED, 900_000, arrived=1_000))
    change = database.apply(sample(POSITION, OPEN, 2_000, arrived=2_080))
    assert not change.late
    assert database.value(POSITION) == OPEN


@pytest.mark.parametrize("how", [{"gi": True}, {"stamped_by": TimeSource.FRONT_END}])
def test_database__an_arrival_stamp_does_not_hide_an_event_under_way(database, how):
    """The event of 1,000 was under way when the answer that was stamped 1,070 arrived."""
    database.apply(sample(POSITION, CLOSED, 1_070, **how))
    assert not database.apply(sample(POSITION, OPEN, 1_000, arrived=1_080)).late
    assert database.value(POSITION) == OPEN


def test_database__an_arrival_stamp_hides_what_is_really_old(database):
    database.apply(sample(POSITION, CLOSED, 10_000, gi=True))
    assert database.apply(sample(POSITION, OPEN, 10_000 - STAMP_SLACK_MS - 1, arrived=10_100)).late
    assert database.value(POSITION) == CLOSED


def test_database__interrogation_does_not_lower_what_later_samples_are_held_against(database):
    database.apply(sample(POSITION, CLOSED, 1_000))
    database.apply(sample(POSITION, CLOSED, 1_070, gi=True))
    assert database.apply(sample(POSITION, OPEN, 999)).late


def test_database__interrogation_keeps_the_time_of_an_unchanged_status(database):
    database.apply(sample(POSITION, OPEN, 500))
    database.apply(sample(POSITION, OPEN, 9_000, gi=True))
    assert database.reading("CB_1", "position").source_t_ms == 500
    database.apply(sample(POSITION, CLOSED, 9_500, gi=True))
    assert database.reading("CB_1", "position").source_t_ms == 9_500


def test_database__session_loss_makes_every_point_of_the_station_not_topical(database):
    for definition in database.definitions:
        database.apply(sample(definition.name, 1.0, 10, gi=True))
    loss = database.session_lost("RTU_1", 50)
    of_station = [d.name for d in database.definitions if d.station == "RTU_1"]
    assert loss.points == len(of_station)
    for definition in database.definitions:
        assert database.good(definition.name) == (definition.name not in of_station)
    assert database.value(POSITION) == 1.0
    assert database.session_lost("RTU_1", 60).points == 0
    assert database.session_lost("nowhere", 60).points == 0


def test_database__interrogation_after_a_loss_clears_point_by_point_and_silently(database):
    database.apply(sample(POSITION, CLOSED, 100))
    database.apply(sample("CB_1.trip", 0.0, 100))
    database.session_lost("RTU_1", 200)
    back = database.apply(sample(POSITION, CLOSED, 300, gi=True))
    assert back.after_loss
    assert not back.is_event
    assert database.good(POSITION)
    assert not database.good("CB_1.trip")
    assert database.apply(sample("CB_1.trip", 1.0, 300, gi=True)).is_event


def test_database__interrogation_after_a_loss_counts_whatever_its_time(database):
    database.apply(sample(POSITION, CLOSED, 100))
    database.session_lost("RTU_1", 200)
    assert not database.apply(sample(POSITION, OPEN, 50, gi=True)).late
    assert database.value(POSITION) == OPEN


def test_database__worse_quality_after_a_loss_is_an_event(database):
    database.apply(sample(POSITION, CLOSED, 100))
    database.session_lost("RTU_1", 200)
    assert database.apply(sample(POSITION, CLOSED, 300, gi=True, quality=Quality.INVALID)).is_event


def test_view__reads_arrays_in_its_own_order(database):
    view = database.view(["SS.v_kv", POSITION, "N1.v_kv"])
    database.apply(sample(POSITION, OPEN, 7, arrived=9))
    database.apply(sample("SS.v_kv", 20.5, 8, quality=Quality.OVERFLOW))
    np.testing.assert_array_equal(view.values, [20.5, OPEN, np.nan])
    np.testing.assert_array_equal(view.quality, [Quality.OVERFLOW, 0, Quality.NOT_TOPICAL])
    np.testing.assert_array_equal(view.good, [False, True, False])
    np.testing.assert_array_equal(view.source_t_ms[:2], [8, 7])
    np.testing.assert_array_equal(view.arrival_t_ms[:2], [8, 9])


def test_view__gives_arrays_that_belong_to_the_caller(database):
    view = database.view([POSITION])
    database.apply(sample(POSITION, OPEN, 7))
    view.values[0] = 99.0
    assert database.value(POSITION) == OPEN


def test_reading__is_none_without_a_point_and_not_good_before_a_sample(database):
    assert database.reading("CB_1", "v_kv") is None
    assert not database.reading("CB_1", "position").good


def test_database__restore_refuses_another_point_map(database):
    with pytest.raises(SnapshotMismatchError):
        PointDatabase(DEFINITIONS[:3]).restore(database.snapshot())


class DictModel:
    """One dict a point, the rules written out by hand."""

    def __init__(self) -> None:
        self.points: dict[str, dict] = {}

    def apply(self, arrived) -> None:
        s = arrived.sample
        p = self.points.setdefault(s.point, {"received": False, "lost": False, "floor": -(10**15), "value": math.nan})
        if p["received"] and s.source_t_ms < p["floor"] and not (p["lost"] and not s.spontaneous):
            return
        own_clock = s.spontaneous and s.stamped_by is TimeSource.DEVICE
        floor = min(s.source_t_ms, arrived.t_ms) - (0 if own_clock else STAMP_SLACK_MS)
        p.update(value=s.value, quality=s.quality, received=True, lost=False, floor=max(floor, p["floor"]))

    def lose(self, station: str) -> None:
        for point, p in self.points.items():
            if STATION_OF[point.split(".")[0]] == station:
                p.update(lost=True, quality=p["quality"] | Quality.NOT_TOPICAL)


QUALITIES = st.sampled_from([Quality.GOOD, Quality.INVALID, Quality.BLOCKED | Quality.SUBSTITUTED])
SAMPLES = st.builds(
    sample,
    st.sampled_from([POSITION, "CB_1.trip", "SS.v_kv", "LBS_1.position"]),
    st.sampled_from([0.0, 1.0, 2.0]),
    st.integers(0, 10_000),
    arrived=st.integers(0, 10_000),
    quality=QUALITIES,
    gi=st.booleans(),
    stamped_by=st.sampled_from(TimeSource),
)


@given(st.lists(SAMPLES | st.sampled_from(["RTU_1", "RTU_2"]), max_size=40))
def test_database__agrees_with_a_dict_and_survives_a_snapshot(steps):
    database, model = PointDatabase(DEFINITIONS), DictModel()
    for step in steps:
        if isinstance(step, str):
            database.session_lost(step, 0)
            model.lose(step)
            continue
        before = (database.value(step.sample.point), database.quality(step.sample.point))
        change = database.apply(step)
        model.apply(step)
        after = (database.value(step.sample.point), database.quality(step.sample.point))
        if before != after and not math.isnan(before[0]) and step.sample.point != "SS.v_kv":
            assert (change.old_value, change.old_quality) == before
            assert (change.new_value, change.new_quality) == after
    other = PointDatabase(DEFINITIONS)
    other.restore(json.loads(json.dumps(database.snapshot(), allow_nan=False)))
    assert other.snapshot() == database.snapshot()
    for point, p in model.points.items():
        assert (database.value(point), database.quality(point)) == (p["value"], p["quality"])
        assert other.good(point) == (p["quality"] == Quality.GOOD)
