"""What sources of arrays share: pixels of any type as uint8, labels as names of classes, and the examples of
all splits put together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from data.datasets.base import Split
from data.sources.base import SPLITS, Found, ImageArray, ImageArrays, SetInvalid, is_one_hot, labeled, shown
from data.sources.stored_array import ArrayDamaged, StoredArray

DARK = 128
"""Where no pixel of a set is as bright as this, its white may be another number than 255."""


class Part(NamedTuple):
    """The arrays of one split, with their names for messages."""

    images: StoredArray
    """(N, H, W) or (N, H, W, 1 or 3)"""
    labels: NDArray[Any]
    """(N,) or (N, columns)"""
    labels_name: str
    transposed: bool = False
    """Whether rows and columns of the images are to be exchanged."""

    @property
    def images_name(self) -> str:
        return self.images.name


class _Values(NamedTuple):
    """What the pixels of a split are."""

    greatest: float = 0
    mistake: str | None = None


def found_in(path: Path, layout: str, parts: Mapping[Split, Part]) -> Found:
    """The examples of all splits. Raises SetInvalid with everything that is wrong with the arrays."""
    mistakes = list(_shape_mistakes(parts))
    values: list[_Values] = []
    if not mistakes:
        mistakes += _label_mistakes(parts)
        values = [_values(part) for part in parts.values()]
        mistakes += [each.mistake for each in values if each.mistake is not None]
    if mistakes:
        raise SetInvalid(path, mistakes)
    greatest = [each.greatest for each in values]
    scaled = all(map(_in_unit_interval, parts.values(), greatest))
    images = [
        ImageArray(stored=part.images, scaled=scaled, transposed=part.transposed) for part in parts.values()
    ]
    tables = [part.labels.reshape(len(part.labels), -1) for part in parts.values()]
    width = tables[0].shape[1]
    names = ["label"] if width == 1 else [f"label_{number}" for number in range(1, width + 1)]
    answers = [
        [str(each) for table in tables for each in table[:, column].tolist()] for column in range(width)
    ]
    numbered = labeled(names, answers)
    sizes = [len(part.labels) for part in parts.values()]
    return Found(
        layout=layout,
        images=ImageArrays(parts=tuple(images)),
        label_columns=numbered.columns,
        labels=numbered.labels,
        splits=np.repeat(np.array([SPLITS.index(split) for split in parts], dtype=np.int64), sizes),
        mistakes=numbered.mistakes,
        notes=tuple(_brightness_notes(max(greatest), scaled=scaled)),
    )


def _shape_mistakes(parts: Mapping[Split, Part]) -> Iterator[str]:
    """Arrays that are no images or no labels, or that do not belong together."""
    first = next(iter(parts.values()))
    for part in parts.values():
        images, labels = part.images.shape, part.labels.shape
        if len(images) not in (3, 4) or images[3:] not in ((), (1,), (3,)) or 0 in images:
            channels_first = len(images) == 4 and images[1] in (1, 3)
            yield (
                f"{part.images_name} has the shape {images}: images have (N, height, width), with colors "
                f"(N, height, width, 3){'; write .transpose(0, 2, 3, 1)' if channels_first else ''}."
            )
        elif _image_shape(part) != _image_shape(first):
            yield (
                f"{part.images_name} has images of {images[1:]}, and {first.images_name} of "
                f"{first.images.shape[1:]}: make them alike."
            )
        if len(labels) not in (1, 2) or labels[1:] == (0,):
            yield f"{part.labels_name} has the shape {labels}: labels have (N,) or (N, questions)."
        elif prod(labels[1:]) != prod(first.labels.shape[1:]):
            yield (
                f"{part.labels_name} has {prod(labels[1:])} columns, and {first.labels_name} "
                f"{prod(first.labels.shape[1:])}: give both the same."
            )
        if images[:1] != labels[:1]:
            yield f"{part.images_name} has {images[0]:,} images, and {part.labels_name} {labels[0]:,} labels."


def _image_shape(part: Part) -> tuple[int, ...]:
    """Height, width and channels; the channel of gray images may be left out."""
    height, width, *channels = part.images.shape[1:]
    return height, width, *(channels or (1,))


def _label_mistakes(parts: Mapping[Split, Part]) -> Iterator[str]:
    """Labels that name no classes, or each class by a column."""
    rows = [part.labels.reshape(len(part.labels), -1) for part in parts.values()]
    if all(each.dtype.kind in "iubf" for each in rows) and is_one_hot(np.concatenate(rows)):
        names = " and ".join(part.labels_name for part in parts.values())
        yield (
            f"{names}: the labels are one-hot, with exactly one 1 in each row of {rows[0].shape[1]} columns, "
            "which would be that many questions; write .argmax(1)."
        )
        return
    for part in parts.values():
        if part.labels.dtype.kind == "f":
            yield _not_integers(part)
        elif part.labels.dtype.kind not in "iubU":
            yield (
                f"{part.labels_name} has labels of the type {part.labels.dtype}: classes are whole numbers "
                "or text; write them as int64 or str."
            )


def _not_integers(part: Part) -> str:
    """The mistake in floating-point labels; the conversion is advised where it makes no other classes."""
    labels = part.labels.astype(np.float64)
    wrong = ~(np.abs(labels) < 2.0**63) | (labels != np.rint(labels))
    if not wrong.any():
        return (
            f"{part.labels_name} has labels of the type {part.labels.dtype}: classes are whole numbers or "
            "text; write .astype('int64')."
        )
    first = tuple(np.argwhere(wrong)[0].tolist())
    place = ", ".join(map(str, first))
    return (
        f"{part.labels_name}[{place}] is {labels[first]:g}: classes are whole numbers or text; correct the "
        "label, or remove that image."
    )


def _values(part: Part) -> _Values:
    """Reads all pixels; a mistake where they are not numbers from 0 to 255."""
    images, name = part.images, part.images_name
    if images.dtype.kind not in "buif":
        return _Values(mistake=f"{name} has pixels of the type {images.dtype}: write them as uint8.")
    greatest, whole, begin = 0.0, True, 0
    try:
        for rows in images.chunks():
            if (mistake := _chunk_mistake(name, begin, rows)) is not None:
                return _Values(mistake=mistake)
            greatest = max(greatest, float(rows.max(initial=0)))
            whole = whole and (rows.dtype.kind != "f" or bool((rows == np.rint(rows)).all()))
            begin += len(rows)
    except ArrayDamaged as error:
        return _Values(mistake=f"{shown(name)} {error}: fetch or write it anew.")
    if greatest > 1 and not whole:
        return _Values(
            mistake=f"{name} has fractions and pixels up to {greatest:g}: floating-point pixels are all in "
            "[0, 1], or whole numbers up to 255."
        )
    return _Values(greatest)


def _chunk_mistake(name: str, begin: int, rows: NDArray[Any]) -> str | None:
    """What is wrong with the pixels of these images, the first of which is number `begin`."""
    if rows.dtype == np.uint8 or rows.dtype.kind == "b" or not rows.size:
        return None
    if rows.dtype.kind == "f" and not np.isfinite(rows).all():
        bad = begin + int(np.argmin(np.isfinite(rows).reshape(len(rows), -1).all(axis=1)))
        return f"{name}[{bad}] has pixels that are NaN or infinite: replace or remove that image."
    if rows.min() < 0 or rows.max() > 255:
        outside = ((rows < 0) | (rows > 255)).reshape(len(rows), -1).any(axis=1)
        return (
            f"{name}[{begin + int(np.argmax(outside))}] has pixels from {rows.min():g} to "
            f"{rows.max():g}: pixels go from 0 to 255; scale them to that, as uint8."
        )
    return None


def _in_unit_interval(part: Part, greatest: float) -> bool:
    """Whether these are truth values, or floating-point numbers in [0, 1]: they are multiplied by 255. Whole
    numbers stay as they are, also where none is above 1."""
    kind = part.images.dtype.kind
    return kind == "b" or (kind == "f" and greatest <= 1)


def _brightness_notes(greatest: float, *, scaled: bool) -> Iterator[str]:
    """Sentences about what the pixels were multiplied by, or should be."""
    if scaled:
        yield "The pixels were in [0, 1], and were multiplied by 255."
        return
    brightest = int(greatest)
    if 0 < brightest < DARK:
        yield (
            f"The brightest pixel is {brightest} of 255. If {brightest} is white, multiply the images by "
            f"255 / {brightest}: else `tune predict` is shown images that are brighter than these."
        )
