"""Whether the engine trains as many pixels a second on other sizes of images as on `twodigit`.

The same networks, batches and optimizer; images of noise, stored by `data.ingest` in a folder of their own
and memory-mapped from it, as those that users bring. `twodigit` composes its images of real digits. Without
augmentation, on one thread, by turns of the same number of pixels; CPU seconds, because neighbors on the
machine cost wall time and not work. The ratio is that to the turn of `twodigit` in the same round; colors
cost what the first layer needs for them: `expected` is the ratio by floating-point operations a pixel.
Prints a Markdown table.

    python benchmarks/image_sizes.py --rounds 15
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path

import numpy as np
import torch
from engine import ADAMW, training_flop

from data.datasets.base import OpenDataset
from data.datasets.image_set import ImageSet
from data.datasets.mnist import load
from data.ingest.add import add_set
from data.tasks.base import Augmentation, Pairing, Task
from data.tasks.classification import Classification
from data.tasks.registry import get_task
from models.conv import ConvConfig
from models.device import bfloat16_pays, choose_device, describe
from models.mlp import MLPConfig
from models.network import ModelConfig, Network, Signature, build, family_of
from models.training import Precision, Training, TrainingConfig

NETWORKS: dict[str, ModelConfig] = {
    "conv 24-48-96 bn": ConvConfig(blocks=3, channels=24, padding="same", batch_norm=True),
    "mlp 512-512": MLPConfig(depth=2, width=512),
}

SIZES = ((1, 28), (1, 42), (1, 48), (1, 64), (3, 28), (3, 64))
"""Channels and side."""

EXAMPLES = {"train": 4_000, "val": 200}

TURN_PIXELS = 2_000 * 42 * 28


def noise(channels: int, side: int, folder: Path) -> ImageSet:
    """A stored set of ten classes without meaning."""
    draw = np.random.default_rng(channels * 1000 + side)
    arrays: dict[str, np.ndarray] = {}
    for name, n in EXAMPLES.items():
        shape = (n, side, side) if channels == 1 else (n, side, side, channels)
        arrays[f"{name}_images"] = draw.integers(0, 256, shape, dtype=np.uint8)
        arrays[f"{name}_labels"] = np.arange(n) % 10
    path = folder / f"noise{side}x{channels}.npz"
    np.savez(path, allow_pickle=False, **arrays)
    return add_set(path).image_set


@dataclass(frozen=True, kw_only=True, slots=True)
class Contender:
    """A task under training."""

    name: str
    pixels: int
    """Of one image, in all channels counted once."""
    flop: float
    """Of one image, forward and backward."""
    train: Callable[[int], object]
    """Trains that many images."""

    def pixels_per_second(self) -> float:
        """Of CPU time, over one turn."""
        images = TURN_PIXELS // self.pixels
        began = time.process_time()
        self.train(images)
        return images * self.pixels / (time.process_time() - began)


def contender(name: str, task: Task, data: OpenDataset, model: ModelConfig) -> Contender:
    """That network on that task, as a search trains it."""
    signature = Signature(
        image=task.image_shape, heads=tuple((head.name, head.classes) for head in task.heads)
    )
    pays = bfloat16_pays(choose_device("cpu"), family_of(model))
    precision: Precision = "bfloat16" if pays else "float32"
    config = TrainingConfig(
        batch_size=64, images=64 * 10**6, optimizer=ADAMW, precision=precision, averaging=0.1
    )
    augmentation = Augmentation(pairing=Pairing.FIXED)
    network: Network = build(model, signature, seed=0)
    stream, validation = task.training(data, augmentation=augmentation, seed=0), task.validation(data)
    one = replace(validation, rows=tuple(rows[:1] for rows in validation.rows))
    training = Training(network, stream, one, config, seed=0)

    def train(images: int) -> None:
        next(training.reports([training.images + images]))

    flop = training_flop(build(model, signature, seed=0))
    return Contender(name=name, pixels=prod(task.image_shape[1:]), flop=flop, train=train)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15, help="turns of each")
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    mnist, machine = load(), describe(choose_device("cpu"))
    print(f"{machine['cpu']}, {machine['cores']} cores, torch {machine['torch']}; one thread, n = {rounds}")
    print("turns: median (middle half of the ratios).\n")
    print("| network | images | images/s | million pixels/s | ratio to twodigit | expected |")
    print("|---|---|--:|--:|--:|--:|")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TUNE_DATA_DIR"] = folder
        sets = [noise(channels, side, Path(folder)) for channels, side in SIZES]
        for network, model in NETWORKS.items():
            rivals = [contender("twodigit, 42×28", get_task("twodigit"), mnist, model)]
            rivals += [contender(shown(one), Classification(one), one.load(), model) for one in sets]
            for rival in rivals:
                rival.train(256)
            turns = [[rival.pixels_per_second() for rival in rivals] for _ in range(rounds)]
            for rival, speeds in zip(rivals, zip(*turns, strict=True), strict=True):
                print(row(network, rival, rivals[0], speeds, [turn[0] for turn in turns]), flush=True)


def shown(images: ImageSet) -> str:
    """What the images of a set look like."""
    channels, height, width = images.image_shape
    return f"{height}×{width}, {'gray' if channels == 1 else 'RGB'}"


def row(
    network: str, rival: Contender, base: Contender, speeds: Sequence[float], usual: Sequence[float]
) -> str:
    """A line of the table; speeds and usual, that of twodigit, in pixels a second, one for each round."""
    ratios = sorted(s / u for s, u in zip(speeds, usual, strict=True))
    quarter, speed = len(ratios) // 4, statistics.median(speeds)
    expected = (base.flop / base.pixels) / (rival.flop / rival.pixels)
    middle = f"{ratios[quarter]:.2f}–{ratios[-1 - quarter]:.2f}"
    return (
        f"| {network} | {rival.name} | {speed / rival.pixels:,.0f} | {speed / 1e6:.2f} "
        f"| {statistics.median(ratios):.2f} ({middle}) | {expected:.2f} |"
    )


if __name__ == "__main__":
    main()
