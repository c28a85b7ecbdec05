"""Random unbalanced feeders for the property tests."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from twin.network.model import SwitchKind
from twin.network.three_phase import ThreePhaseNetwork
from twin.network.three_phase_builder import ThreePhaseBuilder
from twin.network.winding_connections import vector_group

FeederOf = Callable[[int], ThreePhaseNetwork]
GROUPS = ("Dyn5", "Dyn11", "YNyn0", "YNd1", "Dd0", "YNyn6", "Yd5")
ZIPS = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0), (0.4, 0.3, 0.3))


@pytest.fixture(scope="session")
def feeder() -> FeederOf:
    """A feeder by seed.

    S --+-- main line of three phases, tapered at random to two or one --- ...
        |        |             \\ a tie back to another node (normally open)
        |        +-- transformer of a random vector group -- LV load
        +-- bus coupler without impedance -- regulators A, B, C -- second feeder
    """
    return _random


def _random(seed: int) -> ThreePhaseNetwork:
    return _Feeder(seed).build()


class _Feeder:
    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.b = ThreePhaseBuilder(f"random-{seed}")
        self.phases: dict[str, tuple[int, ...]] = {}

    def build(self) -> ThreePhaseNetwork:
        stiff = self.rng.random() < 0.5
        z = None if stiff else 0.3j * (np.eye(3) + 0.1)
        self._node("S", 20.0, (0, 1, 2))
        self.b.source("GRID", "S", v_pu=1.02, z_ohm=z)
        self._node("T", 20.0, (0, 1, 2))
        self.b.switch("COUPLER", SwitchKind.BREAKER, "S", other_node="T")
        self._node("R", 20.0, (0, 1, 2))
        for phase in range(3):
            self._regulator(phase)
        for number in range(int(self.rng.integers(5, 14))):
            self._branch(number)
        self._tie()
        for node in list(self.phases):
            self._loads(node)
        return self.b.build()

    def _node(self, name: str, v_kv: float, phases: tuple[int, ...]) -> None:
        self.b.node(name, v_kv=v_kv, phases=phases)
        if v_kv > 1:
            self.phases[name] = phases

    def _regulator(self, phase: int) -> None:
        ratings = {"s_kva": 5000.0, "v_from_kv": 11.547, "v_to_kv": 11.547, "r_pu": 0.001, "x_pu": 0.01}
        position = int(self.rng.integers(-10, 11))
        self.b.regulator(f"REG{phase}", "T", "R", phase, tap_position=position, bank="REG", **ratings)

    def _branch(self, number: int) -> None:
        start = str(self.rng.choice(list(self.phases)))
        phases = self._fewer(self.phases[start])
        end = f"N{number}"
        if len(phases) == 3 and self.rng.random() < 0.3:
            self._transformer(number, start)
            return
        self._node(end, 20.0, phases)
        self._line(f"L{number}", start, end, phases)
        self.b.switch(f"LBS{number}", SwitchKind.LOAD_BREAK_SWITCH, start, branch=f"L{number}", phases=phases)

    def _fewer(self, phases: tuple[int, ...]) -> tuple[int, ...]:
        keep = int(self.rng.integers(1, len(phases) + 1)) if self.rng.random() < 0.4 else len(phases)
        return tuple(sorted(int(p) for p in self.rng.permutation(phases)[:keep]))

    def _line(self, name: str, start: str, end: str, phases: tuple[int, ...]) -> None:
        n, km = len(phases), self.rng.uniform(0.2, 3)
        z = (0.1 + 0.35j) * np.ones((n, n)) + (0.25 + 0.4j) * np.eye(n) + 0.05j * np.diag(self.rng.random(n))
        y = 1e-6j * (4 * np.eye(n) - np.ones((n, n)))
        self.b.line(name, start, end, z_ohm=km * z, y_s=km * y, phases=phases)

    def _transformer(self, number: int, start: str) -> None:
        group = str(self.rng.choice(GROUPS))
        star_from, star_to = group.startswith("Y"), "y" in group
        end = f"N{number}"
        self.b.node(end, v_kv=0.4)
        self.b.transformer(
            f"TR{number}",
            start,
            end,
            vector_group(group),
            s_kva=400 / 3,
            v_from_kv=20 / np.sqrt(3) if star_from else 20,
            v_to_kv=0.4 / np.sqrt(3) if star_to else 0.4,
            r_pu=0.01,
            x_pu=0.04,
            g_pu=0.001,
            b_pu=-0.003,
            tap_side=0,
            tap_step_percent=2.5,
            tap_min=-2,
            tap_max=2,
            tap_position=int(self.rng.integers(-2, 3)),
        )
        self._consumer(f"LV{number}", end, delta="yn" not in group, kw=60.0, v_kv=0.4)

    def _tie(self) -> None:
        whole = [node for node, phases in self.phases.items() if len(phases) == 3]
        start, end = self.rng.choice(whole, 2, replace=False)
        self._line("TIE", str(start), str(end), (0, 1, 2))
        self.b.switch("TIE_SWITCH", SwitchKind.LOAD_BREAK_SWITCH, str(end), branch="TIE", closed=False)

    def _loads(self, node: str) -> None:
        phases = self.phases[node]
        if self.rng.random() < 0.3:
            return
        delta = len(phases) == 3 and self.rng.random() < 0.5
        self._consumer(f"LD_{node}", node, delta=delta, kw=120.0, v_kv=20.0)
        if self.rng.random() < 0.3:
            kvar = [-40.0 if p in phases else None for p in range(3)]
            self.b.shunt(f"CAP_{node}", node, q_kvar=kvar, v_kv=20 if delta else 11.547, delta=delta)
        if self.rng.random() < 0.3:
            kw = [30.0 if p == phases[0] else None for p in range(3)]
            self.b.generator(f"PV_{node}", node, p_kw=kw, q_kvar=kw)

    def _consumer(self, name: str, node: str, *, delta: bool, kw: float, v_kv: float) -> None:
        phases = self.phases.get(node, (0, 1, 2))
        draw = self.rng.random(3)
        p = [kw * float(draw[k]) if k in phases else None for k in range(3)]
        q = [None if value is None else 0.4 * value for value in p]
        zips = [ZIPS[int(k)] for k in self.rng.integers(0, len(ZIPS), 2)]
        unit_kv = v_kv if delta else v_kv / np.sqrt(3)
        limits = {"v_min_pu": 0.9, "v_max_pu": 1.1} if self.rng.random() < 0.3 else {}
        self.b.consumer(name, node, p_kw=p, q_kvar=q, v_kv=unit_kv, delta=delta, zip_p=zips[0], zip_q=zips[1], **limits)
