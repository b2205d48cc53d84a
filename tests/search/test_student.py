"""Student's t against SciPy, and intervals worked out by hand."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats  # type: ignore[import-untyped]

from search.report.student import central, interval, quantile


@pytest.mark.parametrize("degrees", [*range(1, 12), 29, 30, 100, 999])
def test_the_same_as_scipy(degrees: int) -> None:
    for share in (0.5, 0.9, 0.95, 0.99, 0.999):
        t = quantile(share, degrees)
        assert t == pytest.approx(stats.t.ppf(0.5 + share / 2, degrees), rel=1e-9)
        assert central(t, degrees) == pytest.approx(share, rel=1e-12)


@pytest.mark.parametrize(
    ("values", "low", "high"),
    [
        ([1.0, 2.0, 3.0], 2 - 4.302653 / math.sqrt(3), 2 + 4.302653 / math.sqrt(3)),  # deviation 1
        ([0.98, 0.98, 0.98, 0.98], 0.98, 0.98),
        ([0.5], -math.inf, math.inf),
    ],
    ids=["by hand", "no spread", "one value tells nothing"],
)
def test_intervals(values: list[float], low: float, high: float) -> None:
    mean, *bounds = interval(values)
    assert mean == pytest.approx(sum(values) / len(values))
    assert bounds == pytest.approx([low, high], abs=1e-6)


@given(st.lists(st.floats(0, 1), min_size=2, max_size=20), st.floats(-3, 3))
def test_an_interval_moves_with_its_values(values: list[float], by: float) -> None:
    _, low, high = interval(values)
    _, moved_low, moved_high = interval([value + by for value in values])
    assert (moved_low, moved_high) == pytest.approx((low + by, high + by), abs=1e-9)


@pytest.mark.parametrize(
    ("call", "rule"),
    [
        (lambda: interval([]), "at least one value"),
        (lambda: quantile(1.0, 3), "between 0 and 1"),
        (lambda: central(1.0, 0), "one degree of freedom"),
    ],
)
def test_what_cannot_be(call: object, rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        call()  # type: ignore[operator]
