"""Tests and intervals against SciPy, published numbers and simulations."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats  # type: ignore[import-untyped]  # SciPy ships no types

from search.analysis.statistics import (
    corrected,
    differing,
    holm,
    median,
    pairs_apart,
    proportions_differ,
    quartiles,
    sign_test,
    student_interval,
)

GENERATOR = np.random.default_rng(0)


class TestDiffering:
    def test_without_an_effect_the_share_is_nought_on_average(self) -> None:
        raw = []
        for _ in range(300):
            groups = [GENERATOR.normal(size=10).tolist() for _ in range(4)]
            raw.append((float(stats.kruskal(*groups).statistic) - 3) / 36)
            assert differing(groups).share == pytest.approx(max(0.0, raw[-1]))
        assert abs(float(np.mean(raw))) < 0.015, "what chance explains has been taken off"

    def test_groups_apart_explain_almost_everything(self) -> None:
        found = differing([[1, 2, 3, 4, 5], [11, 12, 13, 14, 15], [21, 22, 23, 24, 25]])
        assert found.share > 0.85
        assert found.p < 0.01

    def test_equal_values_explain_nothing(self) -> None:
        assert (differing([[1.0, 1.0], [1.0, 1.0]]).share, differing([[1.0, 1.0], [1.0]]).p) == (0.0, 1.0)

    def test_needs_two_groups(self) -> None:
        with pytest.raises(ValueError, match="two groups or more"):
            differing([[1, 2]])


class TestPairs:
    def test_says_which_group_is_higher_and_corrects_for_the_pairs(self) -> None:
        """Permeability of membranes (Hollander and Wolfe, example 4.1): P = 0.254."""
        term = [0.80, 0.83, 1.89, 1.04, 1.45, 1.38, 1.91, 1.64, 0.73, 1.46]
        gestation = [1.15, 0.88, 0.90, 0.74, 1.21]
        [alone] = pairs_apart([gestation, term])
        assert (alone.higher, alone.lower, alone.p) == (1, 0, pytest.approx(0.2544, abs=1e-4))
        far = [value + 10 for value in term]
        three = pairs_apart([gestation, term, far])
        assert [(each.higher, each.lower) for each in three] == [(2, 1), (2, 0), (1, 0)]
        assert three[0].p == pytest.approx(3 * stats.mannwhitneyu(term, far).pvalue)

    def test_equal_values_are_not_apart(self) -> None:
        assert [each.p for each in pairs_apart([[0.0] * 9, [0.0] * 9])] == [1.0]


class TestSigns:
    @pytest.mark.parametrize(
        ("differences", "p"),
        [([], 1.0), ([0.0, 0.0], 1.0), ([1, 2, 3, 4, 5, 6], 2 / 64), ([1, -1, 0, 5], 1.0)],
    )
    def test_counts_signs(self, differences: list[float], p: float) -> None:
        assert sign_test(differences) == pytest.approx(p)

    @given(st.lists(st.floats(-1, 1).filter(bool), min_size=6, max_size=40, unique=True))
    def test_agrees_with_the_interval_of_the_median(self, differences: list[float]) -> None:
        found = median(differences)
        assert found.low is not None
        assert found.high is not None
        assert (sign_test(differences) <= 0.05) == (found.low > 0 or found.high < 0)


def test_two_measurements_of_one_network_differ_as_rarely_as_it_says() -> None:
    ps = [proportions_differ(a / 4000, b / 4000, 4000) for a, b in GENERATOR.binomial(4000, 0.985, (2000, 2))]
    assert 0.035 < float(np.mean(np.asarray(ps) < 0.05)) < 0.065
    assert proportions_differ(1.0, 1.0, 10) == 1.0
    assert proportions_differ(0.9, 0.95, 4000) == pytest.approx(
        stats.norm.sf(0.05 / math.sqrt(2 * 0.925 * 0.075 / 4000)) * 2
    )


def test_holm_as_worked_out_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([]) == []
    assert corrected([0.01, 0.04, 0.6]) == pytest.approx([0.06, 0.16, 1.0]), "half of the page is another's"


@given(st.lists(st.floats(0, 1), max_size=20))
def test_holm_never_makes_a_p_smaller_and_keeps_the_order(ps: list[float]) -> None:
    found = holm(ps)
    assert all(before <= after <= 1 for before, after in zip(ps, found, strict=True))
    ranked = [after for _, after in sorted(zip(ps, found, strict=True))]
    assert ranked == sorted(ranked)


@pytest.mark.parametrize(
    ("values", "low", "high"),
    [
        ([1.0, 2.0, 3.0], 2 - 4.302653 / math.sqrt(3), 2 + 4.302653 / math.sqrt(3)),  # deviation 1
        ([0.98, 0.98, 0.98, 0.98], 0.98, 0.98),
        ([0.5], -math.inf, math.inf),
    ],
    ids=["by hand", "no spread", "one value tells nothing"],
)
def test_the_interval_of_a_mean(values: list[float], low: float, high: float) -> None:
    mean, *bounds = student_interval(values)
    assert mean == pytest.approx(sum(values) / len(values))
    assert bounds == pytest.approx([low, high], abs=1e-6)


def test_no_mean_of_nothing() -> None:
    with pytest.raises(ValueError, match="at least one value"):
        student_interval([])


def test_quartiles() -> None:
    assert quartiles([4, 1, 3, 2, 5]) == (2, 3, 4)
    assert quartiles([7]) == (7, 7, 7)
    with pytest.raises(ValueError, match="no values"):
        quartiles([])
