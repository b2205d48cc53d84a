"""What a task is: what is asked about a dataset's images, how it is searched, and the batches for that.

A description costs nothing to import: numpy and torch are imported by the methods that need them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from data.datasets.base import Dataset, OpenDataset
from data.datasets.registry import get_dataset

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray
    from torch import Tensor

    from data.tasks.stream import EndlessStream, FiniteSet

Settings = Mapping[str, bool | int | float | str]
"""Settings of a trial in the words of the search space, by name."""

MAX_SHIFT = 14
"""Half a digit's side; beyond it, next to nothing of the digit may be left."""

MAX_AFFINE = 4.0
"""Digits that turn by 40° are no longer sure to be themselves: a 6 and a 9, a 1 and a 7."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Head:
    """One question that the network answers about each example."""

    name: str
    classes: int
    """Answers to choose from: the target is 0 .. classes - 1."""
    labels: tuple[str, ...] = ()
    """Names of the classes, in order. Empty: they are the numbers from 0."""

    def __post_init__(self) -> None:
        if not self.name or self.classes < 2:
            raise ValueError(
                f"a head needs a name and 2 or more classes, not {self.name!r} and {self.classes}"
            )
        if self.labels and len(self.labels) != self.classes:
            raise ValueError(
                f"a head needs a label for each of its {self.classes} classes, not {len(self.labels)}"
            )


class Pairing(StrEnum):
    """Whether every epoch shows the same compositions (in another order) or new ones."""

    FIXED = "fixed"
    FRESH = "fresh"


@dataclass(frozen=True, kw_only=True, slots=True)
class Augmentation:
    """How the training examples vary from epoch to epoch; validation and test never vary."""

    pairing: Pairing = Pairing.FIXED
    """Of digit with digit (`twodigit`), or of digit with number (`sum`)."""
    shift: int = 0
    """Each digit moves by up to this many pixels in each direction, zero-filled, drawn anew every epoch."""
    affine: float = 0.0
    """Strength of each digit's random turn, stretch and slant, drawn anew every epoch: data.tasks.affine."""
    flip: bool = field(default=False, repr=False)
    """Whether half of the images, drawn anew every epoch, are mirrored left to right. Not in the repr: resume
    checkpoints of previous versions are found by it."""

    def __post_init__(self) -> None:
        if not isinstance(self.pairing, Pairing):
            allowed = ", ".join(Pairing)
            raise ValueError(f"pairing must be a Pairing ({allowed}), not {self.pairing!r}")
        if not 0 <= self.shift <= MAX_SHIFT:
            raise ValueError(f"shift must be 0 to {MAX_SHIFT} pixels, not {self.shift}")
        if not 0 <= self.affine <= MAX_AFFINE:
            raise ValueError(f"affine must be 0 to {MAX_AFFINE:g}, not {self.affine}")


class Batch(NamedTuple):
    """N images and what is asked about them. Views of a larger buffer: do not write to them."""

    image: Tensor
    """uint8 (N, C, H, W); of digits C is 1, ink 255 on background 0."""
    number: Tensor | None
    """int64 (N,); in evaluation (N, K): K numbers for each image. None: the task has no number input."""
    targets: Tensor
    """int64 (N, heads); for numbers (N, K) it is (N·K, heads), row n·K + k being image n, number k."""


