"""Any image file as 8-bit pixels, upright and opaque, made to fit the size that a network expects.

A set of images is read with it, and so is the image that a network trained on that set is asked about. What
was done to an image is told, a sentence for each step.
"""

from __future__ import annotations

import io
import re
import struct
import warnings
import zlib
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

FORMATS = ("PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF")

MAX_PIXELS = 2**26
"""Of an image: 67 million; a camera of 50 megapixels takes 8192 × 6144.
Unpacking more could exhaust memory."""

MAX_BYTES = 4 * MAX_PIXELS
"""Of a file; callers that read one need read no more."""

DECODER = 2
"""Version of what `decode` makes of a file: a set that an earlier one made is read anew. 1 divided all values
of more than 8 bits by 257, also where none was above 255."""

MAX_COLUMNS, MAX_CLASSES = 64, 10_000
"""Of a set of images: columns of labels, and classes of each. Exported models are read with these limits."""

MAX_SCANS = 100
"""Of a JPEG, which may be sent in many, each over the whole image; cameras and programs write ten or so."""

MAX_VALUE = 65535
"""Of a pixel with 16 bits."""

_JPEG_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd8\xff]")
"""Of the next segment; in the data of a scan 0xFF is followed by 0, or by D0 to D7, which stand alone
(ITU-T T.81, B.1.1)."""

_END_OF_IMAGE, _START_OF_SCAN, _FIRST_WITH_LENGTH = 0xD9, 0xDA, 0xC0
"""Markers; what comes before the last is reserved, and its length unknown."""

_ORIENTATION = 0x0112
"""Tag of EXIF: how the camera was held."""

_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What Pillow calls the way back, by the value of that tag. As in its ImageOps.exif_transpose, which also
writes the camera's other notes anew, and fails where one of them is damaged."""


