"""The three-phase model: what its builder refuses, and the winding connections of vector groups."""

from __future__ import annotations

import numpy as np
import pytest

from twin.network.builder import NetworkDataError
from twin.network.model import EquipmentKind, SwitchKind
from twin.network.three_phase import ABSENT, EARTH, STAR
from twin.network.three_phase_builder import ThreePhaseBuilder
from twin.network.winding_connections import VectorGroupError, star, vector_group


@pytest.fixture
def builder() -> ThreePhaseBuilder:
    b = ThreePhaseBuilder("toy")
    b.node("N1", v_kv=20)
    b.node("N2", v_kv=20, phases=(0, 2))
    b.source("S", "N1")
    return b


def _refused(builder: ThreePhaseBuilder, text: str) -> None:
    with pytest.raises(NetworkDataError, match=text):
        builder.build()


def test_builder__refuses_a_name_twice(builder: ThreePhaseBuilder) -> None:
    with pytest.raises(NetworkDataError, match="N1 is used twice"):
        builder.node("N1", v_kv=20)


def test_builder__refuses_unknown_nodes(builder: ThreePhaseBuilder) -> None:
    builder.line("L", "N1", "N3", z_ohm=np.eye(3))
    _refused(builder, "L refers to node N3")


def test_builder__refuses_a_line_on_a_phase_its_node_lacks(builder: ThreePhaseBuilder) -> None:
    builder.line("L", "N1", "N2", z_ohm=np.eye(3))
    _refused(builder, "L uses phase B")


def test_builder__refuses_a_delta_load_that_reaches_an_absent_phase(builder: ThreePhaseBuilder) -> None:
    builder.consumer("LD", "N2", p_kw=(1, None, None), q_kvar=(0, None, None), v_kv=20, delta=True)
    _refused(builder, "LD uses phase B")


def test_builder__refuses_a_matrix_that_does_not_fit_the_phases(builder: ThreePhaseBuilder) -> None:
    with pytest.raises(NetworkDataError, match="2 phases, but a matrix of the shape"):
        builder.line("L", "N1", "N2", z_ohm=np.eye(3), phases=(0, 2))


def test_builder__refuses_switches_that_stand_nowhere(builder: ThreePhaseBuilder) -> None:
    builder.line("L", "N1", "N2", z_ohm=np.eye(2), phases=(0, 2))
    builder.node("N3", v_kv=20)
    builder.switch("S1", SwitchKind.BREAKER, "N3", branch="L")
    _refused(builder, "S1 stands at N3, but L runs from N1 to N2")


def test_builder__refuses_switches_at_unknown_branches(builder: ThreePhaseBuilder) -> None:
    builder.switch("S1", SwitchKind.BREAKER, "N1", branch="L")
    _refused(builder, "branch L, which is not there")


def test_builder__puts_matrices_in_the_frame_of_all_phases(builder: ThreePhaseBuilder) -> None:
    builder.line("L", "N1", "N2", z_ohm=np.array([[1, 2], [2, 3]]), phases=(2, 0))
    z = builder.build().lines.z_ohm[0]
    assert z.tolist() == [[3, 0, 2], [0, 0, 0], [2, 0, 1]]


def test_network__is_read_only_and_finds_by_name(builder: ThreePhaseBuilder) -> None:
    network = builder.build()
    with pytest.raises(ValueError, match="read-only"):
        network.nodes.v_nominal_kv[0] = 1
    found = network.find("N2")
    assert found is not None
    assert (found.kind, found.index) == (EquipmentKind.NODE, 1)
    assert network.find("N9") is None


@pytest.mark.parametrize("group", [f"{w}{c}" for w in ("YNyn", "Dd", "Yy") for c in range(0, 12, 2)])
def test_vector_group__of_like_windings_has_all_even_clocks(group: str) -> None:
    windings = vector_group(group)
    assert all(plus != minus for plus, minus in (*windings.from_ends, *windings.to_ends))


@pytest.mark.parametrize("group", [f"{w}{c}" for w in ("Dyn", "YNd", "Yd") for c in range(1, 12, 2)])
def test_vector_group__of_mixed_windings_has_all_odd_clocks(group: str) -> None:
    assert len(vector_group(group).to_ends) == 3


@pytest.mark.parametrize("group", ["Yy1", "Dyn2", "Dzn0", "yd1", "Dyn", "Dyn13"])
def test_vector_group__refuses_what_does_not_exist(group: str) -> None:
    with pytest.raises(VectorGroupError, match=group):
        vector_group(group)


def test_star__leaves_absent_units_out() -> None:
    assert star((1,)) == ((ABSENT, ABSENT), (1, EARTH), (ABSENT, ABSENT))
    assert star(earthed=False)[2] == (2, STAR)
