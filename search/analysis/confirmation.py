"""What a confirmation found out, as frozen values; search/analysis/standing.py works them out.

A search ends with the best of many noisy scores. A confirmation retrains the leaders of a search on fresh
seeds, ranks them by the mean, and evaluates the chosen one and the references on the test set, once.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from search.analysis import over_seeds
from search.analysis.intervals import accuracy_intervals
from search.analysis.two_way import Intervals
from search.records import (
    Examples,
    Metric,
    NetworkSpec,
    Report,
    StudyRecord,
    TestAttempt,
    TestEvaluation,
    TestEvaluationCounts,
    TrialRecord,
    Value,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class SeedRun:
    """One candidate trained on one seed of the confirmation."""

    seed: int
    """index of the seed, from 0; all candidates share the seeds, so that their runs are pairs"""
    trial: int
    """number of the trial in the confirmation's own study"""
    trial_id: int
    report: Report
    """the one with its highest score"""

    @property
    def score(self) -> float:
        """The highest of its reports."""
        return self.report.score


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidate:
    """A configuration that a search led to, or one that it began with, on fresh seeds."""

    trial: int
    """number of the trial in the study that was searched"""
    reference: str | None
    """name of the reference configuration that it is, else None"""
    settings: Mapping[str, Value]
    """that it was confirmed with, widened where it was"""
    search_score: float
    """in the search, which chose it: biased upwards"""
    runs: tuple[SeedRun, ...]
    """finished ones, by seed"""
    dropped: bool
    """it was hopeless by a paired test, and the later seeds were not spent on it"""
    mean: float
    """score over its seeds"""
    low: float
    """of the 95 % interval of the mean, over seeds and digits; 0 with one seed. A leader's holds although
    the best of all leaders is chosen, and they were chosen in the search on the same digits. Of another
    score than the accuracy of networks over seeds, and over examples where `over_examples` says so; minus
    infinity where it has no interval"""
    high: float
    """likewise; 1 with one seed, and infinity where it has no interval"""
    over_examples: bool = False
    """whether its interval, if there is one, includes the sampling of validation examples"""
    ignores_seed: bool = False
    """whether all its seeds, two at least, gave one and the same curve"""

    @property
    def has_interval(self) -> bool:
        """Whether anything is known of its spread; always of a network's accuracy."""
        return math.isfinite(self.low) and math.isfinite(self.high)

    @property
    def is_constant(self) -> bool:
        """Whether all its seeds, two at least, gave one and the same score."""
        return over_seeds.same([run.score for run in self.runs])


@dataclass(frozen=True, kw_only=True, slots=True)
class Gap:
    """What the chosen candidate is better by than another one, on the seeds and examples that both share."""

    trial: int
    """number, in the searched study, of the other one"""
    by: float
    """score of the chosen one less that of the other; negative: the other is better"""
    low: float | None
    """of its interval over seeds and digits; None: too few seeds, or the single answers are not known. Of
    another score than the accuracy of networks as of a candidate; None: too few seeds, or the same on all of
    them"""
    high: float | None
    seeds: int
    """that both share; 0 on the test set, where two networks are compared"""
    comparisons: int
    """the intervals of this number of gaps hold together in 95 of 100 repetitions (Bonferroni)"""
    one_sided: bool = False
    """whether that is so of all lower ends, and of all upper ends, but not of both"""
    over_examples: bool = False
    """whether its interval, if there is one, includes the sampling of examples"""

    @property
    def is_told(self) -> bool:
        """Whether its interval excludes zero: one of the two is told to be better."""
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)


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
    """of the chosen candidate's runs, the one with the best score; its weights are exported"""
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
    """of the study's test set in the whole storage; None: there is none"""
    test_evaluations: tuple[TestEvaluation, ...]
    """every test evaluation for this study and its confirmation, oldest first"""
    test_attempts: tuple[TestAttempt, ...] = ()
    """likewise; those without a result"""
    code_of_search: frozenset[str] = frozenset()
    """SHA-256 of the training code of the candidates in the search, where it is recorded"""
    code_of_runs: frozenset[str] = frozenset()
    """likewise of the confirming trials"""
    examples: Examples = field(default_factory=Examples)
    """that networks are measured on"""
    evaluations_of_references: int = 0
    """of these, with a result or without"""
    others: tuple[Confirmation, ...] = ()
    """other confirmations of the same study, oldest first"""

    @property
    def study(self) -> str:
        """Name of the study that was searched."""
        return self.search.name

    @property
    def of_networks(self) -> bool:
        """Whether networks were trained: their answers and the test set are known."""
        return isinstance(self.confirming.spec, NetworkSpec)

    @property
    def over_examples(self) -> bool:
        """Whether the candidates' intervals include the sampling of validation examples."""
        return all(each.over_examples for each in self.candidates)

    @property
    def ignores_seed(self) -> bool:
        """Whether every candidate has the same curve on all its seeds: the code uses no seed."""
        several = [each for each in self.candidates if len(each.runs) > 1]
        return bool(several) and all(each.ignores_seed for each in several)

    @property
    def scored_by_answers(self) -> bool:
        """Whether the score is the accuracy of networks: its intervals are over seeds and examples."""
        return self.confirming.spec.scored_by_answers

    @property
    def metric(self) -> Metric:
        """What the scores are of."""
        return self.search.spec.metric

    @property
    def task(self) -> str | None:
        """Of both studies; None where no networks are trained."""
        return self.search.spec.task if isinstance(self.search.spec, NetworkSpec) else None

    @property
    def tested_by(self) -> str:
        """What the test set is called by: the task of networks, the name of training code."""
        spec = self.confirming.spec
        return spec.task if isinstance(spec, NetworkSpec) else str(spec.options.get("objective"))

    @property
    def confirmed_in(self) -> str:
        """Name of the study that holds the confirming trials."""
        return self.confirming.name

    @property
    def epochs(self) -> float | None:
        """Budget of each confirming trial in passes over the training examples; None where no networks are
        trained."""
        spec = self.confirming.spec
        return spec.epochs if isinstance(spec, NetworkSpec) else None

    @property
    def widen(self) -> float:
        """Factor of each leader's channels and units relative to the search; references have the same."""
        spec = self.confirming.spec
        return spec.widen if isinstance(spec, NetworkSpec) else 1.0

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

    def tested(self, evaluation: TestEvaluation) -> float | None:
        """The score of a test evaluation. None: the search optimizes another score than the accuracy, and a
        previous version of tune recorded accuracies alone."""
        if self.of_networks and not self.scored_by_answers and not evaluation.scores:
            return None
        return self.metric.score_of(evaluation.value)

    def intervals_of(self, evaluation: TestEvaluation) -> Intervals:
        """95 % intervals of a test evaluation: over digits, else as if no two images shared one. Of training
        code there are none."""
        if not evaluation.pictures:  # by training code: nothing is known of its examples
            return {}
        known = self.intervals_on_test.get(evaluation.trial_id)
        return known or accuracy_intervals(evaluation.heads, evaluation.joint, evaluation.pictures)
