"""The compiled network against the tables it was read from."""

from __future__ import annotations

import numpy as np
import pandapower as pp
import pandapower.networks as published
import pytest

from twin.network import LoaderOptions, UnsupportedNetworkError, load_network, load_pandapower
from twin.network.model import Network, SwitchKind


@pytest.fixture(scope="module")
def cigre() -> Network:
    return load_network("cigre_mv")


@pytest.fixture(scope="module")
def oberrhein() -> Network:
    return load_network("mv_oberrhein")


@pytest.fixture(scope="module")
def oberrhein_tables():
    """The net as pandapower's own function makes it."""
    return published.mv_oberrhein()


@pytest.fixture
def net():
    """``grid - 0 (110) -TR- 1 (20) --- 2 --- 3``, a load at 3."""
    made = pp.create_empty_network()
    pp.create_bus(made, 110.0)
    for _ in range(3):
        pp.create_bus(made, 20.0)
    pp.create_ext_grid(made, 0, s_sc_max_mva=1000.0, rx_max=0.2, va_degree=30.0)
    pp.create_transformer_from_parameters(
        made, 0, 1, sn_mva=40.0, vn_hv_kv=110.0, vn_lv_kv=20.0, vkr_percent=0.5, vk_percent=12.0, pfe_kw=20.0,
        i0_percent=0.1, shift_degree=150.0, tap_side="hv", tap_neutral=0, tap_min=-9, tap_max=9, tap_step_percent=1.5,
        tap_pos=-2, parallel=2, df=0.5,
    )  # fmt: skip
    for a, b in ((1, 2), (2, 3)):
        pp.create_line_from_parameters(
            made, a, b, length_km=2.0, r_ohm_per_km=0.4, x_ohm_per_km=0.2, c_nf_per_km=100.0, max_i_ka=0.3,
            r0_ohm_per_km=1.6, x0_ohm_per_km=0.8, c0_nf_per_km=50.0, g_us_per_km=3.0, parallel=2, df=0.8,
        )  # fmt: skip
    pp.create_load(made, 3, p_mw=0.2, q_mvar=0.1, scaling=0.5)
    return made


def test_cigre_mv__has_lines_of_the_publication(cigre: Network) -> None:
    line = published.create_cigre_network_mv().line
    lines = cigre.lines
    assert lines.names == tuple(f"L{a}-{b}" for a, b in zip(line.from_bus, line.to_bus, strict=True))
    np.testing.assert_allclose(lines.r_ohm, line.r_ohm_per_km * line.length_km)
    np.testing.assert_allclose(lines.x_ohm, line.x_ohm_per_km * line.length_km)
    np.testing.assert_allclose(lines.c_nf, line.c_nf_per_km * line.length_km)
    np.testing.assert_allclose(lines.i_max_a, line.max_i_ka * 1e3)
    assert [n for n, ol in zip(lines.names, lines.overhead, strict=True) if ol] == ["L12-13", "L13-14", "L14-8"]
    assert np.isnan(lines.r0_ohm).all()


def test_cigre_mv__has_consumers_with_classes_and_customers(cigre: Network) -> None:
    load = published.create_cigre_network_mv().load
    consumers = cigre.consumers
    assert consumers.names == tuple(name.replace("Load ", "LD_") for name in load.name)
    np.testing.assert_allclose(consumers.p_kw, load.p_mw * 1e3)
    np.testing.assert_allclose(consumers.q_kvar, load.q_mvar * 1e3)
    assert {n[:4]: c for n, c in zip(consumers.names, consumers.load_class, strict=True)} == {
        "LD_R": "residential",
        "LD_C": "commercial",
    }
    by_name = dict(zip(consumers.names, consumers.customers.tolist(), strict=True))
    assert by_name["LD_R3"] == 138  # 276.45 kW / 2 kW
    assert by_name["LD_CI9"] == 11  # 573.75 kW / 50 kW
    assert by_name["LD_CI13"] == 1  # 34 kW / 50 kW, at least one


