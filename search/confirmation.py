"""What a confirmation found out: frozen records beside those of search/records.py, standard library only.

A search ends with the best of many noisy scores. A confirmation trains the leaders of a search again on fresh
seeds, ranks them by the mean, and evaluates the chosen one and the references on the test set, once.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass, field

from search.records import Point, Value


@dataclass(frozen=True, kw_only=True, slots=True)
class Look:
    """One look at the test set, remembered as long as its study is: whoever looks often may choose by what he
    saw."""

    study_id: int
    """Optuna's id of the study that the trial is in"""
    trial_id: int
    """Optuna's id of the trial whose weights were looked at"""
    moment: datetime.datetime
    """UTC"""
    reason: str
    """in words, e.g. "chosen by tune confirm" """
    pictures: int
    """different pictures that the accuracies were measured on"""
    heads: Mapping[str, float]
    """accuracy by head, a fraction of examples"""
    joint: float
    """fraction of examples on which every head is right"""

    @property
    def accuracy(self) -> float:
        """Mean of the heads' accuracies."""
        return sum(self.heads.values()) / len(self.heads)


@dataclass(frozen=True, kw_only=True, slots=True)
class TestEvaluations:
    """How often the test set of a task was evaluated, as far as one storage knows: by any study."""

    __test__ = False  # pytest takes what begins with Test for tests

    total: int
    of_deleted_studies: int
    """of these, by studies that are deleted"""


@dataclass(frozen=True, kw_only=True, slots=True)
class SeedRun:
    """One candidate trained on one seed of the confirmation."""

    seed: int
    """index of the seed, from 0; all candidates share the seeds, so that their runs are pairs"""
    trial: int
    """number of the trial in the confirmation's own study"""
    trial_id: int
    point: Point
    """of its curve, where its validation score is highest"""

    @property
    def value(self) -> float:
        """Validation score: mean of the heads' accuracies."""
        return self.point.validation.accuracy


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidate:
    """A configuration that a search led to, or one that it began with, on fresh seeds."""

    trial: int
    """number of the trial in the study that was searched"""
    reference: str | None
    """name of the reference configuration that it is, else None"""
    settings: Mapping[str, Value]
    """that it was confirmed with, widened where it was"""
    search_value: float
    """its validation score in the search, which chose it: biased upwards"""
    runs: tuple[SeedRun, ...]
    """finished ones, by seed"""
    dropped: bool
    """it was hopeless by a paired test, and the later seeds were not spent on it"""
    mean: float
    """validation score over its seeds"""
    low: float
    """of the 95 % interval of the mean, over seeds and digits; 0 with one seed. A leader's holds although
    the best of all leaders is chosen, and they were chosen in the search on the same digits"""
    high: float
    """likewise; 1 with one seed"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Gap:
    """What the chosen candidate is better by than another one, on the seeds and examples that both share."""

    trial: int
    """number, in the searched study, of the other one"""
    by: float
    """accuracy of the chosen one less that of the other, means of the heads; negative: the other is better"""
    low: float | None
    """of its interval over seeds and digits; None: too few seeds, or the single answers are not known"""
    high: float | None
    seeds: int
    """that both share; 0 on the test set, where two networks are compared"""
    comparisons: int
    """the intervals of so many gaps hold together in 95 of 100 repetitions (Bonferroni)"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Confirmation:
    """The leaders of a search, ranked honestly."""

    study: str
    """the study that was searched"""
    task: str
    confirmed_in: str
    """the study that holds the confirming trials"""
    seeds: int
    """asked for"""
    epochs: float
    """budget of each confirming trial in passes over the training examples"""
    widen: float = 1.0
    """leaders have so many times the channels and units that they had in the search; references do not"""
    candidates: tuple[Candidate, ...]
    """best mean first; references among them"""
    chosen: int | None
    """number, in the searched study, of the candidate with the best mean that is no reference; None: no
    candidate has all its seeds yet"""
    best_run: SeedRun | None
    """of the chosen candidate's runs, the one with the best validation score; its weights are exported"""
    gaps: tuple[Gap, ...] = ()
    """of the chosen candidate to every other one, in their order"""
    intervals_on_test: Mapping[int, Mapping[str, tuple[float, float]]] = field(default_factory=dict)
    """by id of an evaluated trial: 95 % intervals over digits of "mean", each head and "joint"; none for
    trials whose single answers are not known"""
    gaps_on_test: tuple[Gap, ...] = ()
    """of the best run to that of each reference, on the test set; empty before the test evaluations"""
    evaluations: TestEvaluations | None = None
    """of the task's test set in the whole storage; None: not known"""
    looks: tuple[Look, ...]
    """every look at the test set for this study and its confirmation, oldest first"""
    words: tuple[str, ...]
    """what follows from it, sentence by sentence"""

    @property
    def choice(self) -> Candidate | None:
        """The candidate that is `chosen`."""
        return next((each for each in self.candidates if each.trial == self.chosen), None)
