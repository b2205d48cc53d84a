"""Trains one trial, rung by rung, until it is complete or pruned. While it waits it may be parked on disk."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property

import torch

from search.analysis import racing
from search.records import Answers, Claim, Point
from search.study.promotion import Candidate
from search.study.study import ActiveTrial
from search.worker.context import WorkerContext
from search.worker.resume_checkpoints import FORMAT, ResumeCheckpoint, ResumeCheckpoints
from search.worker.snapshot import Snapshot, keep, snapshot_of
from search.worker.spec import TrialSpec, decode, signature_of, training_seed
from search.worker.trial import Learning, learn

COPIES = 5
"""Of each weight, in a trial that waits: itself, its average, its best value, two moments."""

EXAMPLES_BYTES = 4_000_000
"""In a trial that waits: the plan of its epoch, and the pictures that are composed already."""

CHECKPOINT_EVERY_S = 3.0
"""Least time between two resume checkpoints of a trial. To write and sync one takes some 20 ms."""


class TrialRunner:
    """A trial from its claim to its end. Methods that write raise LeaseLost once another worker has it."""

    def __init__(
        self, context: WorkerContext, claim: Claim, active: ActiveTrial, check: Callable[[], None]
    ) -> None:
        self._context = context
        self._check = check
        self._learning: Learning | None = None
        """None while it has no memory: before it begins, and parked"""
        self._best: Point | None = None
        self._best_weights: Mapping[str, torch.Tensor] = {}
        self._best_answers: Answers | None = None
        """None also where the best weights are from a resume checkpoint: then it is unknown"""
        self._kept: Point | None = None
        """the best point whose fate is decided: its weights are kept, or were not worth it"""
        self._checkpoint_at = 0.0
        self._checkpoint_images = 0
        """images seen at the last resume checkpoint"""
        self._spent_s = 0.0
        self._since: float | None = None
        """when it was last taken up; None while it waits"""
        self.checkpoints = ResumeCheckpoints(context.artifacts.folder, active.origin)
        self.claim = claim
        self.active = active
        self.images = 0
        """training images seen"""

    @property
    def candidate(self) -> Candidate:
        """How it stands."""
        return Candidate(
            number=self.active.number,
            rung=self.images,
            score=0.0 if self._best is None else self._best.validation.accuracy,
            reference=self.active.reference is not None,
        )

    def advance(self, until: int) -> bool:
        """Trains to the first rung at or after `until` images; True when the trial ended.

        It ends complete at the end of its budget, or pruned where the study's pruner stops it, or before
        its first step where a confirmation has no use for it any more. Raises whatever training and `check`
        raise.
        """
        self._checkpoint_at = self._checkpoint_at or time.monotonic()
        self._since = time.monotonic()
        try:
            return self._advance(until)
        finally:
            self._spent_s, self._since = self.spent_s, None

    @property
    def spent_s(self) -> float:
        """Wall time in which this trial was trained; what it waited between rungs is left out."""
        return self._spent_s + (0.0 if self._since is None else time.monotonic() - self._since)

    def _advance(self, until: int) -> bool:
        if self._learning is None:
            if self.images == 0 and self._is_out():
                self.prune()
                return True
            self._learning = self._learn()
            self.active.note_parameters(self._learning.network.parameter_count)
        for step in self._learning.steps:
            if self._note(step.point):
                self._best_weights = snapshot_of(step.network).weights
                self._best_answers = step.answers
            hopeless = self._report(step.point)
            if self.images >= self._context.evaluations.total:
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
            if self.images >= until:
                self._keep()
                break
        return False

    def prune(self) -> None:
        """Ends the trial early; its best weights stay if they are among the study's best.

        They come first, as where it is complete: a worker that dies in between leaves a trial to repeat.
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
            self._best_weights = {}

    def rejoin(self, curve: Sequence[Point]) -> bool:
        """Takes in how far another worker has trained it; whether the resume checkpoint is here."""
        for point in curve:
            self._note(point)
        if self._best is None:
            return False
        self._kept = self._best  # by the other, before it was on offer
        self._spent_s = curve[-1].seconds
        checkpoint = self.checkpoints.newest(self._fingerprint)
        return checkpoint is not None and checkpoint.images == self.images

    @property
    def held_bytes(self) -> int:
        """Memory that it would give back if it were parked."""
        if self._learning is None:
            return 0
        return EXAMPLES_BYTES + 4 * COPIES * self._learning.network.parameter_count

    def park(self) -> None:
        """Writes a resume checkpoint and frees the memory; `advance` continues from there, bit for bit.

        For a trial that has just reached a rung. Raises OSError where there is no room.
        """
        if self._checkpoint_images < self.images:
            self.write_checkpoint()
        self.let_go()

    def let_go(self) -> None:
        """Frees its memory now: it knows `check`, which knows it, and such cycles wait for the collector."""
        self._learning = None
        self._best_weights = {}

    def write_checkpoint(self) -> None:
        """Writes a resume checkpoint, also between two reports. Raises OSError where there is no room.

        Not before its first report, which is near, nor where it is parked, which is on disk already.
        """
        if self._learning is None or self._best is None:
            return
        save = ResumeCheckpoint(
            trial_id=self.active.trial_id,
            images=self.images,
            state=self._learning.state(),
            best_images=self._best.images,
            best=self._best_weights,
        )
        self.checkpoints.write(save, self._learning.network, self._fingerprint)
        self._checkpoint_at = time.monotonic()
        self._checkpoint_images = self.images

    def _is_out(self) -> bool:
        """Whether other seeds have shown meanwhile that this candidate of a confirmation is out. Reads the
        trials of the confirmation."""
        confirming = self.active.confirming
        return confirming is not None and confirming.candidate in racing.in_vain(self._context.study.trials())

    @cached_property
    def _fingerprint(self) -> str:
        """Of all that the training depends on. A GPU's generator cannot continue on a CPU: a checkpoint is of
        the kind of device that it was made on."""
        context = self._context
        data = sorted(context.dataset.checksums.items())
        rungs, kind = context.evaluations.rungs, context.device.type
        everything = repr((FORMAT, self._spec, rungs, context.task.name, data, kind))
        if (
            self._spec.training.norm_images
        ):  # not in the repr: checkpoints of previous versions fit the others
            everything += f", norm_images={self._spec.training.norm_images}"
        return hashlib.sha256(everything.encode()).hexdigest()

    @cached_property
    def _spec(self) -> TrialSpec:
        settings = self.active.suggest()
        return decode(
            settings,
            images=self._context.evaluations.total,
            seed=training_seed(
                self._context.record.spec.seed, origin=self.active.origin, confirming=self.active.confirming
            ),
            precision=self._context.precision[str(settings["model"])],
            norm_images=self._context.record.spec.norm_images,
        )

    def _learn(self) -> Learning:
        context = self._context
        checkpoint = self._unparked() if self.images else None
        return learn(
            self._spec,
            context.task,
            context.dataset,
            rungs=context.evaluations.rungs,
            device=context.device,
            compositions=context.record.spec.compositions,
            check=self._check,
            resume=None if checkpoint is None else checkpoint.state,
        )

    def _unparked(self) -> ResumeCheckpoint | None:
        """Where this trial was parked. If that checkpoint is damaged, an earlier one, or none: then it
        trains, and reports, some of its way once more. A worker that was given up for gone, and was not, may
        have left a later one: then it continues from there, with that part of the curve."""
        checkpoint = self.checkpoints.newest(self._fingerprint)
        if checkpoint is None or checkpoint.images != self.images:
            self._best, self.images = None, 0
            return self._resumed()
        self._best_weights = dict(checkpoint.best)
        return checkpoint

    def _resumed(self) -> ResumeCheckpoint | None:
        """The checkpoint from which this trial continues; the curve up to there is then this trial's too."""
        checkpoint = self.checkpoints.newest(self._fingerprint)
        if checkpoint is None:
            return None
        curve = [
            p for p in self._context.storage.store.curve(checkpoint.trial_id) if p.images <= checkpoint.images
        ]
        if (
            not any(point.images == checkpoint.best_images for point in curve)
            or curve[-1].images != checkpoint.images
        ):
            return None  # the database does not know how it came there
        for point in curve:
            self._note(point)
            self._report(point)
        self._best_weights = dict(checkpoint.best)
        self._spent_s = max(self._spent_s, curve[-1].seconds)
        return checkpoint

    def _note(self, point: Point) -> bool:
        """Takes in where the trial stands; whether it has never been better."""
        self.images = point.images
        if self._best is not None and point.validation.accuracy <= self._best.validation.accuracy:
            return False
        self._best, self._best_answers = point, None
        return True

    def _report(self, point: Point) -> bool:
        """Tells the study; whether the trial is hopeless."""
        return self.active.report(point.images, self.candidate.score, point)

    def _keep(self) -> None:
        """Writes the best weights and notes them in the database, if they are among the study's best.

        What is not among the best now never will be. A waiting trial was decided when it came to its rung.
        """
        context, best = self._context, self._best
        if best is None or self._kept is best:
            return
        self._kept = best
        if not context.weights.worth_keeping(best.validation.accuracy):
            return
        keep(
            context.weights,
            Snapshot(
                config=self._spec.model, signature=signature_of(context.task), weights=self._best_weights
            ),
            task=context.task.name,
            number=self.active.number,
            trial_id=self.active.trial_id,
            point=best,
            precision=self._spec.training.precision,
            claim=self.claim,
            answers=self._best_answers,
        )
