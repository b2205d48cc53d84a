"""A study at one moment: which trials train, and how long it takes to the target."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from search.analysis.ranking import best_report, count, leading
from search.records import Claim, Counts, Report, State, StudyRecord, StudySpec, TrialRecord


@dataclass(frozen=True, kw_only=True, slots=True)
class Running:
    """A trial at work, as `tune run` shows it."""

    trial: TrialRecord
    worker: str
    """host and process id"""
    latest: Report | None
    """None before its first report"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Snapshot:
    """A study at one moment, as `tune run` shows it."""

    study: str
    spec: StudySpec
    target_trials: int
    trials: tuple[TrialRecord, ...]
    """all of them, by number"""
    counts: Counts
    running: tuple[Running, ...]
    waiting: int
    """trials that their workers hold until it is clear how they stand"""
    best: TrialRecord | None
    """the searched trial with the highest score so far, finished or not; never a reference"""
    best_report: Report | None
    """of the best trial: the one with the highest score"""
    reference: TrialRecord | None
    """the reference with the highest score so far, finished or not"""
    steps_per_s: float
    """over all running trials, evaluation included: training images a second, say"""
    elapsed_s: float
    """since this run began"""
    remaining_s: float | None
    """until the target at this run's pace, or until the last trials are trained to the end; without pruning
    by how long whole trials take; None: it is unknown yet"""
    stopping: bool = False
    """a signal has come: the workers put their trials in order"""
    exhausted: bool = False
    """as in StudyRecord"""


def snapshot(
    study: StudyRecord,
    trials: Sequence[TrialRecord],
    claims: Sequence[Claim],
    curves: Mapping[int, Sequence[Report]],
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
        _running(trial, workers[trial.trial_id], curves.get(trial.trial_id, ()))
        for trial in trials
        if trial.number in at_work
    ]
    counts = count(trials) if counts is None else counts
    missing = max(0, study.target_trials - counts.finished)
    leaders = leading(trials)
    best = leaders.searched
    return Snapshot(
        study=study.name,
        spec=study.spec,
        target_trials=study.target_trials,
        trials=tuple(trials),
        counts=counts,
        running=tuple(running),
        waiting=sum(map(len, held.values())) - len(running),
        best=best,
        best_report=best_report(curves.get(best.trial_id, ())) if best else None,
        reference=leaders.reference,
        steps_per_s=sum(each.latest.step / each.latest.seconds for each in running if each.latest),
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


def full_length_s(seen: Snapshot) -> float | None:
    """Seconds that the missing trials take if each is trained to the end at the rate of those at work.

    None: none of these has reported yet. It is rough: the first report has the start-up in it, and other
    networks train at other rates.
    """
    paces = [each.latest.seconds_per_step for each in seen.running if each.latest]
    if not paces:
        return None
    missing = max(0, seen.target_trials - seen.counts.finished)
    return missing * seen.spec.budget * math.fsum(paces) / len(paces) / len(seen.running)


def _running(trial: TrialRecord, worker_id: str, curve: Sequence[Report]) -> Running:
    latest = curve[-1] if curve else None
    return Running(
        trial=trial,
        worker=":".join(worker_id.split(":")[:2]),
        latest=latest,
    )


def _at_this_pace(done: int, missing: int, elapsed_s: float) -> list[float]:
    return [elapsed_s / done * missing] if done > 0 else []


def _unpruned(
    study: StudyRecord, trials: Sequence[TrialRecord], running: Sequence[Running], missing: int
) -> float | None:
    """Seconds to the target where every trial is trained to the end, by the rates of whole ones.

    The pace so far would mislead: the published networks are small and end soon. They count only where
    nothing is known of others.
    """
    if not missing:
        return 0.0
    rates = [
        (trial, (trial.finished - trial.started).total_seconds() / _budget(study, trial))
        for trial in trials
        if trial.state is State.COMPLETE and trial.started and trial.finished
    ]
    rates += [(each.trial, each.latest.seconds_per_step) for each in running if each.latest]
    if not rates or not running:
        return None
    telling = [rate for trial, rate in rates if not trial.reference] or [rate for _, rate in rates]
    rest = _to_the_end(study, running)
    at_work = {each.trial.number: each.latest for each in running}
    queued = [
        _budget(study, trial)
        for trial in trials
        if trial.state in (State.WAITING, State.RUNNING) and at_work.get(trial.number) is None
    ]
    others = max(0, missing - len(rest))
    steps = sum(queued[:others]) + max(0, others - len(queued)) * study.spec.budget
    shared = math.fsum(rest) + steps * math.fsum(telling) / len(telling)
    return max([shared / len(running), *rest])


def _budget(study: StudyRecord, trial: TrialRecord) -> int:
    """Steps of a trial that is trained to the end."""
    return study.spec.budget if trial.ablation is None else trial.ablation.budget


def _to_the_end(study: StudyRecord, running: Sequence[Running]) -> list[float]:
    """Seconds that each of these needs unless it is stopped: what is waited for once no new trial begins, and
    in a search that prunes as long as all the others took."""
    return [
        (_budget(study, each.trial) - each.latest.step) * each.latest.seconds_per_step
        for each in running
        if each.latest
    ]
