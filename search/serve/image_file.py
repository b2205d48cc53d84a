"""Any image file as the pixels that an exported network expects, with a sentence for all that was done to it.

An image of a set is decoded and made to fit as the set's own images were. A network of digits wants light ink
on black background, and people bring dark ink on paper, colors, transparency and screenshots.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from search.errors import ConfigError, UsageError
from search.files import read_regular

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image

    from data.images import Fit

MAX_SIDE = 4096
"""Pixels; a larger image is no digit, and unpacking it could take all memory."""

FAINT = 32
"""Shades between lightest and darkest, of 255, below which there is hardly anything to read."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ReadImage:
    """An image that fits."""

    pixels: np.ndarray
    """uint8 (H, W), light ink on black background; of a network that does not read digits (H, W, C)"""
    notes: tuple[str, ...]
    """what was done to it, a sentence each"""


def read_image(
    path: Path, *, height: int, width: int, channels: int = 1, fit: Fit | None = None
) -> ReadImage:
    """Reads an image file as `prepared` does.

    Raises UsageError where there is no such file or the image cannot be made to fit, ConfigError for a file
    that is not an image.
    """
    from data.images import MAX_BYTES

    try:
        content = read_regular(path, limit=MAX_BYTES)
    except FileNotFoundError as error:
        raise UsageError(f"There is no image {shown(path)}.") from error
    except OSError as error:
        reason = error.strerror or error
        raise ConfigError(f"{shown(path)} cannot be read as an image: {reason}.") from error
    return prepared(content, shown(path), height=height, width=width, channels=channels, fit=fit)


def shown(path: Path) -> str:
    """A path for a message: line breaks, and what is no text in it, are written with backslashes."""
    text = os.fsencode(path).decode(errors="backslashreplace")
    return text if text.isprintable() else repr(text)


def prepared(
    content: bytes, name: str, *, height: int, width: int, channels: int, fit: Fit | None
) -> ReadImage:
    """The content of an image file as a network of `height` x `width` pixels gets it.

    name: of the file, for refusals. channels: 1, or 3 for red, green and blue. fit: how an image of another
    size is made to fit; None: it shows digits. Then colors become gray, transparency gets a background, dark
    ink on a light background is inverted, a larger image of the same proportions is made smaller.

    Raises UsageError where the image cannot be made to fit, ConfigError for what is not an image.
    """
    from data.images import ImageUnreadable, decode, fitted, opened

    notes: list[str] = []
    try:
        if fit is None:
            return _digits(name, opened(content, notes), notes, height=height, width=width)
        decoded = decode(content, channels=channels, at_least=(height, width))
    except ImageUnreadable as error:
        raise ConfigError(f"{name} cannot be read as an image: {error}.") from error
    pixels, done = fitted(decoded.pixels, height, width, fit)
    rows, columns = decoded.size
    size = (f"It is {columns} wide and {rows} high.",) if done else ()
    return ReadImage(pixels=pixels, notes=(*decoded.notes, *size, *done))


def _digits(name: str, image: Image, notes: list[str], *, height: int, width: int) -> ReadImage:
    """Light ink on black of an image in one of the modes L, LA, RGB and RGBA. Raises UsageError."""
    import numpy as np
    from PIL import Image

    from data.images import as_gray

    if max(image.size) > MAX_SIDE:
        size = f"{image.width} wide and {image.height} high"
        raise UsageError(f"{name} is {size}, more than {MAX_SIDE} pixels; make it smaller.")
    _refuse_shape(name, image.width, image.height, height=height, width=width)
    if image.mode in ("LA", "RGBA"):
        image = _on_background(name, image.convert("RGBA"), notes)
    gray = np.asarray(as_gray(image, notes), dtype=np.uint8)
    contrast = int(gray.max()) - int(gray.min())
    if contrast == 0:
        raise UsageError(f"{name} is empty: all its pixels have the same shade.")
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


def _refuse_shape(name: str, columns: int, rows: int, *, height: int, width: int) -> None:
    """Raises UsageError unless the image can be made to fit by making it smaller."""
    expected = f"{width} pixels wide and {height} high"
    given = f"{name} is {columns} wide and {rows} high"
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


def _on_background(name: str, image: Image, notes: list[str]) -> Image:
    """RGB: the image laid on black or white, whichever its ink stands out from."""
    import numpy as np
    from PIL import Image as images

    alpha = np.asarray(image.getchannel("A"), dtype=np.float64) / 255
    if alpha.min() == 1:
        return image.convert("RGB")
    if alpha.max() == 0:
        raise UsageError(f"{name} is wholly transparent: there is nothing to read.")
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
