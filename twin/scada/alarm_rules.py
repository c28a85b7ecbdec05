"""Alarm rules: which state of which point is worth a dispatcher's attention, and in which words.

For stating rules and deriving a sensible set from a point map. How alarms live once raised is
``twin.scada.alarms``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, Field

from twin.network.model import EquipmentKind, Network
from twin.points.model import DoublePosition, PointDefinition, PointKind

URGENT, HIGH, MEDIUM, LOW = 1, 2, 3, 4
"""Priorities: act at once, act soon, look at it, for information."""

_UNRATED_A = 1e5
"""Ratings from here on stand for none."""


@dataclass(frozen=True, slots=True)
class AlarmRule:
    """What all rules have. ``alarm_id`` is unique; ``subject`` is the equipment or station; ``text`` is what the
    dispatcher reads (for movements and commands: how it begins)."""

    alarm_id: str
    subject: str
    priority: int
    text: str


@dataclass(frozen=True, slots=True)
class StatusRule(AlarmRule):
    """Raised while a status point has been at one of the ``abnormal`` values for ``delay_ms``."""

    point: str
    abnormal: tuple[float, ...]
    delay_ms: int = 0


@dataclass(frozen=True, slots=True)
class LimitRule(AlarmRule):
    """Raised once a measurand is beyond ``limit`` for ``delay_ms``, cleared once it is back by ``hysteresis``.

    ``above``: beyond means above. The magnitude counts. Below ``floor`` a measurand is never beyond: a dead
    busbar has no voltage problem.
    """

    point: str
    limit: float
    above: bool
    hysteresis: float
    delay_ms: int
    floor: float = -math.inf


@dataclass(frozen=True, slots=True)
class MovementRule(AlarmRule):
    """Happens when a switch reaches another end position that no command and no protection explains."""

    point: str


@dataclass(frozen=True, slots=True)
class StationRule(AlarmRule):
    """Raised while the session to the station ``subject`` is lost."""


@dataclass(frozen=True, slots=True)
class CommandRule(AlarmRule):
    """Happens when a command to ``output`` was sent out and did not succeed."""

    output: str


class AlarmSettings(BaseModel):
    """Limits and delays of the derived rules."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    v_high_pu: float = Field(default=1.10, gt=1, description="Voltage above which an alarm is raised")
    v_low_pu: float = Field(default=0.90, gt=0, lt=1, description="Voltage below which an alarm is raised")
    v_dead_pu: float = Field(default=0.20, gt=0, lt=1, description="Voltage below which a busbar counts as dead")
    v_hysteresis_pu: float = Field(default=0.01, ge=0, description="How far a voltage must be back to clear the alarm")
    v_delay_ms: int = Field(default=5_000, ge=0, description="How long a voltage must be beyond its limit")
    loading_max: float = Field(default=1.0, gt=0, description="Current over rating above which an alarm is raised")
    loading_hysteresis: float = Field(default=0.05, ge=0, description="How far a loading must be back")
    loading_delay_ms: int = Field(default=10_000, ge=0, description="How long a loading must be beyond its limit")
    spring_delay_ms: int = Field(default=20_000, ge=0, description="Time a motor needs to charge a spring")
    transit_delay_ms: int = Field(default=10_000, ge=0, description="Time a switch may stay between its end positions")


def default_rules(
    definitions: Sequence[PointDefinition], network: Network, settings: AlarmSettings | None = None
) -> tuple[AlarmRule, ...]:
    """The rules that follow from a point map, in its order, and one for each station."""
    derive = _Derivation(network, settings or AlarmSettings())
    rules: list[AlarmRule] = [rule for definition in definitions for rule in derive.rules(definition)]
    stations = dict.fromkeys(definition.station for definition in definitions)
    lost: list[AlarmRule] = [
        StationRule(f"station:{name}", name, URGENT, f"{name}: connection lost") for name in stations
    ]
    return (*rules, *lost)


