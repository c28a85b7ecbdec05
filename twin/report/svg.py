"""Writes SVG elements as escaped markup, and the small texts that stand in pictures.

Only for the pictures of the report; every value that reaches an attribute or a text is escaped here.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from markupsafe import Markup, escape

from twin.timebase import SimTime

Point = tuple[float, float]


def number(value: float) -> str:
    """A coordinate with one decimal, without a trailing zero or a negative one."""
    return f"{round(value, 1) + 0.0:.1f}".removesuffix(".0")


def element(tag: str, *children: Markup | str, **attributes: object) -> Markup:
    """``<tag …>children</tag>``; ``_`` in an attribute's name stands for ``-``, an attribute of None is left out."""
    words = [f"<{tag}"]
    for name, value in attributes.items():
        if value is not None:
            text = number(value) if isinstance(value, float) else value
            words.append(f' {name.rstrip("_").replace("_", "-")}="{escape(text)}"')
    if not children:
        return Markup("".join(words) + "/>")
    return Markup("".join(words) + ">" + "".join(escape(child) for child in children) + f"</{tag}>")


def join(parts: Iterable[Markup]) -> Markup:
    """The parts one after the other."""
    return Markup("").join(parts)


def path(points: Iterable[Point], **attributes: object) -> Markup:
    """A polyline as ``<path>``."""
    d = "M" + "L".join(f"{number(x)} {number(y)}" for x, y in points)
    return element("path", d=d, **attributes)


def text(x: float, y: float, words: str, **attributes: object) -> Markup:
    """A text whose baseline starts (or is anchored) at ``x``, ``y``."""
    return element("text", words, x=x, y=y, **attributes)


def text_width(words: str, size: float = 11.0) -> float:
    """About how wide ``words`` are in a sans-serif of ``size`` px; errs to the wide side."""
    return sum(_advance(letter) for letter in words) * size


def _advance(letter: str) -> float:
    if letter in "iljI.,:;'|! ":
        return 0.31
    if letter in "mwMW%→":
        return 0.88
    return 0.66 if letter.isupper() else 0.56


def shorten(words: str, limit: int) -> str:
    """``words`` cut to ``limit`` letters with an ellipsis."""
    return words if len(words) <= limit else words[: limit - 1].rstrip() + "…"


def time_text(t_ms: SimTime, *, decimals: int = 3) -> str:
    """A moment as ``m:ss.mmm`` since the start (``h:mm:ss.mmm`` from an hour on)."""
    sign, t_ms = ("−", -t_ms) if t_ms < 0 else ("", t_ms)
    seconds, ms = divmod(t_ms, 1000)
    hours, minutes = seconds // 3600, seconds // 60 % 60
    head = f"{hours}:{minutes:02d}" if hours else f"{minutes}"
    tail = f".{ms:03d}"[: decimals + 1] if decimals else ""
    return f"{sign}{head}:{seconds % 60:02d}{tail}"


def span_text(span_ms: float) -> str:
    """A length of time in the unit that reads best: ``410 ms``, ``5.25 s``, ``3 min 20 s``, ``2 h 5 min``."""
    if span_ms < 0:
        return "−" + span_text(-span_ms)
    if span_ms < 1000:
        return f"{span_ms:.0f} ms"
    seconds = span_ms / 1000
    if seconds < 60:
        return f"{seconds:.2f}".rstrip("0").rstrip(".") + " s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min" if minutes % 60 else f"{minutes // 60} h"


def figure_text(value: float, digits: int = 4) -> str:
    """A number for people: ``digits`` significant ones, thousands kept, no exponent where avoidable."""
    if not math.isfinite(value):
        return "–"
    if value == int(value) and abs(value) < 1e9:
        return f"{int(value):,}".replace(",", " ")
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    return f"{value:.{min(decimals, 6)}f}".rstrip("0").rstrip(".") if decimals else f"{value:.0f}"


def nice_step(span: float, count: int) -> float:
    """The step out of 1, 2, 5 times a power of ten that cuts ``span`` into at most ``count`` parts."""
    if span <= 0 or count <= 0:
        return 1.0
    raw = span / count
    magnitude = 10.0 ** math.floor(math.log10(raw))
    return next((factor * magnitude for factor in (1, 2, 5, 10) if factor * magnitude >= raw * (1 - 1e-9)), raw)
