"""The digits of one split, on one device: disjoint between splits, picked by index, moved if wanted."""

import functools
from dataclasses import dataclass
from enum import StrEnum

import torch
from torch import Tensor

from data.datasets.mnist import Mnist
from data.tasks.base import Augmentation
from data.tasks.motion import Mover, mover_of

TRAIN_DIGITS = 54_000
"""The first 54,000 of MNIST's training digits are for training, the other 6,000 for validation.

The file is in the order of its writers, so those who validate are other people (docs/decisions/021).
"""


class Split(StrEnum):
    TRAIN = "train"
    VALIDATION = "validation"
    TEST = "test"


SIZES = {Split.TRAIN: TRAIN_DIGITS, Split.VALIDATION: 60_000 - TRAIN_DIGITS, Split.TEST: 10_000}
"""Digits in each split."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Digits:
    """D digits and their labels. On the CPU these are views of the memory map, not copies."""

    images: Tensor
    """uint8 (D, 28, 28)."""
    labels: Tensor
    """int64 (D,)."""
    mover: Mover | None = None
    """None: digits are picked as they lie."""

    def pick(self, index: Tensor, motions: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Images uint8 (\\*S, 28, 28) and labels int64 (\\*S) of the digits at `index` int64 (\\*S).

        `motions` (\\*S, …) are the mover's, of which there must be one. Both may lie on the CPU.
        """
        chosen = index.flatten().to(self.images.device)
        images = self.images.index_select(0, chosen)
        if motions is not None:
            assert self.mover is not None
            images = self.mover(images, motions.flatten(0, index.dim() - 1).to(self.images.device))
        return images.view(*index.shape, 28, 28), self.labels.index_select(0, chosen).view(index.shape)


def digits_of(
    mnist: Mnist,
    split: Split,
    *,
    augmentation: Augmentation | None = None,
    device: torch.device | str = "cpu",
) -> Digits:
    """The digits that alone may appear in `split`, ready to be moved as `augmentation` says."""
    images, labels = _lying_on(mnist, split, torch.device(device))
    mover = None if augmentation is None else mover_of(augmentation, device)
    return Digits(images=images, labels=labels, mover=mover)


@functools.lru_cache(maxsize=len(Split))
def _lying_on(mnist: Mnist, split: Split, device: torch.device) -> tuple[Tensor, Tensor]:
    """Images and labels of a split; all trials of a process share the copy on a GPU."""
    match split:
        case Split.TRAIN:
            images, labels = mnist.train_images[:TRAIN_DIGITS], mnist.train_labels[:TRAIN_DIGITS]
        case Split.VALIDATION:
            images, labels = mnist.train_images[TRAIN_DIGITS:], mnist.train_labels[TRAIN_DIGITS:]
        case Split.TEST:
            images, labels = mnist.test_images, mnist.test_labels
    return images.to(device), labels.to(device)
