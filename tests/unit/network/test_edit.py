"""A changed copy of a network: valid, with right indices, and the original left alone.

GRID ─ SS ─[CB]─ L1 ─ N1 ─[S1]─ L2 ─[S2]─ N2 ─[S3]─ L3 ─ N3 ─ T1 ─ LV
                       └──────────[BC]─────┘            (BC: bus coupler between two nodes)
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twin.errors import ExitCode
from twin.network.builder import NetworkBuilder
from twin.network.edit import NetworkEdit, NothingToChangeError
from twin.network.model import Network, SwitchKind
from twin.network.topology import Topology
from twin.solvers import power_flow

LINES = ("L1", "L2", "L3")
TABLES = ("nodes", "lines", "transformers", "switches", "consumers", "generators", "shunts", "sources")


def network() -> Network:
    b = NetworkBuilder("toy")
    for name in ("SS", "N1", "N2", "N3"):
        b.node(name, v_kv=20.0)
    b.node("LV", v_kv=0.4)
    b.source("GRID", "SS")
    for n, (name, a, z) in enumerate((("L1", "SS", "N1"), ("L2", "N1", "N2"), ("L3", "N2", "N3"))):
        b.line(name, a, z, length_km=n + 1, r_ohm_per_km=0.2, x_ohm_per_km=0.3, i_max_a=100 + n)
    b.transformer("T1", "N3", "LV", s_kva=400, v_from_kv=20, v_to_kv=0.4, vk_percent=4, vkr_percent=1)
    b.switch("CB", SwitchKind.BREAKER, "SS", branch="L1", feeder_head=True)
    b.switch("S1", SwitchKind.LOAD_BREAK_SWITCH, "N1", branch="L2")
    b.switch("S2", SwitchKind.LOAD_BREAK_SWITCH, "N2", branch="L2")
    b.switch("S3", SwitchKind.LOAD_BREAK_SWITCH, "N2", branch="L3")
    b.switch("S4", SwitchKind.DISCONNECTOR, "N3", branch="T1")
    b.switch("BC", SwitchKind.LOAD_BREAK_SWITCH, "N1", other_node="N2", closed=False)
    for node in ("N1", "N2"):
        b.consumer(f"C_{node}", node, p_kw=200.0, q_kvar=50.0, customers=10)
    b.consumer("C_LV", "LV", p_kw=0.0, q_kvar=0.0, customers=3)
    return b.build()


def edited(*changes: tuple[Any, ...]) -> Network:
    edit = NetworkEdit(network())
    for name, *arguments in changes:
        if name == "normal_position":
            edit.normal_position(arguments[0], closed=arguments[1])
        else:
            getattr(edit, name)(*arguments)
    return edit.result()


def places(n: Network) -> dict[str, tuple[str, str, int, str]]:
    """Where each switch stands, by names: node, branch, side, other node."""
    s, nodes = n.switches, n.nodes.names
    return {
        name: (
            nodes[s.node[row]],
            n.branch_names[s.branch[row]] if s.branch[row] >= 0 else "",
            int(s.side[row]),
            nodes[s.other_node[row]] if s.other_node[row] >= 0 else "",
        )
        for row, name in enumerate(s.names)
    }


def ends(n: Network) -> dict[str, tuple[str, str]]:
    return {
        name: (n.nodes.names[n.branch_from[row]], n.nodes.names[n.branch_to[row]])
        for row, name in enumerate(n.branch_names)
    }


def assert_valid(n: Network) -> None:
    """Columns of one length, indices within their tables, switches at ends of their branches, names unique."""
    for table in TABLES:
        columns = vars(getattr(n, table))
        assert {len(column) for column in columns.values()} == {getattr(n, table).n}, table
        assert not any(c.flags.writeable for c in columns.values() if isinstance(c, np.ndarray)), table
    names = [name for table in TABLES for name in getattr(n, table).names]
    assert len(set(names)) == len(names)
    for name, (node, branch, side, _) in places(n).items():
        assert not branch or ends(n)[branch][side] == node, name
    assert n.switches.branch.dtype == np.int32
    assert all(n.find(name) is not None for name in names)


def test_edit__without_changes_is_the_network_itself() -> None:
    n = network()
    assert NetworkEdit(n).result() is n


@pytest.mark.parametrize("line", LINES)
def test_remove_line__takes_its_switches_along_and_leaves_the_rest_where_it_was(line: str) -> None:
    before, after = network(), edited(("remove_line", line))
    assert_valid(after)
    assert after.lines.names == tuple(name for name in LINES if name != line)
    assert after.find(line) is None
    assert ends(after) == {name: where for name, where in ends(before).items() if name != line}
    assert places(after) == {name: where for name, where in places(before).items() if where[1] != line}
    kept = [before.lines.names.index(name) for name in after.lines.names]
    assert after.lines.i_max_a.tolist() == before.lines.i_max_a[kept].tolist()
    assert after.lines.length_km.tolist() == before.lines.length_km[kept].tolist()


def test_remove_line__cuts_off_what_it_fed() -> None:
    n = edited(("remove_line", "L2"))
    state = Topology(n).state(n.switches.normally_closed)
    assert dict(zip(n.nodes.names, state.energised.tolist(), strict=True)) == {
        "SS": True, "N1": True, "N2": False, "N3": False, "LV": False,
    }  # fmt: skip


def test_remove_line__leaves_a_network_that_can_be_solved() -> None:
    n = edited(("remove_line", "L2"), ("normal_position", "BC", True))
    result = power_flow(n).solve()
    assert result.energised.all()
    p_kw = dict(zip(n.branch_names, result.p_from_kw.tolist(), strict=True))
    assert 400 < p_kw["L1"] < 410  # two consumers of 200 kW and the losses
    assert abs(p_kw["L3"]) < 5


def test_remove_line__can_leave_no_lines_at_all() -> None:
    n = edited(*(("remove_line", line) for line in LINES))
    assert_valid(n)
    assert places(n) == {"S4": ("N3", "T1", 0, ""), "BC": ("N1", "", -1, "N2")}


def test_normal_position__changes_one_switch() -> None:
    n = edited(("normal_position", "S1", False), ("normal_position", "BC", True))
    assert_valid(n)
    changed = {"S1": False, "BC": True}
    before = network().switches
    expected = [
        changed.get(name, bool(closed)) for name, closed in zip(before.names, before.normally_closed, strict=True)
    ]
    assert n.switches.normally_closed.tolist() == expected
    assert n.switches.tie.tolist() == [not closed for closed in expected]


def test_rating__changes_one_line() -> None:
    n = edited(("rating", "L2", 55.0))
    assert_valid(n)
    assert n.lines.i_max_a.tolist() == [100, 55, 102]
    assert n.branch_i_max_a.tolist()[:3] == [100, 55, 102]


def test_demand__keeps_the_power_factor() -> None:
    n = edited(("demand", "C_N2", 300.0))
    assert_valid(n)
    assert n.consumers.p_kw.tolist() == [200, 300, 0]
    assert n.consumers.q_kvar.tolist() == [50, 75, 0]


def test_demand__of_a_consumer_without_any_is_purely_active() -> None:
    n = edited(("demand", "C_LV", 30.0))
    assert (n.consumers.p_kw[2], n.consumers.q_kvar[2]) == (30.0, 0.0)


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        (("remove_line", "L2"), "line"),
        (("rating", "L2", 1.0), "line"),
        (("normal_position", "S1", True), "switch"),
        (("demand", "S1", 1.0), "consumer"),
    ],
)
def test_edit__of_what_is_not_there_any_more_is_refused(change: tuple[Any, ...], kind: str) -> None:
    with pytest.raises(NothingToChangeError) as refused:
        edited(("remove_line", "L2"), change)
    assert str(refused.value) == f"there is no {kind} {change[1]} to be changed in this copy of network toy"
    assert refused.value.exit_code is ExitCode.USAGE


changes = st.one_of(
    st.tuples(st.just("remove_line"), st.sampled_from(LINES)),
    st.tuples(st.just("normal_position"), st.sampled_from(["CB", "BC", "S4"]), st.booleans()),
    st.tuples(st.just("demand"), st.sampled_from(["C_N1", "C_LV"]), st.just(0.0) | st.floats(1e-3, 1e4)),
)


@settings(max_examples=50, deadline=None, database=None)
@given(st.lists(changes, max_size=6))
def test_edit__result_is_valid_whatever_is_changed_and_the_original_stays(many: list[tuple[Any, ...]]) -> None:
    original, untouched = network(), network()
    edit = NetworkEdit(original)
    gone: set[str] = set()
    positions: dict[str, bool] = {}
    for name, *arguments in many:
        if name == "remove_line" and arguments[0] not in gone:
            edit.remove_line(arguments[0])
            gone.add(arguments[0])
        elif name == "normal_position" and not (arguments[0] == "CB" and "L1" in gone):
            edit.normal_position(arguments[0], closed=arguments[1])
            positions[arguments[0]] = arguments[1]
        elif name == "demand":
            edit.demand(*arguments)
    result = edit.result()
    assert_valid(result)
    assert set(result.lines.names) == set(LINES) - gone
    assert places(result) == {k: v for k, v in places(original).items() if v[1] not in gone}
    for switch, closed in positions.items():
        if switch in result.switches.names:
            assert result.switches.normally_closed[result.switches.names.index(switch)] == closed
    for table in TABLES:
        for name, column in vars(getattr(untouched, table)).items():
            np.testing.assert_array_equal(column, getattr(getattr(original, table), name))


def test_remove_line__takes_its_earthing_switch_and_renumbers_the_others() -> None:
    b = NetworkBuilder("chain")
    for name in "ABC":
        b.node(name, v_kv=20)
    for name, a, c in (("L1", "A", "B"), ("L2", "B", "C")):
        b.line(name, a, c, length_km=1, r_ohm_per_km=0.1, x_ohm_per_km=0.1)
        b.earthing_switch(f"ES_{name}", a, branch=name)
    edit = NetworkEdit(b.build())
    edit.remove_line("L1")
    assert edit.result().earthing.names == ("ES_L2",)
    assert edit.result().earthing.branch.tolist() == [0]
