"""Composes images of one digit with the numbers that are asked about it, hundreds of images at a time."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from data.datasets.base import OpenDataset, Split
from data.tasks.base import Augmentation, Batch, Pairing
from data.tasks.digits import Digits, digits_of
from data.tasks.stream import EndlessStream, FiniteSet, Rows, chunk_on, generator_of

if TYPE_CHECKING:
    from data.tasks.digitsum import DigitSum


def training(
    task: DigitSum,
    data: OpenDataset,
    *,
    augmentation: Augmentation,
    seed: int,
    device: torch.device | str,
) -> EndlessStream:
    """The training stream; see Task.training."""
    digits = digits_of(data, Split.TRAIN, augmentation=augmentation, device=device)
    fixed = fixed_numbers(task, len(digits.images))

    def plan(epoch: int) -> Rows:
        # A generator for each purpose: turning on shift or fresh numbers does not change the order.
        order = torch.randperm(len(fixed), generator=generator_of(task.name, "order", seed, epoch))
        if augmentation.pairing is Pairing.FIXED:
            number = fixed[order]
        else:
            number = _draw_numbers(task, len(fixed), generator_of(task.name, "numbers", seed, epoch))
        if digits.augmenter is None:
            return order, number
        generator = generator_of(task.name, "shift", seed, epoch)
        return order, number, digits.augmenter.draw((len(order),), generator)

    return EndlessStream(
        examples=task.epoch_examples, plan=plan, compose=partial(compose, digits), chunk=chunk_on(device)
    )


def exhaustive(task: DigitSum, data: OpenDataset, split: Split, device: torch.device | str) -> FiniteSet:
    """Every digit of the split with every number."""
    digits = digits_of(data, split, device=device)
    return FiniteSet(
        rows=(torch.tensor(task.order(split)),),
        compose=partial(compose_exhaustive, digits, task.numbers),
        scored=task.numbers,
        chunk=chunk_on(device),
    )


def compose(digits: Digits, index: Tensor, number: Tensor, transforms: Tensor | None = None) -> Batch:
    """Examples of the digits at `index` int64 (N,) with `number` int64 (N,), moved by `transforms` (N, …)."""
    images, labels = digits.pick(index, transforms)
    number = number.to(labels.device)
    return Batch(images[:, None], number, torch.stack((labels, labels + number), dim=1))


def compose_exhaustive(digits: Digits, numbers: int, index: Tensor) -> Batch:
    """The digits at `index` int64 (N,), each once, with the numbers (N, numbers) that are asked about it."""
    images, labels = digits.pick(index)
    number = torch.arange(numbers, device=labels.device).repeat(len(index), 1)
    digit = labels[:, None].expand_as(number)
    return Batch(images[:, None], number, torch.stack((digit, digit + number), dim=2).view(-1, 2))


def fixed_numbers(task: DigitSum, digits: int) -> Tensor:
    """int64 (digits,): the number of each training digit, the same in every study; a test pins its bytes."""
    return _draw_numbers(task, digits, generator_of(task.name, "composition", Split.TRAIN.value))


def _draw_numbers(task: DigitSum, count: int, generator: torch.Generator) -> Tensor:
    return torch.randint(task.numbers, (count,), generator=generator)