@pytest.mark.parametrize(
    ("name", "node", "branch", "kind", "closed", "head"),
    [
        ("TIE_1", "N8", "L14-8", SwitchKind.LOAD_BREAK_SWITCH, False, False),
        ("TIE_2", "N7", "L6-7", SwitchKind.LOAD_BREAK_SWITCH, False, False),
        ("TIE_3", "N4", "L11-4", SwitchKind.LOAD_BREAK_SWITCH, False, False),
        ("CB_1", "N1", "L1-2", SwitchKind.BREAKER, True, True),
        ("CB_2", "N12", "L12-13", SwitchKind.BREAKER, True, True),
        ("CB_TR_1_HV", "N0", "TR_1", SwitchKind.BREAKER, True, False),
        ("CB_TR_2_LV", "N12", "TR_2", SwitchKind.BREAKER, True, False),
        ("LBS_8-3", "N8", "L3-8", SwitchKind.LOAD_BREAK_SWITCH, True, False),
    ],
)
def test_cigre_mv__places_switch(cigre: Network, name, node, branch, kind, closed, head) -> None:
    s, row = cigre.switches, cigre.index[name].index
    assert cigre.nodes.names[s.node[row]] == node
    assert cigre.branch_names[s.branch[row]] == branch
    assert (s.kind[row], s.normally_closed[row], s.feeder_head[row]) == (kind, closed, head)


def test_cigre_mv__has_one_switch_at_every_end(cigre: Network) -> None:
    s = cigre.switches
    ends = sorted(zip(s.branch.tolist(), s.side.tolist(), strict=True))
    assert ends == [(branch, side) for branch in range(cigre.n_branches) for side in (0, 1)]
    assert s.tie.sum() == 3
    assert s.feeder_head.sum() == 2


def test_cigre_mv__transformers_and_source_are_those_of_the_publication(cigre: Network) -> None:
    t = cigre.transformers
    assert t.names == ("TR_1", "TR_2")
    assert t.s_kva.tolist() == [25_000.0, 25_000.0]
    np.testing.assert_allclose(t.vk_percent, 12.00107)
    assert (t.tap_step_percent == 0).all()
    assert (cigre.sources.v_pu[0], cigre.sources.s_sc_mva[0], cigre.sources.rx[0]) == (1.03, 5000.0, 0.1)
    assert (cigre.nodes.x[7], cigre.nodes.y[7]) == (8.0, 3.0)


def test_oberrhein__matches_the_tables(oberrhein: Network, oberrhein_tables) -> None:
    net = oberrhein_tables
    assert (oberrhein.nodes.n, oberrhein.lines.n, oberrhein.transformers.n) == (179, 181, 2)
    assert oberrhein.nodes.names == tuple(f"N{bus}" for bus in net.bus.index)
    np.testing.assert_allclose(oberrhein.lines.x_ohm, net.line.x_ohm_per_km * net.line.length_km)
    np.testing.assert_allclose(oberrhein.consumers.p_kw, net.load.p_mw * net.load.scaling * 1e3)
    np.testing.assert_allclose(oberrhein.consumers.q_kvar, net.load.q_mvar * net.load.scaling * 1e3)
    np.testing.assert_allclose(oberrhein.generators.p_kw, net.sgen.p_mw * net.sgen.scaling * 1e3)
    np.testing.assert_allclose(oberrhein.generators.s_kva, net.sgen.sn_mva * 1e3)
    assert oberrhein.transformers.tap_position.tolist() == net.trafo.tap_pos.tolist() == [-2, -3]
    assert set(oberrhein.generators.kind) == {"pv"}
    assert np.isfinite(oberrhein.nodes.x).all()


def test_oberrhein__switches_match_the_table(oberrhein: Network, oberrhein_tables) -> None:
    net, s = oberrhein_tables, oberrhein.switches
    assert s.n == 322
    assert [oberrhein.nodes.names[i] for i in s.node] == [f"N{bus}" for bus in net.switch.bus]
    assert s.normally_closed.tolist() == net.switch.closed.tolist()
    rows = {name: row for row, name in enumerate(s.names)}
    heads = {name: oberrhein.nodes.names[s.node[rows[name]]] for name in ("CB_1", "CB_2", "CB_3", "CB_4")}
    assert heads == {"CB_1": "N39", "CB_2": "N39", "CB_3": "N319", "CB_4": "N319"}
    assert [s.names[i] for i in np.flatnonzero(s.tie)] == [f"TIE_{i}" for i in range(1, 7)]
    assert oberrhein.sources.s_sc_mva.tolist() == [5000.0, 5000.0]
    assert oberrhein.sources.rx.tolist() == [0.1, 0.1]


