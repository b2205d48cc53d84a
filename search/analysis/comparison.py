"""Studies of one task side by side, in numbers: best, typical, time to a goal, what equal budgets brought."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from search.analysis import two_way
from search.analysis.intervals import Z, accuracy_intervals, measurements, of_the_best, z_of_the_best
from search.analysis.ranking import Ranking
from search.analysis.statistics import Estimate, best_of, difference, median
from search.analysis.timeline import Mark, Timeline, timeline
from search.analysis.two_way import Digits
from search.records import Answers, Counts, Measured, Point, State, StudyRecord, Track, TrialRecord

LEVELS = (0.95, 0.98, 0.99)
"""Validation accuracies whose first sight is timed."""

MEAN, JOINT = "mean", "joint"
"""What is compared beside the heads: the mean of their accuracies, and all of them right at once."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Studied:
    """What is read of one study. It has a complete trial."""

    record: StudyRecord
    counts: Counts
    tracks: Sequence[Track]
    """all trials by number"""
    reports: Sequence[tuple[int, int]]
    """(trial id, images) in the order in which they were written"""
    best: TrialRecord
    """the winner: its best complete searched trial"""
    reference: TrialRecord | None
    """its best complete reference"""
    point: Point
    """of its curve, where its validation score is highest"""
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
    images: int
    seconds: float
    own: int
    """complete trials that the search proposed, references left out"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Equal:
    """How good a study was at the common budget: validation accuracy, mean of the heads."""

    after_trials: float | None
    """best so far when the last trial of the budget was finished; None: no report came so early"""
    after_images: float | None
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
    allows for the choice among all that were measured"""
    typical: Mapping[str, Estimate]
    """likewise: the median of the complete trials that the search proposed; empty where there is none"""
    scores: tuple[float, ...]
    """what `typical` is the median of: validation accuracies of those trials"""
    reached: tuple[Reached, ...]
    equal: Equal

    @property
    def name(self) -> str:
        """Of the study."""
        return self.studied.record.name


@dataclass(frozen=True, kw_only=True, slots=True)
class Pair:
    """One run that two studies have in common: the same settings and the same seed."""

    trials: tuple[int, int]
    """its number in the first study and in the other one"""
    reference: str | None
    scores: tuple[float, float]
    """best validation accuracies, mean of the heads"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Against:
    """The first study and another one."""

    first: Side
    other: Side
    differences: Mapping[str, Estimate]
    """by MEAN, head, JOINT: the first's best trial less the other's; the intervals allow for both choices and
    for the number of studies"""
    image_by_image: bool
    """whether the single answers of both are known; else the two are taken for independent"""
    pairs: tuple[Pair, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """Studies of one task, in the order asked for."""

    sides: tuple[Side, ...]
    budget: Budget
    against: tuple[Against, ...]
    """the first with each of the others"""


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
        images=min(each.images for each in timelines),
        seconds=min(each.seconds for each in timelines),
        own=min(map(len, own)),
    )
    sides = tuple(
        _side(study, line, scores, budget, digits)
        for study, line, scores in zip(studies, timelines, own, strict=True)
    )
    first = sides[0]
    # Where the better one is not better, a measurement of the study that has it exceeds its truth by so much
    # more than one fixed measurement of the other study: the larger of the two choices is what counts.
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
    share = math.erf(z / math.sqrt(2))
    found_apart = {}
    for name in names:
        step = 1 / len(one.heads) if name == MEAN else 1.0
        found_apart[name] = two_way.difference(
            scores(one, name), scores(two, name), digits, share=share, step=step
        )
    return found_apart


def _own(tracks: Sequence[Track]) -> list[float]:
    """Scores of the complete trials that the search proposed."""
    return [
        track.value
        for track in tracks
        if track.state is State.COMPLETE and track.reference is None and track.value is not None
    ]


def _accuracies(study: Studied) -> dict[str, float]:
    """Of the best trial at its best point, by MEAN, head, JOINT."""
    scores = study.point.validation
    heads = {name: head.accuracy for name, head in scores.heads.items()}
    return {MEAN: scores.accuracy, **heads, JOINT: scores.joint}


def _intervals(study: Studied, digits: Digits | None, z: Z) -> two_way.Intervals:
    """Of these: over digits, where the answers are known."""
    if study.answers is not None and digits is not None and study.answers.examples == len(digits):
        return two_way.intervals(study.answers, digits, z=z)
    scores = study.point.validation
    heads = {name: head.accuracy for name, head in scores.heads.items()}
    return accuracy_intervals(heads, scores.joint, study.record.spec.validation_pictures, z=z)


def _estimates(study: Studied, digits: Digits | None, z: Z) -> dict[str, Estimate]:
    intervals = _intervals(study, digits, z)
    return {
        name: Estimate(value=value, low=intervals[name][0], high=intervals[name][1])
        for name, value in _accuracies(study).items()
    }


def _side(
    study: Studied, line: Timeline, own: Sequence[float], budget: Budget, digits: Digits | None
) -> Side:
    proposed = [
        max(track.points, key=lambda point: point.accuracy)
        for track in study.tracks
        if track.state is State.COMPLETE and track.reference is None and track.points
    ]
    last = line.ends_s[budget.trials - 1] if budget.trials else 0.0
    return Side(
        studied=study,
        timeline=line,
        best=_estimates(study, digits, of_the_best(measurements(study.tracks))),
        typical={
            name: median([_of(point, name) for point in proposed]) for name in _accuracies(study) if proposed
        },
        scores=tuple(point.accuracy for point in proposed),
        reached=tuple(
            Reached(level=level, mean=first_at(line.mean, level), every_head=first_at(line.worst, level))
            for level in LEVELS
        ),
        equal=Equal(
            after_trials=best_after(line.mean, seconds=last),
            after_images=best_after(line.mean, images=budget.images),
            after_seconds=best_after(line.mean, seconds=budget.seconds),
            expected=best_of(own, budget.own) if budget.own else None,
        ),
    )


def _of(point: Measured, name: str) -> float:
    if name == MEAN:
        return point.accuracy
    return point.joint if name == JOINT else point.heads[name]


def first_at(marks: Sequence[Mark], level: float) -> Mark | None:
    """The first mark that is at least so good."""
    return next((mark for mark in marks if mark.value >= level), None)


def best_after(
    marks: Sequence[Mark], *, seconds: float | None = None, images: int | None = None
) -> float | None:
    """The best accuracy that a study had seen by then; None: none yet."""
    if images is not None:
        place = bisect_right(marks, images, key=lambda mark: mark.images)
    else:
        assert seconds is not None
        place = bisect_right(marks, seconds, key=lambda mark: mark.seconds)
    return marks[place - 1].value if place else None
