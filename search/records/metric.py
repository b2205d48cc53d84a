"""What a search optimizes, and how a score is made of it."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

DIGITS = 12
"""Decimals that a mean of accuracies is rounded to. Accuracies are counts of at most some 100,000 examples:
two different means differ in the seventh decimal at the latest."""


def mean_accuracy(accuracies: Collection[float]) -> float:
    """The mean of the heads' accuracies, 0.993 where floating-point arithmetic says 0.9930000000000001."""
    return round(sum(accuracies) / len(accuracies), DIGITS)


class Direction(StrEnum):
    """Whether more or less of a metric is better."""

    MAXIMIZE = "maximize"
    MINIMIZE = "minimize"


@dataclass(frozen=True, kw_only=True, slots=True)
class Metric:
    """The metric that a search optimizes, and how the score is made of it.

    A score is always better when it is higher: what compares trials need not know the direction. Reports,
    Optuna's tables, JSON and pages have the value itself, which `value_of` makes of a score.
    """

    name: str
    """in a report: `validation/accuracy`"""
    direction: Direction = Direction.MAXIMIZE
    is_fraction: bool = False
    """whether it lies between 0 and 1, and is shown in percent"""
    of_heads: bool = False
    """whether a network has it for each of its heads, as NAME/HEAD; the score is the mean"""

    @property
    def title(self) -> str:
        """What it is called: "validation accuracy"."""
        return self.name.replace("/", " ").replace("_", " ")

    @property
    def counts_errors(self) -> bool:
        """Whether what it lacks of the best possible is a share of wrong answers, as of an accuracy. That of
        F1, or of a mean over classes, is none."""
        return self.is_fraction and self.name.rpartition("/")[2] in ("accuracy", "error", "error_rate")

    @property
    def worst(self) -> float:
        """The lowest score: that of a trial that diverged."""
        return 0.0 if self.is_fraction and self.direction is Direction.MAXIMIZE else -math.inf

    def allows(self, value: object) -> bool:
        """Whether it can have this value: a finite number, and of a fraction one between 0 and 1."""
        if not isinstance(value, int | float):
            return False
        return 0 <= value <= 1 if self.is_fraction else math.isfinite(value)

    def score_of(self, value: float) -> float:
        """The score of a value: higher is better."""
        return value if self.direction is Direction.MAXIMIZE else -value

    def value_of(self, score: float) -> float:
        """The value that has this score."""
        return self.score_of(score)  # to change a sign twice changes nothing

    def by_value(self, one: float, other: float) -> tuple[float, float]:
        """Two scores, that of the lower value first: the ends of an interval as it is written."""
        return (one, other) if self.value_of(one) <= self.value_of(other) else (other, one)

    def parts(self, metrics: Mapping[str, float]) -> dict[str, float]:
        """What the score is the mean of: scores by head; of a metric that has no heads, itself."""
        if not self.of_heads:
            return {"": self.score_of(metrics[self.name])}
        return {head: self.score_of(metrics[name]) for head, name in _of_heads(self.name, tuple(metrics))}


@lru_cache(maxsize=1000)
def _of_heads(metric: str, names: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """(head, name) of the names that begin with `metric/`; there is one answer for all reports of a study."""
    start = f"{metric}/"
    return tuple((name.removeprefix(start), name) for name in names if name.startswith(start))


ACCURACY = Metric(name="validation/accuracy", is_fraction=True, of_heads=True)
"""What a search for networks maximizes unless told otherwise: the mean of the heads' accuracies."""

ACCURACY_SCORE = "accuracy"

SCORES: Mapping[str, Metric] = {
    ACCURACY_SCORE: ACCURACY,
    "balanced_accuracy": Metric(name="validation/balanced_accuracy", is_fraction=True, of_heads=True),
    "macro_f1": Metric(name="validation/macro_f1", is_fraction=True, of_heads=True),
    "log_loss": Metric(name="validation/loss", direction=Direction.MINIMIZE, of_heads=True),
}
"""What a search for networks can optimize, by name: each is the mean over the heads. Balanced accuracy is the
mean of the classes' accuracies, macro F1 the mean of their F1 scores, log loss the cross-entropy in nats."""

BY_CLASS = ("balanced_accuracy", "macro_f1")
"""Of these, the means over the classes."""
