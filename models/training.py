"""The one training loop: trains any network on any batches and yields a report at each milestone."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from time import perf_counter
from typing import Literal, Protocol, get_args

import torch
from torch import Tensor
from torch.nn import functional

from models.averaging import EVERY, Average
from models.capture import Captured, CudaGraph, Graph
from models.checks import choice, real, whole
from models.device import denormals_flushed
from models.layers import Dropout
from models.metrics import Metrics, Tally
from models.network import Network
from models.normalization import has_batch_norm, with_statistics_of
from models.optimizer import Optimizer, OptimizerConfig
from models.schedule import SCHEDULES, Schedule

Precision = Literal["float32", "bfloat16"]
Batch = tuple[Tensor, Tensor | None, Tensor]
"""image uint8 (B, C, H, W); number int64 (B,), or None; targets int64 (B, heads)."""

EVALUATION_BATCH = 128
"""Images at a time: small enough that a block's output stays in the cache. 1,000 images of 42×28
through conv 24-48-96 took 0.15 s in batches of 32, 0.17 of 128, 0.21 of 256 and 0.29 of 1,000; MLPs do not
care from 128 on."""

NORM_BATCH = 128
"""Images at a time where statistics of batch normalization are computed anew, on every device: the batches
are part of the result."""

NORM_UNTIL = 0.25
"""Share of a pass before which that is done. What `TrainingConfig.norm_images` means in studies that exist
depends on both: another value needs another setting."""

EVALUATION_BATCH_ON_GPU = 1000
"""The same on a GPU: there a batch costs its launches. Divides the validation and test sets."""


class TrainingData(Protocol):
    """What a training reads its batches from."""

    @property
    def examples(self) -> int:
        """Examples in one pass."""

    def batches(self, batch_size: int, *, start: int = 0) -> Iterator[Batch]:
        """An endless stream of full batches; `start`: examples of the stream that were seen before."""


class EvaluationData(Protocol):
    """What an evaluation reads its batches from. An image with K numbers counts as K examples."""

    @property
    def examples(self) -> int:
        """Examples in all."""

    def batches(self, batch_size: int) -> Iterator[Batch]:
        """Every example once; the last batch may be smaller.

        The number may be (B, K), the targets then (B*K, heads): batch_size is B*K there.
        """


class Diverged(ArithmeticError):
    """The loss is no longer a finite number; nothing that follows could be."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingConfig:
    """How to train. Raises InvalidConfig."""

    batch_size: int
    """Examples in a step."""
    images: int
    """Training examples seen over the whole run, repeated ones counted again; rounded up to whole batches."""
    optimizer: OptimizerConfig
    """Which optimizer."""
    schedule: Schedule = "constant"
    """Of the learning rate, over the whole run."""
    precision: Precision = "float32"
    """bfloat16: convolutions and matmuls in bfloat16, the weights stay float32; see
    models.device.bfloat16_pays."""
    label_smoothing: float = 0.0
    """Share of each target spread over all classes; 0: none. The metrics never have it."""
    averaging: float = 0.0
    """Share of the steps so far over which the weights are averaged before they are evaluated, below 1; 0:
    the weights as they are. See models.averaging.Average."""
    norm_images: int = field(default=0, repr=False)
    """The averaged weights are evaluated with batch-norm statistics computed from the last N training
    images, as augmented, where that happens before NORM_UNTIL of a pass; rounded up to whole batches of
    NORM_BATCH. 0: with the average of the statistics. Training continues with the average either way."""

    def __post_init__(self) -> None:
        whole("batch_size", self.batch_size, low=1)
        whole("images", self.images, low=1)
        choice("schedule", self.schedule, SCHEDULES)
        choice("precision", self.precision, get_args(Precision))
        real("label_smoothing", self.label_smoothing, low=0, below=1)
        real("averaging", self.averaging, low=0, below=1)
        whole("norm_images", self.norm_images, low=0)

    @property
    def steps(self) -> int:
        """Batches in the whole run."""
        return math.ceil(self.images / self.batch_size)


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """What is known at a milestone."""

    images: int
    """The milestone; the training stands at the first whole batch at or after it."""
    seconds: float
    """Spent inside the loop since the start of the run, evaluations included, also before an interruption."""
    training_seconds: float
    """The part of `seconds` without evaluations."""
    learning_rate: float
    """Of the step that comes next."""
    train: Metrics
    """Over the examples since the report before, in training mode (dropout on, weights moving)."""
    validation: Metrics
    """Of the evaluated network, in evaluation mode, on what the validation limit allows."""
    train_eval: Metrics | None = None
    """Of the same network, in evaluation mode, on the training sample; None: there is no sample."""


