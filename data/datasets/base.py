"""What a dataset is: a description that costs nothing to import, and its images once it is opened.

A description says what there is (splits, shape, classes, mean and deviation) and how the bytes come to this
machine and are checked; all that without torch. `load` maps the pixels, which takes torch.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

from data.datasets.source import Progress

if TYPE_CHECKING:
    from torch import Tensor


class Split(StrEnum):
    """The parts of a dataset, which share no example."""

    TRAIN = "train"
    VALIDATION = "validation"
    TEST = "test"


class DatasetError(Exception):
    """A dataset cannot be had; the message is one sentence that says what, why and what fixes it.

    DatasetError
    ├── DatasetUnusable       files are absent, are others than they should be, or cannot be read
    └── DatasetUnavailable    every source was tried, and each failed
    """


class DatasetUnusable(DatasetError):
    """Files are absent, are others than they should be, or cannot be read."""


class DatasetUnavailable(DatasetError):
    """Every source was tried, and each failed; later it may be otherwise."""


class FileState(StrEnum):
    """What a check of a file found."""

    OK = "ok"
    MISSING = "missing"
    CORRUPT = "corrupt"


@dataclass(frozen=True, kw_only=True, slots=True)
class FileCheck:
    """What `Dataset.verify` found out about one file."""

    file: Path
    state: FileState
    found: str | None
    """SHA-256 of the bytes that are there, or why it was not computed; None: there is no file."""
    expected: str
    """SHA-256 of the genuine file."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Fetched:
    """All files of a dataset lie in `folder`, and each has its checksum."""

    folder: Path
    origins: dict[str, str]
    """File name → where its bytes came from; "cache" if they were there already."""
    checksums: Mapping[str, str]
    """File name → SHA-256."""
    notes: tuple[str, ...] = ()
    """What did not go smoothly: a damaged file that was replaced, sources that failed. In order."""

    @property
    def origin(self) -> str:
        """All origins in one line, most often just one."""
        return ", ".join(dict.fromkeys(self.origins.values()))


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelColumn:
    """One label of each image: what it is called, and the classes that it tells apart."""

    name: str
    classes: tuple[str, ...]
    """Their names, in the order of the labels."""


class LabeledImages(NamedTuple):
    """The examples of one split, on the CPU."""

    images: Tensor
    """uint8 (N, H, W), ink 255 on background 0; of a dataset that people bring (N, C, H, W), as it is."""
    labels: Tensor
    """int64 (N,), 0 .. classes - 1; of a dataset that people bring (N, label columns)."""


class Provenance(Protocol):
    """Whatever knows which bytes a dataset consists of."""

    @property
    def checksums(self) -> Mapping[str, str]:
        """Name → SHA-256; belongs into the record of a run."""


class OpenDataset(Provenance, Hashable, Protocol):
    """A dataset whose images are at hand."""

    def split(self, split: Split) -> LabeledImages:
        """The examples of that split, no copies: calls share their memory."""

    def fold(self, number: int) -> OpenDataset:
        """The same examples, training and validation divided in the `number`-th way, from 0: one of the
        `Dataset.folds`. The sizes are those of the dataset, the test split is not available.

        Raises ValueError for a fold that does not exist. Never called for a dataset without folds.
        """


class Dataset(ABC):
    """Where examples come from. Stateless; a new one is a module and a line in the registry."""

    name: str
    """A key of the registry."""
    title: str
    """For people."""
    scope: str
    """What a network that learned from it knows, and what it was never shown: sentences for the card."""
    image_shape: tuple[int, int, int]
    """Channels, height, width of each image."""
    classes: tuple[str, ...]
    """Names of the classes, in the order of the labels; with several labels for each image those of the first
    (see `label_columns`)."""
    sizes: Mapping[Split, int]
    """Images in each split."""
    folds: int = 0
    """Number of ways in which training and validation examples can be divided, so that no validation example
    of one is a validation example of another. 0: only the usual one."""
    mean: tuple[float, ...]
    """Of the training images, pixels in [0, 1], a channel each."""
    deviation: tuple[float, ...]
    """The same for the standard deviation."""
    ink: bool = True
    """Whether pixels are ink 255 on background 0, which people see as dark on white; False: as they are."""

    fit: str = "pad"
    """Where pixels are no ink: how an image of another size is made to fit (a data.images.Fit)."""

    remark: str = ""
    """How validation differs from test, a sentence for reports on the test set. Empty: nothing is known."""

    def class_counts(self, split: Split) -> tuple[tuple[int, ...], ...] | None:
        """Images of each class in that split, by label column; None: not known without opening it."""
        return None

    @property
    def label_columns(self) -> tuple[LabelColumn, ...]:
        """The labels that each image has, in order: a single one unless a dataset says otherwise."""
        return (LabelColumn(name="label", classes=self.classes),)

    @abstractmethod
    def fetch(self, *, source: Path | None = None, progress: Progress | None = None) -> Fetched:
        """Makes sure that the files are on this machine, and are the right ones. No torch is imported.

        source: a folder that alone shall be looked at; None: wherever they can be had.

        Raises:
            DatasetUnavailable: no source answers.
            DatasetUnusable: what is there is not this dataset, or cannot be read.
            DatasetError: it cannot be stored here.
        """

    @abstractmethod
    def verify(self) -> Mapping[str, FileCheck]:
        """Each file's state by name, as it lies on this machine now.

        Raises:
            DatasetUnusable: a file is there but cannot be read.
        """

    @abstractmethod
    def load(self) -> OpenDataset:
        """Opens the files that `fetch` has brought, and verifies them.

        Raises:
            DatasetUnusable: a file is absent, is not the genuine one, or cannot be read.
        """
