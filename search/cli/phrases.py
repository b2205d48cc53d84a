"""How settings and scores read on one line, and beside them the words for figures that pages share."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import TYPE_CHECKING

from search.records import DIGITS, Point, TrialRecord, Value
from search.report.words import (
    better,
    duration,
    foreign_in_words,
    hardware,
    number,
    percent,
    points,
    share,
    states,
)
from search.space.defaults import BY_NAME, shown_settings
from search.tasks import takes_number

if TYPE_CHECKING:
    from search.analysis.ranking import Gain

__all__ = [
    "better",
    "described",
    "duration",
    "follow_up",
    "foreign_in_words",
    "fraction",
    "gained",
    "hardware",
    "heads",
    "number",
    "percent",
    "settings",
    "states",
]


def settings(values: Mapping[str, Value], task: str, *, limit: int | None = None) -> str:
    """Settings in the order of the search space: `conv, adamw, lr 0.0021, blocks 3 …`.

    Those that do nothing for the task are left out.
    """
    shown = shown_settings(values, number_input=takes_number(task))
    known = [name for name in BY_NAME if name in shown]
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


def described(trial: TrialRecord, task: str, *, limit: int | None = None) -> str:
    """What a trial is, in a phrase: the reference's name, else the settings; in a confirmation also whose."""
    name = trial.reference or settings(trial.params, task, limit=limit)
    if trial.confirming is None:
        return name
    retrained = f"trial {trial.confirming.candidate} of the search again, seed {trial.confirming.seed}"
    return f"{retrained}: {name or 'dropped, not trained'}"


def heads(point: Point | None) -> str:
    """`first_digit 98.90 %, second_digit 98.75 %, joint 97.80 %`."""
    if point is None:
        return "–"
    parts = [f"{name} {percent(head.accuracy)}" for name, head in point.validation.heads.items()]
    return ", ".join([*parts, f"joint {percent(point.validation.joint)}"])


def gained(gain: Gain) -> str:
    """`+0.31 points over course-conv (98.20 %), 17 % of its errors gone`, or that the reference is better."""
    reference = f"{gain.reference} ({percent(gain.value)})"
    if gain.gain < 0:
        return f"none: {reference} is {points(-gain.gain).lstrip('+')} points higher"
    if gain.gain == 0:
        return f"none over {reference}, which is as good"
    return f"{points(gain.gain)} points over {reference}, {share(gain.errors_removed)} of its errors gone"


def fraction(value: float | None) -> float | None:
    """An accuracy, or a difference of two, for JSON: 0.993 where it was stored as 0.9930000000000001."""
    return None if value is None else round(value, DIGITS)


def follow_up(*words: str, storage: str | None) -> str:
    """A command to type next, quoted for a shell. storage: as `--storage` was given, else None.

    A URL with a password is not printed: the command is then given without its storage.
    """
    if storage is not None and "***" not in _shown(storage):
        words = (*words, "--storage", storage)
    return shlex.join(("tune", *words))


def _shown(storage: str) -> str:
    """The URL without its password."""
    from search.store.engine import masked, parse_url

    return masked(parse_url(storage))
