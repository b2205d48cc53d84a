"""How fast the training engine is, against the loop that most people write. Prints a Markdown table.

The usual loop: DataLoader over a Dataset of single examples (already normalized float32, which spares it
work), conv -> norm -> activation -> pool, one-hot and concatenation, a linear layer and a cross-entropy for
each head, torch.optim with its defaults, running loss and hits. Both see the same network, batch size and
optimizer.

On one thread the two take short turns in one process, timed in CPU seconds, because neighbors on the
machine cost wall time and not work. Then the usual loop runs on all threads, in wall time, where neighbors
do count against it. Ours trains as a search does: weights averaged, and bfloat16 where models.device finds
that it pays; the usual loop has float32.

    python benchmarks/engine.py --seconds 120
"""

import argparse
import itertools
import os
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset
from torch.utils.flop_counter import FlopCounterMode

from data.datasets.mnist import MNIST
from data.tasks.registry import TASKS
from models.conv import ConvConfig
from models.device import bfloat16_pays, choose_device, describe
from models.layers import activation
from models.mlp import MLPConfig
from models.network import ModelConfig, Network, Signature, build, family_of
from models.optimizer import OptimizerConfig
from models.training import Batch, Precision, Training, TrainingConfig
from search.objectives.network.decoding import decode

(MNIST_MEAN,), (MNIST_STD,) = MNIST.mean, MNIST.deviation
TWODIGIT = Signature(image=(1, 42, 28), heads=(("first_digit", 10), ("second_digit", 10)))
SUM = Signature(image=(1, 28, 28), numbers=10, heads=(("digit", 10), ("sum", 19)))
ADAMW = OptimizerConfig(name="adamw", weight_decay=0.01)
LARGER: dict[str, ModelConfig] = {
    "mlp 512-512": MLPConfig(depth=2, width=512),
    "conv 32-64-fc128 bn": ConvConfig(blocks=2, channels=32, batch_norm=True),
    "conv 24-48-96 bn": ConvConfig(blocks=3, channels=24, padding="same", batch_norm=True),
    "conv 24-48-96 bn, two": ConvConfig(
        blocks=3, convolutions=2, channels=24, padding="same", batch_norm=True
    ),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Reference:
    """A network and its training, at a constant learning rate."""

    model: ModelConfig
    optimizer: OptimizerConfig
    batch_size: int


def reference(task: str, name: str) -> Reference:
    """A published one."""
    spec = decode(TASKS[task].references[name], images=1, seed=0, precision="float32")
    training = spec.training
    return Reference(model=spec.model, optimizer=training.optimizer, batch_size=training.batch_size)


NETWORKS: dict[str, tuple[Reference, Signature]] = {
    "course-mlp": (reference("twodigit", "course-mlp"), TWODIGIT),
    "course-conv": (reference("twodigit", "course-conv"), TWODIGIT),
    "assignment-conv": (reference("sum", "assignment-conv"), SUM),
    **{n: (Reference(model=m, optimizer=ADAMW, batch_size=64), TWODIGIT) for n, m in LARGER.items()},
}

Contender = Callable[[int], object]
"""Trains the given number of steps."""


class Synthetic:
    """Random images in memory, in a new order every pass."""

    examples = 6_400

    def __init__(self, signature: Signature) -> None:
        draw = torch.Generator().manual_seed(0)
        n, heads = self.examples, len(signature.heads)
        self.image = torch.randint(0, 256, (n, *signature.image), dtype=torch.uint8, generator=draw)
        self.number = torch.randint(0, max(1, signature.numbers), (n,), generator=draw)
        self.targets = torch.randint(0, 10, (n, heads), generator=draw)
        self.numbered = bool(signature.numbers)

    def batches(self, batch_size: int, *, start: int = 0) -> Iterator[Batch]:
        draw = torch.Generator().manual_seed(1)
        while True:
            for rows in torch.split(torch.randperm(self.examples, generator=draw), batch_size):
                yield self.image[rows], self.number[rows] if self.numbered else None, self.targets[rows]


@dataclass(frozen=True)
class OneExample:
    """The evaluation that ends a turn: as little as can be."""

    batch: Batch
    examples = 1

    def batches(self, batch_size: int) -> Iterator[Batch]:
        yield self.batch


def ours(reference: Reference, signature: Signature, precision: Precision) -> Contender:
    """The engine of this repository, with the average of weights that searched trials have."""
    config = TrainingConfig(
        batch_size=reference.batch_size,
        images=reference.batch_size * 10**6,
        optimizer=reference.optimizer,
        precision=precision,
        averaging=0.1,
    )
    data = Synthetic(signature)
    network = build(reference.model, signature, seed=0)
    training = Training(network, data, OneExample(next(data.batches(1))), config, seed=0)

    def run(steps: int) -> None:
        milestone = training.images + steps * reference.batch_size
        next(training.reports([milestone]))

    return run


class Examples(Dataset[tuple[Tensor, Tensor, Tensor]]):
    """One example at a time, as in every tutorial."""

    def __init__(self, signature: Signature) -> None:
        data = Synthetic(signature)
        self.image = (data.image / 255 - MNIST_MEAN) / MNIST_STD
        self.number, self.targets = data.number, data.targets

    def __len__(self) -> int:
        return len(self.image)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor, Tensor]:
        return self.image[index], self.number[index], self.targets[index]


