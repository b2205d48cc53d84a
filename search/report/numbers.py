"""Numbers that are drawn from trials and learning curves: intervals, best points, gains, pace."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist

from search.records import (
    DIGITS,
    Claim,
    Counts,
    Failure,
    Measured,
    Point,
    Running,
    Snapshot,
    State,
    StudyRecord,
    Track,
    TrialRecord,
)

Z95 = 1.959964
"""97.5 % quantile of the normal distribution, for intervals that cover 95 %."""


def wilson(successes: float, n: float, z: float = Z95) -> tuple[float, float]:
    """Wilson's score interval of a proportion, as fractions (Wilson 1927).

    Both may be fractional: an accuracy times n, and as many independent examples as tell as much. Raises
    ValueError for n < 1.
    """
    if n < 1:
        raise ValueError(f"an interval needs at least one observation, not {n}")
    share = successes / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return max(0.0, centre - half), min(1.0, centre + half)


Z = tuple[float, float]
"""Standard errors of an interval, below and above."""

BOTH_95 = (Z95, Z95)
"""Of an interval that covers 95 %."""


def of_the_best(tried: int) -> Z:
    """For the best of `tried` networks that were measured on the same images: such an interval covers the
    truth in 95 of 100 repetitions although the luckiest was chosen. Raises ValueError for tried < 1."""
    return z_of_the_best(tried), Z95


def z_of_the_best(tried: int) -> float:
    """Standard errors by which the luckiest of `tried` measurements exceeds its truth in 2.5 % at most: at
    this level all of them are covered together (Bonferroni)."""
    if tried < 1:
        raise ValueError(f"the best is one of at least one, not of {tried}")
    return NormalDist().inv_cdf(1 - 0.025 / tried)


def interval(accuracy: float, n: float, z: Z = BOTH_95) -> tuple[float, float]:
    """Wilson's interval of an accuracy on n images, as fractions. Raises ValueError for n < 1."""
    return wilson(accuracy * n, n, z[0])[0], wilson(accuracy * n, n, z[1])[1]


def mean_interval(
    accuracies: Sequence[float], joint: float, n: int, *, z: Z = BOTH_95
) -> tuple[float, float]:
    """Interval of the mean of the heads' accuracies on n images, as fractions.

    joint: share of the images on which every head is right. A head's answer is a coin toss each, the mean of
    two is none: two heads that err on different images tell as much as one head on 2 n images. How much they
    err together follows from `joint`: the covariance of right answers is joint - p1 p2. The interval is
    Wilson's for as many independent answers as have the variance of the mean. Of more than two heads `joint`
    does not tell it, and they are taken to err together.
    """
    mean = sum(accuracies) / len(accuracies)
    spreads = [math.sqrt(max(0.0, p * (1 - p))) for p in accuracies]
    if len(accuracies) == 2:
        bound = spreads[0] * spreads[1]
        covariance = max(-bound, min(bound, joint - accuracies[0] * accuracies[1]))
        variance = (spreads[0] ** 2 + spreads[1] ** 2 + 2 * covariance) / 4
    else:
        variance = (sum(spreads) / len(spreads)) ** 2
    tosses = mean * (1 - mean) / variance if variance > 0 else 1.0
    return interval(mean, n * max(1.0, min(tosses, float(len(accuracies)))), z)


def accuracy_intervals(
    heads: Mapping[str, float], joint: float, n: int, *, z: Z = BOTH_95
) -> dict[str, tuple[float, float]]:
    """Intervals of each head's accuracy, of "mean" and of "joint", on n images."""
    found = {name: interval(accuracy, n, z) for name, accuracy in heads.items()}
    mean = mean_interval(list(heads.values()), joint, n, z=z)
    return {"mean": mean, **found, "joint": interval(joint, n, z)}


def measurements(tracks: Sequence[Track]) -> int:
    """Of all trials that did not fail, at all moments: the best of a study was chosen among so many."""
    return max(1, sum(len(track.points) for track in tracks if track.state is not State.FAILED))


def best_point(curve: Sequence[Point]) -> Point | None:
    """The point with the highest validation score, the earliest of equals; None for an empty curve."""
    return max(curve, key=lambda point: (point.validation.accuracy, -point.images), default=None)


def reaches(point: Point | None, target: float) -> bool:
    """Whether every head has this validation accuracy there."""
    return point is not None and min(head.accuracy for head in point.validation.heads.values()) >= target


def taken_over(
    curve: Sequence[Point] | Sequence[Measured], before: Sequence[Point] | Sequence[Measured]
) -> tuple[int, float]:
    """(training images, seconds) up to which a repetition goes on from the trial `before` it; (0, 0.0) where
    it began anew. It reports the points up to its save as they were."""
    old = {(point.images, point.seconds) for point in before}
    shared = [point for point in curve if (point.images, point.seconds) in old]
    return (shared[-1].images, shared[-1].seconds) if shared else (0, 0.0)


def best_trial(trials: Sequence[TrialRecord]) -> TrialRecord | None:
    """The complete trial with the highest score, the earliest of equals; None where there is none."""
    complete = [trial for trial in trials if trial.state is State.COMPLETE]
    return max(complete, key=lambda trial: (trial.value or 0.0, -trial.number), default=None)


