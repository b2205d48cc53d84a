"""The task of reading one digit and adding a given number to it (pytorch_mnist_multi_label)."""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING

from data.datasets.base import OpenDataset, Split
from data.tasks.base import Augmentation, Head, Task, plain_training

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

    from data.tasks.stream import EndlessStream, FiniteSet


class DigitSum(Task):
    """A digit's image and a number 0..9; asked are the digit and its sum with the number."""

    name = "sum"
    title = "Digit plus number"
    dataset = "mnist"
    examples_are = "digits"
    references_are = "published networks"
    image_shape = (1, 28, 28)
    digit_rows = (0,)
    numbers = 10
    heads = (Head(name="digit", classes=10), Head(name="sum", classes=19))
    epoch_examples = 54_000
    epochs = 4
    """docs/decisions/017"""
    early_evaluations = 2
    """The first after 1/4 of an epoch. A sum is harder to begin with: after 1/8 narrow networks stand higher
    than the wide ones that will beat them (docs/decisions/024)."""
    references = MappingProxyType(
        {
            # without its softmax before the loss: 45,709 parameters
            "assignment-conv": {
                "model": "conv",
                **plain_training(optimizer="adam", lr=0.001, momentum=0.9, batch_size=64),
                "blocks": 2,
                "stem": 1,
                "convolutions": 1,
                "channels": 6,
                "growth": 2.0,
                "divisor": 1,
                "kernel": 5,
                "padding": "valid",
                "hidden": 128,
                "hidden_layers": 2,
                "hidden_taper": 0.5,
                "hidden_activation": True,
                "batch_norm": False,
                "activation": "relu",
                "dropout": 0.0,
                "number_width": 64,
            },
        }
    )

    def training(
        self, data: OpenDataset, *, augmentation: Augmentation, seed: int, device: torch.device | str = "cpu"
    ) -> EndlessStream:
        from data.tasks.digitsum_batches import training

        return training(self, data, augmentation=augmentation, seed=seed, device=device)

    def validation(
        self, data: OpenDataset, *, device: torch.device | str = "cpu", compositions: int = 0
    ) -> FiniteSet:
        from data.tasks.digitsum_batches import exhaustive

        # It has every digit with every number, whatever is asked for.
        return exhaustive(self, data, Split.VALIDATION, device)

    def validation_digits(self, *, compositions: int = 0) -> NDArray[np.int64]:
        return self._each_with_every_number(Split.VALIDATION)

    def test(self, data: OpenDataset, *, device: torch.device | str = "cpu") -> FiniteSet:
        from data.tasks.digitsum_batches import exhaustive

        return exhaustive(self, data, Split.TEST, device)

    def test_digits(self) -> NDArray[np.int64]:
        return self._each_with_every_number(Split.TEST)

    def caption(self, targets: Sequence[int], number: int | None) -> str:
        digit, total = targets
        return f"{digit} + {number} = {total}"

    def order(self, split: Split) -> NDArray[np.int64]:
        """int64 (digits,): every digit of the split once, the same in every study."""
        from data.tasks.permutations import columns

        return columns(self.source.sizes[split], 1, self.name, "composition", split.value)[:, 0]

    def _each_with_every_number(self, split: Split) -> NDArray[np.int64]:
        """int64 (digits · 10, 1)."""
        return self.order(split).repeat(self.numbers)[:, None]
