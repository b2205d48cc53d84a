"""Any image file as the pixels that a network expects, with a sentence for everything that was done to it.

The network wants light ink on black background, 8-bit gray, of one size. People bring dark ink on paper,
colors, transparency and screenshots.
"""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search.errors import ConfigError, UsageError
from search.files import read_regular

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image

MAX_SIDE = 4096
"""Pixels; a larger image is no digit, and unpacking it could take all memory."""

MAX_BYTES = 64_000_000
"""Of a file; MAX_SIDE × MAX_SIDE pixels of four colors that cannot be packed have as many."""

MAX_SCANS = 100
"""Of a JPEG, which may be sent in many, each over the whole image; cameras and programs write ten or so."""

FORMATS = ("PNG", "JPEG")

_ORIENTATION = 0x0112
"""Tag of EXIF: how the camera was held."""

_UPRIGHT = {
    2: "FLIP_LEFT_RIGHT",
    3: "ROTATE_180",
    4: "FLIP_TOP_BOTTOM",
    5: "TRANSPOSE",
    6: "ROTATE_270",
    7: "TRANSVERSE",
    8: "ROTATE_90",
}
"""What Pillow calls the way back, by the value of that tag. As in its ImageOps.exif_transpose, which also
writes the camera's other notes anew, and fails where one of them is damaged."""

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
    """Reads a PNG or JPEG file as light ink on black, `height` x `width` pixels.

    Colors become gray, transparency gets a background, dark ink on a light background is inverted, a larger
    image of the same proportions is made smaller. Raises UsageError where there is no such file or the image
    cannot be made to fit, ConfigError for a file that is not an image.
    """
    import numpy as np
    from PIL import Image, UnidentifiedImageError

    content = _read(path)
    notes: list[str] = []
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of size: refused below; of the camera's notes: read without
            opened = Image.open(io.BytesIO(content), formats=FORMATS)
        with opened as file:
            if max(file.size) > MAX_SIDE:
                raise UsageError(
                    f"{path} is {file.width} wide and {file.height} high, more than {MAX_SIDE} pixels; "
                    "make it smaller."
                )
            file.load()
            way = _UPRIGHT.get(_orientation(file))
            image = file.copy() if way is None else file.transpose(Image.Transpose[way])
            if way is not None:
                notes.append("It was turned upright, as its camera says.")
    except Image.DecompressionBombError as error:
        raise UsageError(f"{path} cannot be read as an image: {error}.") from error
    except UnidentifiedImageError as error:
        raise ConfigError(f"{path} is not a PNG or JPEG file; save it as PNG.") from error
    except (
        *(OSError, ValueError, SyntaxError, struct.error, LookupError, TypeError, EOFError),
        *(zlib.error, OverflowError, MemoryError),
    ) as error:
        raise ConfigError(f"{path} cannot be read as an image: {error}.") from error
    _refuse_shape(path, image.width, image.height, height=height, width=width)
    gray = np.asarray(_gray(path, image, notes), dtype=np.uint8)
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


def _read(path: Path) -> bytes:
    """The file's content. Raises UsageError where there is none, ConfigError for what no image can be."""
    try:
        content = read_regular(path, limit=MAX_BYTES)
    except FileNotFoundError as error:
        raise UsageError(f"There is no image {path}.") from error
    except OSError as error:
        raise ConfigError(f"{path} cannot be read as an image: {error.strerror or error}.") from error
    if content.startswith(b"\xff\xd8") and content.count(b"\xff\xda") > MAX_SCANS:
        raise ConfigError(
            f"{path} cannot be read as an image: it has more than {MAX_SCANS} scans; save it as PNG."
        )
    return content


def _orientation(file: Image) -> Any:
    """What the camera noted of how it was held; None where that is not there or cannot be read."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return file.getexif().get(_ORIENTATION)
    except (struct.error, SyntaxError, OSError, ValueError, TypeError, LookupError):
        return None  # the notes are damaged, and the image need not be


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


def _gray(path: Path, image: Image, notes: list[str]) -> Image:
    """8-bit gray without transparency. Adds to `notes` what had to be done."""
    from PIL import Image as images

    if image.mode.startswith("I") or image.mode == "F":  # sixteen bits a pixel
        notes.append("It has more than 256 shades: it was reduced to 8 bits.")
        return image.convert("I").point(lambda shade: shade / 257).convert("L")
    if image.mode == "P" or "transparency" in image.info:
        image = image.convert("RGBA")
    if image.mode in ("LA", "PA", "RGBA", "La", "RGBa"):
        image = _on_background(path, image.convert("RGBA"), notes)
    if image.mode not in ("1", "L"):
        colored = image.convert("RGB")
        red, green, blue = colored.split()
        if not red.tobytes() == green.tobytes() == blue.tobytes():
            notes.append("It is colored: it was turned into shades of gray.")
        image = colored
    return image if image.mode == "L" else image.convert("L", dither=images.Dither.NONE)


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
