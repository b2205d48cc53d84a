"""What a run sees of its study: how it stands, who stands still, whether its goal is reached."""

from __future__ import annotations

import socket
from bisect import bisect_right
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from search.analysis import pace
from search.analysis.pace import Snapshot
from search.analysis.ranking import Gain, best_report, gains, leading, winner
from search.machine import is_here
from search.optuna_db.storage import Storage
from search.records import Report, State, StudyRecord, TrialRecord
from search.service.look import reader_of, space_of
from search.study.evaluation_schedule import EvaluationSchedule
from search.study.grid import is_discrete, is_exhausted
from search.study.study import Study
from search.worker.best_weights import BestWeights
from search.worker.stop_policy import ReachedTarget

if TYPE_CHECKING:  # its package imports torch
    from search.launchers.base import Place

GAP_S = 5.0
"""Two snapshots further apart mean that the database was away or the machine slept: no worker stood still
meanwhile, it could not be seen."""

PATIENCE = 3
"""Times as long as the way to its next report should take, at its rate so far, a trial may be silent, where
that is longer than the stall timeout: long runs of an ablation report rarely, and a machine gets busy."""

Reason = Literal["finished", "nothing to do", "exhausted", "timeout", "target", "detached"]
"""Why a run ended well."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RunResult:
    """How a run ended."""

    snapshot: Snapshot
    gains: tuple[Gain, ...]
    reason: Reason
    trial: TrialRecord | None
    """the winner: the best complete searched one"""
    report: Report | None
    """the one with its highest score"""
    better_reference: TrialRecord | None
    """a complete reference with a higher score, or the best one where no searched trial is complete"""
    based_on: tuple[str, str] | None
    """of a confirmation or an ablation: the command that continues it, and the study that it is given; None:
    this one searches"""
    notes: tuple[str, ...] = ()
    """sentences on what a person should know beside the result"""


class Watched:
    """What a run sees of its study."""

    def __init__(
        self, storage: Storage, study: Study, record: StudyRecord, *, target: float | None = None
    ) -> None:
        """target: the value of the metric at which the run ends early."""
        self._storage = storage
        self._study = study
        self._record = record
        self._trials: list[TrialRecord] = []
        metric = record.spec.metric
        self._target = (
            None if target is None else ReachedTarget(storage.store, metric, metric.score_of(target))
        )
        self._started: dict[Place, float] = {}
        """when each worker of this run was first seen, that has not joined the study yet"""
        self._joined: set[Place] = set()
        self._stood: dict[int, int] = {}
        """at which step each trial at work is, as last seen"""
        self._moved: dict[int, float] = {}
        """when that changed, as far as one could look"""
        self._held: dict[str, set[int]] = {}
        """trials that each worker has begun and not ended"""
        self._due_s: dict[int, float] = {}
        """by trial at work, how long the way from its last report to the next should take"""
        self._slowest = 0.0
        """the most seconds a step that a trial at work has had"""
        self._turned: dict[str, float] = {}
        """when that changed: a worker that ends a trial continues with one that may have waited for long"""
        self._steps = 0
        """that all trials together have reported"""
        self._reported_s = 0.0
        """when that rose, as far as one could look"""
        self._looked_s = 0.0
        self._reader = reader_of(storage, record)
        self._space = space_of(record)
        self._is_discrete = is_discrete(self._space, record.spec)
        self._finished_before = self._reader.counts().finished

    def snapshot(self, elapsed_s: float) -> Snapshot:
        """The study now. Raises StudyDeleted and SpaceChanged."""
        if (gap_s := elapsed_s - self._looked_s) > GAP_S:
            self._moved = {trial_id: since_s + gap_s for trial_id, since_s in self._moved.items()}
            self._turned = {worker_id: since_s + gap_s for worker_id, since_s in self._turned.items()}
            self._started = {place: since_s + gap_s for place, since_s in self._started.items()}
            self._reported_s += gap_s
        self._looked_s = elapsed_s
        store = self._storage.store
        # Another run may have raised the target meanwhile.
        target_trials = self._study.require_unchanged().target_trials
        self._record = replace(self._record, target_trials=target_trials)
        # Before the trials are read: what is on a claim now may be queued again meanwhile.
        open_ones = self._is_discrete and store.open_claims(self._study.study_id)
        self._trials = self._reader.all()
        steps = sum(trial.step for trial in self._trials)
        if steps > self._steps:
            self._reported_s = elapsed_s
        self._steps = steps
        exhausted = not open_ones and is_exhausted(self._record.spec, self._space, self._trials)
        leader = leading(self._trials).searched
        running = [trial for trial in self._trials if trial.state is State.RUNNING]
        for trial in running:
            if self._stood.get(trial.trial_id) != trial.step:
                self._stood[trial.trial_id], self._moved[trial.trial_id] = trial.step, elapsed_s
        claims = store.open_claims(self._study.study_id)
        held: dict[str, set[int]] = {}
        for claim in claims:
            if claim.trial_id is not None:
                held.setdefault(claim.worker_id, set()).add(claim.trial_id)
        changed = [worker_id for worker_id, trials in held.items() if trials != self._held.get(worker_id)]
        self._turned |= dict.fromkeys(changed, elapsed_s)
        self._held = held
        wanted = [trial.trial_id for trial in (*running, *([leader] if leader else []))]
        curves = store.curves(wanted, self._record.spec.metric)
        self._due_s = self._ways_to_reports(running, curves)
        seen = pace.snapshot(
            self._record,
            self._trials,
            claims,
            curves,
            moved=self._moved,
            elapsed_s=elapsed_s,
            finished_before=self._finished_before,
            counts=self._reader.counted,
        )
        return replace(seen, exhausted=exhausted)

    def _ways_to_reports(
        self, running: Sequence[TrialRecord], curves: Mapping[int, Sequence[Report]]
    ) -> dict[int, float]:
        """By trial, the seconds that it needs from its last report to the next at its rate so far, and before
        its first one at the lowest rate that was seen."""
        rates = {
            trial.trial_id: curve[-1].seconds_per_step
            for trial in running
            if (curve := curves.get(trial.trial_id))
        }
        self._slowest = max([self._slowest, *rates.values()])
        found = {}
        for trial in running:
            rungs = EvaluationSchedule.of_trial(self._record.spec, trial.ablation).rungs
            place = bisect_right(rungs, trial.step)
            if place < len(rungs):
                way = rungs[place] - trial.step
                found[trial.trial_id] = way * rates.get(trial.trial_id, self._slowest)
        return found

    def stalled(
        self, elapsed_s: float, timeout_s: float, places: Collection[Place]
    ) -> list[tuple[Place, int, float]]:
        """(place, trial id, limit in seconds) of each worker at one of these, none of whose trials has moved
        or ended for the limit: the timeout, or PATIENCE times what its next report should take if that is
        longer.

        The trial is the one that moved last: a worker trains one at a time, the others wait.
        """
        if elapsed_s < timeout_s:
            return []
        store = self._storage.store
        moved: dict[str, list[tuple[float, int]]] = {}
        for claim in store.open_claims(self._study.study_id):
            if claim.trial_id in self._moved:
                moved.setdefault(claim.worker_id, []).append((self._moved[claim.trial_id], claim.trial_id))
        still = {}
        for worker_id, trials in moved.items():
            since_s, trial_id = max(trials)
            silent_s = elapsed_s - max(since_s, self._turned.get(worker_id, 0.0))
            due_s = max(self._due_s.get(held, 0.0) for _, held in trials)
            limit_s = max(timeout_s, PATIENCE * due_s)
            if silent_s >= limit_s:
                still[worker_id] = (trial_id, limit_s)
        if not still:
            return []
        ours = workers_at(self._storage, self._study, places)
        return [(ours[worker_id], *found) for worker_id, found in still.items() if worker_id in ours]

    def unjoined(self, elapsed_s: float, limit_s: float, places: Collection[Place]) -> list[Place]:
        """Those of these places whose workers were started this long ago and have not joined the study: what
        they import hangs, a device, or a disk."""
        new = [place for place in places if place not in self._joined]
        self._started = {place: self._started.get(place, elapsed_s) for place in new}
        late = [place for place, since_s in self._started.items() if elapsed_s - since_s >= limit_s]
        if late:
            self._joined.update(workers_at(self._storage, self._study, late).values())
        return [place for place in late if place not in self._joined]

    def silent_s(self, elapsed_s: float) -> float:
        """For how long no trial of the study has reported anything, as far as one could look."""
        return elapsed_s - self._reported_s

    def reached(self) -> bool:
        """Whether a complete trial is as good as the target, a network on every head, at its best report."""
        if self._target is None:
            return False
        complete = [trial for trial in self._trials if trial.state is State.COMPLETE]
        return bool(self._target.among(complete))

    def result(
        self,
        reason: Reason,
        snapshot: Snapshot,
    ) -> RunResult:
        """What `run` returns."""
        ranking, metric = winner(self._trials), self._record.spec.metric
        best = ranking.searched
        curve = self._storage.store.curve(best.trial_id, metric) if best else []
        return RunResult(
            snapshot=snapshot,
            gains=tuple(gains(self._trials, metric)),
            reason=reason,
            trial=best,
            report=best_report(curve),
            better_reference=ranking.better_reference,
            based_on=self._based_on(),
            notes=self._too_large(),
        )

    def _based_on(self) -> tuple[str, str] | None:
        spec = self._record.spec
        if spec.based_on is None:
            return None
        return "ablate" if spec.confirms is None else "confirm", spec.based_on

    def _too_large(self) -> tuple[str, ...]:
        """On weights that other machines may not reach, because they are not in the database."""
        weights = BestWeights.of(self._storage.location, self._record, self._storage.store)
        ids = {checkpoint.trial_id for checkpoint in weights.too_large()}
        if not ids:
            return ()
        whose = ", ".join(str(trial.number) for trial in self._trials if trial.trial_id in ids)
        limit = f"{weights.largest_bytes / 2**20:.3g} MB"
        return (
            f"The weights of trial {whose} are larger than {limit} and are not in the database: each trial's "
            f"are a file in {weights.artifacts.root} where it was trained. TUNE_ARTIFACTS can name a folder "
            "that all machines share.",
        )


def workers_at(storage: Storage, study: Study, places: Collection[Place]) -> dict[str, Place]:
    """Ids of the workers of a study that were at these places, and where each was.

    Another machine of this one's name may have given the same process id; other hosts are believed.
    """
    here = socket.gethostname()
    return {
        worker.worker_id: place
        for worker in storage.store.workers(study.study_id).values()
        for place in places
        if place == (worker.host, worker.pid) and (worker.host != here or is_here(worker.worker_id))
    }
