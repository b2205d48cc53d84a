"""Batches of single images with their labels, hundreds at a time."""

from __future__ import annotations

from functools import partial
from math import prod
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from data.datasets.base import OpenDataset, Split
from data.tasks.base import Augmentation, Batch
from data.tasks.digits import Digits, digits_of
from data.tasks.stream import EndlessStream, FiniteSet, Rows, chunk_on, generator_of

if TYPE_CHECKING:
    from data.tasks.classification import Classification

CHUNK_BYTES = 2**20
"""Of pixels that are composed at once on a CPU, unless a chunk as it usually is has less: moving them takes
some ten times as much memory, and 512 photographs of 128×128 would take a quarter of a gigabyte."""


def training(
    task: Classification,
    data: OpenDataset,
    *,
    augmentation: Augmentation,
    seed: int,
    device: torch.device | str,
) -> EndlessStream:
    """The training stream; see Task.training."""
    images = digits_of(data, Split.TRAIN, augmentation=augmentation, device=device, edges=True)

    def plan(epoch: int) -> Rows:
        # A generator for each purpose: who lets images move keeps their order.
        order = torch.randperm(
            len(images.labels), generator=generator_of(task.stream_key, "order", seed, epoch)
        )
        if images.augmenter is None:
            return (order,)
        generator = generator_of(task.stream_key, "moves", seed, epoch)
        return order, images.augmenter.draw((len(order),), generator)

    return EndlessStream(
        examples=task.epoch_examples,
        plan=plan,
        compose=partial(compose, images, task.image_shape),
        chunk=_chunk(task, device),
    )


def evaluation(
    task: Classification, data: OpenDataset, split: Split, device: torch.device | str
) -> FiniteSet:
    """Every image of the split once, in the dataset's order."""
    images = digits_of(data, split, device=device)
    return FiniteSet(
        rows=(torch.arange(len(images.labels)),),
        compose=partial(compose, images, task.image_shape),
        chunk=_chunk(task, device),
    )


def compose(
    images: Digits, shape: tuple[int, int, int], index: Tensor, transforms: Tensor | None = None
) -> Batch:
    """The images at `index` int64 (N,), moved by `transforms` (N, …), each of `shape`."""
    pixels, labels = images.pick(index, transforms)
    return Batch(pixels.view(-1, *shape), None, labels.view(len(index), -1))


def _chunk(task: Classification, device: torch.device | str) -> int:
    """How many images to compose at once there."""
    usual = chunk_on(device)
    if torch.device(device).type != "cpu":
        return usual
    return max(1, min(usual, CHUNK_BYTES // prod(task.image_shape)))
