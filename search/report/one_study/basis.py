"""The fair basis on which trials are compared: all at the same number of training images.
Knows nothing of settings.

A pruned trial's value comes from a shorter training than a complete one's, and it was pruned because it stood
low: values as they are recorded would credit a setting with the images that its trials were given.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from search.records import Point, State, TrialRecord

EARLY_SHARE = 0.9
"""Share of the trials that must have been measured at the common moment."""

LATE_TRIALS = 12
"""So many trials must have come to the late moment; with fewer no rank test can tell anything."""

Curves = Mapping[int, Sequence[Point]]
"""Learning curves by trial id."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Basis:
    """A moment of training at which trials are compared."""

    images: int
    """training images that each of them had seen"""
    trials: tuple[TrialRecord, ...]
    """those that were measured then, by number"""
    points: Mapping[int, Point]
    """by trial number"""
    missing: int
    """trials that came to a report, but not so far"""

    def scores(self) -> dict[int, float]:
        """Validation accuracy by trial number."""
        return {number: point.validation.accuracy for number, point in self.points.items()}

    def gaps(self) -> dict[int, float]:
        """Train minus validation accuracy, by trial number."""
        return {number: gap(point) for number, point in self.points.items()}


def gap(point: Point) -> float:
    """Train minus validation accuracy. Train is running, in training mode (dropout and augmentation on, the
    weights not averaged), so it is lower than a measurement afterwards would be: only differences mean
    something, between trials that were hampered alike."""
    return point.train.accuracy - point.validation.accuracy


def comparable(trials: Sequence[TrialRecord]) -> list[TrialRecord]:
    """The trials that the search proposed and that did not fail. References have settings of their own."""
    return [trial for trial in trials if trial.reference is None and trial.state is not State.FAILED]


def early(trials: Sequence[TrialRecord], curves: Curves) -> Basis | None:
    """The latest moment at which nine in ten of the comparable trials were measured; None: no trial was."""
    reached, of = _reached(trials, curves)
    images = max((at for at, n in reached.items() if n >= EARLY_SHARE * of), default=None)
    return None if images is None else _at(images, trials, curves)


def late(trials: Sequence[TrialRecord], curves: Curves, *, epoch_images: int) -> Basis | None:
    """The latest moment that enough trials reached, after an epoch is over: until then no example was seen
    twice, and nothing can be learnt by heart. None: too few came so far."""
    reached, _ = _reached(trials, curves)
    images = max((at for at, n in reached.items() if n >= LATE_TRIALS and at > epoch_images), default=None)
    return None if images is None else _at(images, trials, curves)


def _reached(trials: Sequence[TrialRecord], curves: Curves) -> tuple[Counter[int], int]:
    """How many comparable trials were measured at each number of images, and how many at any."""
    measured = [curves[trial.trial_id] for trial in comparable(trials) if curves.get(trial.trial_id)]
    return Counter(point.images for curve in measured for point in curve), len(measured)


def _at(images: int, trials: Sequence[TrialRecord], curves: Curves) -> Basis:
    there: list[TrialRecord] = []
    points: dict[int, Point] = {}
    missing = 0
    for trial in comparable(trials):
        curve = curves.get(trial.trial_id, ())
        found = next((point for point in curve if point.images == images), None)
        if found is not None:
            there.append(trial)
            points[trial.number] = found
        elif curve:
            missing += 1
    return Basis(images=images, trials=tuple(there), points=points, missing=missing)
