"""Decodes the images that a source found and fits them to one shape, into one memory-mapped array.

Files are decoded in blocks, and blocks that an interrupted process left are taken as they are. Arrays are
read anew, which takes no longer than to verify what was left.
"""

from __future__ import annotations

import os
import struct
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from statistics import median
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from data.datasets.source import Progress
from data.images import FORMATS, MAX_BYTES, Fit, ImageUnreadable, decode, fitted
from data.ingest.partial import Block, keep_block, kept_block
from data.sources.base import ImageArrays, ImageFiles, shown
from data.sources.base import images as images_of
from search.files import open_regular, read_regular

MIN_SIDE, MAX_SIDE = 8, 128
"""Pixels: of the images of a set."""

GRAY_MODES = {"1", "L", "LA", "La", "F"}
"""Of Pillow: images that have no colors; so have those whose mode begins with I."""

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"

PNG_START = PNG_SIGNATURE + b"\0\0\0\rIHDR"
"""Of a PNG file; width, height, depth and color type follow (https://www.w3.org/TR/png-3/#11IHDR)."""

PNG_GRAY = {0, 4}
"""Color types without colors."""

PNG_TEXT = {b"tEXt", b"zTXt", b"iTXt"}
"""Chunks of text; they begin with a keyword."""

PNG_ORIENTED_TEXT = (b"Raw profile type exif\0", b"XML:com.adobe.xmp\0")
"""Keywords of texts in which Pillow looks for the orientation."""

ORIENTATION = 0x0112
"""Tag of EXIF; from 5 on height and width change places."""

CHUNK = 64
"""Images of an array looked at in one step."""

BLOCK = 256
"""Images decoded from one record of what is done to the next."""

UNSORTED = "unsorted"
"""The pixels of all images as they were found."""

ROOM = "room"
"""Space for the same pixels in the order of the set."""


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
    brightest: NDArray[np.int64]
    """(N,): as in data.images.Decoded; 0 for those of arrays"""
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


def read_pixels(
    images: ImageFiles | ImageArrays, options: Options, folder: Path, progress: Progress
) -> Pixels:
    """All images in one shape. What cannot be decoded is told in the result, and is black in the array.

    folder: where the array is put, with space for a sorted copy, so that a full disk is noticed now. What
    lies there of an earlier call with the same files and options is taken.

    Raises OSError where the disk refuses, ArrayDamaged where an array can no longer be read.
    """
    if isinstance(images, ImageArrays):
        return _from_arrays(images, options, folder, progress)
    return _from_files(images, options, folder, progress)


def _from_arrays(images: ImageArrays, options: Options, folder: Path, progress: Progress) -> Pixels:
    count = len(images)
    _, rows, columns, given = images.parts[0].shape
    height, width = options.size or shape_for([(rows, columns)])
    channels = options.channels or given
    found = _room_for(folder, count, (channels, height, width))
    same, place = (rows, columns, given) == (height, width, channels), 0
    for chunk in (chunk for part in images.parts for chunk in part.chunks()):
        if not same:
            chunk = np.stack([_shaped(each, channels, (height, width), options.fit) for each in chunk])
        found.array[place : place + len(chunk)] = chunk.transpose(0, 3, 1, 2)
        place += len(chunk)
        progress("images", place, count)
    found.sizes[:] = rows, columns
    return _without_colors(found, options)


def _from_files(images: ImageFiles, options: Options, folder: Path, progress: Progress) -> Pixels:
    headers = [_header(images.folder / name) for name in images.names]
    sizes = [each.size for each in headers if each.size is not None]
    height, width = options.size or shape_for(sizes or [(MIN_SIDE, MIN_SIDE)])
    gray = all(each.gray for each in headers if each.size is not None)
    found = _room_for(folder, len(images), (options.channels or (1 if gray else 3), height, width))
    done: Counter[str] = Counter()
    for number, begin in enumerate(range(0, len(images), BLOCK)):
        names, pixels = images.names[begin : begin + BLOCK], found.array[begin : begin + BLOCK]
        block = kept_block(folder, number, pixels)
        if block is None:
            block = _decoded(images.folder, names, pixels, options.fit)
            keep_block(folder, number, pixels, block)
        found.sizes[begin : begin + BLOCK] = block.sizes
        found.brightest[begin : begin + BLOCK] = block.brightest
        found.damaged += block.damaged.values()
        found.kept[[begin + int(place) for place in block.damaged]] = False
        done.update(block.notes)
        progress("images", begin + len(names), len(images))
    found.notes += [f"{images_of(count)}: {note}" for note, count in done.items()]
    return _without_colors(found, options)


