"""One trial in a worker's hands: trained rung by rung until it is complete or somebody ends it.
Knows nothing of the worker's other trials. Between two rungs it lies in memory and costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch

from models.checkpoint import network_tensors, save_checkpoint
from models.training import Precision
from search.records import CheckpointRecord, Claim
from search.seeds import derive
from search.study.promotion import Candidate
from search.study.study import Asked
from search.work.ground import Ground
from search.work.spec import decode
from search.work.trial import Step, learn


class Attempt:
    """A trial from its claim to its end. What writes raises LeaseLost once the trial is another worker's."""

    def __init__(self, ground: Ground, claim: Claim, asked: Asked, check: Callable[[], None]) -> None:
        self._ground = ground
        self._check = check
        self._steps: Iterator[Step] | None = None
        self._best: Step | None = None
        self._best_weights: dict[str, torch.Tensor] = {}
        self._precision: Precision = "float32"
        self.claim = claim
        self.asked = asked
        self.images = 0
        """training images seen"""

    @property
    def candidate(self) -> Candidate:
        """How it stands."""
        return Candidate(
            number=self.asked.number,
            rung=self.images,
            score=0.0 if self._best is None else _score(self._best),
            reference=self.asked.reference is not None,
        )

    def advance(self, until: int) -> bool:
        """Trains to the first point of the ladder at or after `until` images; True when the trial ended.

        It ends complete at the end of its budget, or pruned where the study's pruner stops it. Raises
        whatever training and `check` raise.
        """
        if self._steps is None:
            self._steps = self._learn()
        for step in self._steps:
            self._note(step)
            assert self._best is not None
            hopeless = self.asked.report(self.images, _score(self._best), step.point)
            if self.images >= self._ground.ladder.total:
                self._keep()
                self.asked.complete(_score(self._best))
                self._ground.storage.store.settle(self.claim)
                return True
            # A reference shows what the study gained over its sources: it is always trained to the end.
            if hopeless and self.asked.reference is None:
                self.prune()
                return True
            self._check()
            if self.images >= until:
                break
        self._keep()
        return False

    def prune(self) -> None:
        """Ends the trial early; its best weights stay if they are among the study's best."""
        self.asked.prune()
        self._ground.storage.store.settle(self.claim)

    def _learn(self) -> Iterator[Step]:
        ground = self._ground
        settings = self.asked.draw()
        self._precision = ground.precision[str(settings["model"])]
        spec = decode(
            settings,
            images=ground.ladder.total,
            seed=derive(ground.record.spec.seed, "trial", self.asked.origin),
            precision=self._precision,
        )
        rungs = ground.ladder.rungs
        return learn(spec, ground.task, ground.mnist, rungs=rungs, device=ground.device, check=self._check)

    def _note(self, step: Step) -> None:
        if self._best is None:
            self.asked.note_parameters(step.network.parameter_count)
        self.images = step.point.images
        if self._best is None or _score(step) > _score(self._best):
            self._best = step
            self._best_weights = {
                name: tensor.clone() for name, tensor in network_tensors(step.network).items()
            }

    def _keep(self) -> None:
        """Writes the best weights and notes them in the database, if they are among the study's best.

        They are forgotten in any case: what is not among the best now never will be.
        """
        ground, best = self._ground, self._best
        assert best is not None, "a ladder has at least one rung"
        weights, self._best_weights = self._best_weights, {}
        if not weights or not ground.artifacts.worth_keeping(ground.storage.store, _score(best)):
            return
        path = ground.artifacts.checkpoint(self.asked.number)
        path.parent.mkdir(parents=True, exist_ok=True)
        digest = save_checkpoint(
            path,
            config=best.network.config,
            signature=best.network.signature,
            tensors=weights,
            metadata={
                "task": ground.task.name,
                "study": ground.study.name,
                "trial": str(self.asked.number),
                "images": str(best.point.images),
                "precision": self._precision,
            },
        )
        record = CheckpointRecord(
            trial_id=self.asked.trial_id,
            path=str(path.relative_to(ground.artifacts.root)),
            sha256=digest,
            score=_score(best),
            images=best.point.images,
            bytes=path.stat().st_size,
        )
        ground.storage.store.add_checkpoint(ground.study.study_id, record)


def _score(step: Step) -> float:
    return step.point.validation.accuracy
