"""One network learns: the place where data and models meet."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from data.datasets.base import OpenDataset, Split
from data.tasks.base import Batch, Task
from data.tasks.stream import EndlessStream
from models.metrics import Metrics, balanced_accuracy, macro_f1
from models.network import Network, build
from models.training import Report as TrainingReport
from models.training import Training
from search.heads import head_report
from search.objectives.network.decoding import TrialSpec, signature_of
from search.records import ACCURACY, Answers, HeadScore, Metric, Report, Scores
from search.seeds import derive


@dataclass(frozen=True, kw_only=True, slots=True)
class Checked:
    """A training stream that asks, before every batch, whether to continue.

    `check` ends the trial by raising: for a signal, a lost lease or a spent time limit. This way the
    training loop needs no callbacks and still stops within one step.
    """

    stream: EndlessStream
    check: Callable[[], None]

    @property
    def examples(self) -> int:
        """As in the stream."""
        return self.stream.examples

    def batches(self, batch_size: int, *, start: int = 0) -> Iterator[Batch]:
        """As in the stream."""
        for batch in self.stream.batches(batch_size, start=start):
            self.check()
            yield batch


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """A moment of training at which a trial can be judged."""

    report: Report
    network: Network
    """with the weights that were evaluated; training continues and changes them"""
    answers: Answers
    """of these weights on validation"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Learning:
    """A trial in training. It trains while `steps` is asked for the next one."""

    steps: Iterator[Step]
    network: Network
    """what is trained"""
    state: Callable[[], dict[str, Tensor]]
    """copies of all that `learn` needs to continue from here, as of the call: between any two batches"""


def learn(
    spec: TrialSpec,
    task: Task,
    dataset: OpenDataset,
    *,
    rungs: Sequence[int],
    device: torch.device,
    compositions: int = 0,
    evaluates_training: bool = False,
    metric: Metric = ACCURACY,
    check: Callable[[], None] = lambda: None,
    resume: Mapping[str, Tensor] | None = None,
) -> Learning:
    """A trial that stops at every rung (training images seen) that lies ahead.

    From the start, or from where a Learning's `state` was taken, which must be of the same spec and kind of
    device: the steps to come are then the same, bit for bit, as without the interruption. compositions: of
    the validation set, as the study has them. evaluates_training: each report is also of the task's training
    sample. metric: the one that the search optimizes.

    Its steps raise Diverged for a loss that is not finite, and whatever `check` raises.
    """
    network = build(spec.model, signature_of(task), seed=derive(spec.seed, "weights")).to(device)
    stream = task.training(
        dataset, augmentation=spec.augmentation, seed=derive(spec.seed, "examples"), device=device
    )
    training = Training(
        network,
        Checked(stream=stream, check=check),
        task.validation(dataset, device=device, compositions=compositions),
        spec.training,
        seed=derive(spec.seed, "dropout"),
        device=device,
        training_sample=task.training_sample(dataset, device=device) if evaluates_training else None,
    )
    if resume is not None:
        training.load_state_dict(resume)
    return Learning(
        steps=_steps(training, rungs, metric, by_class=task.by_class),
        network=network,
        state=training.state_dict,
    )


def _steps(training: Training, rungs: Sequence[int], metric: Metric, *, by_class: bool) -> Iterator[Step]:
    for found in training.reports(rungs):
        yield Step(
            report=report_of(found, metric, by_class=by_class),
            network=training.eval_model,
            answers=answers_of(found.validation, Split.VALIDATION),
        )


def report_of(found: TrainingReport, metric: Metric = ACCURACY, *, by_class: bool = False) -> Report:
    """A report of the training engine as a record. metric: the one that the search optimizes. by_class: as in
    `scores_of`, of validation."""
    return head_report(
        step=found.images,
        seconds=found.seconds,
        learning_rate=found.learning_rate,
        train=scores_of(found.train),
        validation=scores_of(found.validation, by_class=by_class),
        train_eval=None if found.train_eval is None else scores_of(found.train_eval),
        metric=metric,
    )


def answers_of(metrics: Metrics, split: Split) -> Answers:
    """What an evaluation found right and wrong, as a record."""
    assert metrics.right is not None, "an evaluation keeps it"
    by_head = dict(zip(metrics.heads, metrics.right.unbind(1), strict=True))
    return Answers(
        split=split.value,
        examples=len(metrics.right),
        heads={name: np.packbits(right.numpy()).tobytes() for name, right in by_head.items()},
    )


def scores_of(metrics: Metrics, *, by_class: bool = False) -> Scores:
    """Metrics of the training engine as a record. by_class: with the means over the classes, which an
    evaluation knows."""
    heads = {
        name: HeadScore(
            loss=head.loss, accuracy=head.accuracy, **(_by_class(metrics, name) if by_class else {})
        )
        for name, head in metrics.heads.items()
    }
    return Scores(heads=heads, joint=metrics.joint)


def _by_class(metrics: Metrics, head: str) -> dict[str, float]:
    assert metrics.confusion is not None, "an evaluation keeps it"
    confusion = metrics.confusion[head]
    return {"balanced_accuracy": balanced_accuracy(confusion), "macro_f1": macro_f1(confusion)}
