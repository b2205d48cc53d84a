"""How settings and scores read on one line, and beside them the words for figures that pages share.
Knows nothing of where they are printed.
"""

from __future__ import annotations

from collections.abc import Mapping

from search.records import Point, TrialRecord, Value
from search.report.words import duration, foreign_in_words, hardware, number, percent
from search.space.defaults import BY_NAME

__all__ = ["described", "duration", "foreign_in_words", "hardware", "heads", "number", "percent", "settings"]


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


def described(trial: TrialRecord, *, limit: int | None = None) -> str:
    """What a trial is, in a phrase: the reference's name, else the settings; in a confirmation also whose."""
    name = trial.reference or settings(trial.params, limit=limit)
    if trial.confirming is None:
        return name
    again = f"trial {trial.confirming.candidate} of the search again, seed {trial.confirming.seed}"
    return f"{again}: {name or 'dropped, not trained'}"


def heads(point: Point | None) -> str:
    """`first_digit 98.90 %, second_digit 98.75 %, joint 97.80 %`."""
    if point is None:
        return "–"
    parts = [f"{name} {percent(head.accuracy)}" for name, head in point.validation.heads.items()]
    return ", ".join([*parts, f"joint {percent(point.validation.joint)}"])
