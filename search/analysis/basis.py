"""The moment of training at which trials are compared: the last one that every finished trial reached.

A pruned trial's value comes from a shorter training than a complete one's, and it was pruned because it stood
low. Values as they are recorded would credit a setting with the images that its trials were given, and those
that came further were selected: among survivors, settings that do nothing seem to trade off against each
other. So nothing is compared later than at the last moment before the first trial was pruned. Diverged trials
are compared too, as the worst results that there are.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from search.heads import train_of
from search.records import Failure, Report, State, TrialRecord

Curves = Mapping[int, Sequence[Report]]
"""Learning curves by trial id."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Basis:
    """A moment of training, and the trials that are compared there."""

    step: int
    """to which each of them had come"""
    to_the_end: bool
    """whether it is the end of every training: no trial was pruned"""
    trials: tuple[TrialRecord, ...]
    """those that were measured then, and the diverged ones, by number"""
    scores: Mapping[int, float]
    """then, by trial number; of the diverged ones one that is lower than all others: of an accuracy 0, below
    that of every network that answers at random"""
    diverged: int
    """of the trials, those that diverged, then or later"""
    unmeasured: int
    """trials that are left out: they run and have not come so far, or failed for another reason"""


def searched(trials: Sequence[TrialRecord]) -> list[TrialRecord]:
    """The trials that the search proposed in its present space. References have fixed settings; what was
    interrupted is proposed once more."""
    return [
        trial
        for trial in trials
        if trial.reference is None
        and trial.set_aside is None
        and not (trial.failure is not None and trial.failure.is_retryable)
    ]


def common(trials: Sequence[TrialRecord], curves: Curves, *, budget: int) -> Basis | None:
    """The last moment that every finished trial of the search reached; None: no finished trial was measured.

    budget: steps of a trial that is not stopped early.
    """
    proposed = searched(trials)
    finished = [trial for trial in proposed if trial.state.is_finished and curves.get(trial.trial_id)]
    moments = [{report.step for report in curves[trial.trial_id]} for trial in finished]
    shared = set.intersection(*moments) if moments else set()
    if not shared:
        return None
    step = max(shared)
    there: list[TrialRecord] = []
    scores: dict[int, float] = {}
    diverged = 0
    for trial in proposed:
        found = next((each for each in curves.get(trial.trial_id, ()) if each.step == step), None)
        if trial.failure is Failure.DIVERGED:
            diverged += 1
        elif found is not None and trial.state is not State.FAILED:
            scores[trial.number] = found.score
        else:
            continue
        there.append(trial)
    lowest = _below(scores.values(), curves[finished[0].trial_id][0].metric.worst)
    return Basis(
        step=step,
        to_the_end=step >= budget and all(trial.state is not State.PRUNED for trial in proposed),
        trials=tuple(there),
        scores={trial.number: scores.get(trial.number, lowest) for trial in there},
        diverged=diverged,
        unmeasured=sum(trial.state is not State.WAITING for trial in proposed) - len(there),
    )


def _below(scores: Collection[float], worst: float) -> float:
    """The score of a diverged trial among these. worst: the lowest that there is, or minus infinity."""
    if math.isfinite(worst) or not scores:
        return worst
    return min(scores) - ((max(scores) - min(scores)) or 1.0)


def gap(report: Report) -> float:
    """Train minus validation accuracy. Train is running, in training mode (dropout and augmentation on, the
    weights not averaged), so it is lower than a measurement afterwards would be."""
    return train_of(report).accuracy - report.score
