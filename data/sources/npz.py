"""Images and labels in one .npz file, in the layout of MedMNIST or of Keras's mnist.npz."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from math import prod
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy

from data.datasets.base import Split
from data.sources.arrays import Part, found_in
from data.sources.base import MAX_ARRAY_BYTES, Found, SetInvalid
from data.sources.stored_array import ArrayDamaged, StoredArray
from search.files import open_regular

NAMES = {
    Split.TRAIN: (("train_images", "train_labels"), ("x_train", "y_train")),
    Split.VALIDATION: (("val_images", "val_labels"), ("x_val", "y_val")),
    Split.TEST: (("test_images", "test_labels"), ("x_test", "y_test")),
}
"""What the arrays of images and of labels of each split are called."""


def read(path: Path) -> Found:
    """The examples of the file. Nothing in it is ever unpickled. Raises SetInvalid."""
    try:
        with open_regular(path) as file, zipfile.ZipFile(file) as archive:
            return found_in(path, "an .npz file", _parts(path, archive))
    except OSError as error:
        raise SetInvalid(path, [f"It cannot be read: {error.strerror or error}."]) from error
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        reason = f"It is damaged or no .npz file ({error}): write it with numpy.savez."
        raise SetInvalid(path, [reason]) from error


def _parts(path: Path, archive: zipfile.ZipFile) -> dict[Split, Part]:
    """The arrays of each split that the file has. Raises SetInvalid."""
    names = {name.removesuffix(".npy"): name for name in archive.namelist() if name.endswith(".npy")}
    parts, mistakes = {}, []
    for split, pairs in NAMES.items():
        for pair in pairs:
            there = [name for name in pair if name in names]
            if len(there) == 1:
                mistakes.append(
                    f"It has {there[0]} without {pair[1 - pair.index(there[0])]}: add that array."
                )
            if len(there) < 2:
                continue
            images, labels = (_array(path, archive, names[name], name, mistakes) for name in pair)
            if images is not None and labels is not None:
                try:
                    parts[split] = Part(images, labels.whole(), labels.name)
                except ArrayDamaged as error:
                    mistakes.append(f"{labels.name} {error}: write it anew.")
            break
    if not mistakes and Split.TRAIN not in parts:
        known = ", ".join(sorted(names)[:10]) or "no arrays"
        mistakes.append(
            f"It has {known}: name them train_images and train_labels (perhaps val_…, test_… too)."
        )
    if mistakes:
        raise SetInvalid(path, mistakes)
    return parts


def _array(
    path: Path, archive: zipfile.ZipFile, member: str, name: str, mistakes: list[str]
) -> StoredArray | None:
    """The array, of which the header alone is read; None, and a mistake, where it cannot be taken."""
    with archive.open(member) as file:
        try:
            shape, by_column, dtype = _header(file)
        except (ValueError, SyntaxError, TypeError) as error:
            mistakes.append(f"{name} is not an array that can be read ({error}): write it with numpy.savez.")
            return None
    if dtype.hasobject:
        mistakes.append(
            f"{name} holds Python objects, which are never unpacked: write it as numbers or text."
        )
        return None
    if prod(shape) * dtype.itemsize > MAX_ARRAY_BYTES:
        size = f"{prod(shape) * dtype.itemsize:,} bytes, where {MAX_ARRAY_BYTES:,} are allowed"
        mistakes.append(f"{name} has {size}: write smaller images, or fewer, or put them into a folder.")
        return None
    items = partial(_items, path, member)
    return StoredArray(name=name, shape=shape, dtype=dtype, items=items, by_column=by_column)


@contextmanager
def _items(path: Path, member: str) -> Iterator[IO[bytes]]:
    """The member after its header. Stored or deflated, it is read through zipfile, which verifies its CRC
    at the end."""
    with open_regular(path) as file, zipfile.ZipFile(file) as archive, archive.open(member) as items:
        _header(items)
        yield items


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, whether the first index varies fastest, and type of the array in an .npy file."""
    version = npy.read_magic(file)
    read_header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, by_column, dtype = read_header(file)
    return shape, by_column, dtype
