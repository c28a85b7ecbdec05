"""Short-circuit data come over from pandapower."""

from __future__ import annotations

import math
from pathlib import Path

import pandapower as pp
import pytest

from twin.network import load_network
from twin.network.model import Network


@pytest.fixture
def network(tmp_path: Path) -> Network:
    net = pp.create_empty_network()
    high, low = pp.create_bus(net, 110.0), pp.create_bus(net, 20.0)
    pp.create_ext_grid(
        net, high, s_sc_max_mva=3000.0, rx_max=0.1, s_sc_min_mva=2000.0, rx_min=0.2, x0x_max=1.5, r0x0_max=0.3
    )
    pp.create_transformer_from_parameters(
        net,
        high,
        low,
        sn_mva=25.0,
        vn_hv_kv=110.0,
        vn_lv_kv=20.0,
        vk_percent=12.0,
        vkr_percent=0.5,
        pfe_kw=0.0,
        i0_percent=0.0,
        vector_group="YNd",
        vk0_percent=10.0,
        vkr0_percent=0.4,
        mag0_percent=100.0,
        mag0_rx=0.0,
        si0_hv_partial=0.9,
        xn_ohm=22.0,
    )
    for k in (1.2, math.nan):
        pp.create_sgen(net, low, p_mw=1.0, sn_mva=2.0, k=k)
    pp.to_json(net, str(tmp_path / "net.json"))
    return load_network(str(tmp_path / "net.json"))


def test_sources_and_transformers__keep_their_zero_sequence(network: Network) -> None:
    s, t = network.sources, network.transformers
    assert (s.s_sc_min_mva[0], s.rx_min[0], s.x0x1[0], s.r0x0[0]) == (2000.0, 0.2, 1.5, 0.3)
    assert (t.vector_group[0], t.vk0_percent[0], t.vkr0_percent[0], t.si0_from[0]) == ("YNd", 10.0, 0.4, 0.9)
    assert (t.xn_from_ohm[0], t.xn_to_ohm[0]) == (22.0, 0.0)


def test_static_generators__with_a_current_ratio_are_converters(network: Network) -> None:
    assert network.generators.machine == ("converter", "")
    assert network.generators.i_sc_pu[0] == 1.2
