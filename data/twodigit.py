"""The task of reading two overlapping digits (MITx 6.86x, project 3).

Knows nothing of files and networks.
"""

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from data.digits import Digits, Split, digits_of
from data.mnist import Mnist
from data.stream import EndlessStream, FiniteSet, Rows, chunk_on, generator
from data.task import Augmentation, Batch, Head, Pairing, Task

LOWER_BY = 14
"""Rows of the canvas above the second digit; the first digit begins in row 0."""

PAIRS = {Split.TRAIN: 36_000, Split.VALIDATION: 4_000, Split.TEST: 4_000}


class TwoDigit(Task):
    """A canvas of 42x28: one digit on rows 0–27, one on rows 14–41, the maximum where they overlap."""

    name = "twodigit"
    title = "Two overlapping digits"
    image_shape = (1, 42, 28)
    digit_rows = (0, LOWER_BY)
    numbers = 0
    heads = (Head(name="first_digit", classes=10), Head(name="second_digit", classes=10))
    epoch_examples = PAIRS[Split.TRAIN]

    def training(
        self, mnist: Mnist, *, augmentation: Augmentation, seed: int, device: torch.device | str = "cpu"
    ) -> EndlessStream:
        digits = digits_of(mnist, Split.TRAIN, augmentation=augmentation, device=device)
        fixed = fixed_pairs(Split.TRAIN, len(digits.images))

        def plan(epoch: int) -> Rows:
            # A generator for each purpose: whoever lets digits move keeps the same pairs in the same order.
            chance = generator(self.name, "pairs", seed, epoch)
            if augmentation.pairing is Pairing.FIXED:
                pairs = fixed[torch.randperm(len(fixed), generator=chance)]
            else:
                pairs = draw_pairs(len(digits.images), len(fixed), chance)
            if digits.mover is None:
                return (pairs,)
            return pairs, digits.mover.draw(tuple(pairs.shape), generator(self.name, "shift", seed, epoch))

        return EndlessStream(
            examples=self.epoch_examples, plan=plan, compose=partial(compose, digits), chunk=chunk_on(device)
        )

    def validation(self, mnist: Mnist, *, device: torch.device | str = "cpu") -> FiniteSet:
        return _fixed_set(mnist, Split.VALIDATION, device)

    def test(self, mnist: Mnist, *, device: torch.device | str = "cpu") -> FiniteSet:
        return _fixed_set(mnist, Split.TEST, device)

    def caption(self, targets: Sequence[int], number: int | None) -> str:
        return " · ".join(map(str, targets))


def compose(digits: Digits, pairs: Tensor, motions: Tensor | None = None) -> Batch:
    """The pictures of `pairs` int64 (N, 2), each digit moved by `motions` (N, 2, …) before it is pasted."""
    images, labels = digits.pick(pairs, motions)
    first, second = images.flatten(2).unbind(1)
    top, digit = LOWER_BY * 28, 28 * 28
    canvas = first.new_zeros(len(pairs), top + digit)
    canvas[:, :digit] = first
    torch.maximum(canvas[:, top:], second, out=canvas[:, top:])
    return Batch(canvas.view(-1, *TwoDigit.image_shape), None, labels)


def draw_pairs(digits: int, count: int, chance: torch.Generator) -> Tensor:
    """int64 (count, 2), each column without repetition: more different digits than independent draws give."""
    return torch.stack([torch.randperm(digits, generator=chance)[:count] for _ in range(2)], dim=1)


def fixed_pairs(split: Split, digits: int) -> Tensor:
    """The composition of `split`, the same in every study; a test pins the sum of its bytes."""
    return draw_pairs(digits, PAIRS[split], generator(TwoDigit.name, "composition", split.value))


def _fixed_set(mnist: Mnist, split: Split, device: torch.device | str) -> FiniteSet:
    digits = digits_of(mnist, split, device=device)
    pairs = fixed_pairs(split, len(digits.images))
    return FiniteSet(rows=(pairs,), compose=partial(compose, digits), chunk=chunk_on(device))
