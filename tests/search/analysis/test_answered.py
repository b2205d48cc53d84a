"""Intervals of training code over seeds and examples, where its scores are made of its answers."""

from __future__ import annotations

import numpy as np
import pytest

from search.analysis import two_way
from search.analysis.answered import Answered, answered
from search.analysis.statistics import Estimate
from search.objectives.external.checkpoint_file import KeptFiles
from search.records import Answers


def answers_of(correct: str) -> Answers:
    found = KeptFiles(None, correct=correct).answers
    assert found is not None
    return found


def known(scores: list[float], *correct: str) -> Answered | None:
    return answered(scores, {n: answers_of(each) for n, each in enumerate(correct)}, range(len(correct)))


@pytest.mark.parametrize("correct", ["1", "10110", "11110000", "101100111"])
def test_answers_are_those_that_were_reported(correct: str) -> None:
    found = answers_of(correct)
    assert (found.split, found.examples) == ("validation", len(correct))
    assert two_way.right(found).tolist() == [float(each) for each in correct]


@pytest.mark.parametrize(
    ("scores", "scale", "why"),
    [
        ([0.75, 0.5], (1.0, 0.0), "an accuracy"),
        ([75.0, 50.0], (100.0, 0.0), "in percent"),
        ([-0.25, -0.5], (1.0, -1.0), "an error rate, which is minimized"),
        ([-25.0, -50.0], (100.0, -100.0), "in percent"),
        ([0.75004, 0.5], (1.0, 0.0), "rounded to four decimals"),
        ([0.75, 0.51], None, "another metric: F1, say"),
        ([-1.3, -0.9], None, "a loss"),
    ],
)
def test_what_a_score_is_of_the_answers(
    scores: list[float], scale: tuple[float, float] | None, why: str
) -> None:
    found = known(scores, "1110", "1100")
    assert (None if found is None else (found.factor, found.summand)) == scale, why


def test_answers_that_are_missing_or_of_other_examples_are_not_used() -> None:
    assert known([0.5, 0.5], "10", "1010") is None
    assert answered([0.5, 0.5], {1: answers_of("10")}, [1, 2]) is None
    assert answered([], {}, []) is None


def test_the_interval_is_that_of_the_share_in_the_unit_of_the_score() -> None:
    draw = np.random.default_rng(0)
    runs = ["".join("1" if right else "0" for right in draw.random(500) < 0.8) for _ in range(3)]
    shares = [run.count("1") / 500 for run in runs]
    found = known([100 * share - 100 for share in shares], *runs)
    assert found is not None
    share = two_way.mean(found.right, found.examples)
    score = found.score(share)
    assert share.low is not None
    assert score.low is not None
    assert score.high is not None
    assert score.low == pytest.approx(100 * share.low - 100)
    assert score.low < 100 * np.mean(shares) - 100 < score.high
    seeds_only = 4.303 * np.std(shares, ddof=1) / np.sqrt(3)
    assert (score.high - score.low) / 200 > seeds_only, "examples add to it"
    assert found.difference(Estimate(value=0.01, low=-0.02, high=None)) == Estimate(
        value=1.0, low=-2.0, high=None
    )
