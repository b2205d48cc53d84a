"""Tests, estimates and intervals from plain values, and the one correction that all verdicts of a page share.

A page may print a false verdict once in twenty times, whatever it asks (docs/decisions/030). It asks two
questions, about the settings and about the length of the training, and each has half of that: every p-value
that is printed or compared with `CLEAR` has been through `corrected`.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from search.records import Metric

CLEAR = 0.05
"""A verdict needs a corrected p-value below this."""

QUESTIONS = 2
"""Of a page, between which `CLEAR` is divided."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Differing:
    """Whether groups of values differ."""

    p: float
    """Kruskal–Wallis, not corrected"""
    share: float
    """of the variance of the ranks that goes with the group, less what chance explains: 0 nothing, 1 all
    (epsilon squared, Tomczak and Tomczak 2014)"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Above:
    """One group whose values are higher than another's."""

    higher: int
    """index of the group"""
    lower: int
    p: float
    """Mann–Whitney, two-sided; corrected or not as the function says that gave it"""


def differing(groups: Sequence[Sequence[float]]) -> Differing:
    """Whether the groups differ, whatever their sizes.

    Raises ValueError for fewer than two groups, or an empty one.
    """
    from scipy.stats import kruskal  # type: ignore[import-untyped]  # SciPy ships no types; half a second

    if len(groups) < 2 or not all(groups):
        raise ValueError(f"a comparison takes two groups or more, none empty, not {[len(g) for g in groups]}")
    n, k = sum(map(len, groups)), len(groups)
    if n == k or len({value for group in groups for value in group}) < 2:
        return Differing(p=1.0, share=0.0)
    found = kruskal(*groups)
    share = (float(found.statistic) - k + 1) / (n - k)
    return Differing(p=float(found.pvalue), share=max(0.0, min(1.0, share)))


def pairs_apart(groups: Sequence[Sequence[float]]) -> list[Above]:
    """Which group lies above which: all pairs, p corrected by Holm for the number of pairs, the smallest
    first."""
    from scipy.stats import mannwhitneyu

    found = []
    for one, other in combinations(range(len(groups)), 2):
        compared = mannwhitneyu(groups[one], groups[other])
        above = float(compared.statistic) * 2 >= len(groups[one]) * len(groups[other])
        higher, lower = (one, other) if above else (other, one)
        p = 1.0 if math.isnan(compared.pvalue) else float(compared.pvalue)
        found.append(Above(higher=higher, lower=lower, p=p))
    ps = holm([each.p for each in found])
    told = [Above(higher=each.higher, lower=each.lower, p=p) for each, p in zip(found, ps, strict=True)]
    return sorted(told, key=lambda each: each.p)


def sign_test(differences: Sequence[float]) -> float:
    """Two-sided p that as many would lie above 0 as below it; 1 where none lies on either side.

    It agrees with the interval of `median`, which rests on the same distribution.
    """
    from scipy.stats import binomtest

    above, below = sum(each > 0 for each in differences), sum(each < 0 for each in differences)
    return float(binomtest(above, above + below).pvalue) if above + below else 1.0


def proportions_differ(one: float, other: float, n: int) -> float:
    """Two-sided p that two accuracies on n images each are of networks that are equally good.

    It takes the two measurements for independent. Those of one network at two moments share their images and
    most of their mistakes: the true p is smaller, and the test errs on the safe side.
    """
    pooled = (one + other) / 2
    deviation = math.sqrt(2 * pooled * (1 - pooled) / n)
    if deviation == 0.0:
        return 1.0
    return 2 * statistics.NormalDist().cdf(-abs(one - other) / deviation)


def holm(ps: Sequence[float]) -> list[float]:
    """The p-values as they are when all are asked at once (Holm 1979), in the order given."""
    adjusted, worst = [0.0] * len(ps), 0.0
    for place, which in enumerate(sorted(range(len(ps)), key=lambda i: ps[i])):
        worst = max(worst, min(1.0, (len(ps) - place) * ps[which]))
        adjusted[which] = worst
    return adjusted


def corrected(ps: Sequence[float]) -> list[float]:
    """The p-values of all tests of one of a page's questions, as they are printed, in the order given."""
    return [min(1.0, QUESTIONS * p) for p in holm(ps)]


def student_interval(values: Sequence[float], share: float = 0.95) -> tuple[float, float, float]:
    """(mean, low, high): the mean of independent values and Student's interval.

    One value tells nothing about its spread: its interval is everything. Raises ValueError without values.
    """
    if not values:
        raise ValueError("a mean needs at least one value")
    mean = statistics.fmean(values)
    if len(values) == 1:
        return mean, -math.inf, math.inf
    from scipy.special import stdtrit  # type: ignore[import-untyped]

    t = float(stdtrit(len(values) - 1, (1 + share) / 2))
    half = t * statistics.stdev(values) / math.sqrt(len(values))
    return mean, mean - half, mean + half


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """Lower quartile, median, upper quartile. Raises ValueError for no value at all."""
    if not values:
        raise ValueError("there are no quartiles of no values")
    if len(values) == 1:
        return values[0], values[0], values[0]
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, middle, high


@dataclass(frozen=True, kw_only=True, slots=True)
class Estimate:
    """A number and the interval that covers the truth in 95 of 100 repetitions."""

    value: float
    low: float | None
    """None, as `high`: too few values for any interval, or nothing is known of what they vary with"""
    high: float | None

    @property
    def excludes_zero(self) -> bool:
        """Whether there is an interval, and 0 is not in it."""
        return self.low is not None and self.high is not None and not self.low <= 0 <= self.high


def in_values(estimate: Estimate, metric: Metric) -> Estimate:
    """An estimate of a score, or of a difference of two, in the metric's values: where less is better, the
    ends of the interval change places. Ends that are not finite are None."""
    value, low, high = metric.value_of(estimate.value) + 0.0, estimate.low, estimate.high  # no -0.0
    if low is None or high is None or not (math.isfinite(low) and math.isfinite(high)):
        return Estimate(value=value, low=None, high=None)
    low, high = (metric.value_of(end) + 0.0 for end in metric.by_value(low, high))
    return Estimate(value=value, low=low, high=high)


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
    mean, low, high = student_interval(differences)
    return Estimate(value=mean, low=low, high=high)
