"""Volt-VAR control: from what the control room knows of the network to a checked plan of moves.

Pure: the same observation gives the same plan. When it is asked, and what becomes of the plan, is the control room's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from twin.dms.plan import Plan, PlanStep, StepAction, StepCheck, StepPurpose, Verdict
from twin.dms.volt_var.controls import (
    Control,
    ControlKind,
    Inputs,
    Setting,
    SettingWriter,
    present_setting,
)
from twin.dms.volt_var.followers import Followers
from twin.dms.volt_var.search import Evaluator, Outcome, SearchResult, find_best
from twin.dms.volt_var.sequence import Move, order_moves
from twin.dms.volt_var.settings import Objective, VoltVarSettings
from twin.network.model import Bools, Floats, Network
from twin.solvers import power_flow
from twin.solvers.model import PowerFlow
from twin.timebase import SimTime

APPLICATION = "volt_var"

_LEAST_RELIEF_PU = 1e-3
"""A limit that stays broken must be broken less by this, summed over nodes and branches, to be worth a move."""


@dataclass(frozen=True)
class VoltVarObservation:
    """What the control room knows when it looks at the voltages; nothing in here is the plant's own truth.

    Per consumer ``p_kw``/``q_kvar`` and per generating unit ``generation_kw``/``generation_kvar`` as estimated,
    ``closed`` per switch. ``controls``: the devices with their telemetered levels; one that cannot be read or must not
    be operated has its ``why_fixed``. ``unknown_switches`` names switches whose position is not known: then nothing
    is planned, because the network the moves would act on is not known. ``v_measured_pu`` per node, NaN where no good
    measurement is: calculated voltages are shifted by what they differ from it now. ``followers`` are generating units
    whose reactive power follows the voltage by a characteristic.
    """

    t_ms: SimTime
    p_kw: Floats
    q_kvar: Floats
    generation_kw: Floats
    generation_kvar: Floats
    closed: Bools
    controls: tuple[Control, ...]
    inputs: Inputs
    v_measured_pu: Floats | None = None
    unknown_switches: tuple[str, ...] = ()
    followers: Followers = field(default_factory=Followers.none)


@dataclass(frozen=True, slots=True)
class VoltVarResult:
    """The plan (without steps if nothing is worth moving) and what it rests on.

    ``optimal``: every allowed setting was looked at. ``saved_kw`` is what the objective gains (losses or demand), 0
    where it is about voltages alone. ``present`` is None where nothing could be calculated.
    """

    plan: Plan
    present: Outcome | None = None
    planned: Outcome | None = None
    optimal: bool = False
    saved_kw: float = 0.0


def make_plan(
    network: Network, seen: VoltVarObservation, settings: VoltVarSettings, *, solver: PowerFlow | None = None
) -> VoltVarResult:
    """The best moves of the controls for what was seen, checked by power flow after every step.

    ``solver`` is one of the same network, set anew here; made if None.
    """
    draft = _Draft(f"{APPLICATION}-{seen.t_ms}", settings)
    if seen.unknown_switches:
        names = _listed(seen.unknown_switches)
        return draft.nothing(f"The position of {names} is not known, so the voltages cannot be calculated.")
    if not seen.controls:
        return draft.nothing("There is no tap changer, capacitor or inverter to be set.")
    evaluator = _evaluator(network, seen, settings, solver or power_flow(network))
    present = evaluator.judge(present_setting(seen.controls))
    if settings.objective in (Objective.BAND, Objective.OPERATIONS) and present.admissible:
        return draft.nothing(_finding(present, settings), present=present)
    found = find_best(seen.controls, evaluator.judge, settings.max_evaluations)
    return draft.result(seen.controls, found, evaluator)


def _evaluator(network: Network, seen: VoltVarObservation, settings: VoltVarSettings, solver: PowerFlow) -> Evaluator:
    solver.update(p_kw=seen.p_kw, q_kvar=seen.q_kvar, generation_kw=seen.generation_kw, closed=seen.closed)
    writer = SettingWriter(seen.controls, seen.inputs)
    return Evaluator(network, solver, seen.controls, writer, settings, seen.v_measured_pu, seen.followers)


@dataclass(frozen=True, slots=True)
class _Draft:
    """Puts a result together out of what the search found."""

    plan_id: str
    settings: VoltVarSettings

    def nothing(self, *why: str, present: Outcome | None = None) -> VoltVarResult:
        plan = Plan(self.plan_id, APPLICATION, "Nothing is moved", Verdict.NONE, why)
        return VoltVarResult(plan, present, present)

    def result(self, controls: Sequence[Control], found: SearchResult, evaluator: Evaluator) -> VoltVarResult:
        present, best = found.present, found.best
        fixed = [f"{c.name} stays at {_value(c, c.value)}: {c.why_fixed}." for c in controls if c.why_fixed]
        moves, verdict = self._moves(controls, found, evaluator)
        steps = tuple(_step(number, move, self._purpose(present)) for number, move in enumerate(moves, 1))
        plan = Plan(
            self.plan_id,
            APPLICATION,
            f"Set {_listed(list(dict.fromkeys(s.equipment for s in steps)))}" if steps else "Nothing is moved",
            Verdict.IMPROVED if steps else Verdict.NONE,
            (_finding(present, self.settings), *fixed, *_answer(present, best, evaluator.followers), verdict),
            steps,
            evaluations=evaluator.evaluations,
        )
        saved_kw = _gain(present, best, self.settings.objective) if steps else 0.0
        return VoltVarResult(plan, present, best, found.exhaustive, saved_kw)

    def _moves(
        self, controls: Sequence[Control], found: SearchResult, evaluator: Evaluator
    ) -> tuple[tuple[Move, ...], str]:
        """The moves and the sentence that explains them, or why there are none."""
        present, best, settings = found.present, found.best, self.settings
        if best.setting == present.setting:
            return (), _nothing_better(found.exhaustive)
        if not _worth_it(present, best, settings):
            return (), _not_worth_it(present, best, settings)
        tolerance_pu = 0.0 if present.admissible else settings.transient_pu
        moves = order_moves(controls, present.setting, best.setting, evaluator.judge, tolerance_pu)
        if moves is None:
            return (), _no_order(controls, best.setting)
        return moves, _choice(present, best, settings, found.exhaustive)

    def _purpose(self, present: Outcome) -> StepPurpose:
        return StepPurpose.SAVE if present.admissible else StepPurpose.VOLTAGE


def _gain(present: Outcome, best: Outcome, objective: Objective) -> float:
    if objective is Objective.LOSSES:
        return present.losses_kw - best.losses_kw
    if objective is Objective.CONSERVATION:
        return present.demand_kw - best.demand_kw
    return 0.0


def _worth_it(present: Outcome, best: Outcome, settings: VoltVarSettings) -> bool:
    """Less of a broken limit is always worth it; a saving from its least gain on."""
    if best.admissible and not present.admissible:
        return True
    if present.excess_pu - best.excess_pu >= _LEAST_RELIEF_PU:
        return True
    if best.excess_pu > present.excess_pu:
        return False
    return _gain(present, best, settings.objective) >= _least_gain(present, settings)


def _least_gain(present: Outcome, settings: VoltVarSettings) -> float:
    whole = present.losses_kw if settings.objective is Objective.LOSSES else present.demand_kw
    return max(settings.least_gain_kw, settings.least_gain_percent / 100.0 * whole)


def _step(number: int, move: Move, purpose: StepPurpose) -> PlanStep:
    control, after = move.control, move.after
    target = f"{control.name} to {_value(control, move.to_value)}"
    expects = f"{target}: {_voltages(after)}, losses {after.losses_kw:.1f} kW."
    value = move.to_value if control.kind is ControlKind.INVERTER else None
    return PlanStep(number, control.name, _action(move), purpose, expects, _check(after), value)


def _action(move: Move) -> StepAction:
    if move.control.kind is ControlKind.INVERTER:
        return StepAction.SET
    return StepAction.RAISE if move.to_value > move.from_value else StepAction.LOWER


def _check(after: Outcome) -> StepCheck:
    return StepCheck(
        converged=after.converged,
        customers_supplied=after.customers,
        v_min_pu=after.v_min_pu,
        v_min_node=after.v_min_node,
        v_max_pu=after.v_max_pu,
        v_max_node=after.v_max_node,
        loading_max=after.loading_max,
        loading_max_branch=after.loading_max_branch,
        losses_kw=after.losses_kw,
    )


# -- sentences --------------------------------------------------------------------------------------------------------


def _voltages(outcome: Outcome) -> str:
    low, high = (
        f"{outcome.v_min_pu:.3f} pu at {outcome.v_min_node}",
        f"{outcome.v_max_pu:.3f} pu at {outcome.v_max_node}",
    )
    return f"{low} to {high}"


def _finding(present: Outcome, settings: VoltVarSettings) -> str:
    if not present.converged:
        return f"The present settings have no power flow solution: {present.detail}."
    broken = []
    if present.v_min_pu < settings.v_min_pu:
        broken.append(f"{present.v_min_node} is at {present.v_min_pu:.3f} pu, below {settings.v_min_pu:.3f} pu")
    if present.v_max_pu > settings.v_max_pu:
        broken.append(f"{present.v_max_node} is at {present.v_max_pu:.3f} pu, above {settings.v_max_pu:.3f} pu")
    if present.loading_max > settings.max_loading:
        broken.append(f"{present.loading_max_branch} is loaded to {present.loading_max * 100:.0f} %")
    if broken and not present.admissible:
        return f"{' and '.join(broken)}."
    return f"All voltages are inside the band: {_voltages(present)}; losses {present.losses_kw:.1f} kW."


def _answer(present: Outcome, best: Outcome, units: int) -> tuple[str, ...]:
    """What the units on a characteristic do of themselves, where the moves make them do anything."""
    if not units or best.setting == present.setting:
        return ()
    who = "1 inverter answers" if units == 1 else f"{units} inverters answer"
    return (
        f"{who} by characteristic: together from {present.followed_kvar:.0f} to {best.followed_kvar:.0f} kvar, "
        "which every step is checked with.",
    )


def _nothing_better(exhaustive: bool) -> str:
    looked = "no allowed setting is better" if exhaustive else "the search found no better setting"
    return f"Nothing is moved: {looked}."


def _no_order(controls: Sequence[Control], target: Setting) -> str:
    moved = [c.name for c, level in zip(controls, target, strict=True) if level != c.present]
    return f"Nothing is moved: every order of setting {_listed(moved)} would pass a state that breaks a limit."


def _not_worth_it(present: Outcome, best: Outcome, settings: VoltVarSettings) -> str:
    gain, least = _gain(present, best, settings.objective), _least_gain(present, settings)
    return f"Nothing is moved: the best setting would save {gain:.2f} kW, and {least:.2f} kW are asked for."


def _choice(present: Outcome, best: Outcome, settings: VoltVarSettings, exhaustive: bool) -> str:
    looked = "the best of all allowed settings" if exhaustive else "the best setting found"
    effect = _voltages(best)
    if settings.objective in (Objective.LOSSES, Objective.CONSERVATION) and present.converged:
        what = "losses" if settings.objective is Objective.LOSSES else "the demand"
        gain = _gain(present, best, settings.objective)
        effect = f"{effect}, {what} {'falling' if gain >= 0 else 'rising'} by {abs(gain):.1f} kW"
    count = f"{best.operations} operation{'' if best.operations == 1 else 's'}"
    rest = "" if best.admissible else " No allowed setting brings everything inside the limits."
    return f"With {count}, {looked} leads to {effect}.{rest}"


def _value(control: Control, value: float) -> str:
    if control.kind is ControlKind.TAP_CHANGER:
        return f"tap {value:.0f}"
    if control.kind is ControlKind.CAPACITOR:
        return f"{value:.0f} step{'' if value == 1 else 's'}"
    return f"{value:.0f} kvar"


def _listed(names: Sequence[str]) -> str:
    if len(names) > 3:
        return f"{', '.join(names[:3])} and {len(names) - 3} more"
    return " and ".join(names)
