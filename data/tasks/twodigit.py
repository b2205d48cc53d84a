"""The task of reading two overlapping digits (MITx 6.86x, project 3)."""

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from data.datasets.mnist import Mnist
from data.tasks.base import Augmentation, Batch, Head, Pairing, Task
from data.tasks.digits import SIZES, Digits, Split, digits_of
from data.tasks.stream import EndlessStream, FiniteSet, Rows, chunk_on, generator

LOWER_BY = 14
"""Rows of the canvas above the second digit; the first digit begins in row 0."""

COMPOSITIONS = 4
"""A confirmation has each validation digit four times as the first and four times as the second one: 24,000
images. With one composition, what two digits do to each other is most of the noise (docs/decisions/029)."""

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
    compositions = COMPOSITIONS

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

    def validation(
        self, mnist: Mnist, *, device: torch.device | str = "cpu", compositions: int = 0
    ) -> FiniteSet:
        pairs = self.validation_digits(compositions=compositions)
        return _set_of(pairs, digits_of(mnist, Split.VALIDATION, device=device), device)

    def validation_digits(self, *, compositions: int = 0) -> Tensor:
        digits = SIZES[Split.VALIDATION]
        return every_digit(digits, compositions) if compositions else fixed_pairs(Split.VALIDATION, digits)

    def test(self, mnist: Mnist, *, device: torch.device | str = "cpu") -> FiniteSet:
        return _set_of(self.test_digits(), digits_of(mnist, Split.TEST, device=device), device)

    def test_digits(self) -> Tensor:
        return fixed_pairs(Split.TEST, SIZES[Split.TEST])

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


def every_digit(digits: int, times: int) -> Tensor:
    """int64 (times · digits, 2): every digit so often as the first and so often as the second one.

    The same in every confirmation; a test pins the sum of its bytes.
    """
    rounds = [
        draw_pairs(digits, digits, generator(TwoDigit.name, "every digit", composition))
        for composition in range(times)
    ]
    return torch.cat(rounds)


def _set_of(pairs: Tensor, digits: Digits, device: torch.device | str) -> FiniteSet:
    return FiniteSet(rows=(pairs,), compose=partial(compose, digits), chunk=chunk_on(device))
