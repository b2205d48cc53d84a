"""How figures and settings read: percent, durations, one-line descriptions of a trial.
Knows nothing of where they are printed.
"""

from __future__ import annotations

from collections.abc import Mapping

from search.records import Point, Value
from search.space.defaults import BY_NAME


def percent(fraction: float | None, digits: int = 2) -> str:
    """98.53 %, or a dash."""
    return "–" if fraction is None else f"{fraction * 100:.{digits}f} %"


def duration(seconds: float | None) -> str:
    """4.2 s, 3 min 20 s, 2 h 05 min, or a dash."""
    if seconds is None:
        return "–"
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 9.95 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min"


def number(value: float) -> str:
    """12,345 · 0.0021."""
    return f"{value:,}" if isinstance(value, int) else f"{value:.3g}"


def settings(values: Mapping[str, Value], *, limit: int | None = None) -> str:
    """Settings in the order of the search space: `conv, adamw, lr 0.0021, blocks 3 …`."""
    known = [name for name in BY_NAME if name in values]
    words = []
    for name in known:
        value = values[name]
        if name in ("model", "optimizer"):
            words.append(str(value))
        elif isinstance(value, bool):
            words.append(f"{name} {'yes' if value else 'no'}")
        else:
            words.append(f"{name} {value if isinstance(value, str) else number(value)}")
    return ", ".join(words[:limit]) + (" …" if limit is not None and len(words) > limit else "")


def heads(point: Point | None) -> str:
    """`first_digit 98.90 %, second_digit 98.75 %, joint 97.80 %`."""
    if point is None:
        return "–"
    parts = [f"{name} {percent(head.accuracy)}" for name, head in point.validation.heads.items()]
    return ", ".join([*parts, f"joint {percent(point.validation.joint)}"])
