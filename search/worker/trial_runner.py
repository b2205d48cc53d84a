"""One trial, rung by rung, until it is complete or pruned. While it waits it may be parked on disk."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property

from search.analysis import racing
from search.objectives.base import Job, Product, ResumeCheckpoint, Work, job_of
from search.records import Claim, Report
from search.study.active_trial import ActiveTrial
from search.study.evaluation_schedule import EvaluationSchedule
from search.study.promotion import Candidate, rung_reached
from search.worker.context import WorkerContext
from search.worker.resume_checkpoints import ResumeCheckpoints

CHECKPOINT_EVERY_S = 3.0
"""Least time between two resume checkpoints of a trial. To write and sync one takes some 20 ms."""


class TrialRunner:
    """A trial from its claim to its end. Methods that write raise LeaseLost once another worker has it."""

    def __init__(
        self, context: WorkerContext, claim: Claim, active: ActiveTrial, check: Callable[[], None]
    ) -> None:
        self._context = context
        self._objective = context.objective
        self._check = check
        self._work: Work | None = None
        """None while it has no memory: before it begins, and parked"""
        self._ahead: Iterator[Report] = iter(())
        """the reports of that work to come"""
        self._best: Report | None = None
        self._product: Product | None = None
        """of the best report; one from a resume checkpoint of a previous version of tune knows no answers"""
        self._kept: Report | None = None
        """the best report whose fate is decided: its product is kept, or was not worth it"""
        self._code: str | None = None
        """SHA-256 of the code that made the last report, as it was noted"""
        self._checkpoint_at = 0.0
        self._checkpoint_step = 0
        """step of the last resume checkpoint"""
        self._before = 0
        """step of the report before the last one"""
        self._spent_s = 0.0
        self._since: float | None = None
        """when it was last taken up; None while it waits"""
        self.checkpoints = ResumeCheckpoints(context.artifacts.folder, active.origin, context.objective)
        self.claim = claim
        self.active = active
        self.step = 0
        """of the last report"""

    @property
    def budget(self) -> int:
        """Steps of this trial unless it is stopped early."""
        return self._evaluations.total

    @property
    def candidate(self) -> Candidate:
        """How it stands."""
        return Candidate(
            number=self.active.number,
            rung=rung_reached(self._context.pruning.rungs, self._before, self.step),
            score=self._context.record.spec.metric.worst if self._best is None else self._best.score,
            reference=self.active.reference is not None,
        )

    def advance(self, until: int) -> bool:
        """Works to the first report at or after step `until`; True when the trial ended.

        It ends complete at the end of its budget, or pruned where the study's pruner stops it, or before
        its first step where a confirmation has no use for it any more. Raises whatever the objective and
        `check` raise.
        """
        self._checkpoint_at = self._checkpoint_at or time.monotonic()
        self._since = time.monotonic()
        try:
            return self._advance(until)
        finally:
            self._spent_s, self._since = self.spent_s, None

    @property
    def spent_s(self) -> float:
        """Wall time in which this trial was worked on; what it waited between rungs is left out."""
        return self._spent_s + (0.0 if self._since is None else time.monotonic() - self._since)

    def _advance(self, until: int) -> bool:
        if self._work is None:
            if self.step == 0 and self._is_out():
                self.prune()
                return True
            self._begin()
        for found in self._ahead:
            report = found if found.seconds else replace(found, seconds=self.spent_s)
            self._take(report)
            hopeless = self._report(report)
            if self.step >= self.budget:
                self._finish_product()
                self._keep()
                self.active.complete(self.candidate.score)
                self._context.storage.store.settle(self.claim)
                self.checkpoints.discard()
                return True
            # A reference shows what the study gained over its sources: it is always trained to the end.
            if hopeless and self.active.reference is None:
                self.prune()
                return True
            if time.monotonic() - self._checkpoint_at > CHECKPOINT_EVERY_S:
                self.write_checkpoint()
            self._check()
            if self.step >= until:
                self._keep()
                break
        else:
            raise EndedEarly(self.step, self.budget)
        return False

    def prune(self) -> None:
        """Ends the trial early; what it made stays if it is among the study's best.

        That comes first, as where it is complete: a worker that dies in between leaves a trial to repeat.
        """
        self._keep()
        self.active.prune()
        self._context.storage.store.settle(self.claim)
        self.checkpoints.discard()

    def recover(self) -> None:
        """A repetition takes in how far the trial had come, as if it had been parked there.

        What the failed trial had kept went with it, and the repetition may end here: so it is kept once more.
        """
        if self.active.retry_of is not None and not self._is_out() and self._resumed() is not None:
            self._keep()
            self._product = None

    def rejoin(self, curve: Sequence[Report]) -> bool:
        """Takes in how far another worker has come with it; whether the resume checkpoint is here."""
        self.step = 0
        for report in curve:
            self._note(report)
        if self._best is None:
            return False
        self._kept = self._best  # by the other, before it was on offer
        self._spent_s = curve[-1].seconds
        checkpoint = self._newest()
        return checkpoint is not None and checkpoint.step == self.step

    @property
    def held_bytes(self) -> int:
        """Memory that it would give back if it were parked; 0 where it cannot be."""
        return 0 if self._work is None or not self._objective.has_checkpoints else self._work.held_bytes

    def park(self) -> None:
        """Writes a resume checkpoint and frees the memory; `advance` continues from there, bit for bit.

        For a trial that has just reached a rung. Raises OSError where there is no room.
        """
        if self._checkpoint_step < self.step:
            self.write_checkpoint()
        self.let_go()

    def let_go(self) -> None:
        """Frees its memory now: it knows `check`, which knows it, and such cycles wait for the collector."""
        work, self._work, self._ahead = self._work, None, iter(())
        self._product = None
        if work is not None:
            work.close()

    def write_checkpoint(self) -> None:
        """Writes a resume checkpoint, also between two reports. Raises OSError where there is no room.

        Not before its first report, which is near, nor where it is parked, which is on disk already, nor
        where the objective has none.
        """
        if self._work is None or self._best is None or not self._objective.has_checkpoints:
            return
        checkpoint = ResumeCheckpoint(
            trial_id=self.active.trial_id,
            step=self.step,
            best_step=self._best.step,
            best=self._product,
            state=self._work.state(),
        )
        self.checkpoints.write(checkpoint, self._fingerprint)
        self._checkpoint_at = time.monotonic()
        self._checkpoint_step = self.step

    def _is_out(self) -> bool:
        """Whether other seeds have shown meanwhile that this candidate of a confirmation is out, or this run
        of an ablation has failed for good. Reads the trials of the study."""
        run = self.active.ablation
        if run is not None:
            return self.active.retry_of is not None and run in racing.spent(self._context.study.trials())
        confirming = self.active.confirming
        return confirming is not None and confirming.candidate in racing.in_vain(self._context.study.trials())

    @cached_property
    def _evaluations(self) -> EvaluationSchedule:
        """When this trial reports, up to its budget."""
        run = self.active.ablation
        if run is None:
            return self._context.evaluations
        return EvaluationSchedule.of_trial(self._context.record.spec, run)

    @cached_property
    def _job(self) -> Job:
        active = self.active
        return job_of(
            self._context.record.spec,
            active.suggest(),
            self._evaluations,
            origin=active.origin,
            number=active.number,
            confirming=active.confirming,
            ablation=active.ablation,
            check=self._check,
        )

    @cached_property
    def _fingerprint(self) -> str:
        return self._objective.fingerprint(self._job)

    def _newest(self) -> ResumeCheckpoint | None:
        return self.checkpoints.newest(self._fingerprint) if self._objective.has_checkpoints else None

    def _begin(self) -> None:
        checkpoint = self._unparked() if self.step else None
        work = self._objective.begin(self._job, None if checkpoint is None else checkpoint.state)
        self._work, self._ahead = work, work.reports()
        if work.parameters is not None:
            self.active.note_parameters(work.parameters)

    def _unparked(self) -> ResumeCheckpoint | None:
        """Where this trial was parked. If that checkpoint is damaged, an earlier one, or none: then it
        works, and reports, some of its way once more. A worker that was given up for gone, and was not, may
        have left a later one: then it continues from there, with that part of the curve."""
        checkpoint = self._newest()
        if checkpoint is None or checkpoint.step != self.step:
            self._best, self.step = None, 0
            return self._resumed()
        self._product = checkpoint.best
        return checkpoint

    def _resumed(self) -> ResumeCheckpoint | None:
        """The checkpoint from which this trial continues; the curve up to there is then this trial's too."""
        checkpoint = self._newest()
        if checkpoint is None:
            return None
        whole = self._context.storage.store.curve(checkpoint.trial_id, self._context.record.spec.metric)
        curve = [report for report in whole if report.step <= checkpoint.step]
        if (
            not any(report.step == checkpoint.best_step for report in curve)
            or curve[-1].step != checkpoint.step
        ):
            return None  # the database does not know how it came there
        for report in curve:
            self._note(report)
            self._report(report)
        self._product = checkpoint.best
        self._spent_s = max(self._spent_s, curve[-1].seconds)
        return checkpoint

    def _take(self, report: Report) -> None:
        """Takes in a report of the work. Raises NotFinite where its score is not a number to compare by, and
        ImpossibleValue where the metric cannot have it: every reader would leave such a trial out."""
        if not math.isfinite(report.score):
            raise NotFinite(report)
        if not report.metric.allows(report.metric.value_of(report.score)):
            raise ImpossibleValue(report)
        assert self._work is not None
        if self._work.code not in (None, self._code):
            self._code = self._work.code
            self.active.note_code(self._code)
        if self._note(report):
            self._product = self._work.product()
        else:  # a file that is kept only at the end is kept nevertheless
            self._replace_product(self._work.completed(self._product))

    def _note(self, report: Report) -> bool:
        """Takes in where the trial stands; whether it has never been better."""
        self._before, self.step = self.step, report.step
        if self._best is not None and report.score <= self._best.score:
            return False
        self._best = report
        return True

    def _report(self, report: Report) -> bool:
        """Tells the study; whether the trial is hopeless."""
        return self.active.report(report.step, self.candidate.score, report)

    def _finish_product(self) -> None:
        """Takes in what the trial keeps now that it has ended; that is written, also if the rest was."""
        assert self._work is not None
        self._replace_product(self._work.final_product(self._product))

    def _replace_product(self, product: Product | None) -> None:
        """Takes in what is kept as of the best report, which may have been written without that."""
        if product is not self._product:
            self._product, self._kept = product, None

    def _keep(self) -> None:
        """Writes what the trial has made and notes it in the database, if it is among the study's best.

        What is not among the best now never will be. A waiting trial was decided when it came to its rung.
        """
        best, product = self._best, self._product
        if best is None or product is None or self._kept is best:
            return
        self._kept = best
        weights = self._context.weights
        if weights.worth_keeping(best.score):
            weights.keep(
                product,
                self._objective.about(self._job),
                number=self.active.number,
                trial_id=self.active.trial_id,
                report=best,
                claim=self.claim,
            )


class NotFinite(Exception):
    """A trial reported a score that is infinite or no number."""

    def __init__(self, report: Report) -> None:
        super().__init__(f"the {report.metric.title} was {report.score} at step {report.step}")


class ImpossibleValue(Exception):
    """A trial reported a value that its metric cannot have."""

    def __init__(self, report: Report) -> None:
        value = report.metric.value_of(report.score)
        super().__init__(
            f"the {report.metric.title} was {value:g} at step {report.step}; it is a fraction between 0 and 1"
        )


class EndedEarly(Exception):
    """The work ended before its budget was spent."""

    def __init__(self, step: int, budget: int) -> None:
        super().__init__(f"it ended at step {step} of {budget}")
