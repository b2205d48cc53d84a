"""Augmentation: one object draws shifts, affine transforms and flips of images and applies them."""

from typing import Protocol

import torch
from torch import Tensor

from data.tasks.affine import Affine
from data.tasks.base import Augmentation
from data.tasks.shift import EdgeShifter, Shifter


class Augmenter(Protocol):
    """Draws a transform for each image, and moves images by their transforms."""

    def draw(self, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        """Transforms (\\*shape, …) on the CPU, which only the augmenter reads."""

    def __call__(self, images: Tensor, transforms: Tensor, /) -> Tensor:
        """Moved copies of `images` uint8 (N, H, W), or with `edges` (N, C, H, W); `transforms` (N, …); both
        on the augmenter's device."""


def augmenter_of(
    augmentation: Augmentation, size: tuple[int, int], device: torch.device | str, *, edges: bool = False
) -> Augmenter | None:
    """What moves the images of this augmentation; None where they lie still.

    size: their height and width. edges: where a moved image leaves a place empty, the nearest pixel of its
    edge shows, in the color of whatever background it has; else 0, on which digits are composed.

    Raises ValueError where images without edges, digits that is, shall be mirrored.
    """
    if augmentation.flip and not edges:
        raise ValueError("flip mirrors whole images, and a mirrored digit is no digit")
    reach = augmentation.shift
    if augmentation.affine:
        return Affine(
            strength=augmentation.affine, reach=reach, size=size, edges=edges, flip=augmentation.flip
        )
    height, width = size
    if edges and (reach or augmentation.flip):
        return EdgeShifter(height=height, width=width, reach=reach, flip=augmentation.flip, device=device)
    if reach:  # whole pixels alone are a copy, twenty times cheaper
        return Shifter(height=height, width=width, reach=reach, device=device)
    return None
