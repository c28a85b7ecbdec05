"""The plant's names: what can be asked for, in which unit, and where it is read."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from twin.network.model import EquipmentKind
from twin.scenario.expression import parse
from twin.scenario.namespace import SCALARS, PlantNamespace, PlantState
from twin.units import Unit


@pytest.mark.parametrize(
    ("name", "unit", "value"),
    [
        ("CB_1.position", Unit.POSITION, 2),
        ("TIE_1.position", Unit.POSITION, 1),
        ("CB_1.i_a", Unit.AMPERE, 21.0),
        ("SW_2.p_kw", Unit.KILOWATT, 200.0),
        ("CB_2.q_kvar", Unit.KILOVAR, -5.0),
        ("N3.v_pu", Unit.PER_UNIT, 0.98),
        ("N3.v_kv", Unit.KILOVOLT, 19.6),  # 0.98 · 20 kV
        ("N4.v_kv", Unit.KILOVOLT, 0.388),  # 0.97 · 0.4 kV
        ("N4.energised", Unit.BOOLEAN, 1),
        ("L2-3.loading", Unit.FRACTION, 0.03),
        ("L1-3.i_a", Unit.AMPERE, 0.5),
        ("T3-4.loading", Unit.FRACTION, 0.52),  # behind the three lines
        ("T3-4.i_a", Unit.AMPERE, 6.0),
        ("LD_4.supplied", Unit.BOOLEAN, 1),
        ("scada.TIE_1.position", Unit.POSITION, 1),
        ("loading_max", Unit.FRACTION, 0.52),
        ("v_min_pu", Unit.PER_UNIT, 0.97),
        ("customers_interrupted", Unit.COUNT, 0),
        ("closed_onto_fault", Unit.BOOLEAN, 0),
        ("time", Unit.MILLISECOND, 0),
    ],
)
def test_name__is_read_from_the_state(
    namespace: PlantNamespace, state: PlantState, name: str, unit: Unit, value: float
) -> None:
    quantity = namespace.lookup(name)
    assert quantity is not None
    assert (quantity.name, quantity.unit) == (name, unit)
    assert quantity.getter(state) == pytest.approx(value)


@pytest.mark.parametrize(
    "name",
    ["", ".", "CB_1", "CB_1.", "CB_1.loading", "N1.position", "scada.N1.position", "scada.CB_1.i_a", "CB_9.position",
     "GRID.v_pu", "scada.position", "loading"],
)  # fmt: skip
def test_name__unknown_is_none(namespace: PlantNamespace, name: str) -> None:
    assert namespace.lookup(name) is None


def test_names__every_one_can_be_looked_up_and_read(namespace: PlantNamespace, state: PlantState) -> None:
    names = list(namespace.names())
    assert len(set(names)) == len(names) == len(SCALARS) + 4 * 4 + 4 * 4 + 4 * 2 + 2 + 4
    for name in names:
        quantity = namespace.lookup(name)
        assert quantity is not None
        assert isinstance(quantity.getter(state), float)


def test_supply__follows_the_consumers_node(namespace: PlantNamespace, state_with: Callable[..., PlantState]) -> None:
    state = state_with(energised=np.array([True, True, True, False]))
    assert parse("LD_2.supplied and not LD_4.supplied").compile(namespace)(state)


def test_position__of_the_control_room_is_not_the_plants(
    namespace: PlantNamespace, state_with: Callable[..., PlantState]
) -> None:
    state = state_with(scada_position=np.array([3, 2, 2, 1], dtype=np.int8))
    assert parse("scada.CB_1.position == faulty and CB_1.position == closed").compile(namespace)(state)


def test_equipment__is_listed_by_kind(namespace: PlantNamespace) -> None:
    assert namespace.equipment(EquipmentKind.LINE) == ("L1-2", "L2-3", "L1-3")
    assert namespace.equipment(EquipmentKind.SHUNT) == ()
    assert namespace.kind_of("T3-4") is EquipmentKind.TRANSFORMER
    assert namespace.kind_of("T9") is None
