"""Numbers that are drawn from trials and learning curves: intervals, best points, gains, pace.
Knows nothing of how they are shown; knows only records.
"""

from __future__ import annotations

import datetime
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from search.records import (
    Claim,
    Counts,
    Point,
    Running,
    Snapshot,
    State,
    StudyRecord,
    TrialRecord,
)

Z95 = 1.959964
"""97.5 % quantile of the normal distribution, for intervals that cover 95 %."""


def wilson(successes: float, n: int, z: float = Z95) -> tuple[float, float]:
    """Wilson's score interval of a proportion, as fractions (Wilson 1927).

    `successes` may be fractional, an accuracy times n. Raises ValueError for n < 1.
    """
    if n < 1:
        raise ValueError(f"an interval needs at least one observation, not {n}")
    share = successes / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return max(0.0, centre - half), min(1.0, centre + half)


def best_point(curve: Sequence[Point]) -> Point | None:
    """The point with the highest validation score, the earliest of equals; None for an empty curve."""
    return max(curve, key=lambda point: (point.validation.accuracy, -point.images), default=None)


def best_trial(trials: Sequence[TrialRecord]) -> TrialRecord | None:
    """The complete trial with the highest score, the earliest of equals; None where there is none."""
    complete = [trial for trial in trials if trial.state is State.COMPLETE]
    return max(complete, key=lambda trial: (trial.value or 0.0, -trial.number), default=None)


def count(trials: Sequence[TrialRecord]) -> Counts:
    """How many of these trials are in each state."""
    states = [trial.state for trial in trials]
    return Counts(**{state.value: states.count(state) for state in State})


def seconds(trial: TrialRecord, now: datetime.datetime) -> float | None:
    """Wall time of a trial so far; None before it starts."""
    if trial.started is None:
        return None
    return max(0.0, ((trial.finished or now) - trial.started).total_seconds())


@dataclass(frozen=True, kw_only=True, slots=True)
class Gain:
    """What the best trial is better by than one reference configuration."""

    reference: str
    trial: int
    """number of the reference's trial"""
    value: float
    """the reference's validation score"""
    gain: float
    """best score minus the reference's, as a fraction"""
    errors_removed: float
    """share of the reference's errors that the best trial does not make; negative where it makes more"""


def gains(trials: Sequence[TrialRecord]) -> list[Gain]:
    """The best trial against each reference configuration that was trained to the end."""
    best = best_trial(trials)
    if best is None or best.value is None:
        return []
    found = []
    for trial in trials:
        if trial.reference and trial.state is State.COMPLETE and trial.value is not None:
            gain = best.value - trial.value
            wrong = 1 - trial.value
            found.append(
                Gain(
                    reference=trial.reference,
                    trial=trial.number,
                    value=trial.value,
                    gain=gain,
                    errors_removed=gain / wrong if wrong else 0.0,
                )
            )
    return found


def snapshot(
    study: StudyRecord,
    trials: Sequence[TrialRecord],
    claims: Sequence[Claim],
    curves: Mapping[int, Sequence[Point]],
    *,
    elapsed_s: float,
    finished_before: int,
) -> Snapshot:
    """A study at this moment. `curves` needs those of the running trials and of the best one."""
    workers = {claim.trial_id: claim.worker_id for claim in claims if not claim.done}
    running = []
    for trial in trials:
        if trial.state is State.RUNNING and trial.trial_id in workers:
            curve = curves.get(trial.trial_id, ())
            latest = curve[-1] if curve else None
            running.append(
                Running(
                    trial=trial,
                    worker=":".join(workers[trial.trial_id].split(":")[:2]),
                    latest=latest,
                    epoch=latest.images / study.spec.epoch_images if latest else 0.0,
                )
            )
    counts = count(trials)
    done_here = counts.finished - finished_before
    missing = max(0, study.target_trials - counts.finished)
    best = best_trial(trials)
    return Snapshot(
        study=study.name,
        target_trials=study.target_trials,
        trials=tuple(trials),
        counts=counts,
        running=tuple(running),
        best=best,
        best_point=best_point(curves.get(best.trial_id, ())) if best else None,
        images_per_s=sum(each.latest.images / each.latest.seconds for each in running if each.latest),
        elapsed_s=elapsed_s,
        remaining_s=elapsed_s / done_here * missing if done_here > 0 else None,
    )
