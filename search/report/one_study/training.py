"""Did extra training help? Facts of every finished curve, and the answer in words with numbers.
Knows nothing of settings and of figures.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from search.records import Point, State, TrialRecord
from search.report.numbers import best_point, wilson
from search.report.one_study.basis import Curves, gap
from search.report.statistics import quartiles
from search.report.words import count, epochs, listed, points, share

RISEN = 1.05
"""A validation loss so many times its lowest has risen: the network grows surer of its mistakes."""
_RISE = f"{RISEN - 1:.0%}".replace("%", " %")

HALF = 0.45
"""From this share of a training on it is at half; trials of 3, 5 or 7 epochs are not measured there."""

NAMED = 6
"""Counterexamples that are named; the rest are counted."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Course:
    """One curve that ran to the end of its budget."""

    trial: TrialRecord
    images: int
    """training images at the end"""
    best_images: int
    """training images at the best validation accuracy"""
    best: float
    """the best validation accuracy"""
    last: float
    """validation accuracy at the end"""
    noise: float
    """standard error of one measurement of an accuracy like the best, as a fraction"""
    plateau_images: int
    """training images from which on accuracy never again lay more than twice the noise below the best"""
    since_half: float | None
    """accuracy at the end less accuracy at half the images, or at a measurement shortly before; None: there
    was none"""
    gap: float
    """train less validation accuracy at the end; see basis.gap for what it is worth"""
    loss_ratio: float
    """validation loss at the end over its lowest"""

    @property
    def drift(self) -> float:
        """Accuracy at the end less the best: 0 or below."""
        return self.last - self.best

    @property
    def peaked(self) -> bool:
        """Whether the best was before the end."""
        return self.best_images < self.images

    @property
    def fell(self) -> bool:
        """Whether it ended lower than its best by more than twice the noise. Both are measured on the same
        pictures, so the noise of their difference is smaller than that of two: this errs on the safe side."""
        return self.drift < -2 * self.noise

    @property
    def loss_rose(self) -> bool:
        """Whether the validation loss ended well above its lowest."""
        return self.loss_ratio > RISEN


def courses(trials: Sequence[TrialRecord], curves: Curves, *, pictures: int) -> list[Course]:
    """The complete trials' curves, references too, by trial number. pictures: different ones that a
    validation accuracy is measured on."""
    return [
        _course(trial, curves[trial.trial_id], pictures)
        for trial in trials
        if trial.state is State.COMPLETE and curves.get(trial.trial_id)
    ]


