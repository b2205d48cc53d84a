"""The worker loop: claims trials and trains them, several at a time under ASHA, until the study is done."""

from __future__ import annotations

import contextlib
import functools
import logging
import time
import traceback
from collections.abc import Callable
from dataclasses import replace
from enum import Enum, StrEnum
from typing import Literal

from search.analysis import racing
from search.analysis.ablation import BASELINE
from search.errors import TuneError
from search.objectives.base import TrialError
from search.optuna_db.optuna_trials import Exhausted
from search.records import INTERRUPTED_IN_TRAINING, INTERRUPTED_WHILE_PAUSED, Claim, Failure, State
from search.redaction import redacted, traceback_text
from search.store.base import LeaseLost
from search.study.active_trial import ActiveTrial
from search.study.promotion import Decision
from search.study.study import StudyDeleted, shortened
from search.worker.context import WorkerContext
from search.worker.failures import TookTooLong, failure_of
from search.worker.leases import Leases
from search.worker.migration import TrialMigration
from search.worker.recovery import Reaper
from search.worker.removal import delete_if_orphaned
from search.worker.resume_checkpoints import discard_all
from search.worker.trial_runner import TrialRunner

IDLE_S = 0.5
"""Pause of a worker that finds every slot taken before it looks again."""

WAITING_BYTES = 16_000_000
"""Bytes that waiting trials may hold; beyond it they are parked. To park one and take it up again costs
a tenth of a second, which in a study of small MLPs was a fifth of all time (docs/decisions/007)."""

WAITING_BYTES_ON_GPU = 256_000_000
"""The same for a worker whose trials wait on a GPU: its memory is not what the machine is short of."""

FAILURES_IN_A_ROW = 5
"""This number of failed trials in a row, in an ablation of failed arms, means that the trials are not the
cause."""

LONGEST_SAID_BYTES = 2_000
"""Of the last failure, as JSON, in the message of a worker that gives up."""

_logger = logging.getLogger(__name__)


class Stopping(Exception):
    """Raised inside training when the worker is asked to end."""


class GivenUp(TuneError):
    """Trial after trial failed; the message has the last reason."""


class WornOut(Exception):
    """A trial ran out of memory and was recorded as failed. Replace the process: a failed allocation leaves
    its memory fragmented."""

    def __init__(self, failures_in_a_row: int) -> None:
        super().__init__(f"{failures_in_a_row} trials in a row failed, the last one for want of memory")
        self.failures_in_a_row = failures_in_a_row


class StepResult(Enum):
    """What one step of the worker loop has come to."""

    TRAINED = "a trial was trained up to its next rung, or ended"
    IDLE = "there is nothing to train for now"
    STUDY_DONE = "the study wants nothing more of this worker"
    STOPPED = "the worker was asked to end"


class Outcome(StrEnum):
    """How an action on a trial ended."""

    DONE = "done"
    LOST = "lost"
    """another worker has it; this one no longer holds it"""
    FAILED = "failed"
    """it is recorded as failed, and no longer held"""


class _Decision(Enum):
    TRIALS_CHANGED = "the trials held have changed: what to do next has to be decided anew"


TRIALS_CHANGED = _Decision.TRIALS_CHANGED
Found = TrialRunner | Literal[_Decision.TRIALS_CHANGED] | None
"""A trial to train; TRIALS_CHANGED; or None where there is none."""


def work(context: WorkerContext, *, stop: Callable[[], bool], failures_in_a_row: int = 0) -> int:
    """Does trials until the study has all it wants or `stop` says so; returns how many it finished.

    failures_in_a_row: of the worker whose place this one takes, so that the count outlives a process.

    Raises GivenUp after too many failures in a row, and WornOut after one for want of memory.
    """
    with (
        contextlib.closing(context.objective),
        Leases(context.storage.store, lease_s=context.lease_s) as leases,
    ):
        loop = WorkerLoop(context, leases, stop, failures_in_a_row)
        try:
            step = StepResult.IDLE
            while not stop() and step in (StepResult.TRAINED, StepResult.IDLE):
                step = loop.step()
                if step is StepResult.IDLE:
                    time.sleep(IDLE_S)
            loop.drain()
        except StudyDeleted:
            delete_if_orphaned(context.storage, context.record, context.artifacts.root)
            raise
        # A trial whose study is deleted ends like one that another worker has taken, without an error.
        delete_if_orphaned(context.storage, context.record, context.artifacts.root)
        return loop.finished


