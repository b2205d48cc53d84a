"""How settings and scores read on one line of a terminal, and as values in JSON."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import TYPE_CHECKING

from search.heads import accuracies_of, validation_of
from search.records import (
    ACCURACY,
    DIGITS,
    Direction,
    Metric,
    NetworkSpec,
    Report,
    StudySpec,
    TrialRecord,
    Value,
    short_arm,
)
from search.report.words import (
    amount,
    difference,
    label,
    metric_values,
    percent,
    points,
    share,
    value,
)
from search.space.defaults import BY_NAME, shown_settings
from search.tasks import known_task

if TYPE_CHECKING:
    from search.analysis.ranking import Gain


def task_of(spec: StudySpec) -> str | None:
    """The task that the networks of a study learn; None where its trials do something else."""
    return spec.task if isinstance(spec, NetworkSpec) else None


def settings(values: Mapping[str, Value], task: str | None, *, limit: int | None = None) -> str:
    """Settings in the order of the search space: `conv, adamw, lr 0.0021, blocks 3 …`.

    Those that do nothing for the task are left out. task: None where no networks are trained.
    """
    if task is None:
        words = [f"{name} {label(each)}" for name, each in values.items()]
    else:
        shown = shown_settings(values, known_task(task))
        words = [
            str(values[name]) if name in ("model", "optimizer") else f"{name} {label(values[name])}"
            for name in BY_NAME
            if name in shown
        ]
    return ", ".join(words[:limit]) + (" …" if limit is not None and len(words) > limit else "")


def described(trial: TrialRecord, spec: StudySpec, *, limit: int | None = None) -> str:
    """What a trial is, in a phrase: the reference's name, else the settings; in a confirmation also whose, in
    an ablation what is changed. spec: of its study."""
    name = trial.reference or settings(trial.params, task_of(spec), limit=limit)
    if (run := trial.ablation) is not None:
        only = ", to choose with" if run.chooses else ""
        shown = name or "dropped, not trained"
        return f"{short_arm(run.arm)}, {amount(run.budget, spec)}, seed {run.seed}{only}: {shown}"
    if trial.confirming is None:
        return name
    retrained = f"trial {trial.confirming.candidate} of the search retrained, seed {trial.confirming.seed}"
    return f"{retrained}: {name or 'dropped, not trained'}"


def heads(report: Report | None) -> str:
    """Of a network: `first_digit 98.90 %, second_digit 98.75 %, joint 97.80 %`; empty with a single head, of
    which all three are the accuracy."""
    if report is None:
        return "–"
    found = accuracies_of(report)
    several = len(found) > len(("the head", "joint"))
    return ", ".join(f"{name} {percent(found[name])}" for name in found if several)


def measured(report: Report | None, spec: StudySpec) -> str:
    """What was measured beside the score itself: of a network the accuracies of its heads, and the mean of
    them where that is not the score; of any other objective its other metrics by name,
    `height 0.0681, loss/left 12.3`; empty where there is none."""
    if isinstance(spec, NetworkSpec) and spec.scored_by_answers:
        return heads(report)
    if report is None:
        return "–"
    if isinstance(spec, NetworkSpec):
        by_head = heads(report)
        return percent(validation_of(report).accuracy) + (f" ({by_head})" if by_head else "")
    return ", ".join(
        f"{name} {found}" for name, found in metric_values(report).items() if name != spec.metric.name
    )


def gained(gain: Gain, metric: Metric = ACCURACY) -> str:
    """`+0.31 points over course-conv (98.20 %), 17 % of its errors gone`, or that the reference is better; of
    another metric `0.0021 below plain (0.0431)`."""
    reference = f"{gain.reference} ({value(gain.score, metric)})"
    if gain.gain == 0:
        return f"none over {reference}, which is as good"
    if metric == ACCURACY and gain.errors_removed is not None:
        if gain.gain < 0:
            return f"none: {reference} is {points(-gain.gain).lstrip('+')} points higher"
        return f"{points(gain.gain)} points over {reference}, {share(gain.errors_removed)} of its errors gone"
    by, up = difference(gain.gain, metric).lstrip("+−±"), metric.direction is Direction.MAXIMIZE
    if gain.gain < 0:
        return f"none: {reference} is {by} {'higher' if up else 'lower'}"
    return f"{by} {'above' if up else 'below'} {reference}"


def fraction(value: float | None) -> float | None:
    """An accuracy, or a difference of two, for JSON: 0.993 where it was stored as 0.9930000000000001."""
    return None if value is None else round(value, DIGITS)


def natural(score: float | None, metric: Metric) -> float | None:
    """The value of a score, for JSON."""
    if score is None:
        return None
    return fraction(metric.value_of(score)) if metric.is_fraction else metric.value_of(score)


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
