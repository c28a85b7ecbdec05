"""The distance of a fault from the record of the relay: against pandapower and against hand calculation.

N0 --CB_1-- L0-1 -- N1 -- L1-2 -- N2 -- L2-3 -- N3     each line 2 km of 0.5 + j0.4 ohm per km, 20 kV
                                   +--- L2-4 -- N4     (L2-4 is 3 km long)
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pandapower as pp
import pandapower.shortcircuit as sc
import pytest
from dms_toy import indicators_lost, observe_fault, row, silenced, without_indications
from hypothesis import given, settings
from hypothesis import strategies as st

from twin.dms.flisr import FlisrSettings, Observation, locate, make_plan
from twin.dms.flisr.distance import fault_kind
from twin.network.builder import NetworkBuilder
from twin.network.model import Network, SwitchKind
from twin.network.topology import zones
from twin.solvers import FaultKind

R_KM, X_KM, S_SC_MVA, RX, V_KV = 0.5, 0.4, 500.0, 0.1, 20.0
LINES = {"L0-1": (0, 1, 2.0), "L1-2": (1, 2, 2.0), "L2-3": (2, 3, 2.0), "L2-4": (2, 4, 3.0)}


def feeder() -> Network:
    """The feeder of the module's picture."""
    b = NetworkBuilder("feeder")
    for node in range(5):
        b.node(f"N{node}", v_kv=V_KV)
    b.source("GRID", "N0", s_sc_mva=S_SC_MVA, rx=RX)
    for name, (near, far, km) in LINES.items():
        b.line(name, f"N{near}", f"N{far}", length_km=km, r_ohm_per_km=R_KM, x_ohm_per_km=X_KM, i_max_a=300)
        head = near == 0
        kind = SwitchKind.BREAKER if head else SwitchKind.LOAD_BREAK_SWITCH
        b.switch("CB_1" if head else f"S_{near}-{far}", kind, f"N{near}", branch=name, feeder_head=head)
        b.switch(f"S_{far}-{near}", SwitchKind.LOAD_BREAK_SWITCH, f"N{far}", branch=name)
    for node in range(1, 5):
        b.consumer(f"C{node}", f"N{node}", p_kw=300.0, q_kvar=60.0, customers=100)
    return b.build()


def with_record(
    network: Network, seen: Observation, phase_a: tuple[float, float, float], x_ohm: float = math.nan
) -> Observation:
    """The relay of CB_1 has recorded the fault."""
    head = row(network, "CB_1")
    currents = np.full((network.switches.n, 3), np.nan)
    currents[head] = phase_a
    reactance = np.full(network.switches.n, np.nan)
    reactance[head] = x_ohm
    return replace(seen, fault_phase_a=currents, fault_x_ohm=reactance)


def pandapower_current_a(km: float, fault: str = "3ph") -> float:
    """Fault current ``km`` from the busbar: all lines are alike."""
    net = pp.create_empty_network()
    buses = [pp.create_bus(net, V_KV) for _ in range(2)]
    pp.create_ext_grid(net, buses[0], s_sc_max_mva=S_SC_MVA, rx_max=RX, x0x_max=1.0, r0x0_max=0.1)
    pp.create_line_from_parameters(
        net, *buses, km, r_ohm_per_km=R_KM, x_ohm_per_km=X_KM, c_nf_per_km=0.0, max_i_ka=0.3, endtemp_degree=80.0
    )
    sc.calc_sc(net, fault=fault, case="max", ip=False, ith=False)
    return float(1e3 * net.res_bus_sc.ikss_ka.iloc[1])


def zone_names(network: Network, location) -> set[str]:
    return {zones(network).names[zone] for zone in location.area}


