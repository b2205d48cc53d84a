"""Rank statistics against SciPy, published tables and simulations."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from search.report.statistics import correlation, explained, holm, quartiles, shift

CHANCE = np.random.default_rng(0)


class TestShift:
    def test_of_hollander_and_wolfe(self) -> None:
        """Permeability of membranes, their example 4.1: the estimate is -0.305, W gives P = 0.254."""
        term = [0.80, 0.83, 1.89, 1.04, 1.45, 1.38, 1.91, 1.64, 0.73, 1.46]
        gestation = [1.15, 0.88, 0.90, 0.74, 1.21]
        found = shift(term, gestation)
        assert found.by == pytest.approx(-0.305, abs=1e-9)
        assert found.p == pytest.approx(0.2544, abs=1e-4)
        assert found.low < -0.305 < found.high

    def test_the_interval_covers_the_truth_as_often_as_it_says(self) -> None:
        inside = 0
        for _ in range(400):
            found = shift(CHANCE.normal(0, 1, 25).tolist(), CHANCE.normal(0.7, 1, 20).tolist())
            inside += found.low <= 0.7 <= found.high
        assert 0.92 <= inside / 400 <= 0.98

    def test_turned_around_it_changes_its_sign(self) -> None:
        a, b = [1.0, 2.0, 4.0, 8.0], [3.0, 5.0, 9.0]
        there, back = shift(a, b), shift(b, a)
        assert (there.by, there.low, there.high) == (-back.by, -back.high, -back.low)
        assert there.p == pytest.approx(back.p)

    def test_needs_both_sides(self) -> None:
        with pytest.raises(ValueError, match="3 and 0"):
            shift([1, 2, 3], [])


class TestCorrelation:
    def test_is_spearmans_with_an_interval_around_it(self) -> None:
        x = CHANCE.normal(size=60)
        y = x + CHANCE.normal(size=60)
        found = correlation(x.tolist(), y.tolist())
        assert found is not None
        assert found.rho == pytest.approx(stats.spearmanr(x, y).statistic)
        assert found.low < found.rho < found.high

    def test_the_interval_covers_nought_as_often_as_it_says(self) -> None:
        inside = 0
        for _ in range(400):
            found = correlation(CHANCE.normal(size=30).tolist(), CHANCE.normal(size=30).tolist())
            assert found is not None
            inside += found.low <= 0 <= found.high
        assert 0.92 <= inside / 400 <= 0.99

    @pytest.mark.parametrize(
        ("x", "y", "why"),
        [([1, 2, 3], [1, 2, 3], "three pairs"), ([1, 1, 1, 1], [1, 2, 3, 4], "nothing changes")],
    )
    def test_says_nothing_of_too_little(self, x: list[float], y: list[float], why: str) -> None:
        assert correlation(x, y) is None, why

    def test_a_perfect_order_has_an_interval_too(self) -> None:
        found = correlation([1, 2, 3, 4, 5], [1, 4, 9, 16, 25])
        assert found is not None
        assert found.rho == pytest.approx(1)
        assert 0 < found.low <= found.high <= 1


class TestExplained:
    def test_without_an_effect_the_share_is_nought_on_average(self) -> None:
        raw = []
        for _ in range(300):
            groups = [CHANCE.normal(size=10).tolist() for _ in range(4)]
            raw.append((float(stats.kruskal(*groups).statistic) - 3) / 36)
            assert explained(groups).share == pytest.approx(max(0.0, raw[-1]))
        assert abs(float(np.mean(raw))) < 0.015, "what chance explains has been taken off"

    def test_groups_apart_explain_almost_everything(self) -> None:
        found = explained([[1, 2, 3, 4, 5], [11, 12, 13, 14, 15], [21, 22, 23, 24, 25]])
        assert found.share > 0.85
        assert found.p < 0.01

    def test_equal_values_explain_nothing(self) -> None:
        assert (explained([[1.0, 1.0], [1.0, 1.0]]).share, explained([[1.0, 1.0], [1.0]]).p) == (0.0, 1.0)

    def test_needs_two_groups(self) -> None:
        with pytest.raises(ValueError, match="two groups or more"):
            explained([[1, 2]])


def test_holm_as_worked_out_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), max_size=20))
def test_holm_never_makes_a_p_smaller_and_keeps_the_order(ps: list[float]) -> None:
    found = holm(ps)
    assert all(before <= after <= 1 for before, after in zip(ps, found, strict=True))
    ranked = [after for _, after in sorted(zip(ps, found, strict=True))]
    assert ranked == sorted(ranked)


def test_quartiles() -> None:
    assert quartiles([4, 1, 3, 2, 5]) == (2, 3, 4)
    assert quartiles([7]) == (7, 7, 7)
    with pytest.raises(ValueError, match="no values"):
        quartiles([])
