"""Estimates with intervals, against enumeration, published values and closed forms."""

from __future__ import annotations

import math
from itertools import combinations
from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.analysis.intervals import wilson
from search.analysis.statistics import Estimate, best_of, difference, median, paired

FRACTIONS = st.floats(0, 1)


class TestMedian:
    @pytest.mark.parametrize(
        ("n", "low", "high"),
        [
            (6, 1, 6),  # the first n whose extremes cover 95 %: 1 - 2 / 2 ** 6 = 96.9 %
            (8, 1, 8),
            (9, 2, 8),
            (20, 6, 15),  # the ranks of the usual tables, as Conover 1999, section 3.2
            (50, 18, 33),
            (100, 40, 61),
        ],
    )
    def test_the_interval_lies_between_the_ranks_of_the_tables(self, n: int, low: int, high: int) -> None:
        found = median(list(range(n, 0, -1)))
        assert (found.value, found.low, found.high) == ((n + 1) / 2, low, high)

    def test_five_values_have_no_interval(self) -> None:
        found = median([5, 1, 4, 2, 3])
        assert (found.value, found.low, found.high) == (3, None, None)
        with pytest.raises(ValueError, match="no values"):
            median([])

    @pytest.mark.parametrize("n", [6, 37, 2_000])
    def test_it_covers_95_percent_and_one_rank_less_does_not(self, n: int) -> None:
        found = median(list(range(1, n + 1)))
        assert found.low is not None
        beyond = sum(math.comb(n, i) for i in range(int(found.low)))
        assert 40 * beyond <= 2**n < 40 * (beyond + math.comb(n, int(found.low)))


class TestBestOf:
    @given(st.lists(FRACTIONS, min_size=1, max_size=8), st.data())
    def test_it_is_the_mean_over_all_choices_of_k(self, values: list[float], data: st.DataObject) -> None:
        k = data.draw(st.integers(1, len(values)))
        assert best_of(values, k) == pytest.approx(fmean(map(max, combinations(values, k))))

    def test_many_values_do_not_overflow(self) -> None:
        values = [i / 10_000 for i in range(1, 10_001)]
        assert best_of(values, 5_000) == pytest.approx(10_001 * 5_000 / 5_001 / 10_000)  # k (n+1) / (k+1)

    @pytest.mark.parametrize("k", [0, 4])
    def test_more_than_there_are_cannot_be_told(self, k: int) -> None:
        with pytest.raises(ValueError, match=f"best of {k}"):
            best_of([0.1, 0.2, 0.3], k)


def accuracy(right: float, n: int) -> Estimate:
    low, high = wilson(right, n)
    return Estimate(value=right / n, low=low, high=high)


class TestDifference:
    @pytest.mark.parametrize(
        ("a", "b", "n", "low", "high"),
        [
            (9, 3, 10, 0.1705, 0.8090),  # Newcombe 1998, table II, method 10
            (0, 0, 10, -0.2775, 0.2775),
            (10, 0, 10, 0.6075, 1.0),
        ],
    )
    def test_published_values(self, a: int, b: int, n: int, low: float, high: float) -> None:
        found = difference(accuracy(a, n), accuracy(b, n))
        assert (found.low, found.high) == pytest.approx((low, high), abs=5e-5)

    @given(FRACTIONS, FRACTIONS, st.integers(1, 100_000))
    def test_the_difference_of_swapped_estimates_is_its_negative(self, a: float, b: float, n: int) -> None:
        both = [accuracy(share * n, n) for share in (a, b)]
        one, other = difference(*both), difference(*reversed(both))
        assert one.low is not None
        assert one.low <= one.value + 1e-12
        assert (one.value, one.low) == pytest.approx((-other.value, -(other.high or 0.0)), abs=1e-12)


class TestPaired:
    def test_students_interval(self) -> None:
        found = paired([1.0, 2.0, 3.0, 4.0])
        assert found is not None
        half = 3.182446 * math.sqrt(5 / 3) / 2  # t of 3 degrees of freedom, 97.5 %
        assert (found.low, found.high) == pytest.approx((2.5 - half, 2.5 + half))

    def test_one_pair_has_none(self) -> None:
        assert paired([0.1]) is None