def _decoded(folder: Path, names: Sequence[str], pixels: NDArray[np.uint8], fit: Fit) -> Block:
    """Decodes these images into `pixels`, (N, C, H, W)."""
    _, channels, height, width = pixels.shape
    sizes, damaged, notes = [(height, width)] * len(names), dict[str, str](), Counter[str]()
    brightest = [0] * len(names)
    for place, name in enumerate(names):
        try:
            content = read_regular(folder / name, limit=MAX_BYTES)
            decoded = decode(content, channels=channels, at_least=(height, width))
        except (ImageUnreadable, OSError) as error:
            reason = getattr(error, "strerror", None) or error
            damaged[str(place)] = f"{shown(name)} cannot be read ({reason})"
            pixels[place] = 0
            continue
        pixels[place] = fitted(decoded.pixels, height, width, fit)[0].transpose(2, 0, 1)
        sizes[place], brightest[place] = decoded.size, decoded.brightest
        notes.update(decoded.notes)
    return Block(sizes=tuple(sizes), brightest=tuple(brightest), damaged=damaged, notes=dict(notes))


def _without_colors(found: Pixels, options: Options) -> Pixels:
    """With one channel where no image has a color, unless three were asked for."""
    if options.channels is None and found.array.shape[1] == 3 and not _colored(found.array):
        found.array = found.array[:, :1]
    return found


def _header(path: Path) -> _Header:
    """Without decoding the image. What is wrong with it is told when it is decoded."""
    try:
        with open_regular(path) as file:
            start = file.read(len(PNG_START) + 10)
            plain = start.startswith(PNG_START) and not _tells_orientation(file)
        if plain:  # as most are; Pillow would take as long as for a third of the image
            columns, rows, _, color_type = struct.unpack(">IIBB", start[len(PNG_START) :])
            return _Header(size=(rows, columns), gray=color_type in PNG_GRAY)
        with Image.open(path, formats=FORMATS) as image:
            columns, rows = image.size
            # Pillow decodes a PNG in search of the tag, which may come after the pixels.
            tagged = image.format == "PNG" or image.info.get("exif")
            turned = tagged and image.getexif().get(ORIENTATION, 1) >= 5
            gray = image.mode in GRAY_MODES or image.mode.startswith("I")
    except Exception:  # Pillow raises anything of a damaged file
        return _Header(size=None, gray=False)
    return _Header(size=(columns, rows) if turned else (rows, columns), gray=gray)


def _tells_orientation(png: BinaryIO) -> bool:
    """Whether a chunk of a PNG file may say how the camera was held, as `decode` obeys it."""
    place = len(PNG_SIGNATURE)
    while True:
        png.seek(place)
        chunk = png.read(8 + max(map(len, PNG_ORIENTED_TEXT)))
        kind = chunk[4:8]
        if kind == b"eXIf" or (kind in PNG_TEXT and chunk[8:].startswith(PNG_ORIENTED_TEXT)):
            return True
        if len(chunk) < 8 or kind == b"IEND":
            return False
        place += int.from_bytes(chunk[:4], "big") + 12


def _shaped(pixels: NDArray[np.uint8], channels: int, size: tuple[int, int], fit: Fit) -> NDArray[np.uint8]:
    """uint8 (H, W, 1 or 3) → (height, width, channels)."""
    if channels < pixels.shape[2]:
        pixels = np.asarray(Image.fromarray(pixels).convert("L"))[:, :, None]
    elif channels > pixels.shape[2]:
        pixels = pixels.repeat(channels, axis=2)
    return fitted(pixels, *size, fit)[0]


def _colored(images: NDArray[np.uint8]) -> bool:
    """Whether a pixel of (N, 3, H, W) is not gray."""
    chunks = (images[begin : begin + CHUNK] for begin in range(0, len(images), CHUNK))
    return any(bool((chunk[:, :1] != chunk[:, 1:]).any()) for chunk in chunks)


def _room_for(folder: Path, count: int, image_shape: tuple[int, int, int]) -> Pixels:
    """The array of all images in a file; nothing of it is in memory. It has what lay there, or zeros."""
    size = count * prod(image_shape)
    for file in (folder / UNSORTED, folder / ROOM):
        if not file.exists() or file.stat().st_size != size:
            _allocate(file, size)
    array = np.memmap(folder / UNSORTED, dtype=np.uint8, mode="r+", shape=(count, *image_shape))
    # A plain view: each row of a memmap that is taken costs three times as much.
    sizes = np.tile(np.array(image_shape[1:], dtype=np.int64), (count, 1))
    return Pixels(
        array=np.asarray(array),
        kept=np.ones(count, dtype=bool),
        sizes=sizes,
        brightest=np.zeros(count, dtype=np.int64),
    )


def _allocate(file: Path, size: int) -> None:
    with file.open("wb") as made:  # a full disk is noticed here: in a mapping it ends the process
        if hasattr(os, "posix_fallocate"):  # not on macOS
            os.posix_fallocate(made.fileno(), 0, size)
        made.truncate(size)
