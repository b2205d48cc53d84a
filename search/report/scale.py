"""Colours of lines, and the scale that accuracies near 1 are drawn on. What all figures share.
Knows nothing of what is drawn.

The scale is logarithmic in errors and labelled with accuracies: from 99 to 99.5 % half of the errors go, as
from 80 to 90 %, and it looks so.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

FIRST, SECOND, THIRD = "#0f7fb8", "#d9730d", "#1a9988"
COLOURS = (FIRST, SECOND, THIRD, "#c2477f", "#8a6fd1", "#b59a00", "#5b7f2b", "#4f5dc9", "#a3512b", "#5f7f95")

FLOOR = 1e-4
"""Errors below this share are drawn as this: none at all has no place on a logarithmic scale."""

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