def test_case33bw__keeps_its_published_tie_lines() -> None:
    case = load_network("pandapower:case33bw")
    s = case.switches
    assert case.lines.n == 37
    assert [case.branch_names[s.branch[i]] for i in np.flatnonzero(s.tie)] == [
        "L20-7", "L8-14", "L11-21", "L17-32", "L24-28",
    ]  # fmt: skip
    assert [case.nodes.names[i] for i in s.node[s.feeder_head]] == ["N0"]


def test_loader__folds_parallel_and_derating_into_line_and_rating(net) -> None:
    # two systems of 2 km x 0.4 ohm/km: 0.4 ohm; capacitance doubles; 2 x 300 A x 0.8
    lines = load_pandapower(net, name="t").lines
    assert lines.r_ohm[0] == pytest.approx(0.4)
    assert lines.c_nf[0] == pytest.approx(400.0)
    assert lines.g_us[0] == pytest.approx(12.0)
    assert lines.i_max_a[0] == pytest.approx(480.0)
    assert (lines.r0_ohm[0], lines.x0_ohm[0], lines.c0_nf[0]) == pytest.approx((1.6, 0.8, 200.0))


def test_loader__keeps_transformer_impedance_when_derated(net) -> None:
    # two units of 40 MVA at half rating: 40 MVA; x = 12 % of 80 MVA = 6 % of 40 MVA; the iron losses of both
    t = load_pandapower(net, name="t").transformers
    assert t.s_kva[0] == pytest.approx(40_000.0)
    assert (t.vk_percent[0], t.vkr_percent[0]) == pytest.approx((6.0, 0.25))
    assert t.p_iron_kw[0] == pytest.approx(40.0)
    assert t.i0_percent[0] * t.s_kva[0] == pytest.approx(0.1 * 80_000.0)
    assert (t.tap_min[0], t.tap_max[0], t.tap_position[0], t.tap_side[0]) == (-9, 9, -2, 0)


def test_loader__reads_source_load_and_shunt(net) -> None:
    pp.create_shunt(net, 2, q_mvar=-0.5, p_mw=0.01, vn_kv=10.0, step=2)
    network = load_pandapower(net, name="t")
    assert network.sources.angle_rad[0] == pytest.approx(np.pi / 6)
    assert (network.sources.s_sc_mva[0], network.sources.rx[0]) == (1000.0, 0.2)
    assert (network.consumers.p_kw[0], network.consumers.q_kvar[0]) == pytest.approx((100.0, 50.0))
    # two steps, stated at 10 kV, at 20 kV: 2 x 4 x
    assert (network.shunts.p_kw[0], network.shunts.q_kvar[0]) == pytest.approx((80.0, -4000.0))


def test_loader__makes_rings_switchable_where_a_file_has_no_switch(net) -> None:
    s = load_pandapower(net, name="t").switches
    assert s.names == ("CB_1", "LBS_2-1", "LBS_2-3", "LBS_3-2")
    bare = load_pandapower(net, name="t", options=LoaderOptions(feeder_heads=False, ring_main_units=False))
    assert bare.switches.n == 0


def test_loader__adds_no_ring_main_units_where_a_file_has_switches(net) -> None:
    pp.create_switch(net, 3, 1, et="l", type="LBS", closed=True)
    assert load_pandapower(net, name="t").switches.names == ("LBS_3-2", "CB_1")


def test_loader__names_parallel_lines_and_two_switches_at_one_end(net) -> None:
    """``1 === 2``: two rows between the same buses; disconnector and breaker in series at bus 2."""
    pp.create_line_from_parameters(net, 1, 2, 1.0, 0.4, 0.2, 0.0, 0.3)
    pp.create_switch(net, 2, 1, et="l", type="CB")
    pp.create_switch(net, 2, 1, et="l", type="DS")
    pp.create_switch(net, 2, 1, et="l", type="DS")
    network = load_pandapower(net, name="t", options=LoaderOptions(ring_main_units=False))
    assert network.lines.names == ("L1-2", "L2-3", "L1-2_2")
    assert network.switches.names == ("CB_2-3", "DS_2-3", "DS_2-3_2", "CB_1", "CB_2")
    assert (network.switches.branch[:3] == 1).all()


