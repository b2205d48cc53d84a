"""The examples of a task as plain arrays."""

from __future__ import annotations

import numpy as np
import pytest

from data.datasets.mnist import Mnist
from data.tasks.arrays import arrays
from data.tasks.registry import get_task


@pytest.mark.parametrize(
    ("name", "shapes"),
    [
        (
            "twodigit",
            {
                "train_images": (36_000, 42, 28),
                "train_labels": (36_000, 2),
                "val_images": (4_000, 42, 28),
                "val_labels": (4_000, 2),
                "heads": (2,),
            },
        ),
        (
            "sum",
            {
                "train_images": (54_000, 28, 28),
                "train_labels": (54_000, 2),
                "train_numbers": (54_000,),
                "val_images": (60_000, 28, 28),
                "val_labels": (60_000, 2),
                "val_numbers": (60_000,),
                "heads": (2,),
            },
        ),
    ],
)
def test_arrays_are_the_examples_of_a_search(
    name: str, shapes: dict[str, tuple[int, ...]], mnist: Mnist
) -> None:
    task = get_task(name)
    found = arrays(task, mnist)
    assert {key: array.shape for key, array in found.items()} == shapes
    assert list(found["heads"]) == [head.name for head in task.heads]
    first = next(task.validation(mnist).batches(10))
    assert np.array_equal(found["val_images"][0], first.image[0, 0].numpy())
    assert np.array_equal(found["val_labels"][:10], first.targets.numpy())
    if name == "sum":
        digits, numbers = found["val_labels"][:, 0], found["val_numbers"]
        assert np.array_equal(digits + numbers, found["val_labels"][:, 1])
        assert np.array_equal(found["val_images"][0], found["val_images"][9]), "one image, ten numbers"
    for head, classes in enumerate(each.classes for each in task.heads):
        assert set(np.unique(found["train_labels"][:, head])) == set(range(classes))