class Training:
    """A network on its way through a run.

    The same arguments give the same reports, bit for bit, on one machine with one number of threads.
    Randomness: the data bring their own order; dropout draws from a generator of this object, seeded with
    `seed`. Nothing here reads or moves torch's global stream.
    """

    def __init__(
        self,
        network: Network,
        training: TrainingData,
        validation: EvaluationData,
        config: TrainingConfig,
        *,
        seed: int,
        device: torch.device | str = "cpu",
        graph: Callable[[], Graph] | None = None,
        training_sample: EvaluationData | None = None,
    ) -> None:
        """graph: makes what steps are recorded in; None: a CUDA graph on CUDA, no recording elsewhere.
        training_sample: training examples, one to an image, on which each report evaluates the network
        besides."""
        self.device = torch.device(device)
        self.network = network.to(self.device)
        self.training = training
        self.validation = validation
        self.training_sample = training_sample
        self.config = config
        self.images = 0
        self.milestone = 0
        self.reported = 0
        """Images seen at the last report; `tally` holds what came since, or what that report told."""
        self.seconds = 0.0
        self.training_seconds = 0.0
        self.average = Average(self.network, config.averaging) if config.averaging else None
        self._renormalized: Network | None = None
        """The average with separate statistics, from an evaluation until training continues."""
        self.tally = Tally(network.signature, self.device)
        self.dropout = torch.Generator(self.device).manual_seed(seed)
        for module in network.modules():
            if isinstance(module, Dropout):
                module.generator = self.dropout
        if graph is None and self.device.type == "cuda":
            graph = partial(CudaGraph, [self.dropout])
        self._captured = None if graph is None else Captured(graph)
        self.optimizer = Optimizer(config.optimizer, self.network, captured=graph is not None)

    @property
    def eval_model(self) -> Network:
        """The network that validation sees and that is worth keeping: the average, once there is one.

        At a report it has the batch-norm statistics with which it was evaluated.
        """
        if self._renormalized is not None:
            return self._renormalized
        return self.average.network if self.average is not None and self.average.updates else self.network

    def reports(self, milestones: Sequence[int]) -> Iterator[Report]:
        """Trains, and reports at the first batch boundary at or after each milestone that lies ahead.

        milestones: training examples seen, increasing, none above the config's images. To prune, stop
        iterating. Raises ValueError on other milestones and Diverged on a loss that is not finite.
        """
        rising = all(a < b for a, b in zip([0, *milestones], milestones, strict=False))
        if not rising or max(milestones, default=0) > self.config.images:
            raise ValueError(
                f"milestones must be increasing and in 1..{self.config.images}, got {list(milestones)}"
            )
        batches = self.training.batches(self.config.batch_size, start=self.images)
        for milestone in [m for m in milestones if m > self.milestone]:
            began = perf_counter()
            self._renormalized = None
            try:
                with denormals_flushed():
                    self._train(batches, until=milestone)
                train = self.tally.metrics()
            finally:  # a stopped run has spent the time too
                trained = perf_counter()
                self.training_seconds += trained - began
                self.seconds += trained - began
            self._renormalize(milestone)
            validation = evaluate(self.eval_model, self.validation, precision=self.config.precision)
            train_eval = self._evaluated_on_training()
            self._require_finite(train.loss + validation.loss + (train_eval.loss if train_eval else 0.0))
            self.milestone = milestone
            self.reported = self.images
            self.seconds += perf_counter() - trained
            yield Report(
                images=milestone,
                seconds=self.seconds,
                training_seconds=self.training_seconds,
                learning_rate=self.learning_rate,
                train=train,
                validation=validation,
                train_eval=train_eval,
            )

    def _evaluated_on_training(self) -> Metrics | None:
        """The evaluated network on the training sample, in evaluation mode."""
        if self.training_sample is None:
            return None
        images = EVALUATION_BATCH if self.device.type == "cpu" else EVALUATION_BATCH_ON_GPU
        return evaluate(
            self.eval_model, self.training_sample, batch_size=images, precision=self.config.precision
        )

    def _train(self, batches: Iterator[Batch], *, until: int) -> None:
        """Steps until `until` examples have been seen; the metrics of the last stretch stay if they have."""
        if self.images >= until:
            return
        if self.images == self.reported:
            self.tally.reset()
        self.network.train()
        while self.images < until:
            image, number, targets = to_device(next(batches), self.device)
            self.optimizer.set_lr(self.learning_rate)
            if self._captured is None:
                logits = self._step(image, number, targets)
            else:
                logits = self._captured(self._step, image, number, targets)
            self.images += self.config.batch_size
            if self.average is not None and self._steps % EVERY == 0:
                self.average.update()
            # Reading the loss waits for the device: only with the bulk count, every 50 small batches.
            if self.tally.add(logits, targets):
                self._require_finite(float(self.tally.sums.sum()))

    def _renormalize(self, milestone: int) -> None:
        """Gives the evaluated network its statistics, where the config asks for them at this milestone.

        So early the average spans weights that differ much, and the average of their statistics is not the
        statistics of the averaged weights (docs/decisions/028). They are kept apart: what training continues
        with and saves is untouched, and the images are read from the stream by their place, so that the same
        training, interrupted or not, evaluates the same network.
        """
        wanted = math.ceil(self.config.norm_images / NORM_BATCH)
        average = self.average
        if not wanted or average is None or not average.updates or not has_batch_norm(average.network):
            return
        if milestone >= NORM_UNTIL * self.training.examples:
            return
        stream = self.training.batches(NORM_BATCH, start=max(0, self.images - wanted * NORM_BATCH))
        images = (image.to(self.device, non_blocking=True) for image, _, _ in islice(stream, wanted))
        with precision_context(self.config.precision, self.device):
            self._renormalized = with_statistics_of(images, average.network)

    def _step(self, image: Tensor, number: Tensor | None, targets: Tensor) -> Tensor:
        """One step at the learning rate that is set; the logits before it."""
        with precision_context(self.config.precision, self.device):
            logits = self.network.logits(image, number)
        self._loss(logits, targets).backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        self.optimizer.zero_grad()
        return logits

    def _loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Mean of the heads' cross-entropies, () float32."""
        classes, smoothing = self.network.signature.classes, self.config.label_smoothing
        logits = logits.float()
        if len(set(classes)) == 1:  # heads of one size are one call: 0.69 against 0.79 ms a step, MLP 64
            rows = logits.reshape(-1, classes[0])
            return functional.cross_entropy(rows, targets.flatten(), label_smoothing=smoothing)
        losses = [
            functional.cross_entropy(head, target, label_smoothing=smoothing)
            for head, target in zip(torch.split(logits, list(classes), dim=1), targets.unbind(1), strict=True)
        ]
        return torch.stack(losses).mean()

    @property
    def learning_rate(self) -> float:
        """Of the next step."""
        multiplier = SCHEDULES[self.config.schedule](self._steps / self.config.steps)
        return self.config.optimizer.lr * multiplier

    @property
    def _steps(self) -> int:
        """Done so far."""
        return self.images // self.config.batch_size

    def _require_finite(self, loss: float) -> None:
        if not math.isfinite(loss):
            raise Diverged(
                f"the loss is {loss} after {self.images} images with {self.config.optimizer.name}, "
                f"lr={self.config.optimizer.lr:g}"
            )

    def state_dict(self) -> dict[str, Tensor]:
        """Contiguous CPU copies of everything that a new object needs to continue bit for bit.

        At a report or between two batches.
        """
        self.tally.count()
        state = {f"network.{name}": tensor for name, tensor in self.network.state_dict().items()}
        state |= {f"optimizer.{name}": tensor for name, tensor in self.optimizer.state_dict().items()}
        if self.average is not None:
            state |= {f"average.{name}": tensor for name, tensor in self.average.state_dict().items()}
        state |= {
            "training.position": torch.tensor([self.images, self.milestone, self.reported]),
            "training.seconds": torch.tensor([self.seconds, self.training_seconds], dtype=torch.float64),
            "training.tally": self.tally.sums,
            "training.dropout": self.dropout.get_state(),
        }
        return {
            name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
            for name, tensor in state.items()
        }

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Continues where `state` was taken. Raises KeyError or RuntimeError for one of another network."""
        self.network.load_state_dict(_under("network.", state))
        self.optimizer.load_state_dict(_under("optimizer.", state))
        if self.average is not None:
            self.average.load_state_dict(_under("average.", state))
        self._renormalized = None
        self.images, self.milestone, self.reported = state["training.position"].tolist()
        self.seconds, self.training_seconds = state["training.seconds"].tolist()
        self.tally.reset()
        self.tally.sums.copy_(state["training.tally"])
        self.dropout.set_state(state["training.dropout"])


def evaluate(
    network: Network,
    data: EvaluationData,
    *,
    batch_size: int | None = None,
    precision: Precision = "float32",
) -> Metrics:
    """The network's metrics on the data, in evaluation mode, with what is right of each example.

    batch_size: examples at a time; None: EVALUATION_BATCH images, or as many as a GPU takes, each with
    every number there is.
    Leaves the network in the mode in which it was. Raises ValueError where the data hold no example.
    """
    device = network.first.weight.device
    tally = Tally(network.signature, device, keep_answers=True)
    images = EVALUATION_BATCH if device.type == "cpu" else EVALUATION_BATCH_ON_GPU
    default = images * max(1, network.signature.numbers)
    was_training = network.training
    network.eval()
    try:
        with torch.inference_mode(), precision_context(precision, device):
            for batch in data.batches(batch_size or default):
                image, number, targets = to_device(batch, device)
                tally.add(network.logits(image, number), targets)
            return tally.metrics()
    finally:
        network.train(was_training)


def precision_context(precision: Precision, device: torch.device) -> AbstractContextManager[object]:
    """In which a forward pass runs at that precision; may be entered repeatedly."""
    if precision == "float32":
        return nullcontext()
    return torch.autocast(device.type, torch.bfloat16)


def to_device(batch: Batch, device: torch.device) -> Batch:
    """The batch on the device, without waiting for the copies."""
    image, number, targets = batch
    if device.type == "cpu":
        return batch
    moved = None if number is None else number.to(device, non_blocking=True)
    return image.to(device, non_blocking=True), moved, targets.to(device, non_blocking=True)


def _under(prefix: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}