def test_loader__makes_heads_at_every_part_of_a_sectioned_busbar(net) -> None:
    """``TR - 1 -coupler- 4 --- 5``: the line at bus 4 leaves the busbar too; the coupler is open in a second net."""
    pp.create_bus(net, 20.0)
    pp.create_bus(net, 20.0)
    pp.create_switch(net, 1, 4, et="b", type="CB", closed=True)
    pp.create_line_from_parameters(net, 4, 5, 1.0, 0.4, 0.2, 0.0, 0.3)
    network = load_pandapower(net, name="t")
    heads = network.switches.node[network.switches.feeder_head]
    assert [network.nodes.names[i] for i in heads] == ["N1", "N4"]
    assert "CB_1-4" in network.switches.names
    net.switch["closed"] = False
    network = load_pandapower(net, name="t")
    heads = network.switches.node[network.switches.feeder_head]
    assert [network.nodes.names[i] for i in heads] == ["N1"]
    assert network.switches.names[0] == "TIE_1"


def test_loader__makes_the_breaker_of_two_switches_the_feeder_head(net) -> None:
    pp.create_switch(net, 1, 0, et="l", type="DS")
    pp.create_switch(net, 1, 0, et="l", type="CB")
    network = load_pandapower(net, name="t")
    s = network.switches
    assert (s.names[0], s.names[1]) == ("DS_1-2", "CB_1")
    assert s.feeder_head.sum() == 1


def test_loader__drops_what_is_out_of_service(net) -> None:
    pp.create_load(net, 2, p_mw=1.0, in_service=False)
    pp.create_gen(net, 2, p_mw=1.0, in_service=False)
    pp.create_switch(net, 3, 1, et="l")
    net.bus.at[3, "in_service"] = False
    network = load_pandapower(net, name="t")
    assert network.nodes.names == ("N0", "N1", "N2")
    assert network.lines.names == ("L1-2",)
    assert network.consumers.n == 0
    assert network.switches.names == ("CB_1", "LBS_2-1")


def test_loader__reports_every_unsupported_element_at_once(net) -> None:
    pp.create_gen(net, 2, p_mw=1.0, slack=True)
    pp.create_xward(net, 3, 1, 1, 1, 1, 1, 1, 1.0)
    net.load["const_z_p_percent"] = 130.0
    net.trafo["tap_changer_type"] = "Tabular"
    net.trafo["tap_dependency_table"] = True
    net.trafo["tap_pos"] = net.trafo["tap_pos"].astype(float)
    net.trafo.at[0, "tap_pos"] = 1.5
    pp.create_switch(net, 2, 0, et="l", type="XYZ")
    with pytest.raises(UnsupportedNetworkError) as caught:
        load_pandapower(net, name="t")
    found = [(f.table, f.row) for f in caught.value.findings]
    assert found == [
        ("xward", 0), ("trafo", 0), ("trafo", 0), ("trafo", 0), ("switch", 0), ("load", 0), ("gen", 0),
    ]  # fmt: skip
    assert "gen 0: a generator as slack is not supported" in str(caught.value)
    assert "its shares of P, 1.3 and 0, are not within 0 and 1" in str(caught.value)


def test_loader__says_in_a_sentence_why_each_kind_is_not_taken(net) -> None:
    pp.create_impedance(net, 1, 2, rft_pu=0.01, xft_pu=0.1, sn_mva=1.0)
    pp.create_ward(net, 3, 1, 1, 1, 1)
    pp.create_asymmetric_load(net, 2, p_a_mw=0.1)
    with pytest.raises(UnsupportedNetworkError) as caught:
        load_pandapower(net, name="t")
    assert str(caught.value).startswith(
        "network t cannot be loaded from pandapower: asymmetric_load 0: it is unbalanced"
    )
    assert "impedance 0: an impedance without a length is not supported; make it a line" in str(caught.value)
    assert "ward 0: an equivalent of a reduced network is not supported" in str(caught.value)


