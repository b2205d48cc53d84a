"""Intervals of accuracies that one network reached on n images, adjusted for choosing the best."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import NormalDist

from search.records import State, Track

Z95 = 1.959964
"""97.5 % quantile of the normal distribution, for intervals that cover 95 %."""


def wilson(successes: float, n: float, z: float = Z95) -> tuple[float, float]:
    """Wilson's score interval of a proportion, as fractions (Wilson 1927).

    Both may be fractional: an accuracy times n, and as many independent examples as tell as much. Raises
    ValueError for n < 1.
    """
    if n < 1:
        raise ValueError(f"an interval needs at least one observation, not {n}")
    share = successes / n
    center = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return max(0.0, center - half), min(1.0, center + half)


Z = tuple[float, float]
"""Standard errors of an interval, below and above."""

BOTH_95 = (Z95, Z95)
"""Of an interval that covers 95 %."""


def of_the_best(tried: int) -> Z:
    """For the best of `tried` networks that were measured on the same images: such an interval covers the
    truth in 95 of 100 repetitions although the luckiest was chosen. Raises ValueError for tried < 1."""
    return z_of_the_best(tried), Z95


def z_of_the_best(tried: int) -> float:
    """Standard errors by which the luckiest of `tried` measurements exceeds its truth in 2.5 % at most: at
    this level all of them are covered together (Bonferroni)."""
    if tried < 1:
        raise ValueError(f"the best is one of at least one, not of {tried}")
    return NormalDist().inv_cdf(1 - 0.025 / tried)


def interval(accuracy: float, n: float, z: Z = BOTH_95) -> tuple[float, float]:
    """Wilson's interval of an accuracy on n images, as fractions. Raises ValueError for n < 1."""
    return wilson(accuracy * n, n, z[0])[0], wilson(accuracy * n, n, z[1])[1]


def mean_of_heads_interval(
    accuracies: Sequence[float], joint: float, n: int, *, z: Z = BOTH_95
) -> tuple[float, float]:
    """Interval of the mean of the heads' accuracies on n images, as fractions.

    joint: share of the images on which every head is right. A head's answer is a coin toss each, the mean of
    two is none: two heads that err on different images tell as much as one head on 2 n images. How much they
    err together follows from `joint`: the covariance of right answers is joint - p1 p2. The interval is
    Wilson's for as many independent answers as have the variance of the mean. Of more than two heads `joint`
    does not tell it, and they are taken to err together.
    """
    mean = sum(accuracies) / len(accuracies)
    spreads = [math.sqrt(max(0.0, p * (1 - p))) for p in accuracies]
    if len(accuracies) == 2:
        bound = spreads[0] * spreads[1]
        covariance = max(-bound, min(bound, joint - accuracies[0] * accuracies[1]))
        variance = (spreads[0] ** 2 + spreads[1] ** 2 + 2 * covariance) / 4
    else:
        variance = (sum(spreads) / len(spreads)) ** 2
    tosses = mean * (1 - mean) / variance if variance > 0 else 1.0
    return interval(mean, n * max(1.0, min(tosses, float(len(accuracies)))), z)


def accuracy_intervals(
    heads: Mapping[str, float], joint: float, n: int, *, z: Z = BOTH_95
) -> dict[str, tuple[float, float]]:
    """Intervals of each head's accuracy, of "mean" and of "joint", on n images."""
    found = {name: interval(accuracy, n, z) for name, accuracy in heads.items()}
    mean = mean_of_heads_interval(list(heads.values()), joint, n, z=z)
    return {"mean": mean, **found, "joint": interval(joint, n, z)}


def measurements(tracks: Sequence[Track]) -> int:
    """Of all trials that did not fail, at all moments: the best of a study was chosen among all of them."""
    return max(1, sum(len(track.reports) for track in tracks if track.state is not State.FAILED))