class _Derivation:
    """Derives the rules of one point at a time."""

    def __init__(self, network: Network, settings: AlarmSettings) -> None:
        self._network = network
        self._settings = settings
        self._by_quantity: dict[str, Callable[[PointDefinition], Iterator[AlarmRule]]] = {
            "position": self._position,
            "v_kv": self._voltage,
            "i_a": self._loading,
            "trip": lambda d: _status(d, URGENT, "tripped by protection"),
            "lockout": lambda d: _status(d, URGENT, "locked out after unsuccessful auto-reclose"),
            "fault_forward": lambda d: _status(d, HIGH, "saw a fault pass, forward"),
            "fault_reverse": lambda d: _status(d, HIGH, "saw a fault pass, reverse"),
            "local": lambda d: _status(d, LOW, "is under local control"),
            "spring_charged": lambda d: _status(
                d, MEDIUM, "has its spring not charged", abnormal=0, delay_ms=settings.spring_delay_ms
            ),
        }

    def rules(self, definition: PointDefinition) -> Iterator[AlarmRule]:
        if definition.kind.is_output:
            yield CommandRule(
                f"command:{definition.name}", definition.equipment, HIGH, _prefix(definition), definition.name
            )
        elif definition.quantity in self._by_quantity:
            yield from self._by_quantity[definition.quantity](definition)

    def _position(self, definition: PointDefinition) -> Iterator[AlarmRule]:
        yield MovementRule(f"moved:{definition.name}", definition.equipment, HIGH, _prefix(definition), definition.name)
        if definition.kind is PointKind.DOUBLE:
            delay_ms = self._settings.transit_delay_ms
            between, faulty = DoublePosition.INTERMEDIATE, DoublePosition.FAULTY
            yield from _status(
                definition, HIGH, "stays between open and closed", abnormal=between, delay_ms=delay_ms, tag="transit"
            )
            yield from _status(
                definition, HIGH, "reports open and closed at once", abnormal=faulty, delay_ms=delay_ms, tag="faulty"
            )

    def _voltage(self, definition: PointDefinition) -> Iterator[AlarmRule]:
        found = self._network.find(definition.equipment)
        if found is None or found.kind is not EquipmentKind.NODE:
            return
        nominal_kv, s = float(self._network.nodes.v_nominal_kv[found.index]), self._settings
        high, low, dead = s.v_high_pu * nominal_kv, s.v_low_pu * nominal_kv, s.v_dead_pu * nominal_kv
        back = s.v_hysteresis_pu * nominal_kv
        where = f"{definition.station}: voltage at {definition.equipment}"
        for name, limit, above, floor, priority, text in (
            ("v_high", high, True, -math.inf, HIGH, f"{where} above {high:.4g} kV"),
            ("v_low", low, False, dead, HIGH, f"{where} below {low:.4g} kV"),
            ("v_dead", dead, False, -math.inf, URGENT, f"{definition.station}: no voltage at {definition.equipment}"),
        ):
            yield LimitRule(
                alarm_id=f"{name}:{definition.name}",
                subject=definition.equipment,
                priority=priority,
                text=text,
                point=definition.name,
                limit=limit,
                above=above,
                hysteresis=back,
                delay_ms=s.v_delay_ms,
                floor=floor,
            )

    def _loading(self, definition: PointDefinition) -> Iterator[AlarmRule]:
        i_max_a, s = _rating_a(self._network, definition.equipment), self._settings
        if i_max_a >= _UNRATED_A:
            return
        limit = s.loading_max * i_max_a
        yield LimitRule(
            alarm_id=f"loading:{definition.name}",
            subject=definition.equipment,
            priority=HIGH,
            text=f"{definition.station}: current through {definition.equipment} above {limit:.4g} A",
            point=definition.name,
            limit=limit,
            above=True,
            hysteresis=s.loading_hysteresis * i_max_a,
            delay_ms=s.loading_delay_ms,
        )


def _prefix(definition: PointDefinition) -> str:
    return f"{definition.station}: {definition.equipment}"


def _status(
    definition: PointDefinition, priority: int, words: str, *, abnormal: float = 1, delay_ms: int = 0, tag: str = ""
) -> Iterator[AlarmRule]:
    yield StatusRule(
        alarm_id=f"{tag or definition.quantity}:{definition.name}",
        subject=definition.equipment,
        priority=priority,
        text=f"{_prefix(definition)} {words}",
        point=definition.name,
        abnormal=(float(abnormal),),
        delay_ms=delay_ms,
    )


def _rating_a(network: Network, switch: str) -> float:
    """The rating of the branch a switch stands at, at its side, A; infinite if there is none."""
    found = network.find(switch)
    if found is None or found.kind is not EquipmentKind.SWITCH:
        return math.inf
    branch, side = int(network.switches.branch[found.index]), int(network.switches.side[found.index])
    if branch < 0:
        return math.inf
    row = branch - network.lines.n
    if row < 0 or side == 0:
        return float(network.branch_i_max_a[branch])
    transformers = network.transformers
    return float(transformers.s_kva[row] / (math.sqrt(3) * transformers.v_to_kv[row]))
