"""Estimates with their intervals, for setting studies side by side: medians, differences, the best of k.
Needs the standard library only, except for `paired`.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from search.analysis.statistics import mean_interval


@dataclass(frozen=True, kw_only=True, slots=True)
class Estimate:
    """A number and the interval that covers the truth in 95 of 100 repetitions."""

    value: float
    low: float | None
    """None, as `high`: too few values for any interval"""
    high: float | None


def median(values: Sequence[float]) -> Estimate:
    """The median of a population of which these were drawn. Raises ValueError for no value at all.

    The interval lies between two of the values and asks for no distribution (David and Nagaraja, Order
    Statistics, 3rd edition, section 7.1): the l-th lowest and the l-th highest, with the largest l for
    which the coverage 1 - 2 P(Binomial(n, 1/2) < l) is at least 95 %. Of fewer than six values no two
    cover so much, and there is none.
    """
    if not values:
        raise ValueError("there is no median of no values")
    ranked = sorted(values)
    n = len(ranked)
    inside = 0  # l; P(Binomial(n, 1/2) < l) is summed term by term, as logarithms: 2 ** -10,000 is no float
    below, term = 0.0, -n * math.log(2)
    while below + math.exp(term) <= 0.025:
        below += math.exp(term)
        term += math.log(n - inside) - math.log(inside + 1)
        inside += 1
    middle = statistics.median(ranked)
    if inside == 0:
        return Estimate(value=middle, low=None, high=None)
    return Estimate(value=middle, low=ranked[inside - 1], high=ranked[n - inside])


def best_of(values: Sequence[float], k: int) -> float:
    """The expected highest of k of these values, drawn without replacement.

    Unbiased for the best of k fresh trials where trials are independent (a U-statistic; Tang et al. 2020,
    "Showing Your Work Doesn't Always Work", arXiv 2004.13705, against the biased estimator with replacement
    of Dodge et al. 2019, arXiv 1909.03004): the sum over ranks i = k..n of the i-th lowest value times
    C(i-1, k-1) / C(n, k), the chance that it is the highest drawn. Raises ValueError unless 1 <= k <= n.
    """
    n = len(values)
    if not 1 <= k <= n:
        raise ValueError(f"the best of {k} cannot be told from {n} values")
    expected, weight = 0.0, k / n
    for rank, value in zip(range(n, k - 1, -1), sorted(values, reverse=True), strict=False):
        expected += weight * value
        weight *= (rank - k) / (rank - 1) if rank > 1 else 0.0
    return expected


def difference(a: Estimate, b: Estimate) -> Estimate:
    """a - b, of two accuracies with their intervals (Newcombe 1998, Statistics in Medicine 17, method 10).

    It takes the two for independent. On the same images two good networks err on the same hard ones, and the
    truth is narrower: two_way.difference needs their answers, image by image.
    """
    value = a.value - b.value
    if a.low is None or a.high is None or b.low is None or b.high is None:
        return Estimate(value=value, low=None, high=None)
    return Estimate(
        value=value,
        low=value - math.hypot(a.value - a.low, b.high - b.value),
        high=value + math.hypot(a.high - a.value, b.value - b.low),
    )


def paired(differences: Sequence[float]) -> Estimate | None:
    """Mean of the differences within pairs, with Student's interval; None for fewer than two pairs."""
    if len(differences) < 2:
        return None
    mean, low, high = mean_interval(differences)
    return Estimate(value=mean, low=low, high=high)
