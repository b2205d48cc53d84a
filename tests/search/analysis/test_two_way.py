"""Intervals over seeds and digits: against sums over all pairs, known variances, and simulated coverage."""

from __future__ import annotations

import numpy as np
import pytest

from search.analysis import two_way
from search.analysis.intervals import accuracy_intervals, mean_of_heads_interval, wilson
from search.records import Answers


def by_hand(score: np.ndarray, digits: np.ndarray) -> float:
    """The definition: products of all pairs of examples that have a digit in common."""
    rest, n = score - score.mean(), len(score)
    sets = [set(row) for row in digits.tolist()]
    total = sum(rest[i] * rest[j] for i in range(n) for j in range(n) if sets[i] & sets[j])
    return float(total) / n**2


class TestDigits:
    def test_the_variance_is_that_of_its_definition(self) -> None:
        generator = np.random.default_rng(0)
        digits = np.stack([generator.permutation(30), generator.permutation(30)], axis=1)
        digits[5] = (7, 7)  # a digit with itself
        effect = generator.normal(size=30)
        score = effect[digits[:, 0]] + effect[digits[:, 1]] + generator.normal(size=30)
        found = two_way.parts(score[None], digits)
        assert found.between_digits == pytest.approx(by_hand(score, digits))
        assert found.between_seeds == 0.0

    def test_examples_of_one_digit_count_once(self) -> None:
        score = np.array([1.0, 1.0, 0.0, 0.0, 1.0, 1.0])
        digits = np.array([[0], [0], [1], [1], [2], [2]])
        once = two_way.parts(score[None, ::2], digits[::2])
        assert two_way.parts(score[None], digits).between_digits == pytest.approx(once.between_digits)

    def test_it_is_never_less_than_that_of_independent_examples(self) -> None:
        score = np.array([1.0, 0.0, 1.0, 0.0])
        digits = np.array([[0], [0], [1], [1]])  # each pair makes up for its other half
        assert two_way.parts(score[None], digits).between_digits == pytest.approx(score.var() / 4)

    def test_shapes_that_do_not_fit_are_refused(self) -> None:
        with pytest.raises(ValueError, match="as many examples"):
            two_way.parts(np.zeros((2, 3)), np.zeros((4, 1), dtype=np.int64))


class TestMean:
    def test_without_a_spread_of_seeds_it_is_wilsons(self) -> None:
        score = np.repeat([1.0, 0.0], [90, 10])
        found = two_way.mean(np.stack([score] * 3), np.arange(100)[:, None])
        assert (found.low, found.high) == pytest.approx(wilson(90, 100), abs=1e-5)

    def test_without_a_mistake_there_is_an_interval_all_the_same(self) -> None:
        found = two_way.mean(np.ones((3, 50)), np.arange(50)[:, None])
        assert found.high == 1.0
        assert found.low == pytest.approx(wilson(50, 50)[0], abs=1e-5)

    def test_seeds_and_digits_add_up_as_squares(self) -> None:
        score = np.zeros((3, 100))
        score[0, :90], score[1, :91], score[2, :92] = 1, 1, 1
        parts = two_way.parts(score, np.arange(100)[:, None])
        assert parts.between_seeds == pytest.approx(0.01**2 / 3)
        seeds = 4.302653 * 0.01 / 3**0.5  # Student's t, 2 degrees of freedom
        digits = 1.959964 * parts.between_digits**0.5
        assert parts.half(0.95) == pytest.approx(np.hypot(seeds, digits), rel=1e-6)


class TestDifference:
    def test_networks_that_never_differ_have_an_interval_all_the_same(self) -> None:
        score = np.repeat([[1.0, 0.0]], 2, axis=1).reshape(1, -1)
        found = two_way.difference(score, score, np.arange(4)[:, None])
        assert (found.value, found.high) == pytest.approx((0.0, 1.959964 / 4), rel=1e-5)

    def test_the_difference_of_swapped_estimates_is_its_negative(self) -> None:
        generator = np.random.default_rng(1)
        one, other = (generator.integers(0, 2, size=(3, 40)).astype(float) for _ in range(2))
        digits = np.arange(40)[:, None]
        there, back = two_way.difference(one, other, digits), two_way.difference(other, one, digits)
        assert (there.low, there.high) == pytest.approx((-(back.high or 0), -(back.low or 0)))

    @pytest.mark.parametrize("seeds", [3, 5])
    @pytest.mark.parametrize(("by_seed", "by_digit"), [(1.0, 0.0), (0.0, 1.0), (0.7, 0.7)])
    def test_it_errs_in_at_most_one_of_twenty(self, seeds: int, by_seed: float, by_digit: float) -> None:
        generator, digits, wrong = np.random.default_rng(2), np.arange(50)[:, None], 0
        for _ in range(600):
            scores = by_seed * generator.normal(size=(seeds, 1)) + by_digit * 50**0.5 * generator.normal(
                size=50
            )
            found = two_way.difference(scores, np.zeros_like(scores), digits, step=0.0)
            wrong += (found.low or 0) > 0 or (found.high or 0) < 0
        assert wilson(wrong, 600)[0] <= 0.05


class TestAnswers:
    def test_bits_are_read_by_head_and_together(self) -> None:
        answers = Answers(split="validation", examples=3, heads={"a": b"\xa0", "b": b"\x60"})
        assert two_way.right(answers, "a").tolist() == [1, 0, 1]
        assert two_way.right(answers).tolist() == [0.5, 0.5, 1]
        assert two_way.all_right(answers).tolist() == [0, 0, 1]


class TestMeanOfHeads:
    @pytest.mark.parametrize(
        ("joint", "images"),
        [
            (0.81, 2000),  # independent: as many answers as two heads give
            (0.90, 1000),  # they err together: the second head tells nothing
            (0.80, 2000),  # they err apart; not taken for more than two answers
        ],
    )
    def test_the_covariance_follows_from_joint(self, joint: float, images: int) -> None:
        assert mean_of_heads_interval([0.9, 0.9], joint, 1000) == pytest.approx(
            wilson(0.9 * images, images), abs=1e-9
        )

    def test_one_head_is_a_coin_and_three_are_taken_to_err_together(self) -> None:
        assert mean_of_heads_interval([0.7], 0.7, 50) == pytest.approx(wilson(35, 50))
        assert mean_of_heads_interval([0.7, 0.7, 0.7], 0.5, 50) == pytest.approx(wilson(35, 50))

    @pytest.mark.parametrize("accuracy", [0.0, 1.0])
    def test_nothing_and_everything(self, accuracy: float) -> None:
        assert mean_of_heads_interval([accuracy] * 2, accuracy, 10) == pytest.approx(
            wilson(10 * accuracy, 10)
        )

    def test_heads_and_joint_are_wilsons(self) -> None:
        found = accuracy_intervals({"a": 0.9, "b": 0.8}, 0.75, 100)
        assert list(found) == ["mean", "a", "b", "joint"]
        assert (found["a"], found["joint"]) == (wilson(90, 100), wilson(75, 100))

    def test_the_interval_of_the_mean_has_its_coverage(self) -> None:
        """Two heads that err together in part, 2,000 sets of 500 images."""
        generator = np.random.default_rng(3)
        hard = generator.normal(size=(2000, 500, 1))
        right = hard + generator.normal(size=(2000, 500, 2)) < 2.0
        truth = right.mean()
        inside = 0
        for one in right:
            low, high = mean_of_heads_interval(one.mean(axis=0).tolist(), float(one.all(axis=1).mean()), 500)
            inside += low <= truth <= high
        assert 0.935 < inside / 2000 < 0.965
