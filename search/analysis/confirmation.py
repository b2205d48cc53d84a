"""What a confirmation found out, as frozen values; search/analysis/standing.py works them out.

A search ends with the best of many noisy scores. A confirmation trains the leaders of a search again on fresh
seeds, ranks them by the mean, and evaluates the chosen one and the references on the test set, once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from search.analysis.intervals import accuracy_intervals
from search.analysis.two_way import Intervals
from search.records import Point, StudyRecord, TestEvaluation, TestEvaluationCounts, TrialRecord, Value


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
    """the intervals of this number of gaps hold together in 95 of 100 repetitions (Bonferroni)"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Confirmation:
    """The leaders of a search, ranked honestly."""

    search: StudyRecord
    """the study that was searched"""
    confirming: StudyRecord
    """the study that holds the confirming trials"""
    seeds: int
    """asked for"""
    candidates: tuple[Candidate, ...]
    """best mean first; references among them"""
    chosen: int | None
    """number, in the searched study, of the candidate with the best mean that is no reference; None: no
    candidate has all its seeds yet"""
    best_run: SeedRun | None
    """of the chosen candidate's runs, the one with the best validation score; its weights are exported"""
    searched: int
    """finished trials of the search"""
    search_winner: int | None
    """number of the best complete searched trial; None: no searched trial is complete"""
    finished_runs: int
    wanted: int
    """runs that were asked for"""
    failed: Mapping[int, TrialRecord] = field(default_factory=dict)
    """candidates that are out for failing, by number, with the run that ended their race"""
    gaps: tuple[Gap, ...] = ()
    """of the chosen candidate to every other one, in their order"""
    intervals_on_test: Mapping[int, Intervals] = field(default_factory=dict)
    """by id of an evaluated trial: 95 % intervals over digits; none for trials whose single answers are not
    known"""
    gaps_on_test: tuple[Gap, ...] = ()
    """of the best run to that of each reference, on the test set; empty before the test evaluations"""
    evaluation_counts: TestEvaluationCounts | None = None
    """of the task's test set in the whole storage; None: not known"""
    test_evaluations: tuple[TestEvaluation, ...]
    """every test evaluation for this study and its confirmation, oldest first"""
    evaluations_of_references: int = 0
    """of these"""
    others: tuple[Confirmation, ...] = ()
    """other confirmations of the same study, oldest first"""

    @property
    def study(self) -> str:
        """Name of the study that was searched."""
        return self.search.name

    @property
    def task(self) -> str:
        """Of both studies."""
        return self.search.spec.task

    @property
    def confirmed_in(self) -> str:
        """Name of the study that holds the confirming trials."""
        return self.confirming.name

    @property
    def epochs(self) -> float:
        """Budget of each confirming trial in passes over the training examples."""
        return self.confirming.spec.epochs

    @property
    def widen(self) -> float:
        """Factor of each leader's channels and units relative to the search; references have the same."""
        return self.confirming.spec.widen

    @property
    def choice(self) -> Candidate | None:
        """The candidate that is `chosen`."""
        return next((each for each in self.candidates if each.trial == self.chosen), None)

    def gap_to(self, trial: int) -> Gap | None:
        """Of the chosen candidate to this one; None where there is none."""
        return next((gap for gap in self.gaps if gap.trial == trial), None)

    def last_evaluation(self, run: SeedRun) -> TestEvaluation | None:
        """The latest test evaluation of this run's weights; None if there is none."""
        return next(
            (
                evaluation
                for evaluation in reversed(self.test_evaluations)
                if evaluation.trial_id == run.trial_id
            ),
            None,
        )

    def intervals_of(self, evaluation: TestEvaluation) -> Intervals:
        """95 % intervals of a test evaluation: over digits, else as if no two images shared one."""
        known = self.intervals_on_test.get(evaluation.trial_id)
        return known or accuracy_intervals(evaluation.heads, evaluation.joint, evaluation.pictures)
