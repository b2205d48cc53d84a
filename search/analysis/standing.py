"""Works out what a confirmation found, from the trials of both studies and the test evaluations."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from operator import itemgetter
from statistics import fmean

import numpy as np

from search.analysis import over_seeds, racing, two_way
from search.analysis.answered import Answered, answered
from search.analysis.confirmation import Candidate, Confirmation, Gap, SeedRun
from search.analysis.intervals import mean_of_heads_interval, of_the_best
from search.analysis.ranking import best_report, count
from search.analysis.ranking import winner as winner_of
from search.analysis.statistics import Estimate
from search.analysis.two_way import Digits
from search.heads import validation_of
from search.records import (
    Answers,
    Counts,
    Examples,
    NetworkSpec,
    Report,
    State,
    StudyRecord,
    TestAttempt,
    TestEvaluation,
    TestEvaluationCounts,
    TrialRecord,
    Value,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Stand:
    """A search and its confirmation as they are at one moment."""

    searched: StudyRecord
    trials: Sequence[TrialRecord]
    """of the search, by number"""
    confirming: StudyRecord
    runs: Sequence[TrialRecord]
    """of the confirmation, by number"""
    curves: Mapping[int, Sequence[Report]]
    """of the complete runs, by trial id"""
    test_evaluations: Sequence[TestEvaluation]
    """at trials of the search and of all its confirmations, oldest first"""
    test_attempts: Sequence[TestAttempt] = ()
    """likewise; test evaluations without a result"""
    yardstick: frozenset[int]
    """ids of all trials of reference configurations in these studies"""
    answers: Mapping[int, Answers] = field(default_factory=dict)
    """of complete runs on validation, by trial id, where they are known"""
    digits: Digits | None = None
    """of those examples; None: not known"""
    answers_on_test: Mapping[int, Answers] = field(default_factory=dict)
    """of runs that were evaluated on the test set, by trial id, where they are known"""
    digits_on_test: Digits | None = None
    """of those examples; None: not known"""
    evaluation_counts: TestEvaluationCounts | None = None
    """of the study's test set in the whole storage; None where there is none"""
    searched_counts: Counts | None = None
    """of the search, with trials that cannot be used; None: as in `trials`"""
    confirming_counts: Counts | None = None
    """of the confirmation, likewise"""
    examples: Examples = field(default_factory=Examples)
    """that networks are measured on"""

    @property
    def wanted(self) -> int:
        """Runs that were asked for. While more are being queued the study's target lags behind."""
        asked = {run.confirming for run in self.runs if run.confirming}
        return max(self.confirming.target_trials, len(asked))

    @property
    def finished(self) -> bool:
        """Whether every run that was asked for has ended."""
        return self.finished_runs >= self.wanted > 0

    @property
    def finished_runs(self) -> int:
        """Runs that have ended, also those that cannot be used."""
        return (self.confirming_counts or count(self.runs)).finished


def confirmation(stand: Stand) -> Confirmation:
    """The confirmation in full, but for others of the same study."""
    seeds = {run.confirming.seed for run in stand.runs if run.confirming}
    asked = {run.confirming.candidate for run in stand.runs if run.confirming}
    candidates = _candidates(stand)
    racers = [each for each in candidates if each.reference is None and not each.dropped]
    whole = stand.finished and all(len(each.runs) == len(seeds) for each in racers)
    chosen = racers[0] if racers and whole else None
    winner = winner_of(stand.trials).searched
    return Confirmation(
        search=stand.searched,
        confirming=stand.confirming,
        seeds=len(seeds),
        candidates=candidates,
        chosen=None if chosen is None else chosen.trial,
        best_run=None if chosen is None else best_run(chosen),
        searched=(stand.searched_counts or count(stand.trials)).finished,
        search_winner=None if winner is None else winner.number,
        finished_runs=stand.finished_runs,
        wanted=stand.wanted,
        failed=racing.failed(stand.runs),
        gaps=() if chosen is None else _gaps(stand, chosen, candidates),
        gaps_on_test=() if chosen is None else _gaps_on_test(stand, chosen, candidates),
        intervals_on_test={
            trial_id: two_way.intervals(answers, stand.digits_on_test)
            for trial_id, answers in stand.answers_on_test.items()
            if stand.digits_on_test is not None and answers.examples == len(stand.digits_on_test)
        },
        evaluation_counts=stand.evaluation_counts,
        examples=stand.examples,
        test_evaluations=tuple(stand.test_evaluations),
        test_attempts=tuple(stand.test_attempts),
        code_of_search=_code([trial for trial in stand.trials if trial.number in asked]),
        code_of_runs=_code(stand.runs),
        evaluations_of_references=sum(
            trial_id in stand.yardstick
            for trial_id in (
                *(evaluation.trial_id for evaluation in stand.test_evaluations),
                *(attempt.trial_id for attempt in stand.test_attempts),
            )
        ),
    )


