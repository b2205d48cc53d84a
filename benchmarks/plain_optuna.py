"""The script that one writes by hand: Optuna and PyTorch on twodigit, in one process, without tune's engine.

benchmarks/versus_plain.py races it against `tune run`. The shape is that of pytorch_simple.py in
optuna/optuna-examples: a DataLoader over single examples, an nn.Module made of what the trial suggests, TPE,
the median pruner, a report on the whole of validation after each of ten epochs, study.optimize with torch's
default threads. Images, splits, search space and the published networks that open the study are tune's own,
so that they cannot drift apart; the use of a trial's settings is written here:

- Pairs that are the same every epoch and never move are composed and normalized once. Others are composed
  one by one when the DataLoader asks, fresh ones of two digits drawn independently.
- Layers, dropout and optimizers are torch's with torch's defaults; weight decay is for all parameters.
- tune's averaging of weights is left out: it belongs to the engine that is measured. So is its distortion of
  digits, which would cost this loop dear. A setting that this script has never heard of ends it at once.
- A loss that is not finite fails the trial. The time limit ends a trial between two batches; that trial
  counts for nothing.

With --events each epoch and each finished trial becomes a line of JSON; t is in seconds since this process
began, imports included. An epoch that is the best so far, by its mean or by its worse head, has the
accuracies on other pairs of the validation digits in its line too: nothing is chosen by them, and the clock
stands still meanwhile. The test split is not touched.

    python benchmarks/plain_optuna.py --seconds 600
"""
# ruff: noqa: E402 - the clock starts before torch is imported, because a user waits for that too

import time

BEGAN = time.monotonic()

import argparse
import contextlib
import itertools
import json
import math
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import optuna
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset, TensorDataset

from data.datasets.base import Split
from data.datasets.mnist import MNIST, Mnist, load
from data.tasks.base import Augmentation, Batch, Pairing
from data.tasks.digits import digits_of
from data.tasks.twodigit import TwoDigit
from models.conv import ConvConfig
from models.layers import activation
from models.network import ModelConfig
from models.optimizer import OptimizerConfig
from models.schedule import SCHEDULES
from search.objectives.network.decoding import decode
from search.space.defaults import default_space
from search.study.suggest import split_reference, suggest

TASK = TwoDigit()
(MNIST_MEAN,), (MNIST_STD,) = MNIST.mean, MNIST.deviation
LOWER_BY = TASK.digit_rows[1]
HEADS = [head.name for head in TASK.heads]
SPACE = default_space()
FOLLOWED = {
    *("model", "optimizer", "lr", "momentum", "weight_decay", "schedule", "batch_size", "label_smoothing"),
    *("pairing", "shift", "activation", "dropout", "depth", "width", "taper", "blocks", "channels", "growth"),
    *("divisor", "kernel", "padding", "batch_norm", "hidden", "hidden_layers", "hidden_taper"),
    *("hidden_activation", "stem", "convolutions"),
}
LEFT_OUT = {"averaging", "affine", "number_width"}
"""The engine's own averaging; distortion, which costs a loop that reads one example at a time dear and pays
only in long trainings; and a setting that means nothing on twodigit."""


class TimeIsUp(Exception):
    """Ends the search in the middle of a trial."""


class Diverged(Exception):
    """The loss is no number any more."""


class Clock:
    """Seconds since the process began, without those in which it stood still."""

    def __init__(self) -> None:
        self._still = 0.0

    @property
    def seconds(self) -> float:
        return time.monotonic() - BEGAN - self._still

    @contextlib.contextmanager
    def standing_still(self) -> Iterator[None]:
        since = time.monotonic()
        yield
        self._still += time.monotonic() - since


