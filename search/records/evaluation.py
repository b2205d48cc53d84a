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
    """UTC"""
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
class TestEvaluationCounts:
    """How often the test set of a task was evaluated, as far as one storage knows: by any study."""

    __test__ = False  # the name begins with Test: pytest would collect it

    total: int
    of_deleted_studies: int
    """of these, by studies that are deleted"""
