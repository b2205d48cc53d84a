"""Reports as rows: a step, seconds, and named metrics in JSON. Which of them can be used is decided here."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeGuard

import orjson

from search.records import ACCURACY, CurveCheck, Metric, Report

SHORTEST_S, LONGEST_S, LAST_STEP, LARGEST = 1e-9, 1e9, 10**15, 1e300
"""No trial takes fewer or more seconds or has a later step; no finite number is larger."""

Metrics = Mapping[str, Any]
"""Metrics as they were read, by name: another program may have put anything there."""

Row = tuple[int, int, float, Metrics]
"""(trial, step, seconds, metrics)."""

_NOTHING = (math.nan, math.nan)
"""Bounds that no number is between."""

OF_A_HEAD = {
    "train/loss": (-LARGEST, LARGEST),
    "train/accuracy": (0.0, 1.0),
    "validation/loss": (-LARGEST, LARGEST),
    "validation/accuracy": (0.0, 1.0),
}
"""The metrics of each head of a network, before the head's name, and what they lie between, both included."""

_OF_A_NETWORK = {"learning_rate": (0.0, LARGEST), "train/joint": (0.0, 1.0), "validation/joint": (0.0, 1.0)}
"""Likewise, the metrics that belong to no head."""


def report_to_row(trial_id: int, report: Report) -> dict[str, Any]:
    """A row of tune_reports."""
    return {
        "trial_id": trial_id,
        "step": report.step,
        "seconds": report.seconds,
        "metrics": write_metrics(report.metrics),
    }


def write_metrics(metrics: Metrics) -> str:
    """Metrics as a row keeps them. What is not a finite number becomes null, and readers call it unsound."""
    finite = {
        name: value if _is_number(value) and math.isfinite(value) else None for name, value in metrics.items()
    }
    return orjson.dumps(finite).decode()


def read_metrics(text: object) -> Metrics:
    """The metrics of a row; none where another program wrote something else there."""
    try:
        found = orjson.loads(text)  # type: ignore[arg-type]  # JSONDecodeError is raised for anything else
    except orjson.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Layout:
    """What the names of a report's metrics say; there is one for the same names in the same order."""

    heads: tuple[str, ...]
    """of a network: those that have an accuracy on validation"""
    needed: tuple[str, ...]
    """the metrics that must be sound: of a network all that are known, of any other objective what the score
    is made of"""
    low: tuple[float, ...]
    high: tuple[float, ...]
    """what step, seconds and each needed metric must lie between, both included"""

    @property
    def is_whole(self) -> bool:
        """Whether no needed metric is missing."""
        return not any(map(math.isnan, self.low))


def _parts(metric: Metric) -> Mapping[str, tuple[float, float]]:
    """OF_A_HEAD, and the metric that the study optimizes where it is another one."""
    return {metric.name: (0.0, 1.0), **OF_A_HEAD}


@lru_cache(maxsize=1000)
def _layout(names: tuple[str, ...], metric: Metric) -> _Layout:
    """metric: the one that the study optimizes."""
    heads: tuple[str, ...] = ()
    if metric.of_heads:
        start = f"{ACCURACY.name}/"
        heads = tuple(name.removeprefix(start) for name in names if name.startswith(start))
        parts = _parts(metric)
        ranges = {**_OF_A_NETWORK, **{f"{part}/{head}": parts[part] for part in parts for head in heads}}
        needed = tuple(name for name in names if name in ranges)
        complete = bool(heads) and len(needed) == len(ranges)
    else:
        needed = (metric.name,) if metric.name in names else ()
        ranges = dict.fromkeys(needed, (0.0, 1.0) if metric.is_fraction else (-LARGEST, LARGEST))
        complete = bool(needed)
    bounds = [(1.0, LAST_STEP), (SHORTEST_S, LONGEST_S), *(ranges[name] for name in needed)]
    if not complete:
        bounds = [_NOTHING] * len(bounds)
    low, high = zip(*bounds, strict=True)
    return _Layout(heads=heads, needed=needed, low=low, high=high)


