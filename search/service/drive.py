"""Keeps a crew of workers at one study and shows how it goes, until there is a reason to end.
Knows nothing of terminals: whoever calls is shown snapshots.
"""

from __future__ import annotations

import math
import os
import signal
import socket
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from search.errors import Interrupted, TryAgain, TuneError
from search.records import Failure, Point, Snapshot, State, StudyRecord, TrialRecord
from search.report import numbers
from search.service.create import RunRequest
from search.store.leftovers import sweep
from search.study.storage import Storage
from search.study.study import Study

if TYPE_CHECKING:  # their package imports torch
    from search.work.engine import Engine, Place
    from search.work.signals import Signals

POLL_S = 0.5
"""How often a run looks at its study."""

GAP_S = 5.0
"""Two looks further apart mean that the database was away or the machine slept: nobody stood still meanwhile,
nobody could be seen."""

Watch = Callable[[Snapshot], None]
Reason = Literal["finished", "nothing to do", "timeout", "target", "detached"]
"""Why a run ended well."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RunResult:
    """How a run ended."""

    snapshot: Snapshot
    gains: tuple[numbers.Gain, ...]
    reason: Reason
    trial: TrialRecord | None
    """the best complete one"""
    point: Point | None
    """of its curve, where its validation score is highest"""
    confirms: str | None
    """name of the study that this one confirms; None: it searches"""


def drive(
    storage: Storage,
    study: Study,
    record: StudyRecord,
    request: RunRequest,
    engine: Engine,
    *,
    watch: Watch,
    detach: bool,
) -> RunResult:
    """Works on the study until the target is met. Raises as `search.service.run.run`."""
    from search.work.artifacts import artifact_root
    from search.work.crew import Crew
    from search.work.order import Order
    from search.work.reaper import Reaper
    from search.work.signals import Signals

    sweep(storage.trials.database)
    me = f"{socket.gethostname()}:{os.getpid()}:parent"
    began = time.monotonic()
    look = _Look(storage, study, record)
    reaper = Reaper(study, storage.store, me)
    reaper.look(dead=_dead_here(storage, study))
    first = look.snapshot(0.0)
    if first.counts.finished >= record.target_trials:
        return look.result("nothing to do", first)
    if detach:
        return look.result("detached", first)
    order = Order(
        storage_url=storage.url,
        study=study.name,
        artifact_root=artifact_root(storage.url),
        device=request.device,
        threads=request.threads,
        trial_timeout_s=math.inf if request.trial_timeout_s is None else request.trial_timeout_s,
    )
    missing = record.target_trials - first.counts.finished
    size = min(request.workers or engine.room(request.threads), missing)
    with Signals() as signals, _stopped_while_away(signals):
        storage.heed(signals.stop)
        crew = Crew(engine.starter(size), order, size)
        seen = first
        try:
            reason: Reason = "finished"
            while not crew.ended and not signals.stop() and crew.gave_up is None:
                pause(POLL_S, signals.stop)
                dead = crew.tend()
                if dead or reaper.due:
                    reaper.look(dead=_ids_of(storage, study, dead))
                elapsed = time.monotonic() - began
                seen = look.snapshot(elapsed)
                watch(seen)
                for place, trial_id in look.stalled(elapsed - request.stall_timeout_s, crew.places):
                    crew.replace(place)
                    study.fail(trial_id, Failure.TIMEOUT, f"no report for {request.stall_timeout_s:g} s")
                    reaper.look(dead=_ids_of(storage, study, [place]))
                if seen.counts.finished >= seen.target_trials and not seen.counts.running:
                    break
                if request.timeout_s is not None and elapsed > request.timeout_s:
                    reason = "timeout"
                    break
                if request.target is not None and look.reached(request.target):
                    reason = "target"
                    break
        except TryAgain:
            storage.heed(lambda: True)  # it was waited for
            raise
        finally:
            if signals.stop():
                watch(replace(seen, stopping=True))
            crew.stop()
            reaper.look(dead=_ids_of(storage, study, crew.places))
        last = look.snapshot(time.monotonic() - began)
        watch(last)
        if signals.received is not None:
            done = f"after {last.counts.finished} of {record.target_trials} trials"
            raise _interrupted(signals.received, done)
        if crew.gave_up is not None:
            raise TuneError(f"{crew.gave_up} `tune trials {study.name}` shows what became of each trial.")
        if reason == "finished" and last.counts.finished < last.target_trials:
            raise TuneError(
                f"The workers ended after {last.counts.finished} of {last.target_trials} trials without a "
                "word; the same command goes on, `tune doctor` may know why."
            )
    return look.result(reason, last)


def pause(seconds: float, stop: Callable[[], bool]) -> None:
    """Sleeps, and wakes up early where `stop` says so: a signal alone does not end a sleep."""
    until = time.monotonic() + seconds
    while not stop() and (left := until - time.monotonic()) > 0:
        time.sleep(min(0.05, left))


@contextmanager
def _stopped_while_away(signals: Signals) -> Iterator[None]:
    """A storage that does not answer is no news to somebody who has asked for the end."""
    try:
        yield
    except TryAgain as error:
        if signals.received is None:
            raise
        raise _interrupted(
            signals.received,
            "while the storage did not answer; whoever works on the study next looks after it",
        ) from error


def _interrupted(signal_number: int, when: str) -> Interrupted:
    name = signal.Signals(signal_number).name
    return Interrupted(f"Stopped by {name} {when}; the same command goes on.", signal_number)


def _ids_of(storage: Storage, study: Study, places: Collection[Place]) -> set[str]:
    """The ids of the workers that were at these places."""
    if not places:  # the usual case of a run that only looks
        return set()
    workers = storage.store.workers(study.study_id).values()
    return {worker.worker_id for worker in workers if (worker.host, worker.pid) in places}


def _dead_here(storage: Storage, study: Study) -> set[str]:
    """Workers of this machine that hold a claim and are no more: a run before was killed."""
    host = socket.gethostname()
    holders = {claim.worker_id for claim in storage.store.open_claims(study.study_id)}
    workers = storage.store.workers(study.study_id)
    return {
        worker.worker_id
        for worker in workers.values()
        if worker.worker_id in holders and worker.host == host and not _exists(worker.pid)
    }


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


class _Look:
    """What a run sees of its study."""

    def __init__(self, storage: Storage, study: Study, record: StudyRecord) -> None:
        self._storage = storage
        self._study = study
        self._record = record
        self._trials: list[TrialRecord] = []
        self._judged: set[int] = set()
        self._stood: dict[int, int] = {}
        """training images of each trial at work, as last seen"""
        self._moved: dict[int, float] = {}
        """when that changed, as far as one could look"""
        self._hands: dict[str, set[int]] = {}
        """trials that each worker has begun and not ended"""
        self._turned: dict[str, float] = {}
        """when that changed: who ends a trial goes on with one that may have waited for long"""
        self._looked_s = 0.0
        self._finished_before = numbers.count(study.trials()).finished

    def snapshot(self, elapsed_s: float) -> Snapshot:
        """The study now."""
        if (gap_s := elapsed_s - self._looked_s) > GAP_S:
            self._moved = {trial_id: since_s + gap_s for trial_id, since_s in self._moved.items()}
            self._turned = {worker_id: since_s + gap_s for worker_id, since_s in self._turned.items()}
        self._looked_s = elapsed_s
        store = self._storage.store
        current = store.study(self._study.study_id)
        if current is not None:  # another run may have raised the target meanwhile
            self._record = replace(self._record, target_trials=current.target_trials)
        self._trials = self._study.trials()
        leader = numbers.leader(self._trials)
        running = [trial for trial in self._trials if trial.state is State.RUNNING]
        for trial in running:
            if self._stood.get(trial.trial_id) != trial.images:
                self._stood[trial.trial_id], self._moved[trial.trial_id] = trial.images, elapsed_s
        claims = store.open_claims(self._study.study_id)
        hands: dict[str, set[int]] = {}
        for claim in claims:
            if claim.trial_id is not None:
                hands.setdefault(claim.worker_id, set()).add(claim.trial_id)
        changed = [worker_id for worker_id, trials in hands.items() if trials != self._hands.get(worker_id)]
        self._turned |= dict.fromkeys(changed, elapsed_s)
        self._hands = hands
        wanted = [trial.trial_id for trial in (*running, *([leader] if leader else []))]
        return numbers.snapshot(
            self._record,
            self._trials,
            claims,
            store.curves(wanted),
            moved=self._moved,
            elapsed_s=elapsed_s,
            finished_before=self._finished_before,
        )

    def stalled(self, since_s: float, places: Collection[Place]) -> list[tuple[Place, int]]:
        """(place, trial id) of each worker at one of these, none of whose trials has moved or ended since.

        The trial is the one that moved last: a worker trains one at a time, the others wait.
        """
        if since_s < 0:
            return []
        store = self._storage.store
        moved: dict[str, list[tuple[float, int]]] = {}
        for claim in store.open_claims(self._study.study_id):
            if claim.trial_id in self._moved:
                moved.setdefault(claim.worker_id, []).append((self._moved[claim.trial_id], claim.trial_id))
        still = {
            worker_id: max(trials)[1]
            for worker_id, trials in moved.items()
            if max(max(trials)[0], self._turned.get(worker_id, 0.0)) <= since_s
        }
        if not still:
            return []
        workers = store.workers(self._study.study_id)
        ours = {
            worker.worker_id: place
            for worker in workers.values()
            for place in places
            if place == (worker.host, worker.pid)
        }
        return [(ours[worker_id], trial_id) for worker_id, trial_id in still.items() if worker_id in ours]

    def reached(self, target: float) -> bool:
        """Whether a finished trial has this validation accuracy on every head, at its best point."""
        new = {trial.trial_id for trial in self._trials if trial.state is State.COMPLETE} - self._judged
        self._judged |= new
        curves = self._storage.store.curves(new)
        points = filter(None, map(numbers.best_point, curves.values()))
        return any(
            min(head.accuracy for head in point.validation.heads.values()) >= target for point in points
        )

    def result(
        self,
        reason: Reason,
        snapshot: Snapshot,
    ) -> RunResult:
        """What `run` returns."""
        best = numbers.best_trial(self._trials)
        curve = self._storage.store.curve(best.trial_id) if best else []
        return RunResult(
            snapshot=snapshot,
            gains=tuple(numbers.gains(self._trials)),
            reason=reason,
            trial=best,
            point=numbers.best_point(curve),
            confirms=self._record.spec.confirms,
        )
