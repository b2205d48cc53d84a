"""Images and labels in a folder of IDX files, plain or gzipped, named as MNIST, Fashion-MNIST, KMNIST and
EMNIST are published."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from math import prod
from pathlib import Path

import numpy as np

from data.datasets.base import Split
from data.datasets.source import Unpacking
from data.sources import emnist
from data.sources.arrays import Part, found_in
from data.sources.base import MAX_ARRAY_BYTES, Found, SetInvalid, shown
from data.sources.stored_array import ArrayDamaged, Reader, StoredArray
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
    arrays: dict[str, StoredArray] = {}
    for name in (name for kinds in files.values() for name in kinds.values()):
        try:
            arrays[name] = _array(folder / name)
        except ArrayDamaged as error:
            mistakes.append(f"{shown(name)} {error}: fetch or write it anew.")
    if mistakes:
        raise SetInvalid(folder, mistakes)
    published = next(iter(matches.values()))["set"]
    transposed = published.lower().startswith(emnist.PREFIX)
    parts = {}
    for split, kinds in sorted(files.items(), key=lambda item: [*Split].index(item[0])):
        try:
            labels = arrays[kinds["labels"]].whole()
        except ArrayDamaged as error:
            mistakes.append(f"{shown(kinds['labels'])} {error}: fetch or write it anew.")
            continue
        parts[split] = Part(arrays[kinds["images"]], labels, kinds["labels"], transposed)
    if mistakes:
        raise SetInvalid(folder, mistakes)
    found = found_in(folder, "IDX files", parts)
    return emnist.named(found, folder / f"{published}mapping.txt") if transposed else found


def _array(file: Path) -> StoredArray:
    """The array of bytes in an IDX file, of which the header alone is read. Raises ArrayDamaged."""
    try:
        with _opened(file) as opened:
            start = opened.read(4)
            if len(start) < 4 or start[:2] != b"\0\0" or start[2] != UBYTE or not 1 <= start[3] <= 4:
                raise ArrayDamaged("is no IDX file of bytes")
            sizes = opened.read(4 * start[3])
    except OSError as error:
        raise ArrayDamaged(f"cannot be read ({error.strerror})") from error
    except ArrayDamaged:
        raise
    except ValueError as error:
        raise ArrayDamaged(f"is damaged ({error})") from error
    shape = tuple(int(each) for each in np.frombuffer(sizes[: len(sizes) // 4 * 4], dtype=">u4"))
    if len(sizes) < 4 * start[3] or prod(shape) > MAX_ARRAY_BYTES:
        raise ArrayDamaged(f"declares the shape {shape}, more than can be read")
    items = partial(_items, file, 4 + len(sizes))
    return StoredArray(name=file.name, shape=shape, dtype=np.dtype(np.uint8), items=items)


@contextmanager
def _opened(file: Path) -> Iterator[Reader]:
    """The content of the file, unpacked if it is gzip. Raises OSError."""
    with open_regular(file, limit=MAX_ARRAY_BYTES) as opened:
        packed = opened.peek(2)[:2] == b"\x1f\x8b"
        yield Unpacking(opened) if packed else opened


@contextmanager
def _items(file: Path, begin: int) -> Iterator[Reader]:
    """The content from that byte on."""
    with _opened(file) as opened:
        opened.read(begin)
        yield opened
