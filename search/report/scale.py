"""Colors of lines, and the scales that scores and settings are drawn on. What all figures share.

That of accuracies, and of every fraction of which more is better, is logarithmic in errors and labeled with
accuracies: from 99 to 99.5 % half of the errors go, as from 80 to 90 %, and it looks so. Other metrics are
drawn as they are measured.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from search.records import Direction, Metric
from search.report.words import titled

FIRST, SECOND, THIRD = "#0f7fb8", "#d9730d", "#1a9988"
COLORS = (FIRST, SECOND, THIRD, "#c2477f", "#8a6fd1", "#b59a00", "#5b7f2b", "#4f5dc9", "#a3512b", "#5f7f95")

FLOOR = 1e-4
"""Errors below this share are drawn as this: none at all has no place on a logarithmic scale."""

DECADES = 2.0
"""Positive values that span more powers of ten than this are drawn on a logarithmic scale."""

_TICKS = (0.9, 0.7, 0.5, 0.3, 0.2, 0.1, 0.05, 0.03, 0.02, 0.01, 0.005, 0.003, 0.002, 0.001, 0.0005, 0.0001)


def error(accuracy: float) -> float:
    """Where an accuracy has its place."""
    return max(FLOOR, 1 - accuracy)


def accuracy_axis(accuracies: Sequence[float], title: str = "validation accuracy") -> dict[str, Any]:
    """An axis for `error`s that reads as accuracy, rising upwards."""
    errors = [error(accuracy) for accuracy in accuracies] or [0.5]
    low, high = min(errors) / 1.15, max(errors) * 1.15
    shown = [tick for tick in _TICKS if low <= tick <= high]
    if len(shown) < 3:  # a narrow range: even steps of accuracy, in round numbers
        digits = max(0, 1 - math.floor(math.log10(high - low)))
        shown = sorted({round(low + (high - low) * part / 3, digits) for part in range(4)} - {0.0})
    return {
        "title": {"text": title},
        "type": "log",
        "range": [math.log10(high), math.log10(low)],
        "tickvals": shown,
        "ticktext": [f"{(1 - tick) * 100:.6g} %" for tick in shown],
    }


def place(score: float, metric: Metric) -> float:
    """Where a score has its place on its `score_axis`."""
    if _in_errors(metric):
        return error(score)
    value = metric.value_of(score)
    return 100 * value if metric.is_fraction else value


def score_axis(scores: Sequence[float], metric: Metric, title: str | None = None) -> dict[str, Any]:
    """An axis for the `place`s of scores. title: None: what the metric is called, and which way is better."""
    title = titled(metric) if title is None else title
    if _in_errors(metric):
        return accuracy_axis(scores, title)
    places = [place(score, metric) for score in scores]
    axis: dict[str, Any] = {"title": {"text": title}}
    if metric.is_fraction:
        axis["ticksuffix"] = " %"
    if places and min(places) > 0 and math.log10(max(places) / min(places)) > DECADES:
        axis["type"] = "log"
    return axis


def _in_errors(metric: Metric) -> bool:
    """Whether what is missing to 1 is what counts."""
    return metric.is_fraction and metric.direction is Direction.MAXIMIZE


def number_axis(values: Sequence[float], *, log: bool) -> dict[str, Any]:
    """An axis whose marks are the values themselves where they are few, else round numbers."""
    if len(set(values)) <= 5:
        marks = sorted(set(values))
        return {"tickvals": marks, "ticktext": [f"{mark:g}" for mark in marks]}
    if not log or min(values) <= 0:
        return {"nticks": 6}
    powers = range(math.floor(math.log10(min(values))), math.ceil(math.log10(max(values))) + 1)
    inside = [
        digit * 10.0**power
        for power in powers
        for digit in (1, 2, 5)
        if min(values) * 0.9 <= digit * 10.0**power <= max(values) * 1.1
    ]
    marks = inside if len(inside) <= 6 else [mark for mark in inside if _is_power(mark)]
    return {"type": "log", "tickvals": marks, "ticktext": [_short(mark) for mark in marks]}


def _is_power(mark: float) -> bool:
    return round(math.log10(mark), 6).is_integer()


def _short(mark: float) -> str:
    """50 · 200k · 2M · 0.001 · 1e-06."""
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if mark >= size:
            return f"{mark / size:g}{letter}"
    return f"{mark:g}"
