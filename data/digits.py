"""The digits of one split, on one device: disjoint between splits, picked by index, moved if wanted.

Knows nothing of tasks; composing digits into examples is theirs.
"""

from dataclasses import dataclass
from enum import StrEnum

import torch
from torch import Tensor

from data.mnist import Mnist
from data.shift import Shifter

TRAIN_DIGITS = 54_000
"""The first 54,000 of MNIST's training digits are for training, the other 6,000 for validation."""


class Split(StrEnum):
    TRAIN = "train"
    VALIDATION = "validation"
    TEST = "test"


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Digits:
    """D digits and their labels. On the CPU these are views of the memory map, not copies."""

    images: Tensor
    """uint8 (D, 28, 28)."""
    labels: Tensor
    """int64 (D,)."""
    shifter: Shifter | None = None
    """None: digits are picked as they lie."""

    def pick(self, index: Tensor, distances: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Images uint8 (\\*S, 28, 28) and labels int64 (\\*S) of the digits at `index` int64 (\\*S).

        `distances` int64 (\\*S, 2) in pixels (down, right) needs the shifter. Both may lie on the CPU.
        """
        chosen = index.flatten().to(self.images.device)
        images = self.images.index_select(0, chosen)
        if distances is not None:
            assert self.shifter is not None
            images = self.shifter(images, distances.view(-1, 2).to(self.images.device))
        return images.view(*index.shape, 28, 28), self.labels.index_select(0, chosen).view(index.shape)


def digits_of(mnist: Mnist, split: Split, *, shift: int = 0, device: torch.device | str = "cpu") -> Digits:
    """The digits that alone may appear in `split`, ready to be moved by up to `shift` pixels."""
    match split:
        case Split.TRAIN:
            images, labels = mnist.train_images[:TRAIN_DIGITS], mnist.train_labels[:TRAIN_DIGITS]
        case Split.VALIDATION:
            images, labels = mnist.train_images[TRAIN_DIGITS:], mnist.train_labels[TRAIN_DIGITS:]
        case Split.TEST:
            images, labels = mnist.test_images, mnist.test_labels
    shifter = Shifter(height=28, width=28, reach=shift, device=device) if shift else None
    return Digits(images=images.to(device), labels=labels.to(device), shifter=shifter)
