"""Arms the under-frequency stages: to each its share of the net load as measured now, no feeder in two stages.

The stages of highest level come first: they act first and get the best of what there is. What is armed stays so while
every stage is within its tolerance, so that no command is given without need.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from twin.dms.load_shedding.choice import StageShares, in_turn, near
from twin.dms.load_shedding.model import Feeder, LoadSheddingSettings, net_load_kw


@dataclass(frozen=True, slots=True)
class Arming:
    """Which stage each feeder is to be armed for, what that comes to, and why.

    ``arm`` and ``disarm`` are the (feeder, stage) to change, ``changes`` both as (feeder, stage, armed) in an order in
    which who must stay on is disarmed first, and no stage has less meanwhile than it needs. ``armed_kw`` and
    ``wanted_kw`` go by stage. ``complete`` is False if a stage cannot be brought within its tolerance; ``why`` says so.
    """

    stage_of: Mapping[str, int]
    wanted_kw: tuple[float, ...]
    armed_kw: tuple[float, ...]
    arm: tuple[tuple[str, int], ...]
    disarm: tuple[tuple[str, int], ...]
    why: tuple[str, ...]
    complete: bool
    changes: tuple[tuple[str, int, bool], ...] = ()


def arm(
    feeders: Sequence[Feeder], settings: LoadSheddingSettings, *, rotation: int = 0, rotate: bool = False
) -> Arming:
    """The arming for the feeders as they are; ``rotate`` chooses anew even if what is armed would do."""
    everyone = tuple(feeders)
    total_kw = max(net_load_kw(everyone), 0.0)
    wanted_kw = tuple(share * total_kw for share in settings.shares)
    tolerance_kw = settings.tolerance * total_kw
    kept = _kept(everyone, settings)
    if rotate or not _within(everyone, kept, wanted_kw, tolerance_kw):
        good = {} if rotate else _good_stages(everyone, kept, wanted_kw, tolerance_kw)
        kept = _chosen(everyone, settings, wanted_kw, tolerance_kw, rotation, good)
    armed_kw = _armed_kw(everyone, kept, len(wanted_kw))
    complete = all(abs(a - w) <= tolerance_kw + 1e-9 for a, w in zip(armed_kw, wanted_kw, strict=True))
    to_arm = tuple((f.name, s) for f in everyone if (s := kept.get(f.name, 0)) and s not in f.armed)
    to_disarm = tuple((f.name, s) for f in everyone for s in f.armed if s != kept.get(f.name, 0) and _reachable(f))
    return Arming(
        stage_of=kept,
        wanted_kw=wanted_kw,
        armed_kw=armed_kw,
        arm=to_arm,
        disarm=to_disarm,
        why=_why(everyone, settings, kept, wanted_kw, armed_kw, tolerance_kw),
        complete=complete,
        changes=_in_order(to_arm, to_disarm, {f.name for f in everyone if f.why_not(settings)}),
    )


def _in_order(
    to_arm: Sequence[tuple[str, int]], to_disarm: Sequence[tuple[str, int]], stay_on: Collection[str]
) -> tuple[tuple[str, int, bool], ...]:
    """What must stay on is disarmed first; then the new ones are armed, others changed over, and the rest disarmed."""
    new = dict(to_arm)
    old: dict[str, list[int]] = {}
    for name, stage in to_disarm:
        old.setdefault(name, []).append(stage)
    first = [(n, s, False) for n in old if n in stay_on for s in old[n]]
    armed = [(n, s, True) for n, s in new.items() if n not in old]
    over = [c for n in old if n in new for c in (*((n, s, False) for s in old[n]), (n, new[n], True))]
    rest = [(n, s, False) for n in old if n not in stay_on and n not in new for s in old[n]]
    return (*first, *armed, *over, *rest)


def _reachable(feeder: Feeder) -> bool:
    return feeder.reachable and not feeder.blocked


def _kept(feeders: Sequence[Feeder], settings: LoadSheddingSettings) -> dict[str, int]:
    """What is armed and may stay so: one stage a feeder."""
    n = len(settings.shares)
    return {f.name: f.armed[0] for f in feeders if len(f.armed) == 1 and f.armed[0] <= n and not f.why_not(settings)}


def _within(
    feeders: Sequence[Feeder], stage_of: Mapping[str, int], wanted_kw: Sequence[float], tolerance_kw: float
) -> bool:
    if any(f.armed and f.name not in stage_of for f in feeders):
        return False
    armed_kw = _armed_kw(feeders, stage_of, len(wanted_kw))
    return all(abs(a - w) <= tolerance_kw for a, w in zip(armed_kw, wanted_kw, strict=True))


def _good_stages(
    feeders: Sequence[Feeder], stage_of: Mapping[str, int], wanted_kw: Sequence[float], tolerance_kw: float
) -> dict[str, int]:
    """What is armed for the stages that need no change."""
    armed_kw = _armed_kw(feeders, stage_of, len(wanted_kw))
    good = {s for s, (a, w) in enumerate(zip(armed_kw, wanted_kw, strict=True), 1) if abs(a - w) <= tolerance_kw}
    return {name: stage for name, stage in stage_of.items() if stage in good}


def _chosen(
    feeders: Sequence[Feeder],
    settings: LoadSheddingSettings,
    wanted_kw: Sequence[float],
    tolerance_kw: float,
    rotation: int,
    good: Mapping[str, int],
) -> dict[str, int]:
    free = in_turn(feeders, settings, rotation)
    stage_of = dict(good)
    for stage, kw in enumerate(wanted_kw, 1):
        if stage in good.values():
            continue
        taken = near(kw, [f for f in free if f.name not in stage_of], tolerance_kw)
        stage_of.update({f.name: stage for f in taken})
    open_kw = {stage: kw for stage, kw in enumerate(wanted_kw, 1) if stage not in good.values()}
    rest = [f for f in free if f.name not in good]
    chosen = {name: stage for name, stage in stage_of.items() if name not in good}
    return {**good, **StageShares(rest, open_kw, tolerance_kw, settings.last).best(chosen)}


def _armed_kw(feeders: Sequence[Feeder], stage_of: Mapping[str, int], stages: int) -> tuple[float, ...]:
    return tuple(sum(f.p_kw for f in feeders if stage_of.get(f.name) == stage) for stage in range(1, stages + 1))


def _why(
    feeders: Sequence[Feeder],
    settings: LoadSheddingSettings,
    stage_of: Mapping[str, int],
    wanted_kw: Sequence[float],
    armed_kw: Sequence[float],
    tolerance_kw: float,
) -> tuple[str, ...]:
    sentences = []
    for stage, (wanted, got) in enumerate(zip(wanted_kw, armed_kw, strict=True), 1):
        names = ", ".join(f.name for f in feeders if stage_of.get(f.name) == stage) or "nothing"
        short = "" if abs(got - wanted) <= tolerance_kw + 1e-9 else ": no set of the feeders left comes nearer"
        sentences.append(f"Stage {stage} is to shed {wanted:.0f} kW; {names} would be {got:.0f} kW{short}.")
    left_out = [f"{f.name} {reason}" for f in feeders if (reason := f.why_not(settings))]
    if left_out:
        sentences.append(f"Not armed: {'; '.join(left_out)}.")
    return tuple(sentences)
