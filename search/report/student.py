"""Student's t distribution, and what it says about a handful of seeds: the interval of a mean, a paired test.
Knows nothing of trials and studies.

Closed forms for a whole number of degrees of freedom: Abramowitz and Stegun, 26.7.3 and 26.7.4.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from statistics import fmean, stdev


def central(t: float, degrees: int) -> float:
    """Probability that |T| is at most `t`. Raises ValueError below one degree of freedom."""
    if degrees < 1:
        raise ValueError(f"Student's t needs at least one degree of freedom, not {degrees}")
    angle = math.atan(t / math.sqrt(degrees))
    sine, cosine = math.sin(angle), math.cos(angle)
    odd = degrees % 2
    term, total = (cosine, 0.0) if odd else (1.0, 0.0)
    for power in range(2 if odd else 1, degrees, 2):
        total += term
        term *= cosine * cosine * power / (power + 1)
    return 2 / math.pi * (angle + sine * total) if odd else sine * total


@lru_cache(maxsize=1000)
def quantile(share: float, degrees: int) -> float:
    """The t that |T| exceeds with probability 1 - share: 0.95 gives the factor of a 95 % interval.

    Raises ValueError for a share outside of 0..1, the ends excluded.
    """
    if not 0 < share < 1:
        raise ValueError(f"a share lies between 0 and 1, not at {share}")
    low, high = 0.0, 1.0
    while central(high, degrees) < share:
        low, high = high, 2 * high
    while (middle := (low + high) / 2) not in (low, high):  # until no number lies between
        low, high = (middle, high) if central(middle, degrees) < share else (low, middle)
    return high


def interval(values: Sequence[float], share: float = 0.95) -> tuple[float, float, float]:
    """(mean, low, high): the mean of independent values and its interval.

    One value tells nothing about its spread: its interval is everything. Raises ValueError without values.
    """
    if not values:
        raise ValueError("a mean needs at least one value")
    mean = fmean(values)
    if len(values) == 1:
        return mean, -math.inf, math.inf
    half = quantile(share, len(values) - 1) * stdev(values) / math.sqrt(len(values))
    return mean, mean - half, mean + half
