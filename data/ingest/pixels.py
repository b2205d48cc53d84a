"""Decodes the images that a source found and fits them to one shape, into one memory-mapped array."""

from __future__ import annotations

import os
import struct
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from statistics import median

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from data.datasets.source import Progress
from data.images import FORMATS, MAX_BYTES, Fit, ImageUnreadable, decode, fitted
from data.sources.base import ImageArrays, ImageFiles, shown
from data.sources.base import images as images_of
from search.files import open_regular, read_regular

MIN_SIDE, MAX_SIDE = 8, 128
"""Pixels: of the images of a set."""

GRAY_MODES = {"1", "L", "LA", "La", "F"}
"""Of Pillow: images that have no colors; so have those whose mode begins with I."""

PNG_START = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"
"""Of a PNG file; width, height, depth and color type follow (https://www.w3.org/TR/png-3/#11IHDR)."""

PNG_GRAY = {0, 4}
"""Color types without colors."""

ORIENTATION = 0x0112
"""Tag of EXIF; from 5 on height and width change places."""

CHUNK = 1024
"""Images of arrays copied in one step; and after this many decoded ones the progress is told."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """How images become those of a set."""

    size: tuple[int, int] | None = None
    """Height and width, each MIN_SIDE to MAX_SIDE; None: the images' own, see `shape_for`."""
    fit: Fit = Fit.PAD
    """How images of another size are fitted."""
    channels: int | None = None
    """1 gray, 3 RGB; None: 1 where no image has a color."""
    skip_damaged: bool = False
    """Leaves out images that cannot be decoded."""


@dataclass(kw_only=True, slots=True, eq=False)
class Pixels:
    """The images of a set in the order in which they were found."""

    array: NDArray[np.uint8]
    """(N, C, H, W), memory-mapped"""
    kept: NDArray[np.bool_]
    """(N,): whether it could be decoded"""
    sizes: NDArray[np.int64]
    """(N, 2): height and width of each as it was found, upright; of a damaged one those of the array"""
    damaged: list[str] = field(default_factory=list)
    """Those that could not, each with the reason; places and order are as found"""
    notes: list[str] = field(default_factory=list)

    @property
    def fitted(self) -> NDArray[np.bool_]:
        """(N,): whether it had another size"""
        other: NDArray[np.bool_] = (self.sizes != self.array.shape[2:]).any(axis=1)
        return other


@dataclass(frozen=True, kw_only=True, slots=True)
class _Header:
    """What the beginning of a file says."""

    size: tuple[int, int] | None
    """Height and width, upright; None: it cannot be read."""
    gray: bool


def shape_for(sizes: list[tuple[int, int]]) -> tuple[int, int]:
    """Height and width for images of these sizes: their own where all are alike and MIN_SIDE to MAX_SIDE a
    side. Else the median height and the median width, made smaller together until the longer is MAX_SIDE, or
    larger until the shorter is MIN_SIDE.
    """
    height, width = (float(median(side)) for side in zip(*sizes, strict=True))
    scale = min(1.0, MAX_SIDE / max(height, width))
    scale = max(scale, MIN_SIDE / min(height, width))
    height, width = (min(MAX_SIDE, max(MIN_SIDE, round(side * scale))) for side in (height, width))
    return int(height), int(width)


def read_pixels(images: ImageFiles | ImageArrays, options: Options, file: Path, progress: Progress) -> Pixels:
    """All images in one shape. What cannot be decoded is told in the result, and is black in the array.

    file: where the array is put. Raises OSError where the disk refuses.
    """
    if isinstance(images, ImageArrays):
        return _from_arrays(images, options, file, progress)
    return _from_files(images, options, file, progress)


def _from_arrays(images: ImageArrays, options: Options, file: Path, progress: Progress) -> Pixels:
    count = len(images)
    _, rows, columns, given = images.parts[0].shape
    height, width = options.size or shape_for([(rows, columns)])
    channels = options.channels or (3 if given == 3 and any(map(_colored, images.parts)) else 1)
    found = _empty(file, count, (channels, height, width))
    same, place = (rows, columns, given) == (height, width, channels), 0
    for part in images.parts:
        for begin in range(0, len(part), CHUNK):
            chunk = part[begin : begin + CHUNK]
            if not same:
                chunk = np.stack([_shaped(each, channels, (height, width), options.fit) for each in chunk])
            found.array[place : place + len(chunk)] = chunk.transpose(0, 3, 1, 2)
            place += len(chunk)
            progress("images", place, count)
    found.sizes[:] = rows, columns
    return found