class Plain(nn.Module):
    """The same network, written the usual way."""

    def __init__(self, config: ModelConfig, signature: Signature) -> None:
        super().__init__()
        self.numbers = signature.numbers
        self.backbone, act = nn.Sequential(), config.activation
        self.number: nn.Module = nn.Identity()
        extra, hidden_act = signature.numbers, True
        if isinstance(config, ConvConfig):
            hidden_act = config.hidden_activation
            changes = itertools.pairwise((signature.image[0], *config.block_channels))
            for (incoming, channels), convolutions in zip(changes, config.block_convolutions, strict=True):
                padding = config.kernel // 2 if config.padding == "same" else 0
                for before in [incoming, *[channels] * (convolutions - 1)]:
                    self.backbone.append(nn.Conv2d(before, channels, config.kernel, padding=padding))
                    self.backbone.extend([nn.BatchNorm2d(channels)] if config.batch_norm else [])
                    self.backbone.append(activation(act))
                self.backbone.append(nn.MaxPool2d(2))
            if extra and config.number_width:
                self.number = nn.Sequential(nn.Linear(extra, config.number_width), activation(act))
                extra = config.number_width
        self.backbone.append(nn.Flatten())
        incoming = self.backbone(torch.zeros(1, *signature.image)).shape[1] + extra
        self.hidden = nn.Sequential()
        for width in config.widths:
            self.hidden.append(nn.Linear(incoming, width))
            self.hidden.extend([activation(act)] if hidden_act else [])
            self.hidden.extend([nn.Dropout(config.dropout)] if config.dropout else [])
            incoming = width
        self.heads = nn.ModuleList(nn.Linear(incoming, classes) for classes in signature.classes)

    def forward(self, image: Tensor, number: Tensor) -> list[Tensor]:
        x = self.backbone(image)
        if self.numbers:
            x = torch.cat([x, self.number(functional.one_hot(number, self.numbers).float())], dim=1)
        x = self.hidden(x)
        return [head(x) for head in self.heads]


def usual(reference: Reference, signature: Signature) -> Contender:
    """The loop that most people write."""
    network, chosen = Plain(reference.model, signature), reference.optimizer
    optimizer: torch.optim.Optimizer
    if chosen.name == "sgd":
        optimizer = torch.optim.SGD(network.parameters(), lr=chosen.lr, momentum=chosen.momentum)
    elif chosen.name == "adam":
        optimizer = torch.optim.Adam(network.parameters(), lr=chosen.lr)
    else:
        optimizer = torch.optim.AdamW(network.parameters(), lr=chosen.lr, weight_decay=chosen.weight_decay)
    loader = DataLoader(Examples(signature), batch_size=reference.batch_size, shuffle=True)
    batches = itertools.chain.from_iterable(itertools.repeat(loader))
    running_loss, hits = 0.0, 0

    def run(steps: int) -> None:
        nonlocal running_loss, hits
        network.train()
        for image, number, targets in itertools.islice(batches, steps):
            optimizer.zero_grad()
            outputs = network(image, number)
            losses = [functional.cross_entropy(out, targets[:, i]) for i, out in enumerate(outputs)]
            loss = torch.stack(losses).mean()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            running_loss += loss.item()
            hits += sum(int((out.argmax(1) == targets[:, i]).sum()) for i, out in enumerate(outputs))

    return run


def training_flop(network: Network) -> float:
    """Floating-point operations of one image, forward and backward, matmuls and convolutions only."""
    batch = 64
    image = torch.rand(batch, *network.signature.image)
    number = torch.zeros(batch, dtype=torch.int64) if network.signature.numbers else None
    with FlopCounterMode(display=False) as counter:
        network.logits(image, number).sum().backward()  # type: ignore[no-untyped-call]
    return float(counter.get_total_flops()) / batch