def _code(trials: Sequence[TrialRecord]) -> frozenset[str]:
    return frozenset(trial.code for trial in trials if trial.code is not None)


def foremost(found: Sequence[Confirmation]) -> Confirmation | None:
    """Of several confirmations of one study, oldest first, the one that counts; it names the others.

    It is the one whose chosen candidate has the best mean on validation; while none has decided, the one
    begun last.
    """
    if not found:
        return None
    decided = [(each.choice.mean, each) for each in found if each.choice is not None]
    first = max(decided, key=itemgetter(0))[1] if decided else found[-1]
    return replace(first, others=tuple(each for each in found if each is not first))


def best_run(candidate: Candidate) -> SeedRun:
    """The run with the best validation score, the earliest of equals: the one whose weights are of use."""
    return max(candidate.runs, key=lambda run: (run.score, -run.seed))


def _candidates(stand: Stand) -> tuple[Candidate, ...]:
    """Best mean first, and first of all those that have more to show for it: dropped ones come last.

    Who has finished no run yet is left out.
    """
    gone = racing.dropped(stand.runs)
    runs: dict[int, dict[int, SeedRun]] = {}
    settings: dict[int, dict[str, Value]] = {}
    for run in stand.runs:
        report = best_report(stand.curves.get(run.trial_id, ()))
        if run.confirming is not None and run.state is State.COMPLETE and report is not None:
            settings[run.confirming.candidate] = run.settings
            runs.setdefault(run.confirming.candidate, {})[run.confirming.seed] = SeedRun(
                seed=run.confirming.seed, trial=run.number, trial_id=run.trial_id, report=report
            )
    found = []
    searched = _searched(stand)
    leaders = max(1, sum(trial.reference is None and trial.number in runs for trial in stand.trials))
    for trial in stand.trials:
        if trial.number not in runs or trial.score is None:
            continue
        by_seed = runs[trial.number]
        mine = tuple(by_seed[seed] for seed in sorted(by_seed))
        among = (1, 1) if trial.reference is not None else (leaders, max(leaders, searched))
        mean, low, high = _mean(stand, mine, chosen_of=among[0], searched=among[1])
        found.append(
            Candidate(
                trial=trial.number,
                reference=trial.reference,
                settings=settings[trial.number],
                search_score=trial.score,
                runs=mine,
                dropped=trial.number in gone,
                mean=mean,
                low=low,
                high=high,
                over_examples=_over_examples(stand, mine),
                ignores_seed=_ignores_seed(stand, mine),
            )
        )
    return tuple(sorted(found, key=lambda each: (each.dropped, -each.mean, each.trial)))


def _searched(stand: Stand) -> int:
    """Finished trials of the search, among which the leaders were chosen on the same digits."""
    return max(1, sum(trial.reference is None and trial.state.is_finished for trial in stand.trials))