def _from_files(images: ImageFiles, options: Options, file: Path, progress: Progress) -> Pixels:
    headers = [_header(images.folder / name) for name in images.names]
    sizes = [each.size for each in headers if each.size is not None]
    height, width = options.size or shape_for(sizes or [(MIN_SIDE, MIN_SIDE)])
    gray = all(each.gray for each in headers if each.size is not None)
    channels = options.channels or (1 if gray else 3)
    found = _empty(file, len(images), (channels, height, width))
    done: Counter[str] = Counter()
    for place, name in enumerate(images.names):
        try:
            content = read_regular(images.folder / name, limit=MAX_BYTES)
            decoded = decode(content, channels=channels, at_least=(height, width))
        except (ImageUnreadable, OSError) as error:
            reason = getattr(error, "strerror", None) or error
            found.damaged.append(f"{shown(name)} cannot be read ({reason})")
            found.kept[place] = False
            continue
        pixels, _ = fitted(decoded.pixels, height, width, options.fit)
        found.array[place] = pixels.transpose(2, 0, 1)
        found.sizes[place] = decoded.size
        done.update(decoded.notes)
        if place % CHUNK == 0 or place + 1 == len(images):
            progress("images", place + 1, len(images))
    found.notes += [f"{images_of(count)}: {note}" for note, count in done.items()]
    if options.channels is None and channels == 3 and not _colored(found.array.transpose(0, 2, 3, 1)):
        found.array = found.array[:, :1]
    return found


def _header(path: Path) -> _Header:
    """Without decoding the image. What is wrong with it is told when it is decoded."""
    try:
        with open_regular(path) as file:
            start = file.read(len(PNG_START) + 10)
        if start.startswith(PNG_START):  # as most are; Pillow would take as long as for a third of the image
            columns, rows, _, color_type = struct.unpack(">IIBB", start[len(PNG_START) :])
            return _Header(size=(rows, columns), gray=color_type in PNG_GRAY)
        with Image.open(path, formats=FORMATS) as image:
            columns, rows = image.size
            # Image's own method: that of PNG decodes the image in search of a tag that comes after it.
            turned = image.info.get("exif") and Image.Image.getexif(image).get(ORIENTATION, 1) >= 5
            gray = image.mode in GRAY_MODES or image.mode.startswith("I")
    except Exception:  # Pillow raises anything of a damaged file
        return _Header(size=None, gray=False)
    return _Header(size=(columns, rows) if turned else (rows, columns), gray=gray)


def _shaped(pixels: NDArray[np.uint8], channels: int, size: tuple[int, int], fit: Fit) -> NDArray[np.uint8]:
    """uint8 (H, W, 1 or 3) → (height, width, channels)."""
    if channels < pixels.shape[2]:
        pixels = np.asarray(Image.fromarray(pixels).convert("L"))[:, :, None]
    elif channels > pixels.shape[2]:
        pixels = pixels.repeat(channels, axis=2)
    return fitted(pixels, *size, fit)[0]


def _colored(images: NDArray[np.uint8]) -> bool:
    """Whether a pixel of (N, H, W, 3) is not gray."""
    return any(bool((chunk[..., :1] != chunk[..., 1:]).any()) for chunk in _chunks(images))


def _chunks(images: NDArray[np.uint8]) -> Iterator[NDArray[np.uint8]]:
    for begin in range(0, len(images), CHUNK):
        yield images[begin : begin + CHUNK]


def _empty(file: Path, count: int, image_shape: tuple[int, int, int]) -> Pixels:
    """A new array of zeros in a file; nothing of it is in memory."""
    with file.open("wb") as made:  # a full disk is noticed here: in a mapping it ends the process
        if hasattr(os, "posix_fallocate"):  # not on macOS
            os.posix_fallocate(made.fileno(), 0, count * prod(image_shape))
        made.truncate(count * prod(image_shape))
    array = np.memmap(file, dtype=np.uint8, mode="r+", shape=(count, *image_shape))
    # A plain view: each row of a memmap that is taken costs three times as much.
    sizes = np.tile(np.array(image_shape[1:], dtype=np.int64), (count, 1))
    return Pixels(array=np.asarray(array), kept=np.ones(count, dtype=bool), sizes=sizes)
