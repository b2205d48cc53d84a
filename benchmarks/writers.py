"""Do MNIST's training digits lie in the order of their writers, and what does it matter who validates?

    python benchmarks/writers.py order
    python benchmarks/writers.py folds
    python benchmarks/writers.py folds --epochs 8 --folds 0 4 9 --with channels=24 affine=2 --with channels=24

`order` prints how alike the handwriting of two digits is that lie so far apart in the file. `folds` holds
out each tenth of the file in turn, trains a network of `twodigit` on the rest, and prints how often it is
right on the tenth that it never saw; the last tenth is the project's own validation digits.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from statistics import fmean, stdev

import torch
from torch import Tensor

from data.datasets.base import Split
from data.datasets.mnist import Mnist, load
from data.tasks.digits import digits_of
from data.tasks.overlapping_batches import compose, draw_places
from data.tasks.registry import get_task
from data.tasks.stream import FiniteSet
from data.tasks.twodigit import TwoDigit
from models.device import bfloat16_pays, choose_device, describe, prepare_process
from models.network import Network
from search.objectives.network.decoding import decode
from search.objectives.network.learning import learn
from search.records import Value
from search.space.defaults import default_space
from tune.space import Fixed

WINDOWS = (25, 50, 100, 200, 400)
LAGS = (1, 2, 10, 50, 100, 200, 500, 1000, 5000)
TRAITS = ("ink", "thickness", "slant", "breadth")
BLOCK = 6000
PASSES = 6
"""How often each held-out digit is shown in each of the two places."""

NETWORK: Mapping[str, Value] = {
    "model": "conv",
    "optimizer": "adamw",
    "lr": 0.003,
    "momentum": 0.9,
    "weight_decay": 0.01,
    "batch_size": 128,
    "label_smoothing": 0.1,
    "activation": "silu",
    "dropout": 0.2,
    "blocks": 3,
    "convolutions": 2,
    "channels": 16,
    "growth": 2.0,
    "batch_norm": True,
    "hidden": 256,
}
"""The network of docs/decisions/017."""

FIXED: Mapping[str, Value] = {
    name: domain.value for name, domain in default_space().domains.items() if isinstance(domain, Fixed)
}
"""What a search does not search, and the network leaves open."""


def traits(images: Tensor, labels: Tensor) -> Tensor:
    """float (N, TRAITS), mean 0 and deviation 1 within each class of digit. images uint8 (N, 28, 28)."""
    ink = images.float() / 255
    total = ink.sum((1, 2))
    across, down = torch.arange(28.0), torch.arange(28.0).view(-1, 1)

    def mean(weight: Tensor) -> Tensor:
        return (ink * weight).sum((1, 2)) / total

    x = across - mean(across).view(-1, 1, 1)
    y = down - mean(down).view(-1, 1, 1)
    edges = ink.diff(dim=1).abs().sum((1, 2)) + ink.diff(dim=2).abs().sum((1, 2))
    found = torch.stack([total, total / edges, mean(x * y) / mean(y * y), mean(x * x) / mean(y * y)], dim=1)
    for digit in range(10):
        of = labels == digit
        found[of] = (found[of] - found[of].mean(0)) / found[of].std(0)
    return found


def print_order(mnist: Mnist) -> None:
    """Correlation of each trait at each distance in the file."""
    found = traits(mnist.train_images, mnist.train_labels)
    print(f"| digits apart | {' | '.join(TRAITS)} |")
    print("|--:|" + "--:|" * len(TRAITS))
    for lag in LAGS:
        alike = (found[lag:] * found[:-lag]).mean(0).tolist()
        print(f"| {lag:,} | {' | '.join(f'{each:+.2f}' for each in alike)} |")


def held_out(mnist: Mnist, fold: int) -> Mnist:
    """The same digits with another tenth where the project looks for those that validate."""
    shift = -BLOCK * (fold + 1)
    return replace(
        mnist,
        train_images=mnist.train_images.roll(shift, 0),
        train_labels=mnist.train_labels.roll(shift, 0),
    )


def trained(mnist: Mnist, settings: Mapping[str, Value], epochs: float, seed: int) -> Network:
    """The network, its weights averaged, after its last step."""
    task, device = get_task("twodigit"), choose_device("cpu")
    images = round(epochs * task.epoch_examples)
    precision = "bfloat16" if bfloat16_pays(device, str(settings["model"])) else "float32"
    spec = decode(settings, images=images, seed=seed, precision=precision)  # type: ignore[arg-type]
    (step,) = learn(spec, task, mnist, rungs=[images], device=device).steps
    return step.network


def right(network: Network, mnist: Mnist) -> Tensor:
    """How often each of the held-out digits is told right, float (BLOCK,) in [0, 1], in the file's order."""
    digits = digits_of(mnist, Split.VALIDATION)
    generator = torch.Generator().manual_seed(0)
    pairs = torch.cat([draw_places(BLOCK, BLOCK, 2, generator) for _ in range(PASSES)])
    shown = FiniteSet(rows=(pairs,), compose=partial(compose, digits, TwoDigit.digit_rows))
    network.eval()
    hits = []
    with torch.inference_mode():
        for batch in shown.batches(512):
            logits = network.logits(batch.image).view(-1, 2, 10)
            hits.append(logits.argmax(2) == batch.targets)
    found = torch.zeros(BLOCK)
    return found.index_add_(0, pairs.flatten(), torch.cat(hits).float().flatten()) / (2 * PASSES)


