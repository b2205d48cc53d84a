"""Did extra training help? What the second half of their training brought the networks that were trained to
the end, by accuracy.

Two tests answer, corrected together: whether the typical network gained (the sign test, which one collapsed
network does not decide), and for each network whether it gained or lost more than the images that were drawn
for validation explain. Both compare two moments that were fixed beforehand; the best of many measurements
lies above the last one even where nothing was lost. The loss decides nothing: training with smoothed labels
makes right answers less sure, and validation does not smooth (docs/decisions/030).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from search.analysis.basis import Curves, gap
from search.analysis.statistics import CLEAR, Estimate, corrected, median, proportions_differ, sign_test
from search.heads import validation_of
from search.records import Report, State, TrialRecord

HALF = 0.45
"""From this share of a training on it is at half; trials of 3, 5 or 7 epochs are not measured there."""

TESTS = 2
"""Of the question: of the typical network, and of each network."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Course:
    """One network that was trained to the end."""

    trial: TrialRecord
    step: int
    """at the end"""
    best_step: int
    """of the best accuracy"""
    best: float
    """the best accuracy, the mean of the heads'"""
    last: float
    """accuracy at the end"""
    half: float | None
    """accuracy at half the steps, or at a measurement shortly before; None: there was none"""
    gap: float
    """train less validation accuracy at the end; see basis.gap for what it is worth"""
    loss_ratio: float | None
    """validation loss at the end over its lowest; None where training smooths labels, so that the loss is not
    the one that it lowers"""

    @property
    def gain(self) -> float | None:
        """Of accuracy in the second half; None: not known."""
        return None if self.half is None else self.last - self.half


class Typical(StrEnum):
    """What the second half brought the typical network."""

    GAINED = "gained"
    LOST = "lost"
    UNCLEAR = "unclear"
    """neither can be told from chance"""
    SELECTED = "selected"
    """a pruner chose these networks by how they stood until half of their training, the luckier ones among
    equals: they are not typical, and fall back by themselves"""
    NONE = "none"
    """no network was measured at half and at the end"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Training:
    """What extra training brought."""

    courses: tuple[Course, ...]
    """all networks that were trained to the end, references too, by trial number"""
    halved: tuple[Course, ...]
    """of these, those that were measured at half as well and did not collapse"""
    gain: Estimate | None
    """median gain of the second half, with its interval; None: nothing was measured"""
    typical: Typical
    p: float
    """that `typical` rests on, corrected; 1 where nothing was tested"""
    gained: tuple[Course, ...]
    """networks whose gain is more than the drawing of images explains, corrected, the largest first"""
    lost: tuple[Course, ...]
    """likewise those that lost, the largest loss first"""
    collapsed: tuple[Course, ...]
    """networks that lost more than half of their accuracy again: broken trainings, which are in no test"""


def courses(trials: Sequence[TrialRecord], curves: Curves) -> list[Course]:
    """The complete trials' curves, references too, by trial number."""
    return [
        _course(trial, curves[trial.trial_id])
        for trial in trials
        if trial.state is State.COMPLETE and curves.get(trial.trial_id)
    ]


def _course(trial: TrialRecord, curve: Sequence[Report]) -> Course:
    top, end = max(curve, key=_accuracy), curve[-1]
    about_half = [report for report in curve if HALF * end.step <= report.step <= end.step / 2]
    lowest = min(validation_of(report).loss for report in curve)
    smoothed = float(trial.settings.get("label_smoothing", 0.0)) > 0
    return Course(
        trial=trial,
        step=end.step,
        best_step=top.step,
        best=_accuracy(top),
        last=_accuracy(end),
        half=_accuracy(about_half[-1]) if about_half else None,
        gap=gap(end),
        loss_ratio=None if smoothed or lowest <= 0 else validation_of(end).loss / lowest,
    )


def _accuracy(report: Report) -> float:
    """On validation, whatever the search optimizes: of it alone is known what the drawing of images does."""
    return validation_of(report).accuracy


def chosen_among(trials: Sequence[TrialRecord], curves: Curves) -> int | None:
    """Trials that were measured at half of the longest training, from which a pruner chose; None: none was
    pruned."""
    if all(trial.state is not State.PRUNED for trial in trials):
        return None
    longest = max((curve[-1].step for curve in curves.values() if curve), default=0)
    return sum(
        any(HALF * longest <= report.step <= longest / 2 for report in curves.get(trial.trial_id, ()))
        for trial in trials
        if trial.state.is_finished
    )


def training(found: Sequence[Course], *, images: int, among: int | None) -> Training:
    """What extra training brought.

    images: different images that a validation accuracy is measured on. among: see `chosen_among`.
    """
    collapsed = [course for course in found if course.last < course.best / 2]
    halved = [course for course in found if course.half is not None and course not in collapsed]
    gains = [course.gain for course in halved if course.gain is not None]
    singly = [
        proportions_differ(course.half, course.last, images) for course in halved if course.half is not None
    ]
    untested = [1.0] * max(0, (among or 0) - len(singly))  # the pruned ones: any of them could be here
    clear = [
        (course, gain)
        for course, gain, p in zip(halved, gains, corrected([*singly, *untested]), strict=False)
        if TESTS * p < CLEAR
    ]
    middle, p, typical = (median(gains) if gains else None), 1.0, Typical.NONE
    if middle is not None:
        typical = Typical.UNCLEAR if among is None else Typical.SELECTED
    if typical is Typical.UNCLEAR:
        p = min(1.0, TESTS * corrected([sign_test(gains)])[0])
        if p < CLEAR:
            above, below = sum(gain > 0 for gain in gains), sum(gain < 0 for gain in gains)
            typical = Typical.GAINED if above > below else Typical.LOST
    return Training(
        courses=tuple(found),
        halved=tuple(halved),
        gain=middle,
        typical=typical,
        p=p,
        gained=_ranked([pair for pair in clear if pair[1] > 0]),
        lost=_ranked([pair for pair in clear if pair[1] < 0]),
        collapsed=tuple(collapsed),
    )


def _ranked(pairs: Sequence[tuple[Course, float]]) -> tuple[Course, ...]:
    return tuple(course for course, _ in sorted(pairs, key=lambda pair: -abs(pair[1])))