class ImageUnreadable(ValueError):
    """The content is not an image that can be used. The message is a phrase: "it is empty"."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Decoded:
    """An image without its file."""

    pixels: np.ndarray
    """uint8 (H, W, C), C = 1 for gray, 3 for red, green and blue"""
    size: tuple[int, int]
    """height and width in the file, upright; `pixels` have fewer where `at_least` allowed it"""
    brightest: int
    """the greatest value in a file with more than 8 bits for each pixel; 0: it has 8 or fewer"""
    notes: tuple[str, ...]
    """what was done to it, a sentence each"""


class Fit(StrEnum):
    """How an image gets another height and width."""

    PAD = "pad"
    """the whole image, its proportions kept, borders added in the mean color of its edge"""
    CROP = "crop"
    """the middle of the image, its proportions kept, what sticks out cut off"""
    STRETCH = "stretch"
    """the whole image, distorted"""


def decode(content: bytes, *, channels: int | None, at_least: tuple[int, int] | None = None) -> Decoded:
    """Unpacks the content of a PNG, JPEG, GIF, WebP, BMP or TIFF file; of an animation the first frame.

    channels: 1, 3, or None: 1 where no pixel has a color, else 3.
    at_least: (height, width) that suffice. A much larger image is reduced to no less than twice of it while
    it is unpacked, which takes less time and memory. Reading a set and asking its network use the same.

    Raises ImageUnreadable.
    """
    notes: list[str] = []
    try:
        image, size, brightest = _opened(content, notes, at_least)
        image = _opaque(image, notes)
        if channels == 1 or (channels is None and not is_colored(image)):
            image = as_gray(image, notes)
        elif image.mode != "RGB":
            image = image.convert("RGB")
        pixels = np.asarray(image, dtype=np.uint8)
    except MemoryError as error:
        raise ImageUnreadable("there is not enough memory for it") from error
    pixels = pixels.reshape(*pixels.shape[:2], -1)
    return Decoded(pixels=pixels, size=size, brightest=brightest, notes=tuple(notes))


def opened(content: bytes, notes: list[str]) -> Image.Image:
    """The image upright, in one of the modes L, LA, RGB and RGBA. Adds to `notes`; raises ImageUnreadable."""
    return _opened(content, notes, None)[0]


def as_gray(image: Image.Image, notes: list[str]) -> Image.Image:
    """An opaque image (L, RGB) in shades of gray. Adds to `notes` where it has colors."""
    if is_colored(image):
        notes.append("It is colored: it was turned into shades of gray.")
    return image if image.mode == "L" else image.convert("L")


def is_colored(image: Image.Image) -> bool:
    """Whether a pixel of an opaque image (L, RGB) is not gray."""
    if image.mode == "L":
        return False
    red, green, blue = image.split()
    return not red.tobytes() == green.tobytes() == blue.tobytes()


def fitted(pixels: np.ndarray, height: int, width: int, fit: Fit) -> tuple[np.ndarray, tuple[str, ...]]:
    """uint8 (H, W, C) → uint8 (height, width, C), and sentences that tell what was done."""
    rows, columns, channels = pixels.shape
    if (rows, columns) == (height, width):
        return pixels, ()
    scale = (min if fit is Fit.PAD else max)(height / rows, width / columns)
    if fit is Fit.PAD:
        inner = max(1, round(rows * scale)), max(1, round(columns * scale))
        box = (0.0, 0.0, float(columns), float(rows))
    elif fit is Fit.CROP:
        inner = height, width
        left, top = max(0.0, (columns - width / scale) / 2), max(0.0, (rows - height / scale) / 2)
        box = (left, top, columns - left, rows - top)
    else:
        inner, box = (height, width), (0.0, 0.0, float(columns), float(rows))
    image = Image.fromarray(pixels[:, :, 0] if channels == 1 else pixels)
    # A triangle as wide as the pixels are apart: no rings around edges, and no pixel is skipped.
    small = image.resize((inner[1], inner[0]), Image.Resampling.BILINEAR, box=box)
    found = np.asarray(small, dtype=np.uint8).reshape(*inner, channels)
    notes = _fit_notes((rows, columns), (height, width), inner, box, fit)
    return (found if inner == (height, width) else _padded(found, pixels, height, width)), notes


def _fit_notes(
    given: tuple[int, int],
    wanted: tuple[int, int],
    inner: tuple[int, int],
    box: tuple[float, float, float, float],
    fit: Fit,
) -> tuple[str, ...]:
    """What `fitted` did, a sentence each. Sizes are (height, width)."""
    notes = []
    (rows, columns), (left, top, _, _) = given, box
    lost = max(left / columns, top / rows)
    if round(100 * lost) > 0:
        sides = "left and right" if left > top else "above and below"
        notes.append(f"{round(100 * lost)} % of it were cut off {sides}.")
    if inner != given:
        distorted = fit is Fit.STRETCH and rows * wanted[1] != columns * wanted[0]
        way = "distorted" if distorted else "resized"
        notes.append(f"It was {way} to {inner[1]}×{inner[0]} pixels.")
    if inner != wanted:
        sides = "left and right" if inner[1] < wanted[1] else "above and below"
        notes.append(f"Borders were added {sides}, in the color of its edge: {wanted[1]}×{wanted[0]} pixels.")
    return tuple(notes)


def _padded(inner: np.ndarray, pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    """uint8 (height, width, C): `inner` in the middle, around it the mean color of the edge of `pixels`."""
    edge = np.concatenate([pixels[0], pixels[-1], pixels[1:-1, 0], pixels[1:-1, -1]])
    found = np.empty((height, width, pixels.shape[2]), dtype=np.uint8)
    found[:] = np.rint(edge.mean(axis=0)).astype(np.uint8)
    top, left = (height - inner.shape[0]) // 2, (width - inner.shape[1]) // 2
    found[top : top + inner.shape[0], left : left + inner.shape[1]] = inner
    return found


def _opened(
    content: bytes, notes: list[str], at_least: tuple[int, int] | None
) -> tuple[Image.Image, tuple[int, int], int]:
    """(the image upright in one of the modes L, LA, RGB and RGBA, its height and width in the file,
    `brightest` as in Decoded)."""
    if not content:
        raise ImageUnreadable("it is empty")
    if content.startswith(b"\xff\xd8") and _scans(content) > MAX_SCANS:
        raise ImageUnreadable(f"it has more than {MAX_SCANS} scans; save it as PNG")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of size: refused below; of the camera's notes: read without
            with Image.open(io.BytesIO(content), formats=FORMATS) as file:
                columns, rows = file.size
                if columns * rows > MAX_PIXELS:
                    size = f"it is {columns} wide and {rows} high"
                    raise ImageUnreadable(f"{size}, more than {MAX_PIXELS:,} pixels; make it smaller")
                if getattr(file, "is_animated", False):
                    notes.append("It holds several images: the first was taken.")
                if at_least is not None:
                    file.draft(None, (2 * max(at_least), 2 * max(at_least)))  # only JPEG can
                file.load()
                held = _orientation(file)
                image, brightest = _eight_bits(file, notes)
                image = _reduced(image, at_least)
                if image is file:  # of a large photo not before it is smaller
                    image = file.copy()
    except UnidentifiedImageError as error:
        raise ImageUnreadable("it is not a PNG, JPEG, GIF, WebP, BMP or TIFF file") from error
    except Image.DecompressionBombError as error:
        raise ImageUnreadable(f"it has far more than {MAX_PIXELS:,} pixels; make it smaller") from error
    except MemoryError as error:
        raise ImageUnreadable("there is not enough memory for it") from error
    except ImageUnreadable:
        raise
    except (  # what a damaged file makes Pillow raise
        *(OSError, ValueError, SyntaxError, struct.error, LookupError, TypeError, EOFError),
        *(zlib.error, OverflowError, AttributeError),
    ) as error:
        raise ImageUnreadable(str(error) or type(error).__name__) from error
    if held not in _UPRIGHT:
        return image, (rows, columns), brightest
    notes.append("It was turned upright, as its camera says.")
    return image.transpose(_UPRIGHT[held]), (columns, rows) if held >= 5 else (rows, columns), brightest


def _scans(content: bytes) -> int:
    """Scans of a JPEG up to the end of its image: a phone puts a video after that."""
    found, place = 0, 2
    while (marker := _JPEG_MARKER.search(content, place)) is not None:
        place, kind = marker.end(), content[marker.end() - 1]
        if kind == _END_OF_IMAGE:
            break
        found += kind == _START_OF_SCAN
        if kind >= _FIRST_WITH_LENGTH:
            place += int.from_bytes(content[place : place + 2], "big")
    return found


def _orientation(file: Image.Image) -> Any:
    """What the camera noted of how it was held; None where that is not there or cannot be read."""
    try:
        return file.getexif().get(_ORIENTATION)
    except (struct.error, SyntaxError, OSError, ValueError, TypeError, LookupError):
        return None  # the notes are damaged, and the image need not be


def _eight_bits(image: Image.Image, notes: list[str]) -> tuple[Image.Image, int]:
    """(the image in one of the modes L, LA, RGB and RGBA, `brightest` as in Decoded). Adds to `notes` what
    had to be done."""
    if image.mode == "F":
        raise ImageUnreadable("its pixels are floating-point numbers; save it as PNG")
    if image.mode.startswith("I"):
        return _of_more_bits(image, notes)
    return _of_eight_bits(image, notes), 0


def _of_more_bits(image: Image.Image, notes: list[str]) -> tuple[Image.Image, int]:
    """(the image in mode L or LA, its greatest value). Values up to 255 stay as they are: programs write 8
    bits into files of 16 and 32."""
    values = np.asarray(image).astype(np.int64)
    brightest = int(values.max())
    if values.min() < 0 or brightest > MAX_VALUE:
        raise ImageUnreadable("its pixels have more than 16 bits; save it as PNG")
    shades = values
    if brightest > 255:
        notes.append("It has 16 bits for each pixel: it was reduced to 8 bits.")
        shades = (values + 128) // 257
    found = Image.fromarray(shades.astype(np.uint8))
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):  # of a PNG file: pixels of that value
        found.putalpha(Image.fromarray(np.where(values == transparent, 0, 255).astype(np.uint8)))
    return found, brightest


def _of_eight_bits(image: Image.Image, notes: list[str]) -> Image.Image:
    """The image in one of the modes L, LA, RGB and RGBA. Adds to `notes` what had to be done."""
    if image.mode in ("L", "LA", "RGB", "RGBA") and "transparency" not in image.info:
        return image
    if image.mode == "CMYK":
        notes.append("Its colors are those of print (CMYK): they were converted to red, green and blue.")
        return image.convert("RGB")
    if image.mode in ("PA", "La", "RGBa") or "transparency" in image.info:
        return image.convert("RGBA")
    return image.convert("L" if image.mode == "1" else "RGB", dither=Image.Dither.NONE)


def _reduced(image: Image.Image, at_least: tuple[int, int] | None) -> Image.Image:
    """The image as it is, or by a whole factor smaller, where twice `at_least` is left of each side."""
    factor = 1 if at_least is None else min(image.size) // (2 * max(at_least))
    return image if factor < 2 else image.reduce(factor)


def _opaque(image: Image.Image, notes: list[str]) -> Image.Image:
    """L or RGB: the image laid on white. Adds to `notes` where that shows."""
    if image.mode not in ("LA", "RGBA"):
        return image
    alpha = image.getchannel("A")
    if alpha.getextrema() == (255, 255):
        return image.convert(image.mode[:-1])
    notes.append("It is transparent: it was laid on white.")
    image = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
