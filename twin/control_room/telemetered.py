"""What is telemetered of equipment besides switches: output of generating units and positions of tap changers.

Only values of good quality count; for the others stands what the network's data say.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from twin.network.model import Floats, Ints, Network
from twin.points.model import PointDefinition
from twin.scada.point_database import PointDatabase


class Telemetered:
    """One quantity of the equipment of one table, where it has a point; ``otherwise`` holds elsewhere."""

    def __init__(
        self,
        names: Sequence[str],
        definitions: Sequence[PointDefinition],
        database: PointDatabase,
        quantity: str,
        otherwise: Floats,
    ) -> None:
        row_of = {name: row for row, name in enumerate(names)}
        inputs = (d for d in definitions if not d.kind.is_output)
        found = [(row_of[d.equipment], d.name) for d in inputs if d.quantity == quantity and d.equipment in row_of]
        self._rows = np.array([row for row, _ in found], dtype=np.intp)
        self._view = database.view([name for _, name in found])
        self._otherwise = otherwise

    def values(self) -> Floats:
        """The present values in the order of the table."""
        result = np.array(self._otherwise, dtype=np.float64)
        good = self._view.good & np.isfinite(self._view.values)
        result[self._rows[good]] = self._view.values[good]
        return result


class Machinery:
    """Generation and taps of a network as telemetered."""

    def __init__(self, network: Network, definitions: Sequence[PointDefinition], database: PointDatabase) -> None:
        g, t = network.generators, network.transformers
        self._p = Telemetered(g.names, definitions, database, "p_kw", g.p_kw)
        self._q = Telemetered(g.names, definitions, database, "q_kvar", g.q_kvar)
        self._tap = Telemetered(t.names, definitions, database, "tap", t.tap_position.astype(np.float64))
        self._limits = (t.tap_min, t.tap_max)

    def generation(self) -> tuple[Floats, Floats]:
        """P and Q of each generating unit, kW and kvar."""
        return self._p.values(), self._q.values()

    def tap_position(self) -> Ints:
        """The tap of each transformer, within its range."""
        return np.clip(np.rint(self._tap.values()), *self._limits).astype(np.int32)
