"""Draws the splits that data lack, by class, the same for the same examples; and finds classes that a split
needs and lacks."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from data.datasets.base import LabelColumn, Split
from data.sources.base import SPLITS, shown

PART = 10
"""One of this many training examples of each class is drawn."""

SEED = 0
"""Of the draw; recorded with the set."""

TRAIN, VALIDATION, LAST = range(len(SPLITS))
"""Places in SPLITS, which are in this order."""


def draw_missing(
    labels: NDArray[np.int64], splits: NDArray[np.int64], pixels: Sequence[bytes]
) -> tuple[NDArray[np.int64], tuple[Split, ...]]:
    """The splits (N,) of the examples with those that were lacking, and which these are.

    The last split is drawn before validation, each a tenth of the training examples of every class, at least
    one while enough are left. Identical images stay together. The order in which the examples come does not
    matter.

    labels: (N, columns). pixels: SHA-256 of each image.
    """
    splits, drawn = splits.copy(), []
    for wanted in (LAST, VALIDATION):
        if not (splits == wanted).any():
            left = 1 + (wanted == LAST and not (splits == VALIDATION).any())
            splits[_draw(labels, splits, pixels, SPLITS[wanted], left)] = wanted
            drawn.append(SPLITS[wanted])
    return splits, tuple(drawn)


def _draw(
    labels: NDArray[np.int64], splits: NDArray[np.int64], pixels: Sequence[bytes], split: Split, left: int
) -> list[int]:
    """Places of the training examples that are drawn; of every class at least `left` are not.

    The rarest class is drawn first: an example counts for its class in every column (Sechidis et al., "On the
    stratification of multi-label data", 2011).
    """
    key = f"{SEED} {split.value} ".encode()
    groups: dict[bytes, list[int]] = {}
    for place in np.flatnonzero(splits == TRAIN).tolist():
        groups.setdefault(pixels[place], []).append(place)
    # The same images in the same order, whatever order they came in.
    order = sorted(groups, key=lambda each: hashlib.sha256(key + each).digest())
    rows = {each: [tuple(row) for row in labels[groups[each]].tolist()] for each in order}
    of_class: dict[tuple[int, int], list[bytes]] = {}
    training: dict[tuple[int, int], int] = {}
    for each in order:
        for answer in {answer for row in rows[each] for answer in enumerate(row)}:
            of_class.setdefault(answer, []).append(each)
        for answer in (answer for row in rows[each] for answer in enumerate(row)):
            training[answer] = training.get(answer, 0) + 1
    remaining, drawn = dict(training), dict[bytes, None]()
    for answer in sorted(training, key=lambda answer: (training[answer], answer)):
        wanted = training[answer] - max(1, round(training[answer] / PART))
        for each in of_class[answer]:
            if remaining[answer] <= wanted:
                break
            counts: dict[tuple[int, int], int] = {}
            for other in (other for row in rows[each] for other in enumerate(row)):
                counts[other] = counts.get(other, 0) + 1
            if each not in drawn and all(remaining[other] - n >= left for other, n in counts.items()):
                drawn[each] = None
                for other, n in counts.items():
                    remaining[other] -= n
    return [place for each in drawn for place in groups[each]]


def counts(columns: Sequence[LabelColumn], labels: NDArray[np.int64]) -> list[list[int]]:
    """Examples of each class, a list for each column. labels: (N, columns)."""
    return [
        np.bincount(labels[:, place], minlength=len(column.classes)).tolist()
        for place, column in enumerate(columns)
    ]


def lacking(
    columns: Sequence[LabelColumn],
    labels: NDArray[np.int64],
    splits: NDArray[np.int64],
    drawn: Sequence[Split],
) -> Iterator[str]:
    """Mistakes: columns with one class, classes without training or validation examples, empty splits."""
    by_split = [counts(columns, labels[splits == place]) for place in range(len(SPLITS))]
    for number, column in enumerate(columns):
        which = "" if len(columns) == 1 else f" of {column.name}"
        if len(column.classes) < 2:
            known = shown(column.classes[0]) if column.classes else "none"
            yield f"There is one class{which}, {known}: add images of another."
            continue
        for place, name in enumerate(column.classes):
            in_split = [each[number][place] for each in by_split]
            if sum(in_split) == 0:
                yield f"The class {shown(name)}{which} has no image that can be read: add some, or remove it."
            elif in_split[TRAIN] == 0:
                yield f"The class {shown(name)}{which} has no training images: add some, or remove it."
            elif in_split[VALIDATION] == 0 and Split.VALIDATION in drawn:
                yield (
                    f"The class {shown(name)}{which} has too few images ({sum(in_split)}) to draw one for "
                    "validation: add some, or remove it."
                )
            elif in_split[VALIDATION] == 0:
                yield f"The class {shown(name)}{which} has no validation images: add some, or remove it."
    for place, split in enumerate(SPLITS):
        if not (splits == place).any():
            what = "Too few images are there to draw" if split in drawn else "There are no images in"
            yield f"{what} the {split.value} split: add images."