def report_of(step: object, seconds: object, metrics: Metrics, metric: Metric) -> Report | None:
    """The report of a row, with the metrics that can be used; None where it has no score.

    Of a network's head all metrics can be used or none.
    """
    layout = _layout(tuple(metrics), metric)
    if is_sound(step, seconds, metrics, metric):
        return sound_report(step, seconds, metrics, metric)  # type: ignore[arg-type]  # they are numbers
    parts = _parts(metric)
    heads = [head for head in layout.heads if _is_sound_head(metrics, head, parts)]
    if not heads or not _is_sound_row(step, seconds, metrics):
        return None
    names = {*_OF_A_NETWORK, *(f"{part}/{head}" for head in heads for part in parts)}
    usable = {name: metrics[name] for name in metrics if name in names}
    return sound_report(step, seconds, usable, metric)  # type: ignore[arg-type]  # likewise


def sound_report(step: int, seconds: float, metrics: Metrics, metric: Metric) -> Report:
    """The report of a row that is sound. Metrics that are not needed are left out where they are no numbers:
    a loss without end, or a share of nothing, says nothing against the score."""
    if len(_layout(tuple(metrics), metric).needed) < len(metrics):
        metrics = {name: value for name, value in metrics.items() if _within(value, -LARGEST, LARGEST)}
    return Report(step=step, seconds=float(seconds), metrics=metrics, metric=metric)


FEW = 10_000
"""Fewer reports than these are checked one by one, without NumPy: on a slow processor that takes 0.12 s at
most, and importing NumPy 0.14 to 0.18."""


def check_reports(rows: Iterable[Row], metric: Metric) -> dict[int, CurveCheck]:
    """What is needed to tell which curves can be used, by trial. metric: that the study optimizes.

    A comparison of large studies asks for a hundred thousand reports: those that have the same metrics are
    checked as one array, and only what is wrong there is looked at one by one.
    """
    alike: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        alike.setdefault(tuple(row[3]), []).append(row)
    reports: Counter[int] = Counter()
    names: dict[int, dict[str, int]] = {}
    unsound: Counter[int] = Counter()
    for present, group in alike.items():
        layout = _layout(present, metric)
        for trial_id, n in Counter(row[0] for row in group).items():
            reports[trial_id] += n
            of_trial = names.setdefault(trial_id, {})
            for name in layout.needed:
                of_trial[name] = of_trial.get(name, 0) + n
        for trial_id, step, seconds, metrics in _suspects(layout, group):
            unsound[trial_id] += not is_sound(step, seconds, metrics, metric)
    return {
        trial_id: CurveCheck(reports=n, unsound=unsound[trial_id], names=names[trial_id])
        for trial_id, n in reports.items()
    }


def _suspects(layout: _Layout, group: Sequence[Row]) -> Sequence[Row]:
    """The rows among these in which something may be wrong."""
    if len(group) < FEW or not layout.is_whole:
        return group
    flat: list[Any] = []
    everything = len(layout.needed) == len(group[0][3])
    for _, step, seconds, metrics in group:
        flat += (step, seconds)
        flat += metrics.values() if everything else [metrics[name] for name in layout.needed]
    if not _NUMBERS.issuperset(map(type, flat)):
        return group
    import numpy as np  # takes longer than to look at FEW reports one by one

    numbers = np.array(flat, dtype=float).reshape(len(group), -1)
    sound = ((numbers >= layout.low) & (numbers <= layout.high)).all(axis=1)
    return [group[int(at)] for at in np.flatnonzero(~sound)]


def is_sound(step: object, seconds: object, metrics: Metrics, metric: Metric) -> bool:
    """Whether every number of a row that is needed is there, finite and in its range."""
    layout = _layout(tuple(metrics), metric)
    numbers = (step, seconds, *(metrics[name] for name in layout.needed))
    return type(step) is int and all(map(_within, numbers, layout.low, layout.high))


def _is_sound_row(step: object, seconds: object, metrics: Metrics) -> bool:
    """Whether the numbers that belong to no head of a network are there, finite and in their range."""
    return (
        type(step) is int
        and _within(step, 1, LAST_STEP)
        and _within(seconds, SHORTEST_S, LONGEST_S)
        and all(_within(metrics.get(name), *bounds) for name, bounds in _OF_A_NETWORK.items())
    )


def _is_sound_head(metrics: Metrics, head: str, parts: Mapping[str, tuple[float, float]]) -> bool:
    """Whether the numbers of a network's head are there, finite and in their range."""
    return all(_within(metrics.get(f"{part}/{head}"), *bounds) for part, bounds in parts.items())


_NUMBERS = frozenset({float, int})
"""Types of a number; that of true and false is another one."""


def _is_number(value: object) -> TypeGuard[float]:
    return type(value) in _NUMBERS


def _within(number: object, low: float, high: float) -> bool:
    return _is_number(number) and low <= number <= high
