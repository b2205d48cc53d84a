"""Rank statistics: how far two groups lie apart, whether two numbers rise together, what grouping explains.
Knows nothing of trials. Ranks, because a few broken trials must not decide, and no scale is the right one.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from search.report.numbers import Z95


@dataclass(frozen=True, kw_only=True, slots=True)
class Shift:
    """How far one group lies above another."""

    by: float
    """median of all pairwise differences (Hodges and Lehmann 1963), in the unit of the values"""
    low: float
    """of its 95 % interval"""
    high: float
    p: float
    """two-sided, Mann–Whitney: so often would chance alone part them as much"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Correlation:
    """Whether one number rises with another, in whatever curve."""

    rho: float
    """Spearman's: 1 always rises, −1 always falls, 0 neither"""
    low: float
    """of its 95 % interval"""
    high: float
    p: float
    """two-sided"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Explained:
    """What knowing the group tells about the value."""

    share: float
    """of the variance of the ranks, less what chance explains: 0 nothing, 1 everything"""
    p: float
    """Kruskal–Wallis"""


def shift(below: Sequence[float], above: Sequence[float]) -> Shift:
    """How far `above` lies over `below`. Raises ValueError where either is empty.

    The interval is that of Hollander and Wolfe (1999, section 4.3) in its normal approximation.
    """
    from scipy.stats import mannwhitneyu  # type: ignore[import-untyped]  # SciPy ships no types

    if not below or not above:
        raise ValueError(f"a shift needs values on both sides, not {len(below)} and {len(above)}")
    differences = np.sort(np.subtract.outer(np.asarray(above), np.asarray(below)).ravel())
    m, n = len(below), len(above)
    beyond = math.floor(m * n / 2 - Z95 * math.sqrt(m * n * (m + n + 1) / 12))
    beyond = max(0, min(beyond, (m * n - 1) // 2))
    return Shift(
        by=float(np.median(differences)),
        low=float(differences[beyond]),
        high=float(differences[m * n - 1 - beyond]),
        p=_probability(mannwhitneyu(below, above).pvalue),
    )


def correlation(x: Sequence[float], y: Sequence[float]) -> Correlation | None:
    """Spearman's rank correlation; None for fewer than four pairs or where one side never changes.

    The interval is Fisher's with the standard error of Bonett and Wright (2000).
    """
    from scipy.stats import spearmanr

    if len(x) < 4 or len(set(x)) < 2 or len(set(y)) < 2:
        return None
    found = spearmanr(x, y)
    rho = float(found.statistic)
    inside = max(-0.999999, min(0.999999, rho))
    half = Z95 * math.sqrt((1 + inside * inside / 2) / (len(x) - 3))
    centre = math.atanh(inside)
    return Correlation(
        rho=rho, low=math.tanh(centre - half), high=math.tanh(centre + half), p=_probability(found.pvalue)
    )


def explained(groups: Sequence[Sequence[float]]) -> Explained:
    """What the groups explain. Raises ValueError for fewer than two groups or an empty one.

    The share is eta squared on ranks less its expectation without any effect: (H - k + 1) / (n - k).
    """
    from scipy.stats import kruskal

    if len(groups) < 2 or not all(groups):
        raise ValueError(f"to explain takes two groups or more, none empty, not {[len(g) for g in groups]}")
    n, k = sum(map(len, groups)), len(groups)
    if n == k or len({value for group in groups for value in group}) < 2:
        return Explained(share=0.0, p=1.0)
    found = kruskal(*groups)
    share = (float(found.statistic) - k + 1) / (n - k)
    return Explained(share=max(0.0, min(1.0, share)), p=_probability(found.pvalue))


def holm(ps: Sequence[float]) -> list[float]:
    """The p-values as they are when all are asked at once (Holm 1979), in the order given."""
    adjusted, worst = [0.0] * len(ps), 0.0
    for place, which in enumerate(sorted(range(len(ps)), key=lambda i: ps[i])):
        worst = max(worst, min(1.0, (len(ps) - place) * ps[which]))
        adjusted[which] = worst
    return adjusted


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """Lower quartile, median, upper quartile. Raises ValueError for no value at all."""
    if not values:
        raise ValueError("there are no quartiles of no values")
    if len(values) == 1:
        return values[0], values[0], values[0]
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, middle, high


def _probability(p: float) -> float:
    return 1.0 if math.isnan(p) else float(p)
