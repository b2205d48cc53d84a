"""Folds: the ways in which the training and validation examples of one dataset can be divided."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from data.datasets.base import LabeledImages, OpenDataset, Split


@dataclass(frozen=True, kw_only=True, slots=True)
class Fold:
    """A dataset that holds out another part of its training and validation examples, of the same size.

    Taken together in the order training, validation, the examples are cut into parts as large as the
    validation split. Part `number` is for validation, the others are for training, in their order; the last
    fold is the usual division. Folds of one dataset with one number are equal, so that trials share what is
    cached by dataset.

    Raises ValueError for a fold that does not exist.
    """

    whole: OpenDataset
    """The dataset with its usual division."""
    number: int
    """From 0."""

    def __post_init__(self) -> None:
        train, validation = (len(self.whole.split(part).labels) for part in (Split.TRAIN, Split.VALIDATION))
        if train % validation:
            raise ValueError(
                f"{train} training examples are not a multiple of {validation} validation examples"
            )
        if not 0 <= self.number <= train // validation:
            raise ValueError(f"fold must be 0 to {train // validation}, not {self.number}")

    @property
    def checksums(self) -> Mapping[str, str]:
        """Those of the dataset: a fold has the same bytes."""
        return self.whole.checksums

    def split(self, split: Split) -> LabeledImages:
        """Views of the dataset's examples, but for training in any fold before the last: that is a copy
        (42 MB of MNIST), of which the latest is kept, so that calls in a row share it.

        Raises ValueError for the third split, by which nothing may be chosen.
        """
        if split not in (Split.TRAIN, Split.VALIDATION):
            raise ValueError(f"a fold has training and validation examples, and no {split.value} split")
        train, validation = self.whole.split(Split.TRAIN), self.whole.split(Split.VALIDATION)
        begin = self.number * len(validation.labels)
        if begin == len(train.labels):
            return self.whole.split(split)
        end = begin + len(validation.labels)
        if split is Split.TRAIN:
            return _without(self.whole, begin, end)
        return LabeledImages(train.images[begin:end], train.labels[begin:end])

    def fold(self, number: int) -> OpenDataset:
        """Another fold of the same dataset. Raises ValueError."""
        return self.whole.fold(number)


@lru_cache(maxsize=1)
def _without(data: OpenDataset, begin: int, end: int) -> LabeledImages:
    """Copies of the training examples but those from `begin` to `end`, and the validation examples."""
    import torch

    images, labels = (
        torch.cat((ours[:begin], ours[end:], theirs))
        for ours, theirs in zip(data.split(Split.TRAIN), data.split(Split.VALIDATION), strict=True)
    )
    return LabeledImages(images, labels)
