"""What FLISR is shown: the control room's view of the switches, kept in the order of its network.

Remembers how the network stood before a fault, because afterwards nobody can measure that.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from twin.control_room.telemetered import Telemetered
from twin.dms.flisr import Observation
from twin.dms.flisr.trigger import HeadSigns
from twin.dms.load_estimate import HeadMeasurements
from twin.network.model import Bools, Floats, Ints, Network
from twin.points.model import DoublePosition, PointDefinition, Quality
from twin.scada.point_database import PointDatabase
from twin.scada.tags import BLOCKED_ACTIONS, SwitchAction, TagBoard, TagKind
from twin.timebase import SimTime

INDICATION_SLACK_MS = 2_000
"""How long before the trip an indication may have come and still belong to its fault."""

NOT_DISTURBED = -1

_FORBIDS_OPENING = tuple(kind for kind, actions in BLOCKED_ACTIONS.items() if SwitchAction.OPEN in actions)

UNUSABLE = int(Quality.INVALID | Quality.NOT_TOPICAL | Quality.BLOCKED)


class SwitchPoints:
    """One quantity of every switch that has it, as arrays over all switches; the arrays are only to be read."""

    def __init__(
        self, network: Network, database: PointDatabase, definitions: Sequence[PointDefinition], quantity: str
    ) -> None:
        row_of = {name: row for row, name in enumerate(network.switches.names)}
        found = [(row_of[d.equipment], d.name) for d in definitions if d.quantity == quantity and d.equipment in row_of]
        self._n = network.switches.n
        self._rows = np.array([row for row, _ in found], dtype=np.intp)
        self._view = database.view([name for _, name in found])
        self._database = database
        self._revision = -1
        self._kept: dict[str, Any] = {}
        self.present = self._spread(np.ones(len(found)), 0.0).astype(np.bool_)

    def _spread(self, values: Any, absent: float) -> Floats:
        result = np.full(self._n, absent)
        result[self._rows] = values
        return result

    def _once(self, name: str, read: Callable[[], Any]) -> Any:
        """What ``read`` gives, worked out once for each revision of the image."""
        if self._revision != self._database.revision:
            self._revision, self._kept = self._database.revision, {}
        if name not in self._kept:
            self._kept[name] = read()
            self._kept[name].flags.writeable = False
        return self._kept[name]

    def values(self) -> Floats:
        """The value at each switch, 0 where it has none."""
        values: Floats = self._once("values", lambda: self._spread(np.nan_to_num(self._view.values), 0.0))
        return values

    def quality(self) -> Ints:
        """The quality flags at each switch, invalid where it has none."""
        return self._spread(self._view.quality, float(Quality.INVALID)).astype(np.int32)

    def good(self) -> Bools:
        """Where the value can be used."""
        good: Bools = self._once("good", lambda: self._spread(self._view.good, 0.0).astype(np.bool_))
        return good

    def is_set(self) -> Bools:
        """Where the value can be used and is 1."""
        result: Bools = self._once("is set", lambda: self.good() & (self.values() == 1.0))
        return result

    def source_t_ms(self) -> Floats:
        """When the value came about, -1 where there is none."""
        return self._spread(self._view.source_t_ms, -1.0)


class NetworkWatch:
    """Follows the telemetry and gives an :class:`Observation` when one is wanted."""

    def __init__(
        self,
        network: Network,
        database: PointDatabase,
        definitions: Sequence[PointDefinition],
        tags: TagBoard,
    ) -> None:
        self.network = network
        self._tags = tags

        def points(quantity: str) -> SwitchPoints:
            return SwitchPoints(network, database, definitions, quantity)

        self.position = points("position")
        self.trip = points("trip")
        self.reclose_active = points("reclose_active")
        self.lockout = points("lockout")
        self._forward = points("fault_forward")
        self._reverse = points("fault_reverse")
        self._local = points("local")
        self._under_frequency = points("ufls_trip")
        self._v_kv = Telemetered(network.nodes.names, definitions, database, "v_kv", np.full(network.nodes.n, np.nan))
        self._fault_phase_a = [points(f"fault_l{phase}_a") for phase in (1, 2, 3)]
        self._fault_x_ohm = points("fault_x_ohm")
        self._p_kw = points("p_kw")
        self._q_kvar = points("q_kvar")
        operable = {d.equipment for d in definitions if d.quantity == "operate"}
        self._remote = np.array([name in operable for name in network.switches.names], dtype=np.bool_)
        self.closed_before = network.switches.normally_closed.copy()
        self._closed_earlier = self.closed_before
        self._at_trip: dict[int, Bools] = {}
        self.disturbed_since = np.full(network.switches.n, NOT_DISTURBED, dtype=np.int64)
        self._indicated = np.zeros(network.switches.n, dtype=np.bool_)
        self.known_faults: tuple[int, ...] = ()
        """Zones that must not be energised as FLISR knows; it says so in every cycle."""
        self.head_p_kw = np.full(network.switches.n, np.nan)
        self.head_q_kvar = np.full(network.switches.n, np.nan)

    def positions(self) -> Ints:
        """``DoublePosition`` of each switch as telemetered; intermediate where nothing is known."""
        return self.position.values().astype(np.int32)

    def disturbed(self) -> Bools:
        """Switches whose protection has acted and not been reset."""
        return self.trip.is_set() | self.reclose_active.is_set() | self.lockout.is_set()

    def follow(self) -> None:
        """Take over what the telemetry says of the undisturbed network; to be called every cycle."""
        disturbed = self.disturbed()
        calm = ~disturbed & self._protection_known()
        self._date(disturbed, calm)
        known = self.position.good()
        position = self.position.values()
        closed, opened = position == DoublePosition.CLOSED, position == DoublePosition.OPEN
        settled = calm & known & (closed | opened)
        self._closed_earlier = self.closed_before.copy()
        self.closed_before[settled] = closed[settled]
        metered = calm & known & closed & self._p_kw.good() & self._q_kvar.good()
        self.head_p_kw[metered] = self._p_kw.values()[metered]
        self.head_q_kvar[metered] = self._q_kvar.values()[metered]

    def _protection_known(self) -> Bools:
        """Switches whose protection flags can all be read; without a connection nothing is taken to be over."""
        flags = (self.trip, self.reclose_active, self.lockout)
        known: Bools = np.all([flag.good() | ~flag.present for flag in flags], axis=0)
        return known

    def _date(self, disturbed: Bools, calm: Bools) -> None:
        """Keep when the protection of a switch first acted: over all shots of an auto-reclosing."""
        new = disturbed & (self.disturbed_since == NOT_DISTURBED)
        if new.any():
            flags = (self.trip, self.reclose_active, self.lockout)
            first = np.min([np.where(f.is_set(), f.source_t_ms(), np.inf) for f in flags], axis=0)
            self.disturbed_since[new] = first[new].astype(np.int64)
        self.disturbed_since[calm] = NOT_DISTURBED

    def head_signs(self) -> dict[str, HeadSigns]:
        """What is telemetered of each feeder head, by its name; heads that cannot be read are left out."""
        switches = self.network.switches
        readable = switches.feeder_head & self.position.good() & self._protection_known()
        is_open = self.position.good() & (self.position.values() == DoublePosition.OPEN)
        columns = (self.trip.is_set(), is_open, self.reclose_active.is_set(), self.lockout.is_set())
        return {
            switches.names[row]: HeadSigns(*(bool(column[row]) for column in columns))
            for row in np.flatnonzero(readable).tolist()
        }

    def keep_before(self, head: int) -> None:
        """A feeder head has just tripped: what moves from then on does not count as closed before its fault."""
        tripped_at = self.trip.source_t_ms()[head] if self.trip.is_set()[head] else self.disturbed_since[head]
        later = self.position.present & (self.position.source_t_ms() > tripped_at)
        self._at_trip[head] = np.where(later, self._closed_earlier, self.closed_before)

    def before_trip(self, head: int) -> Bools:
        """How the switches stood when a feeder head tripped last."""
        return self._at_trip.get(head, self.closed_before)

    def take_new_indications(self) -> Bools:
        """Switches whose fault indication has come since the last call."""
        indicated = self._forward.is_set() | self._reverse.is_set()
        new: Bools = indicated & ~self._indicated
        self._indicated = indicated
        return new

    def head_measurements(self) -> HeadMeasurements:
        """The last good power through each switch while its protection was calm."""
        valid: Bools = np.isfinite(self.head_p_kw) & np.isfinite(self.head_q_kvar)
        return HeadMeasurements(np.nan_to_num(self.head_p_kw), np.nan_to_num(self.head_q_kvar), valid)

    def observe(self, now: SimTime, trip_t_ms: SimTime, p_kw: Floats, q_kvar: Floats) -> Observation:
        """All that is known at ``now`` about a fault whose first trip came at ``trip_t_ms``."""
        since = trip_t_ms - INDICATION_SLACK_MS
        forward, reverse = self._forward, self._reverse
        fresh_forward = forward.is_set() & (forward.source_t_ms() >= since)
        fresh_reverse = reverse.is_set() & (reverse.source_t_ms() >= since)
        stale = (forward.is_set() & ~fresh_forward) | (reverse.is_set() & ~fresh_reverse)
        quality = self.position.quality()
        return Observation(
            t_ms=now,
            position=self.positions(),
            quality=quality,
            closed_before=self.closed_before.copy(),
            tripped=self.trip.is_set(),
            lockout=self.lockout.is_set(),
            fault_forward=fresh_forward,
            fault_reverse=fresh_reverse,
            indication_valid=forward.good() & reverse.good() & ~stale,
            remote=self._remote & ((quality & UNUSABLE) == 0),
            blocked=self._local.is_set() | self._tagged(*_FORBIDS_OPENING),
            p_kw=p_kw,
            q_kvar=q_kvar,
            generation_kw=self.network.generators.p_kw.copy(),
            generation_kvar=self.network.generators.q_kvar.copy(),
            hold_off=self._tagged(TagKind.HOLD_OFF),
            fault_phase_a=np.stack([_recorded(points, since) for points in self._fault_phase_a], axis=1),
            fault_x_ohm=_recorded(self._fault_x_ohm, since),
            v_pu=self._v_kv.values() / self.network.nodes.v_nominal_kv,
        )

    def shed(self) -> Bools:
        """Switches that their under-frequency relay has opened."""
        is_open = self.position.good() & (self.position.values() == DoublePosition.OPEN)
        shed: Bools = self._under_frequency.is_set() & is_open
        return shed

    def _tagged(self, *kinds: TagKind) -> Bools:
        """Switches with a tag of one of these kinds, whatever else hangs there."""
        row_of = {name: row for row, name in enumerate(self.network.switches.names)}
        tagged = np.zeros(self.network.switches.n, dtype=np.bool_)
        tagged[[row_of[tag.switch] for tag in self._tags.tags if tag.switch in row_of and tag.kind in kinds]] = True
        return tagged

    def snapshot(self) -> dict[str, Any]:
        """State as JSON-able data."""
        return {
            "closed_before": self.closed_before.tolist(),
            "at_trip": {str(head): closed.tolist() for head, closed in self._at_trip.items()},
            "disturbed_since": self.disturbed_since.tolist(),
            "indicated": self._indicated.tolist(),
            "head_p_kw": _plain(self.head_p_kw),
            "head_q_kvar": _plain(self.head_q_kvar),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from :meth:`snapshot`."""
        self.closed_before = np.array(state["closed_before"], dtype=np.bool_)
        self._at_trip = {int(head): np.array(closed, dtype=np.bool_) for head, closed in state["at_trip"].items()}
        self.disturbed_since = np.array(state["disturbed_since"], dtype=np.int64)
        self._indicated = np.array(state["indicated"], dtype=np.bool_)
        self.head_p_kw = np.array(state["head_p_kw"], dtype=np.float64)
        self.head_q_kvar = np.array(state["head_q_kvar"], dtype=np.float64)


def _recorded(points: SwitchPoints, since: SimTime) -> Floats:
    """What the relays have recorded after ``since``, NaN where nothing good."""
    fresh = points.good() & (points.source_t_ms() >= since)
    values: Floats = np.where(fresh, points.values(), np.nan)
    return values


def _plain(values: Floats) -> list[float | None]:
    return [None if np.isnan(value) else float(value) for value in values]
