"""Evaluations on the test set, and how many there were."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True, slots=True)
class TestEvaluation:
    """One evaluation on the test set. It stays on record: choosing after many of them biases the choice."""

    __test__ = False  # the name begins with Test: pytest would collect it

    study_id: int
    """Optuna's id of the study that the trial is in"""
    trial_id: int
    """Optuna's id of the trial whose weights were evaluated"""
    moment: datetime.datetime
    """UTC, when it was begun"""
    reason: str
    """in words, e.g. "chosen by tune confirm" """
    pictures: int
    """number of different images that the accuracies were measured on; 0: by training code, on data that tune
    does not know"""
    heads: Mapping[str, float]
    """accuracy by head, a fraction of examples; of training code its metrics by name"""
    joint: float
    """fraction of examples on which every head is right; of training code the metric that its search
    optimizes"""
    scores: Mapping[str, float] = field(default_factory=dict)
    """of a network by name (a key of SCORES), what the search optimizes where that is not the accuracy: the
    mean over the heads"""

    @property
    def accuracy(self) -> float:
        """Mean of the heads' accuracies, which is what a search for networks optimizes."""
        return sum(self.heads.values()) / len(self.heads)

    @property
    def value(self) -> float:
        """Of the metric that the search optimizes."""
        if not self.pictures:
            return self.joint
        return next(iter(self.scores.values()), self.accuracy)


@dataclass(frozen=True, kw_only=True, slots=True)
class TestAttempt:
    """A test evaluation that was begun and has no result: it failed, its process was killed, or it runs.

    It is recorded before anything sees the test set, and counts as an evaluation: a log may tell of it.
    """

    __test__ = False  # the name begins with Test: pytest would collect it

    study_id: int
    trial_id: int
    moment: datetime.datetime
    """UTC, when it was begun; its result, if one comes, has the same"""
    reason: str
    """in one line, as of a TestEvaluation"""
    failure: str | None = None
    """in one line, why it has no result; None: not known"""

    @property
    def why(self) -> str:
        """Why it has no result, in a sentence."""
        return self.failure or "It was stopped, or it still runs."


@dataclass(frozen=True, kw_only=True, slots=True)
class TestEvaluationCounts:
    """How often the test set of a task was evaluated, as far as one storage knows: by any study."""

    __test__ = False  # the name begins with Test: pytest would collect it

    total: int
    of_deleted_studies: int
    """of these, by studies that are deleted"""
    without_result: int = 0
    """of all, those that were begun and have no result"""