def _mean(
    stand: Stand, runs: Sequence[SeedRun], *, chosen_of: int, searched: int
) -> tuple[float, float, float]:
    """(mean, low, high) of a candidate's score over seeds and digits. One seed tells nothing of others.

    chosen_of, searched: as in two_way.mean.
    """
    by_seed = np.array([run.score for run in runs])
    mean = float(by_seed.mean())
    spec = stand.confirming.spec
    if not spec.scored_by_answers:
        found = over_seeds.mean([run.score for run in runs], spec.metric, chosen_of=chosen_of)
        known = _answered(stand, runs)
        if known is not None and found.low is not None:
            share = two_way.mean(known.right, known.examples, chosen_of=chosen_of, searched=searched)
            found = known.score(share)
        if found.low is None or found.high is None:
            return mean, -math.inf, math.inf
        return mean, found.low, found.high
    assert isinstance(spec, NetworkSpec), "no other score is made of answers"
    if len(runs) < 2:
        return mean, 0.0, 1.0
    scores = _scores(stand.answers, [run.trial_id for run in runs], stand.digits)
    if scores is not None and stand.digits is not None:
        found = two_way.mean(scores, stand.digits, chosen_of=chosen_of, searched=searched)
        assert found.low is not None
        assert found.high is not None
        return mean, found.low, found.high
    spread = float(by_seed.std(ddof=1)) / math.sqrt(len(runs))
    below, above = (two_way.student(1 - 0.05 / among, len(runs) - 1) for among in (chosen_of, 1))
    # A previous version of tune did not record the answers: as if all seeds erred on the same images.
    points = [validation_of(run.report) for run in runs]
    heads = [fmean(point.heads[name].accuracy for point in points) for name in points[0].heads]
    joint = fmean(point.joint for point in points)
    low, high = mean_of_heads_interval(heads, joint, spec.validation_pictures, z=of_the_best(searched))
    return (
        mean,
        max(0.0, mean - math.hypot(mean - low, below * spread)),
        min(1.0, mean + math.hypot(high - mean, above * spread)),
    )


def _answered(stand: Stand, runs: Sequence[SeedRun]) -> Answered | None:
    """Of training code, whose score may be made of its answers; of networks that is the accuracy alone."""
    if isinstance(stand.confirming.spec, NetworkSpec):
        return None
    return answered([run.score for run in runs], stand.answers, [run.trial_id for run in runs])


def _over_examples(stand: Stand, runs: Sequence[SeedRun]) -> bool:
    return stand.confirming.spec.scored_by_answers or _answered(stand, runs) is not None


def _ignores_seed(stand: Stand, runs: Sequence[SeedRun]) -> bool:
    """Whether all seeds, two at least, gave one and the same curve."""
    curves = [[(each.step, each.metrics) for each in stand.curves[run.trial_id]] for run in runs]
    return len(curves) > 1 and all(curve == curves[0] for curve in curves)


def _gaps(stand: Stand, chosen: Candidate, candidates: Sequence[Candidate]) -> tuple[Gap, ...]:
    """Of the chosen candidate to the others: pairs of runs on one seed, on the same examples.

    The chosen one is the best of several, so that all its intervals have to hold together.
    """
    others = [each for each in candidates if each is not chosen]
    mine = {run.seed: run for run in chosen.runs}
    found = []
    for other in others:
        pairs = [(mine[run.seed], run) for run in other.runs if run.seed in mine]
        if not pairs:
            continue
        over_examples = True
        if not stand.confirming.spec.scored_by_answers:
            estimate, over_examples = _by_score(stand, pairs, other, candidates)
        else:
            estimate = _over_seeds_and_digits(stand, pairs, other, len(others))
        found.append(
            Gap(
                trial=other.trial,
                by=fmean(a.score - b.score for a, b in pairs),
                low=None if estimate is None else estimate.low,
                high=None if estimate is None else estimate.high,
                seeds=len(pairs),
                comparisons=len(others),
                one_sided=stand.confirming.spec.scored_by_answers and len(others) > 1,
                over_examples=over_examples,
            )
        )
    return tuple(found)


Pairs = Sequence[tuple[SeedRun, SeedRun]]
"""Of the chosen candidate and another one, each on one seed."""


