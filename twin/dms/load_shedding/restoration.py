"""Brings shed feeders back in blocks, slowly enough for the frequency to follow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from twin.dms.load_shedding.model import Feeder, LoadSheddingSettings, net_load_kw
from twin.timebase import NEVER, SimTime


@dataclass(frozen=True, slots=True)
class Restoration:
    """The next block (empty: not now), why, and when to look again (``NEVER``: when the frequency has changed)."""

    close: tuple[str, ...]
    why: tuple[str, ...]
    not_before_ms: SimTime = NEVER


def restore(
    feeders: Sequence[Feeder],
    settings: LoadSheddingSettings,
    *,
    f_hz: float | None,
    steady_since_ms: SimTime,
    now: SimTime,
    held_off: Sequence[str] = (),
    measured: bool = True,
) -> Restoration:
    """The next block of feeders to close.

    ``f_hz`` is the frequency (None: not readable), ``steady_since_ms`` since when it has not been below ``restore_hz``
    nor a block come back (``NEVER``: it is below). ``held_off`` must stay off for another reason. Where no relay
    measures the frequency (``measured`` is False), time alone counts.
    """
    waiting = [f for f in feeders if f.is_shed and f.name not in held_off]
    if not waiting:
        return Restoration((), ())
    if measured and f_hz is None:
        return Restoration((), ("No frequency is readable, so nothing is restored.",))
    if f_hz is not None and (f_hz < settings.stop_hz or steady_since_ms == NEVER):
        return Restoration((), (f"{f_hz:.2f} Hz is below {settings.restore_hz:g} Hz.",))
    told = "The hold time is" if f_hz is None else f"{f_hz:.2f} Hz, and the hold time is"
    if now < steady_since_ms + settings.hold_ms:
        return Restoration((), (f"{told} not over.",), steady_since_ms + settings.hold_ms)
    return _block(feeders, waiting, settings, told, now)


def _block(
    feeders: Sequence[Feeder], waiting: Sequence[Feeder], settings: LoadSheddingSettings, told: str, now: SimTime
) -> Restoration:
    operable = [f for f in waiting if f.known and not f.blocked and not f.unsafe]
    ripe = [f for f in operable if now >= f.off_since_ms + settings.least_off_ms]
    if not ripe:
        soon = min((f.off_since_ms + settings.least_off_ms for f in operable), default=NEVER)
        return Restoration((), _stuck(waiting) if not operable else ("The least time off is not over.",), soon)
    most_kw = settings.block_share * net_load_kw(tuple(feeders))
    ripe.sort(key=lambda f: (f.name not in settings.last, f.off_since_ms, f.name))
    block: list[str] = []
    pickup_kw = 0.0
    for feeder in ripe:
        kw = settings.cold_load_factor * max(feeder.before_kw, 0.0)
        if not block or pickup_kw + kw <= most_kw:
            block.append(feeder.name)
            pickup_kw += kw
    limit = f"a block may be {most_kw:.0f} kW" if pickup_kw <= most_kw else "one feeder is the smallest block"
    share = f"up to {pickup_kw:.0f} kW with cold-load pickup, {limit}"
    return Restoration(tuple(block), (f"{told} over: {', '.join(block)} to come back, {share}.", *_stuck(waiting)))


def _stuck(waiting: Sequence[Feeder]) -> tuple[str, ...]:
    """Why feeders stay off that nothing else keeps off."""
    why = {f.name: f.unsafe or ("is blocked" if f.blocked else "" if f.known else "is not readable") for f in waiting}
    reasons = "; ".join(f"{name} {reason}" for name, reason in why.items() if reason)
    return (f"Not restored: {reasons}.",) if reasons else ()