class WorkerLoop:
    """One worker's trials: those that it has begun and not ended."""

    def __init__(
        self, context: WorkerContext, leases: Leases, stop: Callable[[], bool], failures_in_a_row: int
    ) -> None:
        self._context = context
        self._store = context.storage.store
        self._study = context.study
        self._leases = leases
        self._stop = stop
        self._runners: dict[int, TrialRunner] = {}
        self._cut_short: TrialRunner | None = None
        """the trial whose training the end of the worker interrupted"""
        self._reaper = Reaper(
            context.study, context.storage.store, context.worker.worker_id, lease_s=context.lease_s
        )
        self._migration = TrialMigration(context)
        self._failures_in_a_row = failures_in_a_row
        self.finished = 0

    def step(self) -> StepResult:
        """One stretch of training, up to the next rung of some trial, where there is one to train.

        Raises StudyDeleted, GivenUp and WornOut.
        """
        if self._reaper.due:
            self._reaper.look()
        runner = self._next()
        if runner is None:
            return self._without_work()
        self._make_room_for(runner)
        try:
            self._try(runner, lambda: self._train(runner))
        except Stopping:
            self._cut_short = runner
            return StepResult.STOPPED
        return StepResult.TRAINED

    def drain(self) -> None:
        """Ends every trial held: as pruned if it would not have continued, else as interrupted."""
        hopeless = self._decide(drained=True).end
        for runner in list(self._runners.values()):
            end = self._prune if runner.active.number in hopeless else self._interrupt
            end(runner)

    # What to do next

    def _next(self) -> TrialRunner | None:
        """The trial to train now: one held, a new one, or one that another worker offers.

        None where there is none and no slot is free.
        """
        while (found := self._look_for_work()) is TRIALS_CHANGED:
            pass
        return found

    def _look_for_work(self) -> Found:
        """In this order: a trial held that should continue before new ones begin, a new one, one held that
        waited for others, and one of another worker."""
        if not self._context.stop_policy.should_stop_proposing():
            found = self._own_trial(drained=False) or self._new()
            if found is not None:
                return found
        return self._own_trial(drained=True) or self._accepted()

    def _own_trial(self, *, drained: bool) -> Found:
        """The trial held to continue with, after the hopeless ones are pruned. drained: no trial begins
        before it is decided again."""
        decision = self._decide(drained=drained)
        for number in decision.end:
            self._prune(self._runners[number])
        if decision.go is None:
            return None
        runner = self._runners[decision.go]

        def take_back() -> None:
            self._migration.withdraw(runner)
            if drained:
                self._offer_others(runner)

        return runner if self._try(runner, take_back) is Outcome.DONE else TRIALS_CHANGED

    def _new(self) -> Found:
        """The trial of a free slot, a repetition as far as it had come; None where no slot is free or the
        space has nothing left."""
        if not self._study.has_next():
            return None
        claim = self._store.claim(
            self._study.study_id,
            self._context.worker.worker_id,
            lease_s=self._context.lease_s,
            created=self._context.record.created,
            space_changes=self._study.revisions.count,
        )
        if claim is None:
            return None
        self._leases.hold(claim)
        try:
            active = self._study.ask(claim)
        except LeaseLost:  # this process slept, and the slot is another worker's
            self._leases.drop(claim)
            return TRIALS_CHANGED
        except Exhausted:  # another worker took the last configuration a moment ago
            self._leases.drop(claim)
            with contextlib.suppress(LeaseLost):
                self._store.release(claim)
            return None
        runner = self._runner(replace(claim, trial_id=active.trial_id), active)
        self._runners[active.number] = runner
        outcome = self._try(runner, runner.recover)
        # A repetition may stand at a rung, where it has to be judged before it continues.
        return runner if outcome is Outcome.DONE and not runner.step else TRIALS_CHANGED

    def _accepted(self) -> TrialRunner | None:
        """A trial that another worker offers; None where there is none that can continue here."""
        runner = self._migration.accept(
            lambda claim, trial_id: self._runner(claim, self._study.rejoin(trial_id)),
            lease_s=self._context.lease_s,
        )
        if runner is not None:
            self._leases.hold(runner.claim)
            self._runners[runner.active.number] = runner
        return runner

    def _decide(self, *, drained: bool) -> Decision:
        candidates = [runner.candidate for runner in self._runners.values()]
        scores_at = functools.cache(self._study.scores_at)  # looks at a rung once for all candidates
        return self._context.pruning.promotion.decide(candidates, scores_at, drained=drained)

    def _without_work(self) -> StepResult:
        """Whether the study is done, or trials may still come back or be wanted."""
        self._study.require_unchanged()
        if not self._nothing_runs():
            return StepResult.IDLE
        if self._filled():
            self._delete_what_is_left()
            return StepResult.STUDY_DONE
        if self._context.stop_policy.should_stop_proposing():
            return StepResult.STUDY_DONE
        # The space is exhausted, or a queued run was lost; or another worker has just begun it.
        if not self._study.has_next() and self._nothing_runs():
            self._delete_what_is_left()
            return StepResult.STUDY_DONE
        return StepResult.IDLE

    def _nothing_runs(self) -> bool:
        """Whether no worker has a trial of tune's own. Only a reaper ends a running trial without a claim."""
        return not (self._store.open_claims(self._study.study_id) or self._study.running())

    def _filled(self) -> bool:
        """Whether every slot of the target is filled for good. A slot that was given back a moment ago, with
        its trial queued again, is not."""
        study_id = self._study.study_id
        record, filled = self._store.study(study_id), sum(each.done for each in self._store.claims(study_id))
        return record is None or filled >= record.target_trials

    def _delete_what_is_left(self) -> None:
        """The study is done: deletes resume checkpoints that are not needed, and weights of failed trials."""
        discard_all(self._context.artifacts.folder)
        self._context.weights.keep_best()  # repetitions that ended untrained have added to them
        for trial in self._study.trials():
            if trial.state is State.FAILED:
                self._context.weights.discard(trial.number)

    # One trial

    def _runner(self, claim: Claim, active: ActiveTrial) -> TrialRunner:
        limit_s = self._context.options.trial_timeout_s

        def check() -> None:
            if self._stop():
                raise Stopping
            if self._leases.lost(runner.claim):
                raise LeaseLost(f"Trial {active.number} has passed to another worker.")
            if limit_s is not None and runner.spent_s > limit_s:
                raise TookTooLong(f"it had {limit_s:g} s")

        runner = TrialRunner(self._context, claim, active, check)
        active.guard(lambda transaction: self._store.require_held(runner.claim, within=transaction))
        return runner

    def _train(self, runner: TrialRunner) -> None:
        ahead = (rung for rung in self._context.pruning.rungs if rung > runner.step)
        until = next(ahead, runner.budget)  # beyond the rungs of the study a trial has a larger budget
        if runner.advance(until):
            self._finish(runner)
        self._context.weights.keep_best()

    def _prune(self, runner: TrialRunner) -> None:
        def prune() -> None:
            self._migration.withdraw(runner)
            runner.prune()
            self._finish(runner)

        self._try(runner, prune)

    def _interrupt(self, runner: TrialRunner) -> None:
        """Ends a trial as to be repeated, from where it stands."""

        detail = INTERRUPTED_IN_TRAINING if runner is self._cut_short else INTERRUPTED_WHILE_PAUSED

        def interrupt() -> None:
            self._migration.withdraw(runner)
            self._save(runner)
            self._fail(runner, Failure.INTERRUPTED, detail)

        self._try(runner, interrupt)

    def _failure_of(self, error: Exception) -> Failure:
        return failure_of(error, self._context.objective.failure_of)

    def _save(self, runner: TrialRunner) -> None:
        """Writes a resume checkpoint if there is room, on disk and in memory; else the trial begins again."""
        try:
            runner.write_checkpoint()
        except Exception as error:
            if self._failure_of(error) not in (Failure.DISK_FULL, Failure.OUT_OF_MEMORY):
                raise

    def _make_room_for(self, runner: TrialRunner) -> None:
        """Parks others, those that began first before the rest, until what they hold is little enough."""
        limit = WAITING_BYTES if self._context.objective.device == "cpu" else WAITING_BYTES_ON_GPU
        waiting = [each for each in self._runners.values() if each is not runner and each.held_bytes]
        for other in waiting:
            if sum(each.held_bytes for each in waiting) <= limit:
                break
            self._try_to_park(other, other.park)
        self._context.objective.release_memory()  # theirs, and that of the stretch before

    def _offer_others(self, runner: TrialRunner) -> None:
        """Offers all trials held but this one to workers that have none."""
        if not self._migration.has_company():
            return
        for other in list(self._runners.values()):
            if other is not runner:
                self._try_to_park(other, functools.partial(self._migration.offer, other))

    def _try_to_park(self, runner: TrialRunner, park: Callable[[], None]) -> Outcome:
        """`_try` for what puts a waiting trial on disk: without the memory for that it waits where it is."""

        def park_if_there_is_memory() -> None:
            try:
                park()
            except Exception as error:
                if self._failure_of(error) is not Failure.OUT_OF_MEMORY:
                    raise

        return self._try(runner, park_if_there_is_memory)

    # How a trial ends

    def _try(self, runner: TrialRunner, action: Callable[[], None]) -> Outcome:
        """Does something with a trial. Whatever goes wrong is a failure of that trial, which is recorded.

        Raises GivenUp and WornOut where this worker cannot continue after that failure, and lets Stopping and
        TuneError pass: a storage that is away is not the trial's fault, the reaper will queue it again.
        """
        try:
            action()
        except LeaseLost as error:
            _logger.warning("%s", error)  # the worker that has the claim now is responsible for the trial
            self._put_down(runner)
            runner.active.let_go()
            return Outcome.LOST
        except (Stopping, WornOut, TuneError):
            raise
        except Exception as error:
            self._record_failure(runner, error)
            return Outcome.FAILED
        return Outcome.DONE

    def _record_failure(self, runner: TrialRunner, error: Exception) -> None:
        """Ends the trial as failed. Raises GivenUp and WornOut."""
        reason = self._failure_of(error)
        said = redacted(f"{type(error).__name__}: {error}".rstrip(": "))
        detail = traceback_text(error) if reason is Failure.ERROR else redacted(str(error)) or said
        if isinstance(error, TrialError):
            said, detail = f"this: {redacted(str(error))}", redacted(error.detail)
        traceback.clear_frames(error.__traceback__)  # they hold the trial's tensors
        if reason is Failure.DISK_FULL:
            detail = f"no room in {self._context.artifacts.root.absolute()}"
        self._fail(runner, reason, detail)
        if reason is Failure.DISK_FULL:
            self.drain()
            raise GivenUp(
                f"The disk is full ({detail}). Nothing that was finished is lost: make room and give "
                "the same command again."
            ) from error
        if self._counts_in_a_row(runner):
            self._failures_in_a_row += 1
        if self._failures_in_a_row >= FAILURES_IN_A_ROW:
            self.drain()
            last = shortened(said, LONGEST_SAID_BYTES)
            raise GivenUp(
                f"{self._failures_in_a_row} trials in a row failed, the last one with {last}."
            ) from error
        if reason is Failure.OUT_OF_MEMORY:
            self.drain()
            raise WornOut(self._failures_in_a_row) from error

    def _counts_in_a_row(self, runner: TrialRunner) -> bool:
        """Whether a failure of this trial may mean that trials are not the cause: not where an arm of an
        ablation fails once more, whatever its seed or its learning rate. The baseline was trained before."""
        run = runner.active.ablation
        if run is None or run.arm == BASELINE:
            return True
        return not racing.has_failed(self._context.study.trials(), run, besides=runner.active.number)

    def _finish(self, runner: TrialRunner) -> None:
        self._put_down(runner)
        self.finished += 1
        self._failures_in_a_row = 0

    def _put_down(self, runner: TrialRunner) -> None:
        self._leases.drop(runner.claim)
        self._runners.pop(runner.active.number, None)
        runner.active.unguard()
        runner.let_go()
        self._context.objective.release_memory()

    def _fail(self, runner: TrialRunner, reason: Failure, detail: str) -> None:
        self._put_down(runner)
        if not reason.is_retryable:
            runner.checkpoints.discard()
        try:
            self._give_back(runner, reason, detail)
        except LeaseLost:  # who has the claim now deals with the trial
            return

    def _give_back(self, runner: TrialRunner, reason: Failure, detail: str) -> None:
        """Records the failure and frees the slot. Raises LeaseLost."""
        state = self._study.fail(runner.active.trial_id, reason, detail, claim=runner.claim)
        if state is not None and state.is_finished:  # another program finished it: the slot is filled
            self._store.settle(runner.claim)
            return
        self._store.release(runner.claim)
        self._context.weights.discard(runner.active.number)