def _course(trial: TrialRecord, curve: Sequence[Point], pictures: int) -> Course:
    top, end = best_point(curve), curve[-1]
    assert top is not None, "the curve has a point"
    best = top.validation.accuracy
    noise = math.sqrt(best * (1 - best) / pictures)
    plateau = end.images
    for point in reversed(curve):
        if point.validation.accuracy < best - 2 * noise:
            break
        plateau = point.images
    about_half = [point for point in curve if HALF * end.images <= point.images <= end.images / 2]
    lowest = min(point.validation.loss for point in curve)
    return Course(
        trial=trial,
        images=end.images,
        best_images=top.images,
        best=best,
        last=end.validation.accuracy,
        noise=noise,
        plateau_images=plateau,
        since_half=end.validation.accuracy - about_half[-1].validation.accuracy if about_half else None,
        gap=gap(end),
        loss_ratio=end.validation.loss / lowest if lowest > 0 else 1.0,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Doubling:
    """What going on from some images to twice as many brought, over all trials that went on."""

    images: int
    """at its beginning"""
    gains: tuple[float, ...]
    """of validation accuracy, by trial"""
    removed: tuple[float, ...]
    """share of the errors at its beginning that it removed, by trial; below 0 where it added some"""

    @property
    def helped(self) -> int:
        """Trials that stood higher afterwards."""
        return sum(gain > 0 for gain in self.gains)


def doublings(trials: Sequence[TrialRecord], curves: Curves) -> list[Doubling]:
    """Every doubling that a trial was measured at both ends of, in order; failed trials left out."""
    found: defaultdict[int, list[tuple[float, float]]] = defaultdict(list)
    for trial in trials:
        if trial.state is State.FAILED:
            continue
        at = {point.images: point.validation.accuracy for point in curves.get(trial.trial_id, ())}
        for images, accuracy in at.items():
            if 2 * images in at:
                gain = at[2 * images] - accuracy
                found[images].append((gain, gain / (1 - accuracy) if accuracy < 1 else 0.0))
    return [
        Doubling(
            images=images,
            gains=tuple(gain for gain, _ in found[images]),
            removed=tuple(removed for _, removed in found[images]),
        )
        for images in sorted(found)
    ]


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """The answer to "did extra training always help?"."""

    answer: str
    """one sentence"""
    reasons: tuple[str, ...]
    """the numbers behind it, sentence by sentence"""
    counterexamples: tuple[Course, ...]
    """curves that stood no higher for the last half of their training, the worst first"""


def verdict(found: Sequence[Course], *, epoch_images: int, schedules: Mapping[str, int]) -> Verdict:
    """The answer from all finished curves. schedules: how many of them had each learning-rate schedule."""
    if not found:
        return Verdict(
            answer="Cannot be told yet: no trial has been trained to the end.", reasons=(), counterexamples=()
        )
    n = len(found)
    peaked, fell = [c for c in found if c.peaked], [c for c in found if c.fell]
    halved = [c for c in found if c.since_half is not None]
    idle = sorted(
        (c for c in halved if c.since_half is not None and c.since_half <= 0), key=lambda c: c.last - c.best
    )
    against = tuple(sorted({c.trial.number: c for c in (*idle, *fell)}.values(), key=_worst))
    return Verdict(
        answer=_answer(found, halved, idle, fell),
        reasons=tuple(
            filter(
                None,
                (
                    _where_the_best_was(n, peaked, fell),
                    _second_half(halved),
                    _plateau(found, epoch_images),
                    _losses(found),
                    _schedule(schedules),
                ),
            )
        ),
        counterexamples=against,
    )


def _worst(course: Course) -> float:
    return min(course.drift, 0.0 if course.since_half is None else course.since_half)


def _answer(
    found: Sequence[Course], halved: Sequence[Course], idle: Sequence[Course], fell: Sequence[Course]
) -> str:
    n = len(found)
    if n < 3:
        return (
            f"Too few curves to tell: only {count(n, 'trial')} {'was' if n == 1 else 'were'} trained to the "
            "end; the others were ended early."
        )
    rose = [course for course in found if course.loss_rose]
    against = []
    if idle:
        against.append(
            f"in {len(idle)} of {len(halved)} the second half brought no accuracy ({_names(idle)})"
        )
        if not fell and not rose:  # whoever lost accuracy for certain fell below its best
            return (
                f"Not measurably in every case: of {n} curves that ran to the end, {listed(against)}. None "
                "lost more than the noise of a measurement."
            )
    if fell:
        against.append(f"{len(fell)} ended clearly below the best ({_names(fell)})")
    if rose:
        against.append(f"in {len(rose)} the validation loss rose by more than {_RISE} again ({_names(rose)})")
    if against:
        return f"No, not always. Of {n} curves that ran to the end, {listed(against)}."
    if len(halved) < n:
        return (
            f"It did no harm: none of {n} curves ended clearly below its best, and no validation loss "
            f"rose by more than {_RISE} again."
        )
    gains = [course.since_half for course in halved if course.since_half is not None]
    large = _beyond_noise(halved)
    how = (
        f"in {large} of {n} by more than the noise of a measurement"
        if large
        else "in none by more than the noise of a measurement"
    )
    return (
        f"It never hurt here: all {n} curves that ran to the end stood higher there than at half of their "
        f"training, by {points(median(gains))} points in the median and {how}, and no validation loss rose "
        f"by more than {_RISE} again."
    )


def _beyond_noise(halved: Sequence[Course]) -> int:
    """Courses whose second half brought more than twice the standard error of a measurement."""
    return sum(course.since_half is not None and course.since_half > 2 * course.noise for course in halved)


def _names(some: Sequence[Course]) -> str:
    names = [
        f"trial {c.trial.number}" + (f", {c.trial.reference}" if c.trial.reference else "")
        for c in sorted(some, key=_worst)[:NAMED]
    ]
    more = len(some) - len(names)
    return "; ".join(names) + (f"; {more} more" if more else "")


def _where_the_best_was(n: int, peaked: Sequence[Course], fell: Sequence[Course]) -> str:
    if not peaked:
        return f"{_all_of(n)} had the best validation accuracy at the very end."
    low, high = wilson(len(peaked), n)
    lost = points(-median(course.drift for course in peaked)).lstrip("+±")
    return (
        f"{len(peaked)} of {n} curves had their best validation accuracy before the end "
        f"({share(len(peaked) / n)}, 95 % interval {share(low)} to {share(high)}) and lost {lost} points "
        "from there (median). The best of several noisy measurements lies above the last one even where "
        f"nothing was lost; {len(fell) or 'none'} of the {n} lost more than twice the standard error of a "
        "measurement."
    )


def _all_of(n: int) -> str:
    return "The one curve" if n == 1 else f"All {n} curves"


def _second_half(halved: Sequence[Course]) -> str:
    if not halved:
        return ""
    gains = [course.since_half for course in halved if course.since_half is not None]
    return (
        f"The second half of the training brought {points(median(gains))} points of validation accuracy in "
        f"the median of {len(gains)} (from {points(min(gains))} to {points(max(gains))}); "
        f"{_beyond_noise(halved) or 'none'} of them gained more than twice the standard error of a "
        "measurement."
    )


def _plateau(found: Sequence[Course], epoch_images: int) -> str:
    middle = median(c.plateau_images for c in found)
    early = [c for c in found if c.plateau_images <= c.images / 2]
    return (
        "The plateau, from which on a curve stays within two standard errors of its best, began after "
        f"{epochs(middle, epoch_images)} (median of {len(found)}); in {len(early) or 'none'} of them in the "
        "first half of the training."
    )


def _losses(found: Sequence[Course]) -> str:
    rose = [c for c in found if c.loss_rose]
    middle = quartiles([c.gap for c in found])[1]
    risen = (
        f"In {len(rose)} of {len(found)} the validation loss ended more than 5 % above its lowest "
        f"({_names(rose)}): the network grew surer of its mistakes, which is overfitting even where the "
        "accuracy holds."
        if rose
        else f"In none of {len(found)} did the validation loss end more than 5 % above its lowest."
    )
    return (
        f"{risen} Train less validation accuracy at the end: {points(middle)} points in the median; train is "
        "measured while training, with dropout and moved digits where a trial has them, so below zero is no "
        "wonder."
    )


def _schedule(schedules: Mapping[str, int]) -> str:
    falling = sum(n for name, n in schedules.items() if name != "constant")
    if not falling:
        return ""
    names = listed(sorted(name for name in schedules if name != "constant"))
    return (
        f"In {count(falling, 'curve')} the learning rate falls towards the end ({names}), and part of the "
        "last gain is due to that: a shorter training, annealed over its own length, might have had it too."
    )
