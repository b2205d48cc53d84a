"""How many standard errors the interval of a difference of two means takes, or of many to one reference.

The means have variances that differ and are estimated: each from its own scores and from what all arms have
in common (`paired_arms.spread`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

NODES = 16
"""Points of each quadrature; with more the critical values are the same to 0.1 %."""


def pair_critical(one: float, other: float, *, own: float, common: float, share: float) -> float:
    """Standard errors by which the difference of two means is covered with this share.

    one, other: variances of the two. They are rounded to shares of a hundredth, which changes the result by
    less than 0.1 %. With infinite `own` it is Student's t.
    """
    smaller = round(100 * min(one, other) / (one + other))
    return _pair_critical(smaller, own, common, share)


@lru_cache(maxsize=1000)
def _pair_critical(percent: int, own: float, common: float, share: float) -> float:
    return family_critical([1 - percent / 100], percent / 100, own=own, common=common, share=share)


def _legendre(points: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(points, weights) of the quadrature over 0 to 1."""
    from scipy.special import roots_legendre  # type: ignore[import-untyped]  # half a second

    nodes, weights = roots_legendre(points)
    return (1 + nodes) / 2, weights / 2


def family_critical(
    variances: Sequence[float], reference: float, *, own: float, common: float, share: float
) -> float:
    """Standard errors by which the differences of many arms to one reference are covered together.

    variances, reference: of the means of the arms and of the reference. Given the reference's mean, which
    is Student's with `own` degrees of freedom, the arms are independent; the estimate of the typical
    variance, chi-squared with `common` degrees, scales all of them. So the coverage is a double integral of
    a product, by quadrature. With infinite `own` and equal variances it is Dunnett's critical value; for one
    arm it is that of Behrens and Fisher.
    """
    from scipy.optimize import brentq  # type: ignore[import-untyped]
    from scipy.special import ndtr, ndtri, roots_genlaguerre, stdtr, stdtrit

    normal = math.isinf(own)
    if normal and len(variances) == 1:
        return float(stdtrit(common, (1 + share) / 2))
    nodes, of_node = _legendre(NODES)
    # By symmetry half of the reference's distribution is enough. The cube puts more points into its tail.
    upper, of_node = nodes**3 / 2, 3 * nodes**2 * of_node
    at = -(ndtri(upper) if normal else stdtrit(own, upper)) * math.sqrt(reference)
    degrees = min(common, 300.0)  # gamma(degrees / 2) is no float from 342 on
    squares, of_square = roots_genlaguerre(NODES if degrees > 10 else 4 * NODES, degrees / 2 - 1)
    scale = np.sqrt(2 * squares / degrees)
    weights = np.outer(of_square / of_square.sum(), of_node)
    deviations = np.sqrt(np.asarray(variances, dtype=np.float64))
    errors = np.sqrt(deviations**2 + reference)

    def excess(critical: float) -> float:
        """Of the logarithm of the error rate, which is nearly linear: the search takes few steps."""
        half = critical * scale[:, None, None] * errors
        above, below = (half + at[None, :, None]) / deviations, (at[None, :, None] - half) / deviations
        inside = ndtr(above) - ndtr(below) if normal else stdtr(own, above) - stdtr(own, below)
        error = 1 - float((weights * inside.prod(axis=2)).sum())
        return math.log(max(error, 1e-15) / (1 - share))

    low, high = 0.0, 6.0
    while excess(high) > 0:
        low, high = high, 2 * high
    return float(brentq(excess, low, high, xtol=1e-4))