def _by_score(
    stand: Stand, pairs: Pairs, other: Candidate, candidates: Sequence[Candidate]
) -> tuple[Estimate | None, bool]:
    """Of the mean difference of the pairs, None where it has no interval; whether that is over examples, too.

    The level is that of intervals over seeds only: with many examples these two are nearly the same.
    """
    leaders = sum(each.reference is None for each in candidates)
    share = over_seeds.share(
        leaders=leaders,
        references=len(candidates) - leaders,
        seeds=len({run.confirming.seed for run in stand.runs if run.confirming}),
    )
    found = over_seeds.difference([(a.score, b.score) for a, b in pairs], share=share)
    one, two = (_answered(stand, [pair[place] for pair in pairs]) for place in (0, 1))
    if found is None or one is None or two is None or one.right.shape != two.right.shape:
        return found, False
    both = two_way.difference(
        one.right,
        two.right,
        one.examples,
        share=share,
        chosen_of=1 if other.reference is not None else _searched(stand),
    )
    return one.difference(both), True


def _over_seeds_and_digits(stand: Stand, pairs: Pairs, other: Candidate, comparisons: int) -> Estimate | None:
    """Likewise; None, too, where the single answers are not known.

    All leaders were chosen among the searched trials on the same digits; a reference was not.
    """
    one = _scores(stand.answers, [pair[0].trial_id for pair in pairs], stand.digits)
    two = _scores(stand.answers, [pair[1].trial_id for pair in pairs], stand.digits)
    if one is None or two is None or stand.digits is None or len(pairs) < two_way.SEEDS:
        return None
    return two_way.difference(
        one,
        two,
        stand.digits,
        share=_share(comparisons),
        chosen_of=1 if other.reference is None else _searched(stand),
        step=1 / len(pairs[0][0].report.parts),
    )


def _share(comparisons: int) -> float:
    """How often the interval of one gap on validation among all `comparisons` has to hold.

    The chosen one has the best mean: it is called better or not, hardly ever worse, so that Bonferroni's
    share of the 5 % belongs to one side of the interval, which is one-sided from two comparisons on. Together
    they err less than that (benchmarks/claims_of_confirm.py).
    """
    return 1 - 0.1 / max(2, comparisons)


def _gaps_on_test(stand: Stand, chosen: Candidate, candidates: Sequence[Candidate]) -> tuple[Gap, ...]:
    """Of the chosen candidate's best run to the evaluated run of each reference, image by image; none where
    answers do not tell the score.

    The test set chose neither of the two, so that the chosen one is called worse as easily as better: all
    intervals hold together to both sides (Bonferroni).
    """
    if not stand.confirming.spec.scored_by_answers:
        return ()
    best, digits = best_run(chosen).trial_id, stand.digits_on_test
    evaluated = {evaluation.trial_id: evaluation for evaluation in stand.test_evaluations}
    pairs = [
        (other, run)
        for other in candidates
        for run in other.runs
        if other.reference is not None and run.trial_id in evaluated
    ]
    found = []
    for other, run in pairs:
        one = _scores(stand.answers_on_test, [best], digits)
        two = _scores(stand.answers_on_test, [run.trial_id], digits)
        if one is not None and two is not None and digits is not None:
            share, heads = 1 - 0.05 / len(pairs), len(evaluated[run.trial_id].heads)
            estimate = two_way.difference(one, two, digits, share=share, step=1 / heads)
            found.append(
                Gap(
                    trial=other.trial,
                    by=estimate.value,
                    low=estimate.low,
                    high=estimate.high,
                    seeds=0,
                    comparisons=len(pairs),
                )
            )
    return tuple(found)


def _scores(
    answers: Mapping[int, Answers], trial_ids: Sequence[int], digits: Digits | None
) -> two_way.Scores | None:
    """(runs, examples); None where the answers of a run are not known, or are of another set."""
    known = [answers[trial_id] for trial_id in trial_ids if trial_id in answers]
    if digits is None or len(known) < len(trial_ids):
        return None
    if any(each.examples != len(digits) for each in known):
        return None
    return np.stack([two_way.right(each) for each in known])
