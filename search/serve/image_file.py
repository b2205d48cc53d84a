"""Any image of digits as the pixels that a network expects, with a sentence for all that was done to it.

The network wants light ink on black background, 8-bit gray, of one size. People bring dark ink on paper,
colors, transparency and screenshots. Files are unpacked by data/images.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from search.errors import ConfigError, UsageError
from search.files import read_regular

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image

MAX_SIDE = 4096
"""Pixels; a larger image is no digit, and unpacking it could take all memory."""

FAINT = 32
"""Shades between lightest and darkest, of 255, below which there is hardly anything to read."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ReadImage:
    """An image that fits."""

    pixels: np.ndarray
    """uint8 (H, W), light ink on black background"""
    notes: tuple[str, ...]
    """what was done to it, a sentence each"""


def read_image(path: Path, *, height: int, width: int) -> ReadImage:
    """Reads an image file as light ink on black, `height` x `width` pixels.

    Colors become gray, transparency gets a background, dark ink on a light background is inverted, a larger
    image of the same proportions is made smaller. Raises UsageError where there is no such file or the image
    cannot be made to fit, ConfigError for a file that is not an image.
    """
    import numpy as np
    from PIL import Image

    from data.images import ImageUnreadable, as_gray, opened

    notes: list[str] = []
    try:
        image = opened(read_content(path), notes)
    except ImageUnreadable as error:
        raise ConfigError(f"{path} cannot be read as an image: {error}.") from error
    if max(image.size) > MAX_SIDE:
        size = f"{image.width} wide and {image.height} high"
        raise UsageError(f"{path} is {size}, more than {MAX_SIDE} pixels; make it smaller.")
    _refuse_shape(path, image.width, image.height, height=height, width=width)
    if image.mode in ("LA", "RGBA"):
        image = _on_background(path, image.convert("RGBA"), notes)
    gray = np.asarray(as_gray(image, notes), dtype=np.uint8)
    contrast = int(gray.max()) - int(gray.min())
    if contrast == 0:
        raise UsageError(f"{path} is empty: all its pixels have the same shade.")
    if _border(gray) > 127:
        gray = 255 - gray
        notes.append("It has dark ink on a light background: it was inverted.")
    if contrast < FAINT:
        notes.append("Its ink hardly differs from its background: do not trust the answer.")
    if gray.shape != (height, width):
        rows, columns = gray.shape
        # A box weighs all pixels alike and leaves no rings around strokes.
        small = Image.fromarray(gray).resize((width, height), Image.Resampling.BOX)
        gray = np.asarray(small, dtype=np.uint8)
        notes.append(f"It was made smaller, from {columns}×{rows} to {width}×{height} pixels.")
    return ReadImage(pixels=gray, notes=tuple(notes))


def read_content(path: Path) -> bytes:
    """The file's bytes. Raises UsageError where there is none, ConfigError for what no image can be."""
    from data.images import MAX_BYTES

    try:
        return read_regular(path, limit=MAX_BYTES)
    except FileNotFoundError as error:
        raise UsageError(f"There is no image {path}.") from error
    except OSError as error:
        raise ConfigError(f"{path} cannot be read as an image: {error.strerror or error}.") from error


def _refuse_shape(path: Path, columns: int, rows: int, *, height: int, width: int) -> None:
    """Raises UsageError unless the image can be made to fit by making it smaller."""
    expected = f"{width} pixels wide and {height} high"
    given = f"{path} is {columns} wide and {rows} high"
    if columns < width or rows < height:
        raise UsageError(
            f"{given}; the network sees images {expected}, and a smaller one lacks what it would look at."
        )
    # Off by about half a pixel of the small image: 281 × 280 is 28 × 28 to any eye.
    if abs(columns * height - rows * width) * 2 > max(columns, rows):
        raise UsageError(
            f"{given}; the network sees images {expected}, and another shape would have to be distorted. "
            "Cut it to that shape, or draw: `tune demo`."
        )


def _on_background(path: Path, image: Image, notes: list[str]) -> Image:
    """RGB: the image laid on black or white, whichever its ink stands out from."""
    import numpy as np
    from PIL import Image as images

    alpha = np.asarray(image.getchannel("A"), dtype=np.float64) / 255
    if alpha.min() == 1:
        return image.convert("RGB")
    if alpha.max() == 0:
        raise UsageError(f"{path} is wholly transparent: there is nothing to read.")
    shades = np.asarray(image.convert("L"), dtype=np.float64)
    visible = float((shades * alpha).sum() / alpha.sum())
    # A border that is transparent is background, what is visible is ink. Else the border's shade continues.
    white = visible < 128 if _border(alpha) < 0.5 else _border(shades) >= 128
    background = images.new("RGBA", image.size, "white" if white else "black")
    notes.append(f"It is transparent: it was laid on {'white' if white else 'black'}.")
    return images.alpha_composite(background, image).convert("RGB")


def _border(pixels: np.ndarray) -> float:
    """Mean of the outermost pixels of (H, W)."""
    import numpy as np

    return float(np.concatenate([pixels[0], pixels[-1], pixels[1:-1, 0], pixels[1:-1, -1]]).mean())
