"""Composes digits that overlap in one image, hundreds of images at a time."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from data.datasets.base import OpenDataset, Split
from data.tasks.base import Augmentation, Batch, Pairing
from data.tasks.digits import Digits, digits_of
from data.tasks.stream import EndlessStream, FiniteSet, Rows, chunk_on, generator_of

if TYPE_CHECKING:
    from data.tasks.overlapping import OverlappingDigits


def training(
    task: OverlappingDigits,
    data: OpenDataset,
    *,
    augmentation: Augmentation,
    seed: int,
    device: torch.device | str,
) -> EndlessStream:
    """The training stream of such a task; see Task.training."""
    digits = digits_of(data, Split.TRAIN, augmentation=augmentation, device=device)
    fixed = torch.tensor(task.fixed_places(Split.TRAIN))

    def plan(epoch: int) -> Rows:
        # A generator for each purpose: turning on shift changes neither the places nor the order.
        generator = generator_of(task.name, "pairs", seed, epoch)
        if augmentation.pairing is Pairing.FIXED:
            places = fixed[torch.randperm(len(fixed), generator=generator)]
        else:
            places = draw_places(len(digits.images), len(fixed), fixed.shape[1], generator)
        if digits.augmenter is None:
            return (places,)
        return places, digits.augmenter.draw(
            tuple(places.shape), generator_of(task.name, "shift", seed, epoch)
        )

    return EndlessStream(
        examples=task.epoch_examples,
        plan=plan,
        compose=partial(compose, digits, task.digit_rows),
        chunk=chunk_on(device),
    )


def evaluation(
    task: OverlappingDigits,
    data: OpenDataset,
    split: Split,
    places: NDArray[np.int64],
    device: torch.device | str,
) -> FiniteSet:
    """The digits of `split` at `places` int64 (N, places of the task), as a set in that order."""
    digits = digits_of(data, split, device=device)
    composing = partial(compose, digits, task.digit_rows)
    return FiniteSet(rows=(torch.tensor(places),), compose=composing, chunk=chunk_on(device))


def draw_places(digits: int, count: int, places: int, generator: torch.Generator) -> Tensor:
    """int64 (count, places), each column without repetition."""
    return torch.stack([torch.randperm(digits, generator=generator)[:count] for _ in range(places)], dim=1)


def compose(digits: Digits, rows: tuple[int, ...], places: Tensor, transforms: Tensor | None = None) -> Batch:
    """The images of `places` int64 (N, P), each digit moved by `transforms` (N, P, …) before it is pasted.

    rows: at which each place begins, rising from 0.
    """
    images, labels = digits.pick(places, transforms)
    height, width = images.shape[-2:]
    first, *others = images.flatten(2).unbind(1)
    digit = height * width
    canvas = first.new_zeros(len(places), rows[-1] * width + digit)
    canvas[:, :digit] = first
    for row, other in zip(rows[1:], others, strict=True):
        place = canvas[:, row * width : row * width + digit]
        torch.maximum(place, other, out=place)
    return Batch(canvas.view(len(places), 1, -1, width), None, labels)
