"""Studies of one objective side by side, in numbers: best, typical, time to a goal, equal budgets."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from search.analysis import two_way
from search.analysis.answered import Answered, answered
from search.analysis.intervals import Z, accuracy_intervals, measurements, of_the_best, z_of_the_best
from search.analysis.ranking import Ranking
from search.analysis.statistics import Estimate, best_of, difference, median
from search.analysis.timeline import Mark, Timeline, timeline
from search.analysis.two_ablations import TwoAblations
from search.analysis.two_way import Digits
from search.heads import accuracies_of, joint_of
from search.records import (
    ACCURACY,
    Answers,
    Counts,
    NetworkSpec,
    Report,
    State,
    StudyRecord,
    StudySpec,
    Track,
    TrialRecord,
)

LEVELS = (0.95, 0.98, 0.99)
"""Validation accuracies of networks whose first sight is timed."""

MEAN, JOINT = "mean", "joint"
"""What is compared beside the accuracies of the heads: the score, which is their mean unless the studies
optimize another one, and all of them right at once. Of other objectives the score alone is compared."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Studied:
    """What is read of one study. It has a complete trial."""

    record: StudyRecord
    counts: Counts
    tracks: Sequence[Track]
    """all trials by number"""
    reports: Sequence[tuple[int, int]]
    """(trial id, step) in the order in which they were written"""
    best: TrialRecord
    """the winner: its best complete searched trial"""
    reference: TrialRecord | None
    """its best complete reference"""
    report: Report
    """of the winner: the one with the highest score"""
    machines: tuple[str, ...]
    """processors that its workers ran on, each once"""
    answers: Answers | None = None
    """of the winner's kept weights on validation; None: not known"""

    @property
    def better_reference(self) -> TrialRecord | None:
        """The best reference where it is better than the winner."""
        return Ranking(searched=self.best, reference=self.reference).better_reference