class TestDistance:
    @pytest.mark.parametrize(("line", "km"), [("L0-1", 0.7), ("L1-2", 3.1), ("L2-3", 5.5), ("L2-4", 4.9)])
    @pytest.mark.parametrize("fault", ["3ph", "2ph"])
    def test_distance__from_the_current_that_pandapower_calculates(self, line: str, km: float, fault: str) -> None:
        network = feeder()
        i_a = pandapower_current_a(km, fault)
        phases = (i_a, i_a, i_a) if fault == "3ph" else (0.0, i_a, i_a)
        location = locate(network, with_record(network, observe_fault(network, line=line), phases))
        [place] = location.places
        assert (place.branch, place.km) == (line, pytest.approx(km, abs=0.02))
        assert place.km_low < place.km_from_node < place.km_high
        assert f"in {line} " in location.remarks[0]

    @pytest.mark.parametrize("km", [0.0, 1.0, 3.3, 5.9])
    @pytest.mark.parametrize("resistance_ohm", [0.0, 3.0])
    def test_distance__from_the_reactance_by_hand(self, km: float, resistance_ohm: float) -> None:
        """X = 0.4 ohm/km x km, whatever the resistance of the fault makes of the current."""
        network = feeder()
        source = 1.1 * V_KV**2 / S_SC_MVA
        x_source = source / math.hypot(1.0, RX)
        z_ohm = complex(RX * x_source + R_KM * km + resistance_ohm, x_source + X_KM * km)
        i_a = 1.1 * 1e3 * V_KV / math.sqrt(3.0) / abs(z_ohm)
        line = "L0-1" if km < 2 else "L1-2" if km < 4 else "L2-3"
        seen = with_record(network, observe_fault(network, line=line), (i_a, i_a, i_a), X_KM * km)
        location = locate(network, seen)
        assert location.places[0].km == pytest.approx(km, abs=1e-3)
        assert location.places[0].branch == line

    def test_distance__several_branches_at_the_same_distance_are_all_named(self) -> None:
        """Without indicators 5 km from the head are L2-3 or L2-4: both, with N2 in between, are isolated."""
        network = feeder()
        seen = indicators_lost(network, observe_fault(network, line="L2-3"), *network.switches.names)
        location = locate(network, with_record(network, seen, (1500.0, 1500.0, 1500.0), 5.0 * X_KM))
        assert {place.branch for place in location.places} == {"L2-3", "L2-4"}
        assert zone_names(network, location) == {"Z_L2-3", "Z_N2", "Z_L2-4"}
        assert "in L2-3 1.00 km from N2 (" in location.remarks[0]
        assert "or in L2-4 1.00 km from N2 (" in location.remarks[0] or "in L2-4 1.00" in location.remarks[0]

    def test_distance__finds_the_section_that_no_indicator_tells(self) -> None:
        """Without indicators the whole feeder would be out; the distance leaves L1-2 alone."""
        network = feeder()
        seen = indicators_lost(network, observe_fault(network, line="L1-2"), *network.switches.names)
        assert not locate(network, seen).located
        location = locate(network, with_record(network, seen, (2000.0, 2000.0, 2000.0), 3.0 * X_KM))
        assert zone_names(network, location) == {"Z_L1-2"}

    def test_distance__makes_a_section_that_cannot_give_that_current_improbable(self) -> None:
        """S_1-2 is silent: by the indicators L1-2 and L2-3 differ little. 5.5 km are beyond L1-2 for certain."""
        network = feeder()
        seen = silenced(network, observe_fault(network, line="L2-3"), "S_2-3")
        plain = {c.name: c.probability for c in locate(network, seen).candidates}
        weighed = {
            c.name: c.probability
            for c in locate(network, with_record(network, seen, (1400.0,) * 3, 5.5 * X_KM)).candidates
        }
        assert weighed["L2-3"] > 2 * plain["L2-3"]
        assert weighed["N2"] < plain["N2"]

    def test_distance__that_the_indicators_contradict_is_told_and_does_not_decide(self) -> None:
        network = feeder()
        location = locate(network, with_record(network, observe_fault(network, line="L0-1"), (1400.0,) * 3, 5.5 * X_KM))
        assert zone_names(network, location) == {"Z_L0-1"}
        assert location.places == ()
        assert "which the indicators contradict" in location.remarks[0]

    def test_distance__beyond_the_feeder_is_not_used(self) -> None:
        network = feeder()
        seen = observe_fault(network, line="L2-3")
        location = locate(network, with_record(network, seen, (900.0,) * 3, 20.0 * X_KM))
        assert location.candidates == locate(network, seen).candidates
        assert location.remarks[0].endswith("which no place behind CB_1 agrees with: it is not used.")

    def test_distance__of_a_network_without_short_circuit_data_is_not_known(self) -> None:
        network = feeder()
        network = replace(network, sources=replace(network.sources, s_sc_mva=np.array([np.nan])))
        seen = observe_fault(network, line="L2-3")
        location = locate(network, with_record(network, seen, (900.0,) * 3, 5.0 * X_KM))
        assert zone_names(network, location) == {"Z_L2-3"}
        assert location.remarks[0].startswith("The distance of the fault is not known: ")

    def test_distance__without_any_indication_is_told_with_the_first_section(self) -> None:
        network = feeder()
        seen = without_indications(observe_fault(network, line="L0-1"))
        location = locate(network, with_record(network, seen, (3000.0,) * 3, 0.5 * X_KM))
        assert zone_names(network, location) == {"Z_L0-1"}
        assert location.places[0].branch == "L0-1"

    def test_distance__is_in_the_reasons_of_the_plan(self) -> None:
        network = feeder()
        seen = with_record(network, observe_fault(network, line="L1-2"), (2000.0,) * 3, 3.0 * X_KM)
        assert any("in L1-2 1.00 km from N1" in sentence for sentence in make_plan(network, seen).why)


@pytest.mark.parametrize(
    ("phases", "kind"),
    [
        ((1000.0, 990.0, 1010.0), FaultKind.THREE_PHASE),
        ((20.0, 900.0, 905.0), FaultKind.PHASE_TO_PHASE),
        ((700.0, 30.0, 30.0), FaultKind.PHASE_TO_EARTH),
    ],
)
def test_fault_kind__by_the_phase_currents(phases: tuple[float, float, float], kind: FaultKind) -> None:
    assert fault_kind(np.array(phases)) is kind


@settings(max_examples=30, deadline=None)
@given(km=st.floats(0.05, 6.9), error=st.floats(-0.1, 0.1), by_reactance=st.booleans())
def test_distance__with_noise_holds_the_truth_within_its_uncertainty(
    km: float, error: float, by_reactance: bool
) -> None:
    """Errors within two standard deviations: the true place lies in the stretch that is told, or beyond its end."""
    network = feeder()
    lateral = km > 6.0
    line = "L0-1" if km < 2 else "L1-2" if km < 4 else "L2-4" if lateral else "L2-3"
    i_a = pandapower_current_a(km)
    x_ohm = X_KM * km * (1 + error) if by_reactance else math.nan
    recorded = (i_a,) * 3 if by_reactance else (i_a * (1 + error),) * 3
    location = locate(network, with_record(network, observe_fault(network, line=line), recorded, x_ohm))
    assert location.located
    for place in location.places:
        assert abs(place.km - km) <= place.km_spread + 0.05


def test_distance__settings_have_bounds() -> None:
    with pytest.raises(ValueError, match="reactance_error"):
        FlisrSettings(reactance_error=0.9)
