"""Reports as rows: one point of a learning curve is a step, seconds, and named metrics in JSON.

The names are paths, as TensorBoard and Lightning write them: `learning_rate`, `train/joint`,
`validation/joint`, and for each head `train/loss/HEAD`, `train/accuracy/HEAD`, `validation/loss/HEAD` and
`validation/accuracy/HEAD`. A report of other metrics needs no other table.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeGuard

import orjson

from search.records import CurveCheck, HeadScore, Measured, Point, Scores

SHORTEST_S, LONGEST_S, LAST_STEP, LARGEST = 1e-9, 1e9, 10**15, 1e300
"""No trial takes fewer or more seconds or has a later step; no finite loss is larger."""

_NOTHING = (math.nan, math.nan)
"""Bounds that no number is between."""

Metrics = Mapping[str, Any]
"""Metrics as they were read, by name: another program may have put anything there."""

Report = tuple[int, int, float, Metrics]
"""(trial, step, seconds, metrics) of a row."""

_SHARED = {"learning_rate": (0.0, LARGEST), "train/joint": (0.0, 1.0), "validation/joint": (0.0, 1.0)}
"""What the metrics that belong to no head lie between, both included."""

OF_A_HEAD = {
    "train/loss": (-LARGEST, LARGEST),
    "train/accuracy": (0.0, 1.0),
    "validation/loss": (-LARGEST, LARGEST),
    "validation/accuracy": (0.0, 1.0),
}
"""The metrics of each head, before the head's name, and what they lie between, both included."""

_HEAD = "validation/accuracy/"


def metrics_of(point: Point) -> dict[str, float]:
    """A point's metrics by name, the heads in their order."""
    metrics = {
        "learning_rate": point.learning_rate,
        "train/joint": point.train.joint,
        "validation/joint": point.validation.joint,
    }
    for head, train in point.train.heads.items():
        validation = point.validation.heads[head]
        metrics[f"train/loss/{head}"] = train.loss
        metrics[f"train/accuracy/{head}"] = train.accuracy
        metrics[f"validation/loss/{head}"] = validation.loss
        metrics[f"{_HEAD}{head}"] = validation.accuracy
    return metrics


def report_to_row(trial_id: int, point: Point) -> dict[str, Any]:
    """A row of tune_reports."""
    return {
        "trial_id": trial_id,
        "step": point.images,
        "seconds": point.seconds,
        "metrics": write_metrics(metrics_of(point)),
    }


def write_metrics(metrics: Metrics) -> str:
    """Metrics as a row keeps them. What is no finite number becomes null, and readers call it unsound."""
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
    """that have an accuracy on validation"""
    accuracies: tuple[str, ...]
    """the names of these accuracies"""
    low: tuple[float, ...]
    high: tuple[float, ...]
    """what step, seconds and each metric must lie between, both included"""

    @property
    def is_whole(self) -> bool:
        """Whether it has heads, and all metrics of each."""
        return len(self.heads) > 0 and not any(map(math.isnan, self.low))


@lru_cache(maxsize=1000)
def _layout(names: tuple[str, ...]) -> _Layout:
    heads = tuple(name.removeprefix(_HEAD) for name in names if name.startswith(_HEAD))
    ranges = {**_SHARED, **{f"{part}/{head}": bounds for part, bounds in OF_A_HEAD.items() for head in heads}}
    bounds = [(1.0, LAST_STEP), (SHORTEST_S, LONGEST_S), *(ranges.get(name, _NOTHING) for name in names)]
    if ranges.keys() != set(names):
        bounds = [_NOTHING] * len(bounds)
    low, high = zip(*bounds, strict=True)
    return _Layout(heads=heads, accuracies=tuple(_HEAD + head for head in heads), low=low, high=high)


def heads_of(metrics: Metrics) -> tuple[str, ...]:
    """The heads that have an accuracy on validation."""
    return _layout(tuple(metrics)).heads


