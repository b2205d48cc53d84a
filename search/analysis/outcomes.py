"""What became of the trials: best so far, leaders, the front of size and accuracy, where the time went."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from search.analysis.basis import Curves
from search.analysis.ranking import score_of
from search.analysis.timeline import taken_over
from search.records import Failure, State, TrialRecord


@dataclass(frozen=True, kw_only=True, slots=True)
class Reached:
    """A finished trial, and the best score of a complete one by then."""

    finished: int
    """trials that had finished by then, this one included"""
    best: float | None
    """of the complete ones: a pruned one's score is of a shorter training. None: none was complete yet"""
    trial: TrialRecord
    """the one that finished"""


def best_so_far(trials: Sequence[TrialRecord]) -> list[Reached]:
    """Every finished trial, pruned ones too, in the order in which they finished."""
    ended = [t for t in trials if t.state.is_finished and t.score is not None and t.finished is not None]
    found: list[Reached] = []
    best: float | None = None
    for place, trial in enumerate(sorted(ended, key=lambda t: (t.finished, t.number)), start=1):
        if trial.state is State.COMPLETE:
            best = score_of(trial) if best is None else max(best, score_of(trial))
        found.append(Reached(finished=place, best=best, trial=trial))
    return found


def leaders(trials: Sequence[TrialRecord], n: int) -> list[TrialRecord]:
    """The n best that the search proposed, and after them the references; best first.

    Trials are ranked only against those that were trained as long: complete ones first, then those that were
    pruned last.
    """
    ended = [
        trial
        for trial in trials
        if trial.state.is_finished and trial.score is not None and trial.set_aside is None
    ]
    ranked = sorted(ended, key=lambda t: (t.state is not State.COMPLETE, -t.step, -score_of(t), t.number))
    return [
        *[trial for trial in ranked if trial.reference is None][:n],
        *[trial for trial in ranked if trial.reference is not None],
    ]


def front(trials: Sequence[TrialRecord]) -> list[TrialRecord]:
    """The complete trials that no smaller network equals and no equal one beats, smallest first (Pareto's
    front)."""
    sized = [t for t in trials if t.state is State.COMPLETE and t.parameters and t.score is not None]
    found: list[TrialRecord] = []
    for trial in sorted(sized, key=lambda t: (t.parameters or 0, -score_of(t), t.number)):
        if not found or score_of(trial) > score_of(found[-1]):
            found.append(trial)
    return found


@dataclass(frozen=True, kw_only=True, slots=True)
class Spent:
    """What the trials of one kind cost."""

    kind: str
    """complete, pruned, running, interrupted, or failed with the reason"""
    trials: int
    seconds: float
    """of training, evaluation included; what came after the last report of a trial is not in it"""
    steps: int
    """up to the last report"""


Cost = tuple[int, float]
"""Steps and seconds."""


def _costs(trials: Sequence[TrialRecord], curves: Curves, seconds: Mapping[int, float]) -> dict[int, Cost]:
    """What each trial cost, by trial id. What a repetition took over from a trial that was cut short is the
    repetition's, and is counted there alone."""
    found = {
        trial.trial_id: (
            max((report.step for report in curves.get(trial.trial_id, ())), default=0),
            seconds.get(trial.trial_id, 0.0),
        )
        for trial in trials
    }
    ids = {trial.number: trial.trial_id for trial in trials}
    for trial in trials:
        before = None if trial.retry_of is None else ids.get(trial.retry_of)
        if before is not None:
            steps, taken_s = taken_over(curves.get(trial.trial_id, ()), curves.get(before, ()))
            found[before] = found[before][0] - steps, max(0.0, found[before][1] - taken_s)
    return found


def _kind(trial: TrialRecord) -> str:
    if trial.failure is Failure.INTERRUPTED:
        return "interrupted"
    return f"failed: {trial.failure.value.replace('_', ' ')}" if trial.failure else trial.state.value


def spending(trials: Sequence[TrialRecord], curves: Curves, seconds: Mapping[int, float]) -> list[Spent]:
    """Where the time went. seconds: by trial id."""
    costs = _costs(trials, curves, seconds)
    kinds: dict[str, list[TrialRecord]] = {}
    for state in (State.COMPLETE, State.PRUNED, State.RUNNING, State.FAILED):
        for trial in trials:
            if trial.state is state:
                why = _kind(trial)
                kinds.setdefault(why, []).append(trial)
    return [
        Spent(
            kind=kind,
            trials=len(some),
            seconds=sum(costs[trial.trial_id][1] for trial in some),
            steps=sum(costs[trial.trial_id][0] for trial in some),
        )
        for kind, some in kinds.items()
    ]
