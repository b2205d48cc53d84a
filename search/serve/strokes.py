"""What a hand has drawn, as MNIST would have it: digits of 28×28, laid where the task has them.

MNIST's digits were scaled to fit a box of 20×20 pixels, in shades of gray, and laid into 28×28 with their
center of mass in the middle (LeCun, Cortes, Burges: http://yann.lecun.com/exdb/mnist). A network that learned
from them sees nothing else, so each drawn digit is treated alike, before digits are laid over each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

SIDE = 28
BOX = 20
"""Pixels of a digit's longer side."""

INK = 32
"""Of 255; fainter is the soft edge of a stroke and no part of the digit's extent."""


class Blank(ValueError):
    """A layer has no ink."""

    def __init__(self, layer: int) -> None:
        super().__init__(f"layer {layer} is blank")
        self.layer = layer


def compose(
    layers: Sequence[np.ndarray], digit_rows: Sequence[int], *, height: int, width: int
) -> np.ndarray:
    """uint8 (height, width): each layer as a digit of MNIST at its row, the lighter pixel where two overlap.

    layers: uint8 (S, S), light ink on black, as many as digit_rows. Raises Blank.
    """
    import numpy as np

    canvas = np.zeros((height, width), dtype=np.uint8)
    for place, (layer, row) in enumerate(zip(layers, digit_rows, strict=True)):
        if layer.max() <= INK:
            raise Blank(place)
        part = canvas[row : row + SIDE, :SIDE]
        np.maximum(part, digit(layer), out=part)
    return canvas


def digit(layer: np.ndarray) -> np.ndarray:
    """uint8 (28, 28): the ink of one layer, uint8 (S, S), in MNIST's size and place."""
    import numpy as np
    from PIL import Image

    rows, columns = (np.flatnonzero((layer > INK).any(axis=axis)) for axis in (1, 0))
    ink = layer[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    scale = BOX / max(ink.shape)
    height, width = (max(1, round(side * scale)) for side in ink.shape)
    small = np.asarray(Image.fromarray(ink).resize((width, height), Image.Resampling.BOX), dtype=np.float64)
    weight = small.sum()
    middle_row = (small.sum(axis=1) @ np.arange(height)) / weight
    middle_column = (small.sum(axis=0) @ np.arange(width)) / weight
    # MNIST means pixel 14, counted from 0: 600 of its digits, enlarged and brought back, were nearest so.
    top = min(max(round(SIDE // 2 - middle_row), 0), SIDE - height)
    left = min(max(round(SIDE // 2 - middle_column), 0), SIDE - width)
    out = np.zeros((SIDE, SIDE), dtype=np.uint8)
    out[top : top + height, left : left + width] = np.rint(small)
    return out
