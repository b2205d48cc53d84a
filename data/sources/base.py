"""What a source finds where a user's data lies: images, labels, splits, and every mistake in them.

A source reads names and tables, and arrays that hold pixels; files of images are decoded later (data.ingest).
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from data.datasets.base import DatasetUnusable, LabelColumn, Split
from data.sources.stored_array import StoredArray

SHOWN = 10
"""Mistakes of one set that are written out; of the others, their number is."""

SPLITS = (*Split,)
"""A place in it stands for a split in `Found.splits`."""

SPLIT_NAMES = {
    "train": Split.TRAIN,
    "training": Split.TRAIN,
    "training_set": Split.TRAIN,
    "val": Split.VALIDATION,
    "valid": Split.VALIDATION,
    "validation": Split.VALIDATION,
    "validation_set": Split.VALIDATION,
    "test": Split.TEST,
    "testing": Split.TEST,
    "test_set": Split.TEST,
}
"""What folders, and the column `split`, call the splits, in lower case."""

MAX_ARRAY_BYTES = 1 << 34
"""Of one unpacked array: 16 GB; a file that declares more is refused before it is unpacked."""


class SetInvalid(DatasetUnusable):
    """What lies at `path` cannot be made a set of images; `mistakes` are sentences, all there are."""

    def __init__(self, path: Path | str, mistakes: Sequence[str]) -> None:
        self.path, self.mistakes = str(path), tuple(mistakes)
        super().__init__(self.path, self.mistakes)  # all arguments, so that it survives pickling

    def __str__(self) -> str:
        if len(self.mistakes) == 1:
            return f"{shown(self.path)}: {self.mistakes[0]}"
        lines = [f"  {each}" for each in self.mistakes[:SHOWN]]
        if len(self.mistakes) > SHOWN:
            lines.append(f"  and {len(self.mistakes) - SHOWN:,} more.")
        return "\n".join([f"{shown(self.path)} has {len(self.mistakes):,} mistakes:", *lines])


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageFiles:
    """Images in files that are yet to be decoded."""

    folder: Path
    names: tuple[str, ...]
    """Below the folder, as messages call them."""

    def __len__(self) -> int:
        return len(self.names)

    def name(self, place: int) -> str:
        return self.names[place]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ImageArray:
    """Images in an array in a file: their pixels are read when they are needed."""

    stored: StoredArray
    """(N, H, W) or (N, H, W, 1 or 3)"""
    scaled: bool = False
    """Whether the pixels are in [0, 1], and to be multiplied by 255."""
    transposed: bool = False
    """Whether rows and columns are to be exchanged."""

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """N, height, width, channels of the images."""
        count, height, width, *channels = self.stored.shape
        if self.transposed:
            height, width = width, height
        return count, height, width, *(channels or [1])  # type: ignore[return-value]

    def chunks(self) -> Iterator[NDArray[np.uint8]]:
        """All images in order, some at a time, (n, height, width, channels). Raises ArrayDamaged."""
        for rows in self.stored.chunks():
            pixels = rows if rows.dtype == np.uint8 else _as_bytes(rows, scaled=self.scaled)
            pixels = pixels.reshape(*pixels.shape[:3], -1)
            yield pixels.swapaxes(1, 2) if self.transposed else pixels


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ImageArrays:
    """Images in arrays."""

    parts: tuple[ImageArray, ...]
    """All of one height, width and number of channels, 1 or 3."""

    def __len__(self) -> int:
        return sum(part.shape[0] for part in self.parts)

    def name(self, place: int) -> str:
        for part in self.parts:
            if place < part.shape[0]:
                return f"{part.stored.name}[{place}]"
            place -= part.shape[0]
        raise IndexError(place)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Found:
    """What a source found; N examples."""

    layout: str
    """In words: "a folder for each class"."""
    images: ImageFiles | ImageArrays
    label_columns: tuple[LabelColumn, ...]
    labels: NDArray[np.int64]
    """(N, label columns): places in the classes of each column."""
    splits: NDArray[np.int64]
    """(N,): places in SPLITS. Where an example of a split is, the split need not be drawn."""
    mistakes: tuple[str, ...] = ()
    """Sentences; with any, the set is refused once the images were looked at as well."""
    notes: tuple[str, ...] = ()


class Labeled(NamedTuple):
    """Label columns with the labels of each example, (N, columns)."""

    columns: tuple[LabelColumn, ...]
    labels: NDArray[np.int64]
    mistakes: tuple[str, ...]


def labeled(names: Sequence[str], answers: Sequence[Sequence[str]]) -> Labeled:
    """Numbers the classes: in the order of the numbers where all names of a column are whole numbers, else of
    the text.

    names: of the columns. answers: for each column the class of every example.
    """
    columns, labels, mistakes = [], [], list[str]()
    for name, given in zip(names, answers, strict=True):
        clean = [unicodedata.normalize("NFC", each) for each in given]
        classes = in_order(set(clean))
        place = {each: number for number, each in enumerate(classes)}
        columns.append(LabelColumn(name=name, classes=classes))
        labels.append(np.fromiter((place[each] for each in clean), dtype=np.int64, count=len(clean)))
        mistakes += alike(name, classes)
        mistakes += unprintable(name, classes)
    return Labeled(tuple(columns), np.stack(labels, axis=1), tuple(mistakes))


def is_one_hot(answers: NDArray[Any]) -> bool:
    """Whether (N, columns) are 0 and 1 with exactly one 1 in every row, in three columns or more: one class,
    and no answers to several questions."""
    if answers.shape[1] < 3:
        return False
    try:
        numbers = answers.astype(np.float32)
    except ValueError:  # text
        return False
    return bool(np.isin(numbers, (0, 1)).all() and (numbers.sum(axis=1) == 1).all())


def in_order(classes: Iterable[str]) -> tuple[str, ...]:
    """Names of classes as they are numbered."""
    known = sorted(classes)
    if all(re.fullmatch(r"-?[0-9]+", each) for each in known):
        known.sort(key=int)
    return tuple(known)


def alike(column: str, classes: Iterable[str]) -> Iterator[str]:
    """A mistake for each group of names that differ by case alone."""
    groups: dict[str, list[str]] = defaultdict(list)
    for each in classes:
        groups[each.casefold()].append(each)
    for group in groups.values():
        if len(group) > 1:
            which = " and ".join(map(shown, group))
            yield f"The classes {which} of {column} differ by case alone: give them one name."


def unprintable(column: str, classes: Iterable[str]) -> Iterator[str]:
    """A mistake for each name that no line of text can hold: `tune predict` prints it in one."""
    for each in classes:
        if not each.isprintable():
            yield (
                f"The class {shown(each)} of {column} has a line break or another character that cannot be "
                "printed: rename it."
            )


def shown(name: str) -> str:
    """A name for a message: what is no text in it is written with backslashes."""
    text = name.encode("utf-8", "backslashreplace").decode()
    return text if text.isprintable() else repr(text)


def images(count: int) -> str:
    """`1 image`, `2,000 images`."""
    return "1 image" if count == 1 else f"{count:,} images"


def is_text(name: str) -> bool:
    """Whether a file's name is UTF-8: the system gives other bytes as surrogates."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _as_bytes(rows: NDArray[Any], *, scaled: bool) -> NDArray[np.uint8]:
    """The pixels, multiplied by 255 and rounded if they are to be `scaled`."""
    return (np.rint(rows * 255.0) if scaled else rows).astype(np.uint8)
