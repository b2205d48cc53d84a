"""Turns, stretches and slants each image of a batch by its own random amounts."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

TURN_DEGREES = 10.0
STRETCH = 0.1
SLANT = 0.1
"""What strength 1 means: turned by up to this many degrees either way, each axis longer or shorter by up to a
tenth, slanted by up to a tenth of a pixel to the side for each pixel down. In the manner of Simard et al.
2003 (ICDAR) and Cireşan et al. 2010 (arXiv 1003.0358), without their elastic deformations."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Affine:
    """See data.tasks.augmenter.Augmenter. Its transforms are float32 (\\*shape, 2, 3), maps of grids."""

    strength: float
    """Of turn, stretch and slant, in units of the constants above."""
    reach: int
    """Moved by up to this many whole pixels each way, too."""
    size: tuple[int, int] = (28, 28)
    """Height and width of the images, pixels."""
    edges: bool = False
    """Outside of an image its nearest pixel shows; else 0."""
    flip: bool = False
    """Half of the images are mirrored left to right."""

    def draw(self, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        """Maps whose turn, logarithm of stretch, slant and shift are uniform and independent."""
        height, width = self.size
        turn, wider, taller, slant = (2 * torch.rand(4, *shape, generator=generator) - 1) * self.strength
        turn = turn * math.radians(TURN_DEGREES)
        wider, taller = (torch.exp(each * math.log1p(STRETCH)) for each in (wider, taller))
        slant = slant * SLANT
        down, right = torch.randint(-self.reach, self.reach + 1, (2, *shape), generator=generator)
        cosine, sine = torch.cos(turn), torch.sin(turn)
        # From a place in the new image to the old one's place that shows there; -1..1 over the image, whose
        # halves are of different lengths unless it is a square.
        rows = (
            (cosine * wider, (cosine * slant - sine * taller) * (height / width), right * (-2 / width)),
            (sine * wider * (width / height), sine * slant + cosine * taller, down * (-2 / height)),
        )
        maps = torch.stack([torch.stack(row, dim=-1) for row in rows], dim=-2)
        if self.flip:
            mirrored = torch.randint(0, 2, shape, generator=generator)
            maps[..., 0, :] *= (1 - 2 * mirrored)[..., None]
        return maps

    def __call__(self, images: Tensor, transforms: Tensor) -> Tensor:
        """Copies of `images` uint8 (N, H, W) or (N, C, H, W), each seen through its map, bilinear."""
        maps = transforms.view(-1, 2, 3)
        grid = functional.affine_grid(maps, [len(images), 1, *self.size], align_corners=False)
        ink = functional.grid_sample(
            images.view(len(images), -1, *self.size).float(),
            grid,
            padding_mode="border" if self.edges else "zeros",
            align_corners=False,
        )
        return ink.round_().to(torch.uint8).view_as(images)
