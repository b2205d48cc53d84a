"""The examples of a task as plain arrays, for training code that is not tune's."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from data.tasks.base import Augmentation, Batch, Task

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from data.datasets.base import OpenDataset

BATCH = 500
"""Examples composed at once."""


def arrays(task: Task, data: OpenDataset) -> dict[str, NDArray[np.generic]]:
    """The training and validation examples of a task, as a search has them without augmentation.

    For each split S (train, val): S_images uint8 (N, H, W), in color (N, C, H, W), S_labels int64 (N, heads),
    and for a task with a number input S_numbers int64 (N,): an image is repeated for each number that it is
    asked with. Training examples are those of the first epoch with seed 0. Besides `heads`, the names of the
    columns of labels.
    """
    epoch = task.epoch_examples
    batch = next(size for size in range(min(BATCH, epoch), 0, -1) if epoch % size == 0)
    training = task.training(data, augmentation=Augmentation(), seed=0).batches(batch)
    found = {
        **_of_split("train", islice(training, epoch // batch)),
        **_of_split("val", task.validation(data).batches(BATCH)),
    }
    return {**found, "heads": np.array([head.name for head in task.heads])}


def _of_split(split: str, batches: Iterable[Batch]) -> dict[str, NDArray[np.generic]]:
    images, labels, numbers = [], [], []
    for batch in batches:
        image = (batch.image.squeeze(1) if batch.image.shape[1] == 1 else batch.image).numpy()
        if batch.number is not None:
            each = batch.number.reshape(len(image), -1)
            image = np.repeat(image, each.shape[1], axis=0)[: len(batch.targets)]
            numbers.append(each.reshape(-1)[: len(batch.targets)].numpy().copy())
        images.append(image.copy())
        labels.append(batch.targets.numpy().copy())
    found: dict[str, NDArray[np.generic]] = {
        f"{split}_images": np.concatenate(images),
        f"{split}_labels": np.concatenate(labels),
    }
    if numbers:
        found[f"{split}_numbers"] = np.concatenate(numbers)
    return found