def test_loader__takes_storages_and_motors_as_units_of_negative_generation(net) -> None:
    # 90 kW at the shaft, 90 % efficient, half loaded: 50 kW; cos phi 0.8: 37.5 kvar. Rated 90 / 0.9 / 0.8 = 125 kVA.
    pp.create_storage(net, 2, p_mw=0.2, q_mvar=-0.05, max_e_mwh=1.0, sn_mva=0.5, scaling=0.5)
    pp.create_motor(
        net, 3, pn_mech_mw=0.09, cos_phi=0.8, efficiency_percent=90.0, loading_percent=50.0,
        cos_phi_n=0.8, efficiency_n_percent=90.0, lrc_pu=5.0, rx=0.4, vn_kv=20.0,
    )  # fmt: skip
    g = load_pandapower(net, name="t").generators
    assert g.kind[-2:] == ("battery", "motor")
    assert g.p_kw[-2:] == pytest.approx([-100.0, -50.0])
    assert g.q_kvar[-2:] == pytest.approx([25.0, -37.5])
    assert g.s_kva[-1] == pytest.approx(125.0)
    assert (g.machine[-1], g.lrc_pu[-1], g.rx_sc[-1]) == ("asynchronous", 5.0, 0.4)


def test_loader__treats_missing_tap_changer_type_as_ratio(net) -> None:
    net.trafo["tap_changer_type"] = None
    network = load_pandapower(net, name="t")
    assert network.transformers.tap_position[0] == -2
    assert network.transformers.tap_step_percent[0] == 1.5


def test_loader__reports_dangling_references_and_zero_impedance(net) -> None:
    net.line.at[1, "length_km"] = 0.0
    net.load.at[0, "bus"] = 77
    net.switch = net.switch.astype({"bus": "int64"})
    pp.create_switch(net, 2, 0, et="l")
    net.switch.at[0, "bus"] = 3
    net.ext_grid["in_service"] = False
    with pytest.raises(UnsupportedNetworkError) as caught:
        load_pandapower(net, name="t")
    assert [str(f) for f in caught.value.findings] == [
        "line 1: has no impedance; make it a closed bus-bus switch",
        "switch 0: stands at bus 3, which is no end of line 0",
        "load 0: bus 77 is not a bus",
        "ext_grid 0: the network has no external grid in service",
    ]


def test_loader__makes_consumer_and_generator_names_unique(net) -> None:
    pp.create_load(net, 2, p_mw=0.01, name="Load R1")
    pp.create_load(net, 2, p_mw=0.01, name="Load R1")
    pp.create_load(net, 2, p_mw=1.0, name="Industrial park no. 3")
    pp.create_sgen(net, 2, p_mw=0.5, scaling=0.8, type="WP")
    network = load_pandapower(net, name="t")
    assert network.consumers.names == ("LD_1", "LD_R1", "LD_R1_2", "LD_4")
    assert network.consumers.load_class[3] == "industrial"
    assert network.consumers.customers.tolist() == [50, 5, 5, 20]
    assert (network.generators.names, network.generators.kind) == (("G_1",), ("wind",))
    assert network.generators.p_kw[0] == pytest.approx(400.0)
    assert np.isnan(network.generators.s_kva[0])


def test_loader__reads_coordinates_of_older_files(net) -> None:
    import pandas as pd

    net["bus_geodata"] = pd.DataFrame({"x": [1.0, 2.0], "y": [3.0, 4.0]}, index=[0, 2])
    nodes = load_pandapower(net, name="t").nodes
    np.testing.assert_array_equal(nodes.x, [1.0, np.nan, 2.0, np.nan])
    np.testing.assert_array_equal(nodes.y, [3.0, np.nan, 4.0, np.nan])


def test_loads__keep_their_shares_of_current_and_impedance(net) -> None:
    net.load["const_z_p_percent"] = 30.0
    net.load["const_i_p_percent"] = 20.0
    net.load["const_i_q_percent"] = 40.0
    consumers = load_pandapower(net, name="t").consumers
    assert (consumers.p_impedance_share == 0.3).all()
    assert (consumers.p_current_share == 0.2).all()
    assert (consumers.q_impedance_share == 0.0).all()
    assert (consumers.q_current_share == 0.4).all()
