"""What load shedding sees of the plant through the points: feeder heads, frequency, limits that are broken.

For reading only; what is remembered and what is done stands in ``twin.control_room.load_shedding``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from twin.control_room.desk import Host
from twin.control_room.earths import earthed_zones
from twin.control_room.settings import LoadSheddingDeskSettings
from twin.dms.load_shedding import Feeder, Violation
from twin.dms.zonegraph import ZoneGraph, zone_graph
from twin.network.model import Bools
from twin.points.model import DoublePosition, PointDefinition
from twin.scada.point_database import Reading
from twin.scada.tags import SwitchAction, TagKind
from twin.timebase import SimTime

PROTECTION = ("trip", "reclose_active", "lockout")


class PlantImage:
    """The feeder heads of a network as telemetered; ``rows`` are their switches by name, ``stages`` their relays'."""

    def __init__(self, host: Host, settings: LoadSheddingDeskSettings) -> None:
        self._host, self._settings = host, settings
        self._network = host.network
        switches = host.network.switches
        self.rows = {switches.names[row]: row for row in np.flatnonzero(switches.feeder_head).tolist()}
        self.stages = _stages(host.definitions, self.rows)
        self.measures_frequency = any(f"{name}.f_hz" in host.database for name in self.rows)
        self._graph: ZoneGraph = zone_graph(host.network)
        self._power = host.database.view([p for name in self.rows if (p := f"{name}.p_kw") in host.database])

    # -- readings -------------------------------------------------------------------------------------------------

    def value(self, name: str, quantity: str) -> float | None:
        """The value of a point, None if there is none or it is not good."""
        reading = self.reading(name, quantity)
        return reading.value if reading is not None else None

    def reading(self, name: str, quantity: str) -> Reading | None:
        """As :meth:`value`, with the time of its source."""
        reading = self._host.database.reading(name, quantity)
        return reading if reading is not None and reading.good else None

    def closed(self, name: str) -> bool | None:
        """Whether a feeder head is closed; None if that is not known."""
        position = self.value(name, "position")
        known = (DoublePosition.OPEN, DoublePosition.CLOSED)
        return None if position not in known else position == DoublePosition.CLOSED

    def exporting(self) -> tuple[bool, ...]:
        """For every feeder head that measures its power: whether the feeder exports."""
        return tuple((self._power.good & (self._power.values < 0.0)).tolist())

    def frequency(self) -> float | None:
        """The lowest frequency that any relay measures, Hz."""
        return min((f for name in self.rows if (f := self.value(name, "f_hz")) is not None), default=None)

    def blocked(self, name: str) -> bool:
        """A tag or local control keeps the feeder head from being operated."""
        tags = self._host.tags
        return self.value(name, "local") == 1.0 or any(tags.blocking(name, action) for action in SwitchAction)

    def armed(self, name: str) -> tuple[int, ...]:
        """The stages that are armed."""
        return tuple(s for s in self.stages.get(name, ()) if self.value(name, f"ufls_armed_{s}") == 1.0)

    def protection_acted(self, name: str) -> bool:
        """The feeder's protection has opened it, or may have: then it is not for load shedding to close it."""
        points = [f"{name}.{quantity}" for quantity in PROTECTION]
        database = self._host.database
        return any(not database.good(p) or database.value(p) == 1.0 for p in points if p in database)

    # -- what closing would do ------------------------------------------------------------------------------------

    def unsafe(self) -> dict[str, str]:
        """Why closing an open feeder head would do harm, in a few words, by its name.

        Switches of unknown position count as closed: what might be energised counts as if it were.
        """
        certain, possible = self._positions()
        live = self._graph.energised(certain)
        earthed = np.zeros(self._graph.n, dtype=np.bool_)
        earthed[earthed_zones(self._network, self._graph, self._host.database)] = True
        found = {}
        for name, row in self.rows.items():
            if certain[row]:
                continue
            without = possible.copy()
            without[row] = False
            a, b = self._graph.sides[row]
            if all(self._graph.energised(without)[[a, b]]):
                found[name] = "is or may be supplied from elsewhere"
                continue
            without[row] = True
            new = self._graph.energised(without) & ~live
            if (new & earthed).any():
                found[name] = "is earthed, or may be"
            elif new[list(self._host.watch.known_faults)].any():
                found[name] = "has a fault"
            elif held := self._held_off(new, possible):
                found[name] = f"has live-line work behind {held}"
        return found

    def _positions(self) -> tuple[Bools, Bools]:
        """Switches closed for certain, and those that may be; without telecontrol a switch stands as it normally does.

        A position that cannot be read, or is none, may be closed.
        """
        position = self._host.watch.position
        values, good = position.values(), position.good()
        normal = self._network.switches.normally_closed
        certain = np.where(position.present, good & (values == DoublePosition.CLOSED), normal)
        possible = np.where(position.present, ~(good & (values == DoublePosition.OPEN)), normal)
        return certain, possible

    def _held_off(self, new: Bools, possible: Bools) -> str:
        names = self._network.switches.names
        for tag in self._host.tags.tags:
            row = names.index(tag.switch) if tag.kind is TagKind.HOLD_OFF and tag.switch in names else -1
            if row >= 0 and possible[row] and new[list(self._graph.sides[row])].any():
                return tag.switch
        return ""

    # -- limits ---------------------------------------------------------------------------------------------------

    def violations(self, feeders: Sequence[Feeder]) -> list[Violation]:
        """Feeders and transformers above their rating, busbars below the voltage limit, as they are now."""
        return [
            *self._overloaded_feeders(feeders),
            *self._overloaded_transformers(feeders),
            *self._low_busbars(feeders),
        ]

    def _overloaded_feeders(self, feeders: Sequence[Feeder]) -> list[Violation]:
        network, found = self._network, []
        for f in feeders:
            i_a, limit_a = self.value(f.name, "i_a"), self._rating_a(self.rows[f.name])
            if f.closed and i_a is not None and i_a > self._settings.max_loading * limit_a and f.p_kw > 0:
                line = network.branch_names[network.switches.branch[self.rows[f.name]]]
                excess = f.p_kw * (1.0 - self._settings.max_loading * limit_a / i_a)
                found.append(Violation(line, excess, (f.name,), f"{line} is at {100 * i_a / limit_a:.0f} %."))
        return found

    def _rating_a(self, row: int) -> float:
        branch = int(self._network.switches.branch[row])
        rating = float(self._network.branch_i_max_a[branch]) if branch >= 0 else math.inf
        return rating if rating > 0 else math.inf

    def _overloaded_transformers(self, feeders: Sequence[Feeder]) -> list[Violation]:
        table, found = self._network.transformers, []
        for row, name in enumerate(table.names):
            behind = self._at_busbar(feeders, int(table.node_to[row]))
            p_kw = sum(f.p_kw for f in behind)
            s_kva = self._through(row, behind)
            limit_kva = self._settings.max_loading * float(table.s_kva[row])
            if p_kw > 0 and s_kva > limit_kva > 0:
                names = tuple(f.name for f in behind)
                sentence = f"{name} is at {100 * s_kva / float(table.s_kva[row]):.0f} %."
                found.append(Violation(name, p_kw * (1.0 - limit_kva / s_kva), names, sentence))
        return found

    def _through(self, transformer: int, behind: Sequence[Feeder]) -> float:
        """What a transformer carries, kVA: as its own bay measures, else the feeders of its busbar if it is alone."""
        switches, table = self._network.switches, self._network.transformers
        branch = self._network.lines.n + transformer
        for row in np.flatnonzero((switches.branch == branch) & (switches.side == 1)).tolist():
            p_kw, q_kvar = (self.value(switches.names[row], quantity) for quantity in ("p_kw", "q_kvar"))
            if p_kw is not None and q_kvar is not None:
                return math.hypot(p_kw, q_kvar)
        if int(np.count_nonzero(table.node_to == table.node_to[transformer])) != 1:
            return 0.0
        return math.hypot(sum(f.p_kw for f in behind), sum(self.value(f.name, "q_kvar") or 0.0 for f in behind))

    def _low_busbars(self, feeders: Sequence[Feeder]) -> list[Violation]:
        network, found = self._network, []
        for node in dict.fromkeys(int(network.switches.node[row]) for row in self.rows.values()):
            name = network.nodes.names[node]
            v_kv, behind = self.value(name, "v_kv"), self._at_busbar(feeders, node)
            if v_kv is None or not behind or v_kv <= 0:
                continue
            v_pu = v_kv / float(network.nodes.v_nominal_kv[node])
            p_kw = sum(f.p_kw for f in behind if f.closed)
            if v_pu < self._settings.v_min_pu and p_kw > 0:
                # a first part in proportion: the voltage is looked at again before more is shed
                excess = p_kw * (self._settings.v_min_pu - v_pu) / self._settings.v_min_pu
                names = tuple(f.name for f in behind)
                found.append(Violation(name, excess, names, f"{name} is at {v_pu:.3f} pu."))
        return found

    def _at_busbar(self, feeders: Sequence[Feeder], node: int) -> list[Feeder]:
        at = self._network.switches.node
        return [f for f in feeders if f.known and f.closed and int(at[self.rows[f.name]]) == node]

    def measured_since(self, name: str, closed_at: SimTime) -> bool:
        """True if the power of a feeder has been measured after its head closed."""
        reading = self.reading(name, "p_kw")
        return reading is not None and reading.source_t_ms > closed_at


def _stages(definitions: Sequence[PointDefinition], heads: dict[str, int]) -> dict[str, list[int]]:
    """The stages of each feeder head's relay that can be armed."""
    stages: dict[str, list[int]] = {}
    for d in definitions:
        if d.equipment in heads and d.quantity.startswith("arm_ufls_"):
            stages.setdefault(d.equipment, []).append(int(d.quantity.rpartition("_")[2]))
    return {name: sorted(found) for name, found in stages.items()}
