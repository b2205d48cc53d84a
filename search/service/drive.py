"""Supervises the worker pool of one run and shows its progress, until there is a reason to end."""

from __future__ import annotations

import math
import os
import shlex
import signal
import socket
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from search.analysis.pace import Snapshot
from search.errors import Interrupted, TryAgain, TuneError
from search.machine import is_here
from search.optuna_db.leftovers import free_slots
from search.optuna_db.storage import Storage
from search.records import Failure, StudyRecord
from search.report.words import count, percent
from search.service.create import RunRequest
from search.service.other_hosts import OtherHosts
from search.service.watched import Reason, RunResult, Watched, workers_at
from search.study.study import Study
from search.tasks import task_named

if TYPE_CHECKING:  # their package imports torch
    from search.launchers.base import Launcher, Place
    from search.service.signals import Signals

POLL_S = 0.5
"""How often a run looks at its study."""

Watch = Callable[[Snapshot], None]


def drive(
    storage: Storage,
    study: Study,
    record: StudyRecord,
    request: RunRequest,
    launcher: Launcher,
    *,
    watch: Watch,
    detach: bool,
) -> RunResult:
    """Works on the study until the target is met. Raises as `search.service.run.run`."""
    from search.launchers.pool import WorkerPool
    from search.service.signals import Signals
    from search.worker.best_weights import place_for_new_weights
    from search.worker.process import WorkerConfig
    from search.worker.recovery import Reaper
    from search.worker.removal import delete_if_orphaned

    free_slots(storage.trials.database, study.study_id)
    me = f"{socket.gethostname()}:{os.getpid()}:parent"
    began = time.monotonic()
    look = Watched(storage, study, record)
    others = OtherHosts(storage)
    reaper = Reaper(study, storage.store, me)
    reaper.look(dead=_dead_here(storage, study))
    first = look.snapshot(0.0)
    if first.counts.finished >= record.target_trials:
        return look.result("nothing to do", first)
    if first.exhausted:
        return look.result("exhausted", first)
    if detach:
        return look.result("detached", first)
    config = WorkerConfig(
        storage_url=storage.url,
        storage_file=storage.file_id,
        study=study.name,
        dataset=task_named(record.spec.task).dataset,
        artifact_root=storage.location.artifacts,
        new_weights_in=place_for_new_weights(storage.location),
        device=request.device,
        threads=request.threads,
        trial_timeout_s=math.inf if request.trial_timeout_s is None else request.trial_timeout_s,
        left_s=math.inf if request.timeout_s is None else request.timeout_s - (time.monotonic() - began),
        target=math.inf if request.target is None else request.target,
    )
    missing = record.target_trials - first.counts.finished
    size = min(request.workers or launcher.room(request.threads), missing)
    with Signals() as signals, _stopped_while_away(signals):
        storage.heed(signals.stop)
        pool = WorkerPool(launcher.starter(size), config, size)
        seen, left = first, False
        try:
            reason: Reason = "finished"
            while not pool.ended and not signals.stop() and pool.gave_up is None:
                pause(POLL_S, signals.stop)
                others.check()
                dead = pool.supervise()
                if dead or reaper.due:
                    reaper.look(dead=_ids_of(storage, study, dead))
                elapsed = time.monotonic() - began
                seen = in_time(look.snapshot(elapsed), request.timeout_s)
                watch(seen)
                for place, trial_id in look.stalled(elapsed - request.stall_timeout_s, pool.places):
                    pool.replace(place)
                    study.fail(trial_id, Failure.TIMEOUT, f"no report for {request.stall_timeout_s:g} s")
                    reaper.look(dead=_ids_of(storage, study, [place]))
                if (seen.counts.finished >= seen.target_trials or seen.exhausted) and not seen.counts.running:
                    break
                if request.timeout_s is not None and elapsed > request.timeout_s:
                    reason = "timeout"
                    break
                if request.target is not None and look.reached(request.target):
                    reason = "target"
                    break
            left = pool.ended
        except TryAgain:
            storage.heed(lambda: True)  # it was waited for
            raise
        finally:
            if signals.stop():
                watch(replace(seen, stopping=True))
            pool.stop()
            delete_if_orphaned(storage, record, storage.location.artifacts)
            reaper.look(dead=_ids_of(storage, study, pool.places))
        last = look.snapshot(time.monotonic() - began)
        watch(last)
        whole = last.counts.finished >= last.target_trials
        if left and not whole and request.target is not None and look.reached(request.target):
            reason = "target"
        elif not whole and last.exhausted:
            reason = "exhausted"
        elif left and not whole and request.timeout_s is not None:
            reason = "timeout"  # what is left of it is too short for another trial
        if signals.received is not None:
            raise _interrupted(
                signals.received,
                f"after {last.counts.finished} of {record.target_trials} trials",
                _so_far(seen, last.counts.interrupted - first.counts.interrupted, record.spec.confirms),
            )
        if pool.gave_up is not None:
            raise TuneError(
                f"{pool.gave_up} `tune trials {shlex.quote(study.name)}` shows what became of each trial."
            )
        if reason == "finished" and not whole:
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


def in_time(seen: Snapshot, timeout_s: float | None) -> Snapshot:
    """A run has no more time left than its limit leaves."""
    if timeout_s is None:
        return seen
    left_s = max(0.0, timeout_s - seen.elapsed_s)
    return replace(seen, remaining_s=left_s if seen.remaining_s is None else min(seen.remaining_s, left_s))


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


def _interrupted(signal_number: int, when: str, so_far: str = "") -> Interrupted:
    name = signal.Signals(signal_number).name
    return Interrupted(f"Stopped by {name} {when}; the same command goes on.{so_far}", signal_number)


def _so_far(seen: Snapshot, interrupted: int, confirms: str | None) -> str:
    """What a run that is stopped has come to. seen: before the trials at work were interrupted, so that they
    still lead; interrupted: how many were."""
    words = []
    if interrupted:
        were = "was interrupted and is" if interrupted == 1 else "were interrupted and are"
        words.append(f"{count(interrupted, 'trial')} {were} queued again.")
    best, reference = seen.best, seen.reference
    if confirms is None:
        if reference is not None and (best is None or (reference.value or 0.0) > (best.value or 0.0)):
            words.append(f"The reference {reference.reference} leads with {percent(reference.value)}.")
        if best is not None:
            words.append(f"Best of the search so far is trial {best.number} with {percent(best.value)}.")
    return "".join(f" {sentence}" for sentence in words)


def _ids_of(storage: Storage, study: Study, places: Collection[Place]) -> set[str]:
    """The ids of the workers that were at these places."""
    return set(workers_at(storage, study, places)) if places else set()  # a run that only looks asks nothing


def _dead_here(storage: Storage, study: Study) -> set[str]:
    """Workers of this machine that hold a claim and are no more: a run before was killed."""
    holders = {claim.worker_id for claim in storage.store.open_claims(study.study_id)}
    workers = storage.store.workers(study.study_id)
    return {
        worker.worker_id
        for worker in workers.values()
        if worker.worker_id in holders and is_here(worker.worker_id) and not _exists(worker.pid)
    }


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
