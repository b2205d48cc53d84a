"""Presents trials that were trained for different numbers of images as complete ones with comparable scores.

Optuna's GPSampler models complete trials only, and under ASHA four of a hundred trials are complete. Here
each trial that has reported counts with an estimate of its score at one rung, the highest that ENOUGH trials
have reached. Those that stopped below it are extrapolated: from each rung to the next by the mean gain of the
trials that reported at both. Scores are compared as logarithms of the error, in which learning curves of
different trials are nearly parallel, and which no bad trial dominates.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from itertools import pairwise

from optuna.trial import FrozenTrial, TrialState

from search.optuna_db.ownership import PINNED

ENOUGH = 3
"""Trials that must have reached a rung before scores are compared there."""

SMALLEST_ERROR = 1e-4
"""Less cannot be told from none: validation has some thousand images."""

WORST = 0.0
"""The merit of a diverged trial: that of an accuracy of 0."""


def merit(accuracy: float) -> float:
    """Minus the natural logarithm of the error: 0 for accuracy 0, 4.6 for 0.99."""
    return -math.log(max(1.0 - accuracy, SMALLEST_ERROR))


def at_one_rung(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Copies of the trials, in their order, that a sampler can compare.

    A trial that has reported is complete, with the merit that it is estimated to have at the common rung; so
    is a pruned one without a report (see search.study.history), with the worst merit. Running trials without
    a report stay as they are. Trials with settings outside the search space are left out: some of their
    parameters are missing, and GPSampler models only those that every trial has.
    """
    inside = [trial for trial in trials if not trial.user_attrs.get(PINNED)]
    last = max((images for trial in inside for images in trial.intermediate_values), default=0)
    curves = {trial.number: _curve(trial, last) for trial in inside}
    estimates = _estimates(curves)
    shown = []
    for trial in inside:
        if trial.number in estimates or trial.state is not TrialState.RUNNING:
            trial = copy.copy(trial)
            trial.state = TrialState.COMPLETE
            trial.values = [estimates.get(trial.number, WORST)]
        shown.append(trial)
    return shown


def _curve(trial: FrozenTrial, last: int) -> dict[int, float]:
    """Merit by training images seen. last: where a complete trial without a report has its score."""
    if trial.state is TrialState.COMPLETE and not trial.intermediate_values and trial.value is not None:
        return {last: merit(trial.value)}
    return {images: merit(score) for images, score in trial.intermediate_values.items()}


def _estimates(curves: dict[int, dict[int, float]]) -> dict[int, float]:
    """Merit at the common rung, by number of the trial, of those that have reported."""
    reported = [curve for curve in curves.values() if curve]
    rungs = sorted({images for curve in reported for images in curve})
    common = [rung for rung in rungs if sum(rung in curve for curve in reported) >= ENOUGH]
    rungs = [rung for rung in rungs if rung <= max(common, default=rungs[0])] if rungs else []
    ahead = dict.fromkeys(rungs, 0.0)
    """gain from each rung to the common one"""
    for lower, upper in reversed([*pairwise(rungs)]):
        gains = [curve[upper] - curve[lower] for curve in reported if lower in curve and upper in curve]
        ahead[lower] = ahead[upper] + (sum(gains) / len(gains) if gains else 0.0)
    found = {}
    for number, curve in curves.items():
        below = [images for images in curve if images in ahead]
        if below:
            found[number] = curve[max(below)] + ahead[max(below)]
    return found
