"""Wilson's interval against published values and its own definition."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.analysis.intervals import wilson


class TestWilson:
    @pytest.mark.parametrize(
        ("successes", "n", "low", "high"),
        [
            (81, 263, 0.2553, 0.3662),  # Newcombe 1998, table I, method 3
            (15, 148, 0.0624, 0.1605),
            (0, 20, 0.0, 0.1611),
            (1, 29, 0.0061, 0.1718),
        ],
    )
    def test_published_values(self, successes: int, n: int, low: float, high: float) -> None:
        assert wilson(successes, n) == pytest.approx((low, high), abs=5e-5)

    @given(st.integers(1, 100_000), st.floats(0, 1))
    def test_holds_the_share_and_stays_a_probability(self, n: int, share: float) -> None:
        low, high = wilson(share * n, n)
        assert 0 <= low <= share + 1e-12
        assert share - 1e-12 <= high <= 1

    def test_needs_an_observation(self) -> None:
        with pytest.raises(ValueError, match="not 0"):
            wilson(0, 0)
