"""The task of naming what an image shows, one answer or several: that of any labeled dataset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from data.datasets.base import Dataset, OpenDataset, Split
from data.tasks.base import Augmentation, Head, Task

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

    from data.tasks.stream import EndlessStream, FiniteSet

TRIAL_IMAGES = 216_000
"""Training images in one trial: as many as one of `sum` sees."""

FEWEST_EPOCHS, MOST_EPOCHS = 4, 40


class Classification(Task):
    """Each image of a dataset as it is, one head for each of its label columns.

    Every training image is seen once an epoch, every validation image once an evaluation.
    """

    composes = False
    by_class = True
    digit_rows = (0,)

    early_evaluations = 2

    def __init__(self, source: Dataset) -> None:
        self.name = self.dataset = source.name
        self.title = source.title
        self.heads = tuple(
            Head(name=column.name, classes=len(column.classes), labels=column.classes)
            for column in source.label_columns
        )
        self.epochs = min(max(round(TRIAL_IMAGES / source.sizes[Split.TRAIN]), FEWEST_EPOCHS), MOST_EPOCHS)
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

    def majority(self, labels: NDArray[np.int64]) -> Mapping[str, float]:
        """By head, the accuracy of always answering with the most frequent class.

        labels: int64 (N, heads), or (N,) of a single head; of validation, if it is to stand beside scores.
        """
        import numpy as np

        columns = labels.reshape(len(labels), -1).T
        return {
            head.name: float(np.bincount(column).max() / len(column))
            for head, column in zip(self.heads, columns, strict=True)
        }

    def _every_image(self, split: Split) -> NDArray[np.int64]:
        """int64 (images, 1)."""
        import numpy as np

        return np.arange(self._source.sizes[split])[:, None]