def matmul_peak() -> float:
    """Floating-point operations per second of a 1024³ float32 matmul on one thread, the best of 20."""
    torch.set_num_threads(1)
    a, times = torch.rand(1024, 1024), []
    for _ in range(20):
        began = time.perf_counter()
        a @ a
        times.append(time.perf_counter() - began)
    return 2 * 1024**3 / min(times)


def speed(contender: Contender, steps: int, clock: Callable[[], float]) -> float:
    """Images per second of that clock, over the given number of steps of a batch of 64."""
    began = clock()
    contender(steps)
    return 64 * steps / (clock() - began)


@dataclass(frozen=True, kw_only=True, slots=True)
class Measured:
    """One network; images per second, one entry for each turn."""

    ours: list[float]
    """One thread, CPU seconds."""
    usual: list[float]
    """One thread, CPU seconds."""
    usual_many: list[float]
    """All threads, wall seconds, divided by the cores."""
    precision: Precision
    """Of ours."""
    gflop: float
    """Of one image, forward and backward."""

    def row(self, name: str, peak: float) -> str:
        """The table's line; peak in FLOP/s."""
        ours, usual, many = map(statistics.median, (self.ours, self.usual, self.usual_many))
        ratios = sorted(o / u for o, u in zip(self.ours, self.usual, strict=True))
        quarter = len(ratios) // 4
        return (
            f"| {name} | {self.precision} | {ours:,.0f} ({min(self.ours):,.0f}–{max(self.ours):,.0f}) "
            f"| {ours * self.gflop:.1f} | {ours * self.gflop * 1e9 / peak:.0%} | {usual:,.0f} | {many:,.0f} "
            f"| {statistics.median(ratios):.2f} ({ratios[quarter]:.2f}–{ratios[-1 - quarter]:.2f}) "
            f"| {ours / max(usual, many):.2f} |"
        )


def measure(name: str, *, rounds: int, seconds: float) -> Measured:
    """One network within about the given seconds, a tenth of them for the usual loop on all threads."""
    reference, signature = NETWORKS[name]
    torch.set_num_threads(1)
    pays = bfloat16_pays(choose_device("cpu"), family_of(reference.model))
    precision: Precision = "bfloat16" if pays else "float32"
    mine, theirs = ours(reference, signature, precision), usual(reference, signature)
    for contender in (mine, theirs):
        contender(5)
    steps = max(3, round(speed(theirs, 5, time.perf_counter) / 64 * seconds * 0.4 / rounds))
    pairs = [[speed(c, steps, time.process_time) for c in (mine, theirs)] for _ in range(rounds)]
    flop = training_flop(build(reference.model, signature, seed=0))
    cores = os.cpu_count() or 1
    torch.set_num_threads(cores)
    theirs(2)
    many = [speed(theirs, max(3, steps // 3), time.perf_counter) / cores for _ in range(3)]
    return Measured(
        ours=[o for o, _ in pairs],
        usual=[u for _, u in pairs],
        usual_many=many,
        precision=precision,
        gflop=flop / 1e9,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seconds", type=float, default=120, help="for all networks together")
    parser.add_argument("--rounds", type=int, default=15, help="turns of each on one thread")
    parser.add_argument("networks", nargs="*", metavar="network", help=f"of: {', '.join(NETWORKS)}")
    arguments = parser.parse_args()
    names = arguments.networks or list(NETWORKS)
    machine, peak, n = describe(choose_device("cpu")), matmul_peak(), arguments.rounds
    cpu = f"{machine['cpu']}, {machine['cores']} cores, {machine['cpu_capability']}"
    print(f"{cpu}, torch {machine['torch']};")
    print(
        f"peak: a 1024³ float32 matmul on one thread, {peak / 1e9:.0f} GFLOP/s. "
        "Images per second and core, batch 64:"
    )
    print(f"median of n = {n} turns (lowest–highest; ratio: the middle half), on all threads n = 3.\n")
    print(
        "| network | precision | ours | GFLOP/s | of float32 peak | usual, 1 thread "
        "| usual, all threads, a core | ratio, 1 thread | to the better |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for name in names:
        measured = measure(name, rounds=n, seconds=arguments.seconds / len(names))
        print(measured.row(name, peak), flush=True)


if __name__ == "__main__":
    main()