class Task(ABC):
    """What is to be learned. Stateless: all pixels come in as an argument.

    A new one is a module and a line in the registry.
    """

    name: str
    """As in `--task NAME`, a key of the registry."""
    title: str
    """For people."""
    dataset: str
    """Name of the dataset whose images it is about."""
    numbers: int = 0
    """Classes of the number input, which is 0 .. numbers - 1. 0: there is no such input."""
    heads: tuple[Head, ...]
    """In the order of the columns of `Batch.targets`."""
    digit_rows: tuple[int, ...]
    """Row of the image at which each of the dataset's images in it begins."""
    examples_are: str = "images"
    """What examples are made of, in the plural, for sentences: composed images are made of digits."""
    references_are: str = "references"
    """What `references` are, in the plural, for sentences."""
    composes: bool = True
    """Whether an example is composed: of several images, or of an image and a number. Else it is an image as
    it is, `pairing` means nothing, and `flip` does."""
    by_class: bool = False
    """Whether the means over the classes (balanced accuracy, macro F1) are worked out at evaluations: where
    one class may have more examples than another."""
    compositions: int = 0
    """How often a confirmation has each validation digit in each place of an image. 0: the validation set of
    a search has them all already."""
    epochs: float
    """Default budget of one trial."""
    early_evaluations: int
    """Evaluations within the first epoch of a trial: this many, after 1/2, 1/4, … of it."""
    evaluate_every: int = 1
    """Epochs from one evaluation to the next, beyond the first epoch."""
    references: Mapping[str, Settings] = MappingProxyType({})
    """Published configurations by name, every setting of theirs given. They are the first trials of a study,
    so that it shows what it gained over them."""

    @property
    @abstractmethod
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height, width of what the network sees."""

    @property
    @abstractmethod
    def epoch_examples(self) -> int:
        """Training examples in one epoch."""

    @property
    def source(self) -> Dataset:
        """The dataset whose images it is about. Raises UnknownName, UnusableEntry."""
        return get_dataset(self.dataset)

    @abstractmethod
    def training(
        self, data: OpenDataset, *, augmentation: Augmentation, seed: int, device: torch.device | str = "cpu"
    ) -> EndlessStream:
        """The stream for one run. Its pixels are moved to `device` once, here; batches are made there."""

    def training_sample(self, data: OpenDataset, *, device: torch.device | str = "cpu") -> FiniteSet:
        """A fixed sample of the training examples without augmentation: each image once, with one number
        where the task has numbers. As many as `validation` has images, the same for every trial on the data.

        The accuracies on these and on `validation` are measured alike: their difference is the generalization
        gap. With fixed pairing a network was trained on these very compositions, with fresh pairing on the
        same digits in others.
        """
        from data.tasks.stream import FiniteSet

        stream = self.training(data, augmentation=Augmentation(), seed=0, device=device)
        rows = tuple(table[: self.validation_images()] for table in stream.plan(0))
        return FiniteSet(rows=rows, compose=stream.compose, chunk=stream.chunk)

    @abstractmethod
    def validation(
        self, data: OpenDataset, *, device: torch.device | str = "cpu", compositions: int = 0
    ) -> FiniteSet:
        """What candidates are compared on. The same for every study with as many compositions.

        compositions: times that each validation digit takes each place of an image; 0: the set that searches
        choose on.
        """

    @abstractmethod
    def validation_digits(self, *, compositions: int = 0) -> NDArray[np.int64]:
        """int64 (examples, digits of an image): which validation digits each example of `validation` is made
        of, in its order. Imports no torch."""

    @abstractmethod
    def test_digits(self) -> NDArray[np.int64]:
        """The same for `test`. Numbers of digits only: no pixel is touched."""

    @abstractmethod
    def test(self, data: OpenDataset, *, device: torch.device | str = "cpu") -> FiniteSet:
        """What no candidate may be chosen by. The same for every study."""

    def majority(self) -> Mapping[str, tuple[str, float]]:
        """By head, the most frequent class of validation and the accuracy of always answering with it.

        Heads whose classes are about equally frequent are left out; so are all where it is not known without
        opening the dataset.
        """
        return {}

    @abstractmethod
    def caption(self, targets: Sequence[int], number: int | None) -> str:
        """The answer to one example in human words; `targets` holds one class for each head."""

    def validation_images(self, *, compositions: int = 0) -> int:
        """Images, not examples: ten sums of one image are not ten independent observations, and neither are
        several compositions of the same digits."""
        examples = len(self.validation_digits(compositions=compositions))
        return examples // max(1, self.numbers) // max(1, compositions)


def plain_training(*, optimizer: str, lr: float, momentum: float, batch_size: int) -> Settings:
    """How most published networks are trained, for `Task.references`: at a constant learning rate, on the
    same examples every epoch, with nothing else."""
    return {
        "optimizer": optimizer,
        "lr": lr,
        "momentum": momentum,
        "weight_decay": 0.0,
        "schedule": "constant",
        "batch_size": batch_size,
        "label_smoothing": 0.0,
        "averaging": 0.0,
        "pairing": Pairing.FIXED.value,
        "shift": 0,
        "affine": 0.0,
    }