def point_of(step: object, seconds: object, metrics: Metrics) -> Point | None:
    """The point of a row, with the heads whose numbers can be used; None where nothing can."""
    heads = [head for head in heads_of(metrics) if is_sound_head(metrics, head)]
    if not heads or not is_sound_row(step, seconds, metrics):
        return None

    def scores(split: str) -> Scores:
        return Scores(
            heads={
                head: HeadScore(
                    loss=metrics[f"{split}/loss/{head}"], accuracy=metrics[f"{split}/accuracy/{head}"]
                )
                for head in heads
            },
            joint=metrics[f"{split}/joint"],
        )

    return Point(
        images=int(step),  # type: ignore[call-overload]  # is_sound_row says that they are numbers
        seconds=float(seconds),  # type: ignore[arg-type]
        learning_rate=metrics["learning_rate"],
        train=scores("train"),
        validation=scores("validation"),
    )


def measured_of(step: int, seconds: float, metrics: Metrics) -> Measured | None:
    """What a row says of validation; None where it has no head."""
    layout = _layout(tuple(metrics))
    if not layout.heads:
        return None
    return Measured(
        images=step,
        seconds=seconds,
        heads=dict(zip(layout.heads, [metrics[name] for name in layout.accuracies], strict=True)),
        joint=metrics.get("validation/joint", 0.0),
    )


def unsound_in(step: object, seconds: object, metrics: Metrics) -> int:
    """How many parts of a row cannot be used: the row itself, and each of its heads."""
    wrong = sum(not is_sound_head(metrics, head) for head in heads_of(metrics))
    return wrong + (not is_sound_row(step, seconds, metrics))


FEW = 10_000
"""Fewer reports than these are checked one by one, without NumPy: on a slow processor that takes 0.12 s at
most, and importing NumPy 0.14 to 0.18."""


def check_reports(reports: Iterable[Report]) -> dict[int, CurveCheck]:
    """What is needed to tell which curves can be used, by trial.

    A comparison of large studies asks for a hundred thousand reports: those that have the same metrics are
    checked as one array, and only what is wrong there is looked at one by one.
    """
    alike: dict[_Layout, list[Report]] = {}
    for report in reports:
        alike.setdefault(_layout(tuple(report[3])), []).append(report)
    points: Counter[int] = Counter()
    heads: dict[int, dict[str, int]] = {}
    unsound: Counter[int] = Counter()
    for layout, group in alike.items():
        for trial_id, n in Counter(report[0] for report in group).items():
            points[trial_id] += n
            of_trial = heads.setdefault(trial_id, {})
            for head in layout.heads:
                of_trial[head] = of_trial.get(head, 0) + n
        for trial_id, step, seconds, metrics in _suspects(layout, group):
            unsound[trial_id] += unsound_in(step, seconds, metrics)
    return {
        trial_id: CurveCheck(points=n, unsound=unsound[trial_id], heads=heads[trial_id])
        for trial_id, n in points.items()
    }


def _suspects(layout: _Layout, group: Sequence[Report]) -> Sequence[Report]:
    """The reports among these in which something may be wrong."""
    if len(group) < FEW or not layout.is_whole:
        return group
    flat: list[Any] = []
    for _, step, seconds, metrics in group:
        flat += (step, seconds)
        flat += metrics.values()
    if not _NUMBERS.issuperset(map(type, flat)):
        return group
    import numpy as np  # takes longer than to look at FEW reports one by one

    numbers = np.array(flat, dtype=float).reshape(len(group), -1)
    sound = ((numbers >= layout.low) & (numbers <= layout.high)).all(axis=1)
    return [group[int(at)] for at in np.flatnonzero(~sound)]


def is_sound(point: Point) -> bool:
    """Whether every number of a point is finite and in its range."""
    return unsound_in(point.images, point.seconds, metrics_of(point)) == 0


def is_sound_row(step: object, seconds: object, metrics: Metrics) -> bool:
    """Whether the numbers that belong to no head are there, finite and in their range."""
    return (
        type(step) is int
        and _within(step, 1, LAST_STEP)
        and _within(seconds, SHORTEST_S, LONGEST_S)
        and all(_within(metrics.get(name), *bounds) for name, bounds in _SHARED.items())
    )


def is_sound_head(metrics: Metrics, head: str) -> bool:
    """Whether the numbers of a head are there, finite and in their range."""
    return all(_within(metrics.get(f"{part}/{head}"), *bounds) for part, bounds in OF_A_HEAD.items())


_NUMBERS = frozenset({float, int})
"""Types of a number; that of true and false is another one."""


def _is_number(value: object) -> TypeGuard[float]:
    return type(value) in _NUMBERS


def _within(number: object, low: float, high: float) -> bool:
    return _is_number(number) and low <= number <= high
