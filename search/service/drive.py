"""Supervises the worker pool of one run and shows its progress, until there is a reason to end."""

from __future__ import annotations

import contextlib
import math
import os
import shlex
import signal
import socket
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from search.analysis.pace import Snapshot
from search.analysis.ranking import score_of
from search.errors import Interrupted, TryAgain, TuneError
from search.machine import is_here
from search.optuna_db.orphans import free_slots
from search.optuna_db.storage import Storage
from search.records import Failure, NetworkSpec, StudyRecord
from search.report.words import count, scored
from search.service.other_hosts import OtherHosts
from search.service.watched import Reason, RunResult, Watched, workers_at
from search.study.study import Study
from search.tasks import task_named
from search.worker.options import WorkerOptions

if TYPE_CHECKING:  # their package imports torch
    from search.launchers.base import Launcher, Place
    from search.launchers.pool import WorkerPool
    from search.service.signals import Signals
    from search.worker.process import WorkerConfig
    from search.worker.recovery import Reaper

POLL_S = 0.5
"""How often a run looks at its study."""

JOIN_S = 600.0
"""Time from its start in which a worker has to join the study, or the stall timeout if that is longer."""

STALLS = 3
"""A run gives up where workers stall and no trial has reported anything for this many times the stall
timeout: what they train takes longer between two reports than is allowed."""

UNREACHABLE_S = 120.0
"""How long a run waits at its end for workers on a Ray cluster whose head is lost: Ray ends them after a
minute, and the lease of one on another machine then passes."""

Watch = Callable[[Snapshot], None]


class End(StrEnum):
    """Why a run no longer looks after its workers."""

    WORKERS_DONE = "every worker has ended well"
    SIGNAL = "a signal asks for the end"
    GAVE_UP = "a worker ended for a reason that a new one would meet again"
    STUDY_DONE = "all trials are finished, or every configuration was tried"
    TIMEOUT = "the time limit of the run"
    TARGET = "a complete trial has the value asked for"


def drive(
    storage: Storage,
    study: Study,
    record: StudyRecord,
    options: WorkerOptions,
    launcher: Launcher,
    *,
    watch: Watch,
    detach: bool,
) -> RunResult:
    """Works on the study until the target is met. Raises as `search.service.run.run`."""
    from search.service.signals import Signals
    from search.worker.recovery import Reaper

    free_slots(storage.trials.database, study.study_id)
    began = time.monotonic()
    look = Watched(storage, study, record, target=options.target)
    reaper = Reaper(study, storage.store, f"{socket.gethostname()}:{os.getpid()}:parent")
    reaper.look(dead=dead_here(storage, study))
    first = look.snapshot(0.0)
    if first.counts.finished >= record.target_trials:
        return look.result("nothing to do", first)
    if first.exhausted:
        return look.result("exhausted", first)
    if detach:
        return look.result("detached", first)
    missing = record.target_trials - first.counts.finished
    size = min(options.workers or launcher.default_workers(options.threads), missing)
    with Signals() as signals, _stopped_while_away(signals):
        storage.give_up_when(signals.stop)
        config = _config(storage, study, record, options, began)
        run = _Run(
            storage=storage,
            study=study,
            record=record,
            options=options,
            look=look,
            others=OtherHosts(storage),
            reaper=reaper,
            signals=signals,
            watch=watch,
            began=began,
            first=first,
            seen=first,
        )
        end = run.supervise(launcher, config, size)
        return run.result(end)


def _config(
    storage: Storage, study: Study, record: StudyRecord, options: WorkerOptions, began: float
) -> WorkerConfig:
    """What each worker of the run is sent. began: when the time limit began, by the monotonic clock."""
    from search.worker.best_weights import place_for_new_weights
    from search.worker.process import WorkerConfig

    spec = record.spec
    return WorkerConfig(
        storage_url=storage.url,
        storage_file=storage.file_id,
        study=study.name,
        dataset=task_named(spec.task).dataset if isinstance(spec, NetworkSpec) else None,
        artifact_root=storage.location.artifacts,
        new_weights_in=place_for_new_weights(storage.location),
        options=options,
        left_s=None if options.timeout_s is None else options.timeout_s - (time.monotonic() - began),
    )


