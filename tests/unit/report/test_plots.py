"""Families, decimation, scales and marks of the plots."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twin.journal import JournalEntry
from twin.report.plots import (
    crosshair_data,
    decimate,
    draw_plot,
    event_marks,
    plots_of,
    time_step,
    value_scale,
)
from twin.report.results import Samples, read_results


def samples(t_ms: np.ndarray, **columns: np.ndarray) -> Samples:
    return Samples(np.asarray(t_ms, dtype=np.int64), {k: np.asarray(v, dtype=np.float64) for k, v in columns.items()})


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(100, 3000))
def test_decimate__keeps_ends_extremes_and_gaps(seed: int, rows: int) -> None:
    rng = np.random.default_rng(seed)
    values = rng.normal(size=rows)
    values[rows // 2 : rows // 2 + 7] = np.nan
    kept = decimate(np.arange(rows), [values], 20)
    assert kept[0] == 0
    assert kept[-1] == rows - 1
    assert np.nanmin(values[kept]) == np.nanmin(values)
    assert np.nanmax(values[kept]) == np.nanmax(values)
    assert np.isnan(values[kept]).any()
    assert kept.size <= max(4 * 20 + 4, rows if rows <= 80 else 0)


def test_decimate__single_sample_spike_survives() -> None:
    values = np.ones(100_000)
    values[54_321] = 9.0
    assert 54_321 in decimate(np.arange(100_000), [values], 300)


def test_plots__group_columns_by_quantity_in_a_fixed_order(cigre_run: Path) -> None:
    recorded = read_results(cigre_run).samples
    assert recorded is not None
    found = [(plot.title, [s.name for s in plot.series]) for plot in plots_of(recorded, (0, 600_000))]
    assert found == [
        ("Customers without supply", ["customers_interrupted"]),
        ("Voltage, p.u.", ["v_min_pu", "v_max_pu", "N8.v_pu"]),
        ("Loading, %", ["loading_max", "L12-13.loading"]),
        ("Current, A", ["TIE_1.i_a", "CB_1.i_a"]),
    ]


def test_plots__loading_is_shown_in_percent_and_unknown_columns_apart() -> None:
    loading, other = plots_of(samples([0, 1], loading_max=[0.5, 0.8], moon_phase=[1, 2]), (0, 1))
    assert loading.series[0].values.tolist() == [50.0, 80.0]
    assert other.title == "Other quantities"


def test_plots__empty_columns_are_left_out_and_many_are_split() -> None:
    columns = {f"N{i}.v_pu": [1.0, 1.0] for i in range(11)}
    found = plots_of(samples([0, 1], **columns, blank=[np.nan, np.nan]), (0, 1))
    assert [len(plot.series) for plot in found] == [8, 3]


def test_scale__short_fault_current_lies_beyond_the_axis_and_is_said() -> None:
    current = np.full(1000, 150.0)
    current[500:504] = 2480.0
    (plot,) = plots_of(samples(np.arange(1000), **{"CB_1.i_a": current}), (0, 999))
    assert value_scale(plot)[0].high < 300
    assert "▲ CB_1.i_a 2 480 A" in str(draw_plot(plot, (), 600))


def test_scale__dead_voltage_does_not_flatten_the_rest() -> None:
    volts = np.where(np.arange(1000) < 700, 1.01, 0.0)
    volts[100] = 0.99
    (plot,) = plots_of(samples(np.arange(1000), **{"N1.v_pu": volts}), (0, 999))
    assert value_scale(plot)[0].low > 0.9
    assert "▼ N1.v_pu 0 p.u." in str(draw_plot(plot, (), 600))


def test_scale__customers_start_at_zero_even_if_constant() -> None:
    (plot,) = plots_of(samples([0, 1], customers_interrupted=[140, 140]), (0, 1))
    scale, ticks = value_scale(plot)
    assert scale.low == 0
    assert ticks[-1] >= 140


@pytest.mark.parametrize("constant", [0.0, 1.0, -3.0, 1e-9])
def test_plot__constant_series_is_drawn(constant: float) -> None:
    (plot,) = plots_of(samples([0, 100], **{"x.i_a": [constant, constant]}), (0, 100))
    assert "NaN" not in str(draw_plot(plot, (), 600)).replace("aria", "")
    ElementTree.fromstring(draw_plot(plot, (), 600))


def test_plot__window_without_values_is_drawn_and_said() -> None:
    (plot,) = plots_of(samples([0, 100, 200], **{"x.i_a": [1.0, np.nan, np.nan]}), (100, 200))
    assert "x.i_a not recorded" in str(draw_plot(plot, (), 600))


def test_plot__gap_lifts_the_pen() -> None:
    (plot,) = plots_of(samples([0, 1, 2, 3], **{"x.i_a": [1, np.nan, 2, 3]}), (0, 3))
    drawn = ElementTree.fromstring(draw_plot(plot, (), 600))
    line = next(path for path in drawn.iter("path") if path.get("class", "").startswith("line"))
    assert line.get("d", "").count("M") == 2


def test_plot__value_holds_until_the_next_one() -> None:
    """A sample at the fault must not look like a ramp that began before it."""
    (plot,) = plots_of(samples([0, 900, 1000], **{"CB_1.i_a": [100.0, 100.0, 2000.0]}), (0, 1000))
    drawn = ElementTree.fromstring(draw_plot(plot, (), 600))
    line = next(path for path in drawn.iter("path") if path.get("class", "").startswith("line"))
    assert "L" not in line.get("d", "")
    assert line.get("d", "").count("V") == 1


def test_plot__notes_beyond_the_axis_do_not_overlap() -> None:
    volts = np.where((np.arange(1000) > 500) & (np.arange(1000) < 900), 0.0, 1.01)
    (plot,) = plots_of(samples(np.arange(1000), **{"N1.v_pu": volts, "N2.v_pu": volts}), (0, 999))
    drawn = ElementTree.fromstring(draw_plot(plot, (), 600))
    notes = [(note.get("x"), note.get("y")) for note in drawn.iter("text") if note.get("class") == "peak"]
    assert len(notes) == 2
    assert len(set(notes)) == 2


def test_marks__brief_supply_between_two_trips_is_no_restoration() -> None:
    steps = ((10, 5), (1000, 0), (1100, 5), (9000, 0), (30_000, 5))
    journal = [JournalEntry(t_ms, "grid", "supply", "n", {"customers_interrupted": n}) for t_ms, n in steps]
    assert [(m.t_ms, m.words) for m in event_marks(journal)] == [(9000, "supplied")]


def test_marks__too_close_for_two_words_are_named_together() -> None:
    journal = [JournalEntry(500, "director", "fault", "f1"), JournalEntry(505, "field", "relay_trip", "CB_1")]
    (plot,) = plots_of(samples([0, 1000], **{"x.i_a": [1.0, 2.0]}), (0, 1000))
    assert ">fault, trip<" in str(draw_plot(plot, event_marks(journal), 600))


def test_marks__tell_fault_trip_and_the_return_of_supply() -> None:
    journal = [
        JournalEntry(10, "director", "fault", "f1"),
        JournalEntry(20, "field", "relay_trip", "CB_1"),
        JournalEntry(30, "grid", "supply", "n", {"customers_interrupted": 5}),
        JournalEntry(90, "grid", "supply", "n", {"customers_interrupted": 0}),
    ]
    assert [(m.t_ms, m.words) for m in event_marks(journal)] == [(10, "fault"), (20, "trip"), (90, "supplied")]


def test_crosshair__data_hold_blanks_as_null() -> None:
    (plot,) = plots_of(samples([0, 5], **{"x.i_a": [np.nan, 1.23456789]}), (0, 5))
    data = crosshair_data(plot, 600)
    assert data["series"] == [{"name": "x.i_a", "v": [None, 1.2346]}]
    assert data["t"] == [0, 5]


@pytest.mark.parametrize(("span_ms", "step_ms"), [(600_000, 120_000), (9_000, 1000), (86_400_000, 18_000_000)])
def test_time_step__is_a_step_of_the_clock(span_ms: int, step_ms: int) -> None:
    assert time_step(span_ms, 9) == step_ms or span_ms / time_step(span_ms, 9) <= 9
