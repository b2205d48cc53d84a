"""Intervals over seeds alone, for objectives of which no single right or wrong answers are known.

Scores of other seeds differ; what else a score varies with, such as the examples that it was measured on, is
not in these intervals. There are 3 to 10 seeds, so they are Student's.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from search.analysis import two_way
from search.analysis.statistics import Estimate, student_interval
from search.records import Metric

ROUNDING = 1e-9
"""Relative difference up to which two scores are the same: sums in another order differ by less."""


def possible(metric: Metric) -> tuple[float, float]:
    """Between what its scores lie."""
    if not metric.is_fraction:
        return -math.inf, math.inf
    low, high = sorted((metric.score_of(0.0), metric.score_of(1.0)))
    return low, high


_SHARES = frozenset(
    (
        *("accuracy", "acc", "balanced_accuracy", "top1", "top5", "precision", "recall", "f1"),
        *("f1_score", "macro_f1", "micro_f1", "auc", "roc_auc", "auroc", "average_precision", "iou", "dice"),
    )
)
"""Names of metrics that are shares: between 0 and 1, or between 0 and 100 where they are given in percent."""

_ERRORS = frozenset(("error_rate",))
"""Shares that are often below 1 in percent, too: of those no upper end is known but 100."""

_NEVER_NEGATIVE = frozenset(
    (
        *("log_loss", "cross_entropy", "perplexity", "brier_score", "mse", "rmse", "mae", "mape"),
        *("mean_squared_error", "mean_absolute_error"),
    )
)
"""Names of metrics that are 0 at best. What is just called a loss can be negative, such as the negative
log-likelihood of a density."""

_SPLITS = ("validation_", "valid_", "val_", "eval_", "dev_", "test_", "train_")


def range_of(metric: Metric, scores: Sequence[float]) -> tuple[float, float]:
    """Between what the mean score lies: what is possible, and for training code, which declares no range,
    what the metric's name says unless a score contradicts.

    An interval that is cut off there still covers the truth as often: the truth is not beyond.
    """
    if metric.is_fraction or not scores:
        return possible(metric)
    values = [metric.value_of(score) for score in scores]
    name = metric.name.rpartition("/")[2].lower()
    name = next((name.removeprefix(split) for split in _SPLITS if name.startswith(split)), name)
    high = math.inf
    if name in _ERRORS:
        high = 100.0  # 0.9 may be 0.9 %, and a little more than 1 % is possible then
    elif name in _SHARES:
        high = 1.0 if max(values) <= 1 else 100.0
    elif name not in _NEVER_NEGATIVE:
        return -math.inf, math.inf
    if min(values) < 0 or max(values) > high:
        return -math.inf, math.inf
    lowest, highest = sorted((metric.score_of(0.0), metric.score_of(high)))
    return lowest, highest


def same(scores: Sequence[float]) -> bool:
    """Whether two seeds or more gave one and the same score: it has no spread to judge by, and that is not
    certainty."""
    return len(scores) > 1 and _same(scores, scores)


def same_difference(pairs: Sequence[tuple[float, float]]) -> bool:
    """Whether the first less the second score is the same in all pairs, two at least: likewise."""
    return len(pairs) > 1 and _same([a - b for a, b in pairs], [score for pair in pairs for score in pair])


def _same(values: Sequence[float], scores: Sequence[float]) -> bool:
    """scores: what the values were computed from."""
    return max(values) - min(values) <= ROUNDING * max(map(abs, scores))


def mean(scores: Sequence[float], metric: Metric, *, chosen_of: int = 1) -> Estimate:
    """Mean score with its 95 % interval; without one for a single seed, and where the scores are the same.

    chosen_of: it has the best mean of this number. The lower end holds for all of them together (Bonferroni);
    for none the upper end is too low.
    """
    found = student_interval(scores)[0]
    if len(scores) < 2 or same(scores):
        return Estimate(value=found, low=None, high=None)
    below = student_interval(scores, 1 - 0.05 / chosen_of)[1]
    above = student_interval(scores)[2]
    lowest, highest = range_of(metric, scores)
    return Estimate(value=found, low=max(lowest, below), high=min(highest, above))


def share(*, leaders: int, references: int, seeds: int) -> float:
    """How often the interval of the difference of two candidates has to hold, so that all verdicts of a
    confirmation err together in at most 5 %.

    Any leader might have been the chosen one, so that all pairs of leaders, and of a leader and a reference,
    share the 5 % (Bonferroni). So do the numbers of seeds from `two_way.SEEDS` on: after each of them
    the race may end for a candidate, because it looks worse. Simulated without this, with the level of the
    printed differences alone, 10 % of confirmations of two equal leaders on five seeds call one better.
    """
    pairs = leaders * (leaders - 1) // 2 + leaders * references
    ends = seeds - two_way.SEEDS + 1
    return 1 - 0.05 / (max(1, pairs) * max(1, ends))


def difference(pairs: Sequence[tuple[float, float]], *, share: float) -> Estimate | None:
    """Mean of the first less the second score of pairs on one seed each, with its interval; None where it
    has none: too few seeds, or one of the two, or their difference, is the same on all of them."""
    if len(pairs) < two_way.SEEDS:
        return None
    one, other = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    gaps = [a - b for a, b in pairs]
    if same(one) or same(other) or same_difference(pairs):
        return None
    value, low, high = student_interval(gaps, share)
    return Estimate(value=value, low=low, high=high)