class TwoHeads(nn.Module):
    """The network that a trial asks for: (N, 1, 42, 28) -> logits of both digits, each (N, 10)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        hidden_activation = True
        if isinstance(config, ConvConfig):
            hidden_activation = config.hidden_activation
            changes = itertools.pairwise([1, *config.block_channels])
            for (before, after), convolutions in zip(changes, config.block_convolutions, strict=True):
                for incoming in [before, *[after] * (convolutions - 1)]:
                    layers.append(nn.Conv2d(incoming, after, config.kernel, padding=config.padding))
                    layers += [nn.BatchNorm2d(after)] if config.batch_norm else []
                    layers.append(activation(config.activation))
                layers.append(nn.MaxPool2d(2))
        layers.append(nn.Flatten())
        features = nn.Sequential(*layers)(torch.zeros(2, *TASK.image_shape)).shape[1]
        for before, after in itertools.pairwise([features, *config.widths]):
            layers.append(nn.Linear(before, after))
            layers += [activation(config.activation)] if hidden_activation else []
            layers.append(nn.Dropout(config.dropout))
        self.body = nn.Sequential(*layers)
        self.heads = nn.ModuleList(nn.Linear(config.widths[-1], head.classes) for head in TASK.heads)

    def forward(self, image: Tensor) -> list[Tensor]:
        x = self.body(image)
        return [head(x) for head in self.heads]


def define_optimizer(config: OptimizerConfig, model: nn.Module) -> torch.optim.Optimizer:
    """The optimizer that a trial asks for."""
    if config.name in ("sgd", "nesterov"):
        return torch.optim.SGD(
            model.parameters(),
            lr=config.lr,
            momentum=config.momentum,
            weight_decay=config.weight_decay,
            nesterov=config.name == "nesterov",
        )
    adam = torch.optim.Adam if config.name == "adam" else torch.optim.AdamW
    betas = (config.momentum, 0.999)
    return adam(model.parameters(), lr=config.lr, betas=betas, weight_decay=config.weight_decay)


Example = tuple[Tensor, ...]
"""An image float32 (1, 42, 28) and both digits int64 (2,); in a batch, N of each."""


def normalized(images: Tensor) -> Tensor:
    """uint8 0..255 -> float32."""
    return (images / 255 - MNIST_MEAN) / MNIST_STD


def ready_made(batch: Batch) -> TensorDataset:
    """Examples that never change."""
    return TensorDataset(normalized(batch.image), batch.targets)


class Composed(Dataset[Example]):
    """Two digits on one canvas, each moved by up to `shift` pixels, put together when asked for."""

    def __init__(self, digits: Tensor, labels: Tensor, pairs: Tensor | None, shift: int) -> None:
        """digits: normalized, (D, 28, 28); pairs: int64 (N, 2), or None for fresh ones."""
        background = -MNIST_MEAN / MNIST_STD
        self.digits = functional.pad(digits, (shift,) * 4, value=background)
        self.canvas = torch.full(TASK.image_shape, background)
        self.labels, self.pairs, self.shift = labels, pairs, shift

    def __len__(self) -> int:
        return TASK.epoch_examples

    def __getitem__(self, index: int) -> Example:
        pair = torch.randint(len(self.digits), (2,)) if self.pairs is None else self.pairs[index]
        first, second = (self.moved(digit) for digit in pair.tolist())
        canvas = self.canvas.clone()
        canvas[0, :28] = first
        canvas[0, LOWER_BY:] = torch.maximum(canvas[0, LOWER_BY:], second)
        return canvas, self.labels[pair]

    def moved(self, digit: int) -> Tensor:
        if not self.shift:
            return self.digits[digit]
        top, left = torch.randint(2 * self.shift + 1, (2,)).tolist()
        return self.digits[digit, top : top + 28, left : left + 28]


class Images:
    """What is trained and judged on, made once for all trials."""

    def __init__(self, mnist: Mnist) -> None:
        train = digits_of(mnist, Split.TRAIN)
        self.digits, self.labels = normalized(train.images), train.labels
        self.pairs = torch.tensor(TASK.fixed_places(Split.TRAIN))
        stream = TASK.training(mnist, augmentation=Augmentation(), seed=0)
        self.fixed = ready_made(next(stream.batches(stream.examples)))
        validation = TASK.validation(mnist)
        self.validation = ready_made(next(validation.batches(validation.examples)))

    def training(self, wanted: Augmentation) -> Dataset[Example]:
        """The examples of one trial."""
        if wanted == Augmentation():
            return self.fixed
        pairs = self.pairs if wanted.pairing is Pairing.FIXED else None
        return Composed(self.digits, self.labels, pairs, wanted.shift)


def accuracies(model: nn.Module, examples: TensorDataset) -> list[float]:
    """Of each head, over all examples."""
    hits = torch.zeros(len(HEADS), dtype=torch.int64)
    model.eval()
    with torch.no_grad():
        for image, targets in DataLoader(examples, batch_size=500):
            predicted = torch.stack([logits.argmax(1) for logits in model(image)], dim=1)
            hits += (predicted == targets).sum(0)
    return [count / len(examples) for count in hits.tolist()]


class Objective:
    """Trains one trial after the other."""

    def __init__(self, *, clock: Clock, epochs: int, seconds: float, events: TextIO | None) -> None:
        self.clock, self.epochs, self.seconds, self.events = clock, epochs, seconds, events
        mnist = load()
        self.images = Images(mnist)
        with clock.standing_still():
            others = TASK.validation(mnist, compositions=TASK.compositions)
            self.other_pairs = ready_made(next(others.batches(others.examples)))
        self.best_mean = self.best_worse_head = 0.0

    def __call__(self, trial: optuna.Trial) -> float:
        settings = suggest(trial, SPACE, trial.user_attrs.get("outside_the_space", {}))
        spec = decode(settings, images=self.epochs * TASK.epoch_examples, seed=0, precision="float32")
        training, smoothing = spec.training, spec.training.label_smoothing
        model = TwoHeads(spec.model)
        optimizer = define_optimizer(training.optimizer, model)
        examples = self.images.training(spec.augmentation)
        loader = DataLoader(examples, batch_size=training.batch_size, shuffle=True)
        multiplier, steps = SCHEDULES[training.schedule], self.epochs * len(loader)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: multiplier(step / steps))
        mean = 0.0
        for epoch in range(1, self.epochs + 1):
            model.train()
            for image, targets in loader:
                if self.clock.seconds > self.seconds:
                    raise TimeIsUp
                optimizer.zero_grad()
                loss = torch.zeros(())
                for logits, target in zip(model(image), targets.unbind(1), strict=True):
                    loss = loss + functional.cross_entropy(logits, target, label_smoothing=smoothing)
                loss = loss / len(HEADS)
                if not math.isfinite(loss.item()):
                    raise Diverged(f"in epoch {epoch}")
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                schedule.step()
            mean = self.judge(trial.number, epoch, model)
            trial.report(mean, epoch)
            if trial.should_prune():
                raise optuna.TrialPruned
        return mean

    def judge(self, trial: int, epoch: int, model: nn.Module) -> float:
        """Mean of the heads' accuracies on validation."""
        on_validation = accuracies(model, self.images.validation)
        line: dict[str, object] = {"t": self.clock.seconds, "trial": trial, "epoch": epoch}
        line |= zip(HEADS, on_validation, strict=True)
        mean, worse_head = sum(on_validation) / len(HEADS), min(on_validation)
        if mean > self.best_mean or worse_head > self.best_worse_head:
            with self.clock.standing_still():
                on_others = accuracies(model, self.other_pairs)
            line |= zip((f"other_pairs_{name}" for name in HEADS), on_others, strict=True)
        self.best_mean = max(self.best_mean, mean)
        self.best_worse_head = max(self.best_worse_head, worse_head)
        self.log(line)
        return mean

    def finished(self, _study: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
        """A callback of study.optimize."""
        self.log({"t": self.clock.seconds, "trial": trial.number, "state": trial.state.name.lower()})

    def log(self, line: dict[str, object]) -> None:
        if self.events is not None:
            print(json.dumps(line), file=self.events, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seconds", type=float, default=3600, help="time limit, start-up included")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--storage", help="database URL; default: SQLite in a new temporary folder")
    parser.add_argument("--events", type=argparse.FileType("w"), metavar="FILE", help="JSON lines go here")
    arguments = parser.parse_args()
    if unknown := SPACE.domains.keys() - FOLLOWED - LEFT_OUT:
        raise SystemExit(f"tune's space has settings that this script does not follow: {', '.join(unknown)}")
    torch.manual_seed(arguments.seed)
    objective = Objective(
        clock=Clock(), epochs=arguments.epochs, seconds=arguments.seconds, events=arguments.events
    )
    study = optuna.create_study(
        storage=arguments.storage or f"sqlite:///{Path(tempfile.mkdtemp()) / 'plain.db'}",
        sampler=optuna.samplers.TPESampler(seed=arguments.seed),
        pruner=optuna.pruners.MedianPruner(),
        direction="maximize",
    )
    for reference in TASK.references.values():
        inside, outside = split_reference(reference, SPACE)
        study.enqueue_trial(inside, user_attrs={"outside_the_space": outside})
    with contextlib.suppress(TimeIsUp):
        study.optimize(objective, catch=Diverged, callbacks=[objective.finished])
    print(f"{len(study.trials)} trials begun, best epoch {objective.best_mean:.2%} on validation")


if __name__ == "__main__":
    main()