@dataclass(frozen=True, kw_only=True, slots=True)
class Reached:
    """When a study first saw an accuracy."""

    level: float
    mean: Mark | None
    """on the mean of the heads; None: never"""
    every_head: Mark | None
    """on every head at once"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Budget:
    """What every study of a comparison has spent: the least of each."""

    trials: int
    """finished ones"""
    steps: int
    """of all trials together"""
    seconds: float
    own: int
    """complete trials that the search proposed, references left out"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Equal:
    """The best score of a study at the common budget."""

    after_trials: float | None
    """best so far when the last trial of the budget was finished; None: no report came so early"""
    after_steps: float | None
    after_seconds: float | None
    expected: float | None
    """expected best of n complete trials that the search proposed, in random order; None: it has none.
    A pruned trial's score is of a shorter training, and is not mixed with these"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Side:
    """One study of a comparison."""

    studied: Studied
    timeline: Timeline
    best: Mapping[str, Estimate]
    """by MEAN, head, JOINT: the best trial, with its interval over digits where its answers are known, which
    allows for the choice among all that were measured; of training code without an interval where they are
    not"""
    typical: Mapping[str, Estimate]
    """likewise: the median of the complete trials that the search proposed; empty where there is none"""
    scores: tuple[float, ...]
    """what `typical` is the median of"""
    reached: tuple[Reached, ...]
    """empty where the score is not an accuracy of networks"""
    equal: Equal

    @property
    def name(self) -> str:
        """Of the study."""
        return self.studied.record.name

    @property
    def told(self) -> tuple[str, ...]:
        """The names in `best` without those that repeat another one: with one head its accuracy and the joint
        one are the same, and both are the score where that is the accuracy."""
        names = tuple(self.best)
        if len(names) != len((MEAN, "the head", JOINT)):
            return names
        return names[:1] if self.studied.record.spec.scored_by_answers else names[:2]


@dataclass(frozen=True, kw_only=True, slots=True)
class Pair:
    """One run that two studies have in common: the same settings and the same seed."""

    trials: tuple[int, int]
    """its number in the first study and in the other one"""
    reference: str | None
    scores: tuple[float, float]
    """the best of each"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Against:
    """The first study and another one."""

    first: Side
    other: Side
    differences: Mapping[str, Estimate]
    """by MEAN, head, JOINT: the first's best trial less the other's; the intervals allow for both choices and
    for the number of studies. None, as of `Side.best`, where nothing is known of the examples"""
    image_by_image: bool
    """whether the single answers of both are known; else the two are taken for independent"""
    pairs: tuple[Pair, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """Studies of one objective, metric and unit, those of networks of one task, in the order asked for."""

    sides: tuple[Side, ...]
    budget: Budget
    against: tuple[Against, ...]
    """the first with each of the others"""
    ablations: tuple[TwoAblations, ...] = ()
    """likewise, where all of them are ablations"""

    @property
    def spec(self) -> StudySpec:
        """Of the first study; the others have the same objective, metric and unit."""
        return self.sides[0].studied.record.spec


def compare(
    studies: Sequence[Studied], pairs: Sequence[Sequence[Pair]], digits: Digits | None = None
) -> Comparison:
    """The comparison.

    pairs: for each study but the first, the runs that it shares with the first. digits: of the examples that
    the answers of the studies are about; None: no answers are known.
    """
    timelines = [timeline(study.tracks, study.reports) for study in studies]
    own = [_own(study.tracks) for study in studies]
    budget = Budget(
        trials=min(len(each.ends_s) for each in timelines),
        steps=min(each.steps for each in timelines),
        seconds=min(each.seconds for each in timelines),
        own=min(map(len, own)),
    )
    sides = tuple(
        _side(study, line, scores, budget, digits)
        for study, line, scores in zip(studies, timelines, own, strict=True)
    )
    first = sides[0]
    # Where the better one is not better, a measurement of the study that has it exceeds its truth by this
    # much more than one fixed measurement of the other study: the larger of the two choices is what counts.
    z = z_of_the_best(max(measurements(study.tracks) for study in studies) * max(1, len(sides) - 1))
    return Comparison(
        sides=sides,
        budget=budget,
        against=tuple(
            Against(
                first=first,
                other=other,
                differences=_differences(first, other, digits, z),
                image_by_image=_paired(first, other, digits) is not None,
                pairs=tuple(shared),
            )
            for other, shared in zip(sides[1:], pairs, strict=True)
        ),
    )


def _paired(first: Side, other: Side, digits: Digits | None) -> tuple[Answers, Answers] | None:
    """The answers of both winners, where they are known and about the same examples."""
    one, two = first.studied.answers, other.studied.answers
    if one is None or two is None or digits is None or not one.examples == two.examples == len(digits):
        return None
    if not isinstance(first.studied.record.spec, NetworkSpec):
        scales = [_of_code(side.studied) for side in (first, other)]
        if None in scales:
            return None
    return one, two


def _differences(first: Side, other: Side, digits: Digits | None, z: float) -> dict[str, Estimate]:
    """The two winners on the same images: on those that one alone has right, where they are known.

    z: standard errors of the intervals.
    """
    found = _paired(first, other, digits)
    names = [name for name in first.best if name in other.best]
    if found is None or digits is None:
        here, there = (_estimates(side.studied, digits, (z, z)) for side in (first, other))
        return {name: difference(here[name], there[name]) for name in names}

    def scores(answers: Answers, name: str) -> two_way.Scores:
        if name == JOINT:
            return two_way.all_right(answers)[None]
        return two_way.right(answers, None if name == MEAN else name)[None]

    one, two = found
    known = _of_code(first.studied) if not isinstance(first.studied.record.spec, NetworkSpec) else None
    scored = first.studied.record.spec.scored_by_answers
    share = math.erf(z / math.sqrt(2))
    found_apart = {}
    for name in names:
        if name == MEAN and not scored:
            found_apart[name] = difference(first.best[name], other.best[name])
            continue
        step = 1 / len(one.heads) if name == MEAN else 1.0
        found_apart[name] = two_way.difference(
            scores(one, name), scores(two, name), digits, share=share, step=step
        )
        if known is not None:
            found_apart[name] = known.difference(found_apart[name])
    return found_apart


def _own(tracks: Sequence[Track]) -> list[float]:
    """Scores of the complete trials that the search proposed."""
    return [
        track.score
        for track in tracks
        if track.state is State.COMPLETE and track.reference is None and track.score is not None
    ]


def _accuracies(study: Studied) -> dict[str, float]:
    """Of the best trial at its best report, by MEAN, head, JOINT."""
    if not isinstance(study.record.spec, NetworkSpec):
        return {MEAN: study.report.score}
    return {MEAN: study.report.score, **accuracies_of(study.report)}


def _intervals(study: Studied, digits: Digits | None, z: Z) -> two_way.Intervals:
    """Of these: over digits or examples, where the answers are known; of training code none otherwise."""
    spec = study.record.spec
    if not isinstance(spec, NetworkSpec):
        known = _of_code(study)
        if known is None or study.answers is None:
            return {}
        low, high = two_way.intervals(study.answers, known.examples, z=z)[MEAN]
        share = known.score(Estimate(value=study.report.score, low=low, high=high))
        assert share.low is not None
        assert share.high is not None
        return {MEAN: (share.low, share.high)}
    if study.answers is not None and digits is not None and study.answers.examples == len(digits):
        found = two_way.intervals(study.answers, digits, z=z)
    else:
        heads, joint = ACCURACY.parts(study.report.metrics), joint_of(study.report)
        found = accuracy_intervals(heads, joint, spec.validation_pictures, z=z)
    # The mean is the score: what is known of its examples is known for an accuracy alone.
    return found if spec.scored_by_answers else {k: v for k, v in found.items() if k != MEAN}


def _of_code(study: Studied) -> Answered | None:
    """Of the winner of training code: its answers, where its score is made of them."""
    if study.answers is None:
        return None
    trial_id = study.best.trial_id
    return answered([study.report.score], {trial_id: study.answers}, [trial_id])


def _estimates(study: Studied, digits: Digits | None, z: Z) -> dict[str, Estimate]:
    intervals = _intervals(study, digits, z)
    found = {}
    for name, value in _accuracies(study).items():
        low, high = intervals.get(name, (None, None))
        found[name] = Estimate(value=value, low=low, high=high)
    return found


def _side(
    study: Studied, line: Timeline, own: Sequence[float], budget: Budget, digits: Digits | None
) -> Side:
    proposed = [
        max(track.reports, key=lambda report: report.score)
        for track in study.tracks
        if track.state is State.COMPLETE and track.reference is None and track.reports
    ]
    last = line.ends_s[budget.trials - 1] if budget.trials else 0.0
    return Side(
        studied=study,
        timeline=line,
        best=_estimates(study, digits, of_the_best(measurements(study.tracks))),
        typical={
            name: median([_of(report, name) for report in proposed])
            for name in _accuracies(study)
            if proposed
        },
        scores=tuple(report.score for report in proposed),
        reached=tuple(
            Reached(level=level, mean=first_at(line.mean, level), every_head=first_at(line.worst, level))
            for level in (LEVELS if study.record.spec.scored_by_answers else ())
        ),
        equal=Equal(
            after_trials=best_after(line.mean, seconds=last),
            after_steps=best_after(line.mean, steps=budget.steps),
            after_seconds=best_after(line.mean, seconds=budget.seconds),
            expected=best_of(own, budget.own) if budget.own else None,
        ),
    )


def _of(report: Report, name: str) -> float:
    if name == MEAN:
        return report.score
    return accuracies_of(report)[name]


def first_at(marks: Sequence[Mark], level: float) -> Mark | None:
    """The first mark that is at least so good."""
    return next((mark for mark in marks if mark.score >= level), None)


def best_after(
    marks: Sequence[Mark], *, seconds: float | None = None, steps: int | None = None
) -> float | None:
    """The best score that a study had seen by then; None: none yet."""
    if steps is not None:
        place = bisect_right(marks, steps, key=lambda mark: mark.steps)
    else:
        assert seconds is not None
        place = bisect_right(marks, seconds, key=lambda mark: mark.seconds)
    return marks[place - 1].score if place else None
