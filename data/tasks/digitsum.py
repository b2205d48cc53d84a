"""The task of reading one digit and adding a given number to it (pytorch_mnist_multi_label)."""

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from data.datasets.mnist import Mnist
from data.tasks.base import Augmentation, Batch, Head, Pairing, Task
from data.tasks.digits import SIZES, TRAIN_DIGITS, Digits, Split, digits_of
from data.tasks.stream import EndlessStream, FiniteSet, Rows, chunk_on, generator

NUMBERS = 10


class DigitSum(Task):
    """A digit's picture and a number 0..9; asked are the digit and its sum with the number."""

    name = "sum"
    title = "Digit plus number"
    image_shape = (1, 28, 28)
    digit_rows = (0,)
    numbers = NUMBERS
    heads = (Head(name="digit", classes=10), Head(name="sum", classes=19))
    epoch_examples = TRAIN_DIGITS

    def training(
        self, mnist: Mnist, *, augmentation: Augmentation, seed: int, device: torch.device | str = "cpu"
    ) -> EndlessStream:
        digits = digits_of(mnist, Split.TRAIN, augmentation=augmentation, device=device)
        fixed = fixed_numbers(len(digits.images))

        def plan(epoch: int) -> Rows:
            # A generator for each purpose: whoever lets digits move or draws fresh numbers keeps their order.
            order = torch.randperm(len(fixed), generator=generator(self.name, "order", seed, epoch))
            if augmentation.pairing is Pairing.FIXED:
                number = fixed[order]
            else:
                number = _draw_numbers(len(fixed), generator(self.name, "numbers", seed, epoch))
            if digits.mover is None:
                return order, number
            chance = generator(self.name, "shift", seed, epoch)
            return order, number, digits.mover.draw((len(order),), chance)

        return EndlessStream(
            examples=self.epoch_examples, plan=plan, compose=partial(compose, digits), chunk=chunk_on(device)
        )

    def validation(
        self, mnist: Mnist, *, device: torch.device | str = "cpu", compositions: int = 0
    ) -> FiniteSet:
        # It has every digit with every number, whatever is asked for.
        return _exhaustive_set(mnist, Split.VALIDATION, device)

    def validation_digits(self, *, compositions: int = 0) -> Tensor:
        return _each_with_every_number(_order(Split.VALIDATION))

    def test(self, mnist: Mnist, *, device: torch.device | str = "cpu") -> FiniteSet:
        return _exhaustive_set(mnist, Split.TEST, device)

    def test_digits(self) -> Tensor:
        return _each_with_every_number(_order(Split.TEST))

    def caption(self, targets: Sequence[int], number: int | None) -> str:
        digit, total = targets
        return f"{digit} + {number} = {total}"


def compose(digits: Digits, index: Tensor, number: Tensor, motions: Tensor | None = None) -> Batch:
    """Examples of the digits at `index` int64 (N,) with `number` int64 (N,), moved by `motions` (N, …)."""
    images, labels = digits.pick(index, motions)
    number = number.to(labels.device)
    return Batch(images[:, None], number, torch.stack((labels, labels + number), dim=1))


def compose_exhaustive(digits: Digits, index: Tensor) -> Batch:
    """The digits at `index` int64 (N,), each once, with the numbers (N, 10) that are all asked about it."""
    images, labels = digits.pick(index)
    number = torch.arange(NUMBERS, device=labels.device).repeat(len(index), 1)
    digit = labels[:, None].expand_as(number)
    return Batch(images[:, None], number, torch.stack((digit, digit + number), dim=2).view(-1, 2))


def fixed_numbers(digits: int) -> Tensor:
    """int64 (digits,): the number of each training digit, the same in every study; a test pins its bytes."""
    return _draw_numbers(digits, generator(DigitSum.name, "composition", Split.TRAIN.value))


def _draw_numbers(count: int, chance: torch.Generator) -> Tensor:
    return torch.randint(NUMBERS, (count,), generator=chance)


def _order(split: Split) -> Tensor:
    """int64 (digits,): every digit of the split once, the same in every study."""
    chance = generator(DigitSum.name, "composition", split.value)
    return torch.randperm(SIZES[split], generator=chance)


def _each_with_every_number(order: Tensor) -> Tensor:
    """int64 (digits,) -> (digits · 10, 1)."""
    return order.repeat_interleave(NUMBERS)[:, None]


def _exhaustive_set(mnist: Mnist, split: Split, device: torch.device | str) -> FiniteSet:
    digits = digits_of(mnist, split, device=device)
    order = _order(split)
    composing = partial(compose_exhaustive, digits)
    return FiniteSet(rows=(order,), compose=composing, scored=NUMBERS, chunk=chunk_on(device))
