"""Layout, feeding and the picture of the grid."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from types import ModuleType
from xml.etree import ElementTree

import pytest

from twin.report.layout import lay_out
from twin.report.one_line import OneLine, feeding
from twin.report.results import Grid, GridBranch, GridNode, GridState, GridSwitch, read_grid
from twin.report.svg import text_width


@pytest.fixture
def cigre(cigre_run: Path) -> Grid:
    return read_grid(cigre_run / "grid.json")


def fed_by(grid: Grid, label: str) -> dict[str, str | None]:
    state = next(state for state in grid.states if state.label == label)
    fed = feeding(grid, state.closed).nodes
    return {
        node.name: None if head is None else grid.switches[head].name
        for node, head in zip(grid.nodes, fed, strict=True)
    }


def test_feeding__normal_state_follows_the_two_feeders(cigre: Grid) -> None:
    found = fed_by(cigre, "before")
    assert {n for n, head in found.items() if head == "CB_1"} == {f"N{i}" for i in range(2, 12)}
    assert {n for n, head in found.items() if head == "CB_12"} == {"N13", "N14"}
    assert found["N0"] is None
    assert found["N1"] is None


def test_feeding__tie_moves_nodes_to_the_other_feeder(cigre: Grid) -> None:
    found = fed_by(cigre, "after")
    assert {n for n, head in found.items() if head == "CB_12"} == {"N7", "N8", "N9", "N10", "N11", "N13", "N14"}


def test_feeding__open_head_feeds_nothing(cigre: Grid) -> None:
    assert "CB_1" not in fed_by(cigre, "fault").values()


def test_feeding__line_charged_from_one_end_belongs_to_that_feeder(cigre: Grid) -> None:
    """L14-8 hangs on N14: its tie at N8 is open."""
    state = cigre.states[0]
    row = next(row for row, branch in enumerate(cigre.branches) if branch.name == "L14-8")
    head = feeding(cigre, state.closed).branches[row]
    assert head is not None
    assert cigre.switches[head].name == "CB_12"


def test_layout__map_keeps_its_orientation(cigre: Grid) -> None:
    nodes = dict(zip((n.name for n in cigre.nodes), lay_out(cigre).nodes, strict=True))
    assert nodes["N0"][1] < nodes["N3"][1] < nodes["N7"][1]
    assert nodes["N5"][0] < nodes["N3"][0] < nodes["N13"][0]


def test_layout__without_coordinates_children_stand_below_their_parents(fake: ModuleType, tmp_path: Path) -> None:
    grid = read_grid(fake.write_cigre_run(tmp_path, coordinates=False) / "grid.json")
    layout = lay_out(grid)
    nodes = dict(zip((n.name for n in grid.nodes), layout.nodes, strict=True))
    for upper, lower in (("N0", "N1"), ("N1", "N2"), ("N2", "N3"), ("N3", "N4"), ("N3", "N8"), ("N12", "N13")):
        assert nodes[upper][1] < nodes[lower][1]
    assert all(math.dist(a, b) > 20 for a, b in combinations(layout.nodes, 2))


@pytest.mark.parametrize("coordinates", [True, False])
def test_layout__large_grid_stays_inside_and_apart(fake: ModuleType, tmp_path: Path, coordinates: bool) -> None:
    grid = read_grid(fake.write_oberrhein_run(tmp_path, coordinates=coordinates) / "grid.json")
    layout = lay_out(grid)
    assert layout == lay_out(grid)
    assert all(0 <= x <= layout.width and 0 <= y <= layout.height for x, y in layout.nodes)
    assert min(math.dist(a, b) for a, b in combinations(layout.nodes, 2)) > 3.5


def test_layout__coincident_nodes_are_pushed_apart() -> None:
    nodes = tuple(GridNode(f"N{i}", float(i // 2), 0.0) for i in range(6))
    grid = Grid(nodes, (GridBranch("L", "line", 0, 1),), (), ())
    assert all(math.dist(a, b) > 6 for a, b in combinations(lay_out(grid).nodes, 2))


@pytest.mark.parametrize("run", ["cigre_run", "oberrhein_run"])
def test_labels__do_not_overlap(run: str, request: pytest.FixtureRequest) -> None:
    drawing = OneLine.of(read_grid(request.getfixturevalue(run) / "grid.json"))
    boxes = [
        (p.x, p.y - 0.75 * p.label.size, p.x + text_width(p.label.words, p.label.size), p.y + 0.1 * p.label.size)
        for p in drawing.labels
    ]
    overlaps = [
        (a, b) for a, b in combinations(boxes, 2) if a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
    ]
    assert overlaps == []


def test_labels__small_grid_names_every_node_and_large_one_only_what_matters(
    cigre_run: Path, oberrhein_run: Path
) -> None:
    small, large = (OneLine.of(read_grid(run / "grid.json")) for run in (cigre_run, oberrhein_run))
    said = {placed.label.words for placed in small.labels}
    assert {node.name for node in small.grid.nodes} <= said
    assert {"CB_1", "CB_12", "TIE_1", "TIE_2", "TIE_3", "L3-8", "SW_L3-8_3"} <= said
    assert len(large.labels) < 25


def test_picture__is_well_formed_and_marks_the_fault_and_moved_switches(cigre: Grid) -> None:
    drawing = OneLine.of(cigre)
    before, after = (ElementTree.fromstring(drawing.draw(cigre.states[row])) for row in (0, -1))
    assert len(before.findall(".//*[@class='bolt']")) == 0
    assert len(after.findall(".//*[@class='bolt']")) == 1
    assert len(after.findall(".//*[@class='halo']")) == 3
    titles = [title.text for title in after.iter("title")]
    assert "TIE_1 · load break switch, tie · closed (normally open)" in titles
    assert any(title and title.startswith("N8 · 20 kV · 1.0") and title.endswith("fed by CB_12") for title in titles)


def test_picture__says_in_words_what_is_dead(cigre: Grid) -> None:
    drawing = OneLine.of(cigre)
    words = drawing.words(next(state for state in cigre.states if state.label == "fault"))
    assert words.startswith("10 of 15 nodes dead: N2, N3")
    assert words.endswith("not in normal position: CB_1; fault on L3-8")


def test_picture__draws_every_kind_of_switch_and_a_coupler() -> None:
    """A - (five kinds of switches in a row, the last unknown) - B, without any branch."""
    kinds = ("breaker", "load_break_switch", "disconnector", "fuse", "mystery")
    nodes = tuple(GridNode(f"N{i}") for i in range(6))
    switches = tuple(
        GridSwitch(f"S{i}", i, None, 0, i + 1, kind, normally_closed=True, feeder_head=i == 0)
        for i, kind in enumerate(kinds)
    )
    for closed in (True, False):
        state = GridState("x", 0, (closed,) * 5, (True,) * 6, (1.0,) * 6, (), (), ())
        drawn = ElementTree.fromstring(OneLine.of(Grid(nodes, (), switches, (state,))).draw(state))
        assert sum("· mystery" in (title.text or "") for title in drawn.iter("title")) == 1


def test_picture__overloaded_branch_is_marked() -> None:
    nodes = (GridNode("A", 0, 0), GridNode("B", 1, 1))
    state = GridState("x", 0, (), (True, True), (1.0, 0.9), (1.12,), (True,), ())
    drawn = str(OneLine.of(Grid(nodes, (GridBranch("L", "line", 0, 1),), (), (state,))).draw(state))
    assert "loading 112 %" in drawn
    assert "bus over" in drawn


def test_picture__names_a_line_as_faulted_only_while_it_is(cigre: Grid) -> None:
    drawing = OneLine.of(cigre)
    before, fault = (str(drawing.draw(state)) for state in cigre.states[:2])
    assert 'class="t branch"' in before
    assert 'class="t fault"' not in before
    assert 'class="t fault"' in fault


def test_picture__says_in_words_what_is_overloaded(cigre: Grid) -> None:
    loading = tuple(1.2 if branch.name == "L1-2" else 0.5 for branch in cigre.branches)
    state = replace(cigre.states[0], branch_loading=loading)
    assert OneLine.of(cigre).words(state).endswith("; overloaded: L1-2")
