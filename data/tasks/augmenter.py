"""Augmentation: one object draws shifts and affine transforms of digits and applies them."""

from typing import Protocol

import torch
from torch import Tensor

from data.tasks.affine import Affine
from data.tasks.base import Augmentation
from data.tasks.shift import Shifter


class Augmenter(Protocol):
    """Draws a transform for each digit, and moves digits by their transforms."""

    def draw(self, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        """Transforms (\\*shape, …) on the CPU, which only the augmenter reads."""

    def __call__(self, images: Tensor, transforms: Tensor, /) -> Tensor:
        """Moved copies of `images` uint8 (N, H, W); `transforms` (N, …), both on the augmenter's device."""


def augmenter_of(
    augmentation: Augmentation, size: tuple[int, int], device: torch.device | str
) -> Augmenter | None:
    """What moves the digits of this augmentation; None where they lie still.

    size: their height and width. Raises ValueError where they are no squares and shall be turned.
    """
    height, width = size
    if augmentation.affine:
        if height != width:
            raise ValueError(f"affine turns squares only, not images of {height}x{width}")
        return Affine(strength=augmentation.affine, reach=augmentation.shift, size=height)
    if augmentation.shift:  # whole pixels alone are a copy, twenty times cheaper
        return Shifter(height=height, width=width, reach=augmentation.shift, device=device)
    return None