def leader(trials: Sequence[TrialRecord]) -> TrialRecord | None:
    """The trial with the highest score so far, finished or not, failed ones left out."""
    scored = [trial for trial in trials if trial.value is not None and trial.state is not State.FAILED]
    return max(scored, key=lambda trial: (trial.value or 0.0, -trial.number), default=None)


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
        return self.reference if (self.reference.value or 0.0) > (self.searched.value or 0.0) else None


def winner(trials: Sequence[TrialRecord]) -> Ranking:
    """The winner of a study among its complete trials, and the best complete reference."""
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
        searched=best([trial for trial in trials if trial.reference is None]),
        reference=best([trial for trial in trials if trial.reference is not None]),
    )


def count(trials: Sequence[TrialRecord]) -> Counts:
    """How many of these trials are in each state."""
    states = Counter(trial.state for trial in trials)
    return Counts(
        **{state.value: states[state] for state in State},
        interrupted=sum(
            trial.state is State.FAILED and trial.failure is Failure.INTERRUPTED for trial in trials
        ),
    )


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
    value: float
    """the reference's validation score"""
    gain: float
    """best score minus the reference's, as a fraction; negative where the reference is better"""
    errors_removed: float
    """share of the reference's errors that the best trial does not make; negative where it makes more"""


def gains(trials: Sequence[TrialRecord]) -> list[Gain]:
    """The winner against each reference configuration that was trained to the end."""
    best = winner(trials).searched
    if best is None or best.value is None:
        return []
    found = []
    for trial in trials:
        confirms = trial.confirming is not None  # a reference once for each seed is no reference
        if trial.reference and not confirms and trial.state is State.COMPLETE and trial.value is not None:
            gain = round(best.value - trial.value, DIGITS)
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
    moved: Mapping[int, float],
    elapsed_s: float,
    finished_before: int,
    counts: Counts | None = None,
) -> Snapshot:
    """A study at this moment.

    curves: at least those of the running trials and of the searched one that leads. moved: by trial, when it
    was last seen to have got further; of the trials that a worker holds, it works on the one that moved last.
    counts: of all trials, also of those that cannot be used; None: of `trials`.
    """
    workers = {claim.trial_id: claim.worker_id for claim in claims if not claim.done}
    held: dict[str, list[TrialRecord]] = {}
    for trial in trials:
        if trial.state is State.RUNNING and trial.trial_id in workers:
            held.setdefault(workers[trial.trial_id], []).append(trial)
    at_work = {
        max(some, key=lambda trial: (moved.get(trial.trial_id, 0.0), trial.number)).number
        for some in held.values()
    }
    running = [
        _running(study, trial, workers[trial.trial_id], curves.get(trial.trial_id, ()))
        for trial in trials
        if trial.number in at_work
    ]
    counts = count(trials) if counts is None else counts
    missing = max(0, study.target_trials - counts.finished)
    leaders = leading(trials)
    best = leaders.searched
    return Snapshot(
        study=study.name,
        task=study.spec.task,
        target_trials=study.target_trials,
        trials=tuple(trials),
        counts=counts,
        running=tuple(running),
        waiting=sum(map(len, held.values())) - len(running),
        best=best,
        best_point=best_point(curves.get(best.trial_id, ())) if best else None,
        reference=leaders.reference,
        images_per_s=sum(each.latest.images / each.latest.seconds for each in running if each.latest),
        elapsed_s=elapsed_s,
        remaining_s=_unpruned(study, trials, running, missing)
        if study.spec.pruner == "none"
        else max(
            (
                *_at_this_pace(counts.finished - finished_before, missing, elapsed_s),
                *(_to_the_end(study, running) if sum(map(len, held.values())) >= missing else []),
            ),
            default=None,
        ),
    )


def _running(study: StudyRecord, trial: TrialRecord, worker_id: str, curve: Sequence[Point]) -> Running:
    latest = curve[-1] if curve else None
    return Running(
        trial=trial,
        worker=":".join(worker_id.split(":")[:2]),
        latest=latest,
        epoch=latest.images / study.spec.epoch_images if latest else 0.0,
    )


def _at_this_pace(done: int, missing: int, elapsed_s: float) -> list[float]:
    return [elapsed_s / done * missing] if done > 0 else []


def _unpruned(
    study: StudyRecord, trials: Sequence[TrialRecord], running: Sequence[Running], missing: int
) -> float | None:
    """Seconds to the target where every trial is trained to the end, by how long whole ones take.

    The pace so far would mislead: the published networks are small and end soon. They count only where
    nothing is known of others.
    """
    if not missing:
        return 0.0
    budget = study.spec.epochs * study.spec.epoch_images
    whole = [
        (trial, (trial.finished - trial.started).total_seconds())
        for trial in trials
        if trial.state is State.COMPLETE and trial.started and trial.finished
    ]
    whole += [(r.trial, budget * r.latest.seconds / r.latest.images) for r in running if r.latest]
    if not whole or not running:
        return None
    telling = [seconds for trial, seconds in whole if not trial.reference] or [s for _, s in whole]
    rest = _to_the_end(study, running)
    shared = math.fsum(rest) + max(0, missing - len(rest)) * math.fsum(telling) / len(telling)
    return max([shared / len(running), *rest])


def _to_the_end(study: StudyRecord, running: Sequence[Running]) -> list[float]:
    """Seconds that each of these needs if nobody ends it: what is waited for once no new trial begins, and
    in a search that prunes as long as all the others took."""
    budget = study.spec.epochs * study.spec.epoch_images
    return [
        (budget - each.latest.images) * each.latest.seconds / each.latest.images
        for each in running
        if each.latest
    ]