@dataclass(kw_only=True, slots=True)
class _Run:
    """A run from the start of its workers to its result."""

    storage: Storage
    study: Study
    record: StudyRecord
    options: WorkerOptions
    look: Watched
    others: OtherHosts
    reaper: Reaper
    signals: Signals
    watch: Watch
    began: float
    """by the monotonic clock"""
    first: Snapshot
    """before any worker was started"""
    seen: Snapshot
    """as the study was last shown"""
    gave_up: str | None = None
    """why a worker ended for a reason that a new one would meet again"""
    workers_done: bool = False
    """whether every worker had ended well when the run stopped looking after them"""

    def supervise(self, launcher: Launcher, config: WorkerConfig, size: int) -> End:
        """Starts the workers, looks after them until there is a reason to end, and ends them."""
        from search.launchers.pool import WorkerPool
        from search.worker.removal import delete_if_orphaned

        pool = WorkerPool(launcher.starter(size), config, size)
        try:
            while (end := self._end_before_look(pool)) is None:
                pause(POLL_S, self.signals.stop)
                if (end := self._look_once(pool)) is not None:
                    break
            self.workers_done, self.gave_up = pool.ended, pool.gave_up
            return end
        except TryAgain:
            self.storage.give_up_when(lambda: True)  # it was waited for
            raise
        finally:
            if self.signals.stop():
                with contextlib.suppress(OSError):  # what reads our output may be gone; the workers are not
                    self.watch(replace(self.seen, stopping=True))
            killed = pool.stop()
            delete_if_orphaned(self.storage, self.record, self.storage.location.artifacts)
            wait_for_unreachable(self.storage, self.study, self.reaper, pool.unreachable, self.signals.stop)
            ended = set(pool.places).difference(pool.unreachable)
            self.reaper.look(
                dead=_ids_of(self.storage, self.study, ended),
                stopped=_ids_of(self.storage, self.study, killed),
            )

    def _end_before_look(self, pool: WorkerPool) -> End | None:
        """A reason to end that the workers and the signals give; the database is not asked."""
        if pool.ended:
            return End.WORKERS_DONE
        if self.signals.stop():
            return End.SIGNAL
        return None if pool.gave_up is None else End.GAVE_UP

    def _look_once(self, pool: WorkerPool) -> End | None:
        """Replaces workers that are gone or stand still, and shows the study. Returns a reason to end, or
        None."""
        options, look = self.options, self.look
        self.others.check()
        dead = pool.supervise()
        if dead or self.reaper.due:
            # Those of a run that was killed just before this one began have died since.
            gone = dead_here(self.storage, self.study) | _ids_of(self.storage, self.study, dead)
            self.reaper.look(dead=gone)
        elapsed = time.monotonic() - self.began
        self.seen = in_time(look.snapshot(elapsed), options.timeout_s)
        self.watch(self.seen)
        self._end_stalled(pool, elapsed)
        counts = self.seen.counts
        if (counts.finished >= self.seen.target_trials or self.seen.exhausted) and not counts.running:
            return End.STUDY_DONE
        if options.timeout_s is not None and elapsed > options.timeout_s:
            return End.TIMEOUT
        if look.reached():
            return End.TARGET
        return None

    def _end_stalled(self, pool: WorkerPool, elapsed_s: float) -> None:
        """Replaces workers from whose trials no report came for too long, and fails these trials; replaces
        those too that do not join the study. Gives up where that repeats without any report between."""
        stalled = self.look.stalled(elapsed_s, self.options.stall_timeout_s, pool.places)
        for place, trial_id, limit_s in stalled:
            pool.replace(place)
            self.study.fail(trial_id, Failure.TIMEOUT, f"no report for {limit_s:.0f} s")
            self.reaper.look(dead=_ids_of(self.storage, self.study, [place]))
        join_s = max(JOIN_S, self.options.stall_timeout_s)
        unjoined = self.look.unjoined(elapsed_s, join_s, pool.places)
        for place in unjoined:
            pool.replace(place)
        if unjoined and self.look.silent_s(elapsed_s) >= STALLS * join_s:
            pool.gave_up = (
                f"Worker after worker did not come as far as a trial within {join_s:.0f} s of its start and "
                "was ended: what it imports hangs, a device, or a disk. `tune doctor` may know more."
            )
        longest_s = max((limit_s for _, _, limit_s in stalled), default=math.inf)
        if self.look.silent_s(elapsed_s) >= STALLS * longest_s:
            pool.gave_up = (
                f"Trial after trial reported nothing for {longest_s:.0f} s and was ended. Where a step takes "
                "longer than that, --stall-timeout SECONDS allows it."
            )

    def result(self, end: End) -> RunResult:
        """What the run has come to. Raises Interrupted after a signal, and TuneError where the workers ended
        and trials are missing for no reason that a run ends well with."""
        last = self.look.snapshot(time.monotonic() - self.began)
        self.watch(last)
        reason = why_it_ended(
            end, last, self.options, workers_done=self.workers_done, reached=self.look.reached
        )
        if self.signals.received is not None:
            raise _interrupted(
                self.signals.received,
                f"after {last.counts.finished} of {self.record.target_trials} trials",
                _so_far(self.seen, _stopped_since(self.first, last), self.record.spec.searches),
            )
        if self.gave_up is not None:
            where = f" `tune trials {shlex.quote(self.study.name)}` lists the trials and why some failed."
            raise TuneError(self.gave_up + where * (last.counts.failed > 0))
        if reason is None:
            raise TuneError(
                f"All workers ended, but only {last.counts.finished} of {last.target_trials} trials are "
                "finished, and no worker reported an error. The same command continues the study; "
                "`tune doctor` checks this machine."
            )
        return self.look.result(reason, last)