def design_effect(errors: Tensor, window: int) -> float:
    """How many times the variance of a window's mean exceeds that of as many independent digits.

    errors float (N,) in the file's order. Every other digit is of the other source (`order`), so a window
    holds every other digit, and what one source is harder than the other does not count.
    """
    sources = [source - source.mean() for source in (errors[::2], errors[1::2])]
    runs = torch.cat([source[: len(source) // window * window].view(-1, window) for source in sources])
    return float(runs.mean(1).var() * window / torch.cat(sources).var())


def print_folds(
    mnist: Mnist, folds: Sequence[int], variants: Sequence[Mapping[str, Value]], epochs: float, seed: int
) -> None:
    """A row for each held-out tenth, a column for each variant of the network; then what follows."""
    names = [" ".join(f"{name}={value}" for name, value in each.items()) or "as it is" for each in variants]
    print(f"| held out | {' | '.join(names)} | minutes |")
    print("|---|" + "--:|" * (len(names) + 1), flush=True)
    rights: list[list[Tensor]] = [[] for _ in variants]
    for fold in folds:
        began, here = time.monotonic(), held_out(mnist, fold)
        for column, variant in zip(rights, variants, strict=True):
            column.append(right(trained(here, {**FIXED, **NETWORK, **variant}, epochs, seed), here))
        cells = " | ".join(f"{100 * float(column[-1].mean()):.2f}" for column in rights)
        minutes = (time.monotonic() - began) / 60
        print(f"| {BLOCK * fold:,} to {BLOCK * (fold + 1) - 1:,} | {cells} | {minutes:.1f} |", flush=True)
    means = [[100 * float(each.mean()) for each in column] for column in rights]
    print(f"| mean | {' | '.join(f'{fmean(column):.3f}' for column in means)} | |")
    if len(folds) < 2:
        return
    for name, others in zip(names[1:], means[1:], strict=True):
        gains = [mine - base for mine, base in zip(others, means[0], strict=True)]
        error = stdev(gains) / len(gains) ** 0.5
        print(f"{name} less {names[0]}: {fmean(gains):+.3f} points, standard error {error:.3f}")
    print_alike(1 - torch.cat(rights[0]), stdev(means[0]))


def print_alike(errors: Tensor, spread: float) -> None:
    """What the errors (N,) say of neighbors in the file. spread: of the tenths' accuracies, points."""
    alone = 100 * float(errors.std()) / BLOCK**0.5
    print(f"tenths differ by {spread:.3f} points (one deviation), as many digits drawn singly by {alone:.3f}")
    for window in WINDOWS:
        print(f"design effect of {window} neighbors: {design_effect(errors, window):.1f}")


def variant_of(words: Sequence[str]) -> dict[str, Value]:
    """`channels=24 affine=0.5` as settings; a value is a number where it can be."""
    found: dict[str, Value] = {}
    for word in words:
        name, _, text = word.partition("=")
        try:
            found[name] = int(text) if text.isdigit() else float(text)
        except ValueError:
            found[name] = text
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["order", "folds"])
    parser.add_argument("--folds", nargs="+", type=int, choices=range(10), default=range(10), metavar="N")
    parser.add_argument("--epochs", type=float, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--with", dest="variants", nargs="*", action="append", metavar="NAME=VALUE")
    arguments = parser.parse_args()
    prepare_process(threads=1)
    mnist = load()
    print(describe(choose_device("cpu")))
    if arguments.what == "order":
        print_order(mnist)
    else:
        variants = [variant_of(words) for words in arguments.variants or [[]]]
        print_folds(mnist, arguments.folds, variants, arguments.epochs, arguments.seed)


if __name__ == "__main__":
    main()
