"""Augmentation by motion: one object draws shifts and affine transforms of digits and applies them."""

from typing import Protocol

import torch
from torch import Tensor

from data.tasks.affine import Affine
from data.tasks.base import Augmentation
from data.tasks.shift import Shifter


class Mover(Protocol):
    """Draws a motion for each digit, and moves digits by their motions."""

    def draw(self, shape: tuple[int, ...], chance: torch.Generator) -> Tensor:
        """Motions (\\*shape, …) on the CPU, what they are is the mover's own business."""

    def __call__(self, pictures: Tensor, motions: Tensor, /) -> Tensor:
        """Moved copies of `pictures` uint8 (N, H, W); `motions` (N, …), both on the mover's device."""


def mover_of(augmentation: Augmentation, size: tuple[int, int], device: torch.device | str) -> Mover | None:
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
