"""Images and labels in a folder of IDX files, plain or gzipped, named as MNIST, Fashion-MNIST, KMNIST and
EMNIST are published."""

from __future__ import annotations

import re
import zlib
from collections import defaultdict
from math import prod
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data.datasets.base import Split
from data.datasets.source import unpack
from data.sources.arrays import Part, found_in
from data.sources.base import MAX_ARRAY_BYTES, Found, SetInvalid, shown
from search.files import open_regular

NAME = re.compile(
    r"(?P<set>.*?)(?P<split>train|t10k|test|val|valid|validation)-(?P<kind>images|labels)[.-]idx[1-4]-ubyte(\.gz)?",
    re.IGNORECASE,
)
"""`emnist-letters-train-images-idx3-ubyte.gz`: the set, the split, what is in it."""

SPLITS = {
    "train": Split.TRAIN,
    "val": Split.VALIDATION,
    "valid": Split.VALIDATION,
    "validation": Split.VALIDATION,
    "t10k": Split.TEST,
    "test": Split.TEST,
}

UBYTE = 0x08
"""The only type of items that is read: http://yann.lecun.com/exdb/mnist, FILE FORMATS."""


def names(folder: Path) -> dict[str, re.Match[str]]:
    """The IDX files of a folder: name → its parts."""
    found = {each.name: NAME.fullmatch(each.name) for each in folder.iterdir()}
    return {name: match for name, match in sorted(found.items()) if match is not None}


def read(folder: Path) -> Found:
    """The examples of the files. Raises SetInvalid."""
    files: dict[Split, dict[str, str]] = defaultdict(dict)
    matches = names(folder)
    if len(sets := sorted({match["set"] for match in matches.values()})) > 1:
        known = ", ".join(shown(each.strip("-") or "(without a name)") for each in sets)
        raise SetInvalid(
            folder, [f"It holds {len(sets)} sets ({known}): put the files of one into a folder."]
        )
    for name, match in matches.items():
        files[SPLITS[match["split"].lower()]].setdefault(match["kind"].lower(), name)  # plain before .gz
    mistakes = [
        f"{shown(next(iter(kinds.values())))} is there without the {absent} of that split: add their file."
        for kinds in files.values()
        for absent in ("images", "labels")
        if absent not in kinds
    ]
    if Split.TRAIN not in files:
        mistakes.append("There is no train-images-idx3-ubyte: add the training images and labels.")
    arrays: dict[str, NDArray[np.uint8]] = {}
    for name in (name for kinds in files.values() for name in kinds.values()):
        try:
            arrays[name] = _read(folder / name)
        except ValueError as error:
            mistakes.append(f"{shown(name)} {error}: fetch or write it anew.")
    if mistakes:
        raise SetInvalid(folder, mistakes)
    parts = {
        split: Part(arrays[kinds["images"]], arrays[kinds["labels"]], kinds["images"], kinds["labels"])
        for split, kinds in sorted(files.items(), key=lambda item: [*Split].index(item[0]))
    }
    return found_in(folder, "IDX files", parts)


def _read(file: Path) -> NDArray[np.uint8]:
    """The items of an IDX file of bytes in their shape. Raises ValueError with what is wrong, a phrase."""
    try:
        with open_regular(file, limit=MAX_ARRAY_BYTES) as opened:
            packed = opened.read()
    except OSError as error:
        raise ValueError(f"cannot be read ({error.strerror})") from error
    # First its header alone, which says how much may be unpacked.
    start = _start(packed)
    if len(start) < 4 or start[:2] != b"\0\0" or start[2] != UBYTE or not 1 <= start[3] <= 4:
        raise ValueError("is no IDX file of bytes")
    begin = 4 + 4 * start[3]
    shape = tuple(int(each) for each in np.frombuffer(start[4:begin], dtype=">u4"))
    if len(start) < begin or prod(shape) > MAX_ARRAY_BYTES:
        raise ValueError(f"declares the shape {shape}, more than can be read")
    content = unpack(packed, begin + prod(shape))
    if len(content) != begin + prod(shape):
        more = "fewer" if len(content) < begin + prod(shape) else "more"
        raise ValueError(f"has {more} bytes than its shape {shape} needs")
    return np.frombuffer(content, dtype=np.uint8, offset=begin).reshape(shape)


def _start(packed: bytes) -> bytes:
    """The first 20 bytes, unpacked if the file is gzip. Raises ValueError."""
    if not packed.startswith(b"\x1f\x8b"):
        return packed[:20]
    try:
        return zlib.decompressobj(wbits=zlib.MAX_WBITS | 16).decompress(packed[:4096], 20)
    except zlib.error as error:
        raise ValueError(f"is damaged gzip ({error})") from error