def why_it_ended(
    end: End, last: Snapshot, options: WorkerOptions, *, workers_done: bool, reached: Callable[[], bool]
) -> Reason | None:
    """Why a run ended well; None where trials are missing and the reason is unknown.

    end: why it stopped looking after its workers. last: the study after the last worker. workers_done:
    whether every worker had ended well by then. reached: whether a complete trial has the target.
    """
    whole = last.counts.finished >= last.target_trials
    early = workers_done and not whole
    if early and reached():
        return "target"
    if not whole and last.exhausted:
        return "exhausted"
    if end is End.TIMEOUT or (early and options.timeout_s is not None):
        return "timeout"  # what is left of it is too short for another trial
    if end is End.TARGET:
        return "target"
    return "finished" if whole else None


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
    """A storage that does not answer is no news to a user who has asked for the end."""
    try:
        yield
    except TryAgain as error:
        if signals.received is None:
            raise
        raise _interrupted(
            signals.received,
            "while the storage did not answer; the next run or worker of the study handles it",
        ) from error


def _interrupted(signal_number: int, when: str, so_far: str = "") -> Interrupted:
    name = signal.Signals(signal_number).name
    return Interrupted(f"Stopped by {name} {when}; the same command continues.{so_far}", signal_number)


def _stopped_since(first: Snapshot, last: Snapshot) -> Counter[bool]:
    """How many trials a signal stopped between these: by whether they were paused."""
    before = {trial.trial_id for trial in first.trials if trial.failure is Failure.INTERRUPTED}
    return Counter(
        trial.was_paused
        for trial in last.trials
        if trial.failure is Failure.INTERRUPTED and trial.trial_id not in before
    )


def _so_far(seen: Snapshot, stopped: Mapping[bool, int], searches: bool) -> str:
    """What a run that is stopped has come to. seen: before the trials at work were interrupted, so that they
    still lead; stopped: how many the signal stopped, by whether they were paused."""
    words = []
    for paused, what in ((False, "interrupted"), (True, "paused")):
        if n := stopped.get(paused, 0):
            were, are = ("was", "is") if n == 1 else ("were", "are")
            words.append(f"{count(n, 'trial')} {were} {what} and {are} queued again.")
    best, reference, metric = seen.best, seen.reference, seen.spec.metric
    if searches:
        if reference is not None and (best is None or score_of(reference) > score_of(best)):
            leads = scored(reference.score, metric)
            words.append(f"The reference {reference.reference} leads with {leads}.")
        if best is not None:
            so_far = scored(best.score, metric)
            words.append(f"Best of the search so far is trial {best.number} with {so_far}.")
    return "".join(f" {sentence}" for sentence in words)


def wait_for_unreachable(
    storage: Storage, study: Study, reaper: Reaper, places: Collection[Place], stop: Callable[[], bool]
) -> None:
    """Until the workers at these places have ended, and ends their trials; UNREACHABLE_S at most.

    A trial that is taken from a worker which is still at work makes it begin another one, and that one is
    left open when Ray ends the worker a moment later.
    """
    deadline = time.monotonic() + UNREACHABLE_S
    workers = workers_at(storage, study, places) if places else {}
    while workers and not stop() and time.monotonic() < deadline:
        reaper.look(dead=dead_here(storage, study))
        holders = {claim.worker_id for claim in storage.store.open_claims(study.study_id)}
        if not any(
            worker in holders or (is_here(worker) and _exists(place.pid)) for worker, place in workers.items()
        ):
            return
        pause(POLL_S, stop)


def _ids_of(storage: Storage, study: Study, places: Collection[Place]) -> set[str]:
    """The ids of the workers that were at these places."""
    return set(workers_at(storage, study, places)) if places else set()  # a run that only looks asks nothing


def dead_here(storage: Storage, study: Study) -> set[str]:
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
