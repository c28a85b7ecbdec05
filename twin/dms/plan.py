"""Plans: what every application hands over that wants devices operated.

A plan is data: numbered steps, each a command with its expected effect and the power flow that was
calculated for the state after it. Not for carrying plans out, and not for finding them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import Enum
from typing import Any


class StepAction(Enum):
    """What a step does to its equipment: RAISE and LOWER move a mechanism by one position, SET gives a set point."""

    OPEN = "open"
    CLOSE = "close"
    RAISE = "raise"
    LOWER = "lower"
    SET = "set"
    ARM = "arm"
    DISARM = "disarm"


class StepPurpose(Enum):
    """Why a step is taken."""

    ISOLATE = "isolate"
    RESTORE = "restore"
    VOLTAGE = "voltage"
    SAVE = "save"
    SHED = "shed"
    ARM = "arm"
    RETURN = "return"


class Verdict(Enum):
    """How far a plan gets, best first."""

    FULL = "full restoration"
    PARTIAL = "partial restoration"
    ISOLATION_ONLY = "isolation only"
    IMPROVED = "improvement"
    NORMAL = "return to normal"
    NONE = "no plan"


@dataclass(frozen=True, slots=True)
class StepCheck:
    """The state after a step, as calculated before anything is operated.

    Voltages and loadings are those of the energised nodes and branches (None while nothing is energised or
    ``converged`` is False); loading 1.0 = 100 %. ``violations`` make the step inadmissible; ``tolerated`` are
    limits that were exceeded before the plan and do not get worse.
    """

    converged: bool
    customers_supplied: int
    v_min_pu: float | None = None
    v_min_node: str = ""
    v_max_pu: float | None = None
    v_max_node: str = ""
    loading_max: float | None = None
    loading_max_branch: str = ""
    losses_kw: float | None = None
    violations: tuple[str, ...] = ()
    tolerated: tuple[str, ...] = ()

    @property
    def admissible(self) -> bool:
        """True if the state may be entered."""
        return self.converged and not self.violations


@dataclass(frozen=True, slots=True)
class PlanStep:
    """One command. ``expects`` is a sentence for the operator; ``number`` counts from 1.

    ``value`` goes with SET (kvar), ARM and DISARM (the stage).
    """

    number: int
    equipment: str
    action: StepAction
    purpose: StepPurpose
    expects: str
    check: StepCheck
    value: float | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """Steps to be carried out in order, each only after the one before has succeeded.

    ``why`` holds the findings and reasons as sentences: what was seen, what was rejected and for which
    limit. ``customers_interrupted`` counts before the first step, ``customers_restored`` and
    ``customers_not_restored`` after the last one. ``switches_to_avoid`` names what the plan must not rely on.
    """

    plan_id: str
    application: str
    title: str
    verdict: Verdict
    why: tuple[str, ...]
    steps: tuple[PlanStep, ...] = ()
    isolated: tuple[str, ...] = ()
    customers_interrupted: int = 0
    customers_restored: int = 0
    customers_not_restored: int = 0
    switches_to_avoid: tuple[str, ...] = ()
    evaluations: int = 0

    @property
    def explanation(self) -> str:
        """All sentences of ``why`` as one text."""
        return " ".join(self.why)

    def to_data(self) -> Mapping[str, Any]:
        """The plan as plain JSON types, for the journal and the web."""
        return {key: _plain(value) for key, value in asdict(self).items()}


def _plain(value: Any) -> Any:
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, (tuple, list)):
        return [_plain(inner) for inner in value]
    return value
