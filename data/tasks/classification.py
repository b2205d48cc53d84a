"""The task of naming what an image shows, one answer or several: that of any labeled dataset."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING

from data.datasets.base import Dataset, OpenDataset, Split
from data.tasks.base import Augmentation, Head, Settings, Task, plain_training

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

    from data.tasks.stream import EndlessStream, FiniteSet

FULL_EPOCHS, FULL_IMAGES, FULL_PIXELS = 4, 54_000, 28 * 28
"""The epochs of a trial on this many training images of this size: MNIST as ten classes."""

MOST_EPOCHS = 200

UNBALANCED = 1.5
"""Classes are unbalanced where the most frequent one has at least this many times the mean of all."""

FIRST_SHARE = 16
"""Of the task's budget a trial has had about this part before its first evaluation, by which it may be
pruned: evaluations come after whole epochs, or a half, a quarter … of the first, so it is 1/12 to 1/23."""


def epochs_for(images: int, pixels: int) -> int:
    """The budget of one trial, by the number of training images and the pixels of each (docs/decisions/034).

    Ten times fewer images are seen 4.6 times as often, so that a trial sees the cube root of the difference;
    sixteen times more pixels half as often.
    """
    repeated = math.pow(FULL_IMAGES / images, 2 / 3) * math.pow(min(1, FULL_PIXELS / pixels), 1 / 4)
    return min(max(round(FULL_EPOCHS * repeated), 2), MOST_EPOCHS)


def _plain(*, optimizer: str, lr: float) -> Settings:
    """See plain_training: nothing is composed, and no image is mirrored."""
    plain = plain_training(optimizer=optimizer, lr=lr, momentum=0.9, batch_size=64)
    return {**{name: value for name, value in plain.items() if name != "pairing"}, "flip": False}


REFERENCES: Mapping[str, Settings] = MappingProxyType(
    {
        "logistic-regression": {
            "model": "mlp",
            **_plain(optimizer="adam", lr=0.001),
            "depth": 0,
            "width": 1,
            "taper": 1.0,
            "activation": "relu",
            "dropout": 0.0,
        },
        "small-conv": {
            "model": "conv",
            **_plain(optimizer="sgd", lr=0.01),
            "blocks": 2,
            "stem": 1,
            "convolutions": 1,
            "channels": 8,
            "growth": 2.0,
            "divisor": 1,
            "kernel": 3,
            "padding": "same",
            "hidden": 128,
            "hidden_layers": 1,
            "hidden_taper": 1.0,
            "hidden_activation": True,
            "batch_norm": False,
            "activation": "relu",
            "dropout": 0.5,
        },
    }
)
"""Networks that need no search: logistic regression, and a convolution as courses teach it."""


class Classification(Task):
    """Each image of a dataset as it is, one head for each of its label columns.

    Every training image is seen once an epoch, every validation image once an evaluation.
    """

    composes = False
    by_class = True
    references = REFERENCES
    digit_rows = (0,)

    def __init__(self, source: Dataset) -> None:
        self.name = self.dataset = source.name
        self.title = source.title
        self.heads = tuple(
            Head(name=column.name, classes=len(column.classes), labels=column.classes)
            for column in source.label_columns
        )
        _, height, width = source.image_shape
        self.epochs = epochs_for(source.sizes[Split.TRAIN], height * width)
        self.evaluate_every = max(1, round(self.epochs / FIRST_SHARE))
        self.early_evaluations = max(0, min(round(math.log2(FIRST_SHARE / self.epochs)), 3))
        self._source = source

    @property
    def source(self) -> Dataset:
        return self._source

    @property
    def image_shape(self) -> tuple[int, int, int]:
        return self._source.image_shape

    @property
    def epoch_examples(self) -> int:
        return self._source.sizes[Split.TRAIN]

    @property
    def stream_key(self) -> str:
        """What the order of examples is drawn by: of a name `NAME@CHECKSUM` the checksum, so that the same
        images under another name give the same study; else the name."""
        return self.name.rpartition("@")[2]

    def training(
        self, data: OpenDataset, *, augmentation: Augmentation, seed: int, device: torch.device | str = "cpu"
    ) -> EndlessStream:
        from data.tasks.classification_batches import training

        return training(self, data, augmentation=augmentation, seed=seed, device=device)

    def validation(
        self, data: OpenDataset, *, device: torch.device | str = "cpu", compositions: int = 0
    ) -> FiniteSet:
        from data.tasks.classification_batches import evaluation

        # It has every image as it is, whatever is asked for.
        return evaluation(self, data, Split.VALIDATION, device)

    def validation_digits(self, *, compositions: int = 0) -> NDArray[np.int64]:
        return self._every_image(Split.VALIDATION)

    def test(self, data: OpenDataset, *, device: torch.device | str = "cpu") -> FiniteSet:
        from data.tasks.classification_batches import evaluation

        return evaluation(self, data, Split.TEST, device)

    def test_digits(self) -> NDArray[np.int64]:
        return self._every_image(Split.TEST)

    def caption(self, targets: Sequence[int], number: int | None) -> str:
        return " · ".join(head.labels[target] for head, target in zip(self.heads, targets, strict=True))

    def majority(self) -> Mapping[str, tuple[str, float]]:
        counts = self._source.class_counts(Split.VALIDATION)
        if counts is None:
            return {}
        return {
            head.name: (head.labels[column.index(max(column))], max(column) / sum(column))
            for head, column in zip(self.heads, counts, strict=True)
            if max(column) * head.classes >= UNBALANCED * sum(column)
        }

    def _every_image(self, split: Split) -> NDArray[np.int64]:
        """int64 (images, 1)."""
        import numpy as np

        return np.arange(self._source.sizes[split])[:, None]
