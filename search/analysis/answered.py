"""Scores of training code that says which validation examples it answered right.

Where every score is an accuracy or an error rate of these very answers, as a fraction or in percent, an
interval of the share of right answers is one of the score. No two examples are known to depend on each other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from search.analysis import two_way
from search.analysis.statistics import Estimate
from search.analysis.two_way import Digits
from search.records import Answers

SCALES = ((1.0, 0.0), (100.0, 0.0), (1.0, -1.0), (100.0, -100.0))
"""(factor, summand) by which a share of right answers becomes a score: an accuracy, the negative of an error
rate."""

ROUNDING = 1e-4
"""Of a share: accuracies that were rounded to four decimals are those of the answers."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Answered:
    """Runs of which the single answers are known, and what their scores are of these."""

    right: two_way.Scores
    """(runs, examples): 1 where the answer is right, else 0"""
    factor: float
    summand: float

    @property
    def examples(self) -> Digits:
        """(examples, 1): each example is by itself."""
        return alone(self.right.shape[1])

    def score(self, share: Estimate) -> Estimate:
        """The score with this share of right answers."""
        found = self.difference(share)
        low, high = (None if end is None else end + self.summand for end in (found.low, found.high))
        return Estimate(value=found.value + self.summand, low=low, high=high)

    def difference(self, shares: Estimate) -> Estimate:
        """The difference of two scores whose shares of right answers differ by this."""
        low, high = (None if end is None else self.factor * end for end in (shares.low, shares.high))
        return Estimate(value=self.factor * shares.value, low=low, high=high)


def answered(
    scores: Sequence[float], answers: Mapping[int, Answers], trial_ids: Sequence[int]
) -> Answered | None:
    """The answers of these runs; None where those of one are not known or of another number of examples, or
    the scores are not made of them. scores: of the runs, in the same order."""
    known = [answers[trial_id] for trial_id in trial_ids if trial_id in answers]
    if not known or len(known) < len(trial_ids) or len({each.examples for each in known}) > 1:
        return None
    right = np.stack([two_way.right(each) for each in known])
    shares = right.mean(axis=1)
    for factor, summand in SCALES:
        if np.all(np.abs(factor * shares + summand - np.array(scores)) <= ROUNDING * factor):
            return Answered(right=right, factor=factor, summand=summand)
    return None


def alone(examples: int) -> Digits:
    """(examples, 1): which one an example is, where no two share anything."""
    return np.arange(examples, dtype=np.int64)[:, None]
