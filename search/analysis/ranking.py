"""Which trials lead a study, what the winner gained over references, how many trials are in each state."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from search.records import ACCURACY, DIGITS, Counts, Metric, Report, State, TrialRecord


def best_report(curve: Sequence[Report]) -> Report | None:
    """The report with the highest score, the earliest of equals; None for an empty curve."""
    return max(curve, key=lambda report: (report.score, -report.step), default=None)


def reaches(report: Report | None, target: float) -> bool:
    """Whether every head has this score there."""
    return report is not None and report.worst >= target


def score_of(trial: TrialRecord) -> float:
    """A trial's score; of one without, less than that of any other."""
    return -math.inf if trial.score is None else trial.score


def best_trial(trials: Sequence[TrialRecord]) -> TrialRecord | None:
    """The complete trial with the highest score, the earliest of equals; None where there is none."""
    complete = [trial for trial in trials if trial.state is State.COMPLETE]
    return max(complete, key=lambda trial: (score_of(trial), -trial.number), default=None)


def leader(trials: Sequence[TrialRecord]) -> TrialRecord | None:
    """The trial with the highest score so far, finished or not, failed ones left out."""
    scored = [trial for trial in trials if trial.score is not None and trial.state is not State.FAILED]
    return max(scored, key=lambda trial: (score_of(trial), -trial.number), default=None)


@dataclass(frozen=True, kw_only=True, slots=True)
class Ranking:
    """The best searched trial of a study, and the best reference beside it."""

    searched: TrialRecord | None
    """the winner: never a reference"""
    reference: TrialRecord | None

    @property
    def foremost(self) -> TrialRecord | None:
        """The winner; a reference only where there is no searched trial."""
        return self.searched or self.reference

    @property
    def better_reference(self) -> TrialRecord | None:
        """The reference where its score is higher, or where no searched trial has one."""
        if self.reference is None or self.searched is None:
            return self.reference
        return self.reference if score_of(self.reference) > score_of(self.searched) else None


def winner(trials: Sequence[TrialRecord]) -> Ranking:
    """The winner of a study among its complete trials, and the best complete reference. A trial that is set
    aside, because the search space was changed, does not win."""
    return _ranking(trials, best_trial)


def leading(trials: Sequence[TrialRecord]) -> Ranking:
    """As `winner`, among all trials that have a score, finished or not."""
    return _ranking(trials, leader)


def so_far(trials: Sequence[TrialRecord]) -> Ranking:
    """As `winner`; while no searched trial is complete, as `leading`."""
    complete = winner(trials)
    return complete if complete.searched is not None else leading(trials)


def _ranking(
    trials: Sequence[TrialRecord], best: Callable[[Sequence[TrialRecord]], TrialRecord | None]
) -> Ranking:
    return Ranking(
        searched=best([trial for trial in trials if trial.reference is None and trial.set_aside is None]),
        reference=best([trial for trial in trials if trial.reference is not None]),
    )


def count(trials: Sequence[TrialRecord]) -> Counts:
    """How many of these trials are in each state."""
    return Counts.of((trial.state, trial.failure) for trial in trials)


def origin(number: int, repeats: Mapping[int, int | None]) -> int:
    """Number of the trial that the settings of trial `number` were first given to.

    repeats: from a trial's number to that of the trial that it repeats, else None. What is missing there
    repeats nothing: another program can have changed its rows.
    """
    while (before := repeats.get(number)) is not None:
        number = before
    return number


@dataclass(frozen=True, kw_only=True, slots=True)
class Gain:
    """What the best searched trial is better by than one reference configuration."""

    reference: str
    trial: int
    """number of the reference's trial"""
    score: float
    """the reference's"""
    gain: float
    """best score minus the reference's; negative where the reference is better"""
    errors_removed: float | None
    """of an accuracy: share of the reference's errors that the best trial does not make; negative where it
    makes more. None for other metrics"""


def gains(trials: Sequence[TrialRecord], metric: Metric = ACCURACY) -> list[Gain]:
    """The winner against each reference configuration that was trained to the end."""
    best = winner(trials).searched
    if best is None or best.score is None:
        return []
    found = []
    for trial in trials:
        confirms = trial.confirming is not None  # a reference once for each seed is no reference
        if trial.reference and not confirms and trial.state is State.COMPLETE and trial.score is not None:
            gain = round(best.score - trial.score, DIGITS)
            wrong = 1 - trial.score
            removed = gain / wrong if wrong else 0.0
            found.append(
                Gain(
                    reference=trial.reference,
                    trial=trial.number,
                    score=trial.score,
                    gain=gain,
                    errors_removed=removed if metric == ACCURACY else None,
                )
            )
    return found
