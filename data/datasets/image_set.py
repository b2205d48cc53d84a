"""A set of images that a user added: its stored description, and its images, memory-mapped and verified.

A set lies in the folder `sets/SHA256` of the cache: `set.json`, the pixels of all splits one after the other
in `images`, uint8 (N, C, H, W), and their classes in `labels`, int64 (N, heads). Within a split the examples
are in the order of their SHA-256. The checksum of a set is of its content, so that the way in which the data
came does not matter; `NAME@` and its first 12 digits are the name of the set, and of the task made of it.

Neither torch nor numpy is imported before the images are opened.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from math import prod
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NoReturn

from data.datasets.base import (
    Dataset,
    DatasetUnusable,
    Fetched,
    FileCheck,
    FileState,
    LabelColumn,
    LabeledImages,
    Split,
)
from data.datasets.mnist import cache_folder
from data.datasets.source import Progress
from data.registry import SetAbsent
from search.files import read_regular

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

FORMAT = 1
"""Of `set.json` and of the checksum; raised with any change to either."""

DIGITS = 12
"""Of the checksum in a name."""

NAME = re.compile(r"(?P<title>[a-z0-9_-]+)@(?P<digits>[0-9a-f]{12})")
"""What the name of a set looks like."""

DESCRIPTION, IMAGES, LABELS = "set.json", "images", "labels"
"""The files of a stored set."""

DESCRIPTION_BYTES = 1 << 26
"""`set.json` may have: names of classes, and of images that were left out."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SetFacts:
    """What `set.json` says."""

    name: str
    """The first part of the set's name: that of the file or folder it came from, or what the user chose."""
    image_shape: tuple[int, int, int]
    """Channels, height, width."""
    label_columns: tuple[LabelColumn, ...]
    """The questions that each image has an answer to, in the order of the columns of the labels."""
    sizes: Mapping[Split, int]
    """Images in each split."""
    mean: tuple[float, ...]
    """Of the training pixels in [0, 1], a channel each."""
    deviation: tuple[float, ...]
    """The same for the standard deviation; 1 for a channel that never varies."""
    origin: str
    """The path that the set was first made of."""
    layout: str
    """What lay there, in words."""
    fit: str | None
    """How images of other sizes were fitted; None: all had this size."""
    drawn: tuple[str, ...]
    """Splits that were drawn from the training examples, because the data had none."""
    seed: int
    """By which they were drawn."""
    counts: Mapping[Split, tuple[tuple[int, ...], ...]]
    """Images of each class, by split and label column."""
    skipped: tuple[str, ...] = ()
    """Damaged images that were left out, each with the reason."""
    notes: tuple[str, ...] = ()
    """What else a user should know: duplicates, files that are no images, conversions."""

    def as_json(self) -> str:
        """The text of `set.json`."""
        return json.dumps({"format": FORMAT, **asdict(self)}, indent=1, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> SetFacts:
        """What `as_json` wrote. Raises ValueError, KeyError or TypeError for anything else."""
        found: dict[str, Any] = json.loads(text)
        if found.pop("format") != FORMAT:
            raise ValueError("it was written by another version of tune")
        channels, height, width = found.pop("image_shape")
        columns = tuple(
            LabelColumn(name=each["name"], classes=tuple(each["classes"]))
            for each in found.pop("label_columns")
        )
        sizes, counts = found.pop("sizes"), found.pop("counts")
        lists: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in found.items()}
        return cls(
            image_shape=(int(channels), int(height), int(width)),
            label_columns=columns,
            sizes={split: int(sizes[split]) for split in Split},
            counts={split: tuple(map(tuple, counts[split])) for split in Split},
            **lists,
        )


class ImageSet(Dataset):
    """A stored set. `fetch` brings nothing: what is not stored is added by `tune data add PATH`."""

    ink = False

    def __init__(self, name: str, folder: Path, facts: SetFacts) -> None:
        """name: NAME@DIGITS, as the user or a study calls it. folder: `sets/SHA256`."""
        self.name, self.folder, self.facts = name, folder, facts
        self.title = name.partition("@")[0]
        self.image_shape, self.sizes = facts.image_shape, facts.sizes
        self.mean, self.deviation = facts.mean, facts.deviation
        self.classes = facts.label_columns[0].classes
        self.fit = facts.fit or Dataset.fit
        self.scope = (
            f"It knows the set of images {name}: {_questions(facts.label_columns)}, learned from "
            f"{facts.sizes[Split.TRAIN]:,} images. Images that were made in another way are something else, "
            "and it was tried on none."
        )

    @property
    def label_columns(self) -> tuple[LabelColumn, ...]:
        return self.facts.label_columns

    def class_counts(self, split: Split) -> tuple[tuple[int, ...], ...]:
        """Images of each class in that split, by label column: what the stored description says."""
        return self.facts.counts[split]

    @property
    def checksum(self) -> str:
        """SHA-256 of the content."""
        return self.folder.name

    def fetch(self, *, source: Path | None = None, progress: Progress | None = None) -> Fetched:
        """Raises DatasetUnusable where the stored set is damaged. Nothing is brought: `source` is refused."""
        if source is not None:
            raise DatasetUnusable(f"the set {self.name} is stored by `tune data add {source}`: run that")
        for check in self.verify().values():
            if check.state is not FileState.OK:
                raise self._damaged(f"has SHA-256 {check.found}")
        return self.verified

    @property
    def verified(self) -> Fetched:
        """What `fetch` returns, for a set that this process wrote or verified a moment ago."""
        return Fetched(
            folder=self.folder,
            origins={"content": "cache"},
            checksums=MappingProxyType({"content": self.checksum}),
        )

    def verify(self) -> dict[str, FileCheck]:
        """The content's checksum, computed anew from the files. Raises DatasetUnusable."""
        import numpy as np

        (images, shape), (labels, width) = self._files()
        try:
            found = self._content(
                np.memmap(images, dtype=np.uint8, mode="r", shape=shape),
                np.memmap(labels, dtype="<i8", mode="r", shape=width),
            )
        except OSError as error:
            raise self._damaged(f"cannot be read ({error.strerror})") from error
        state = FileState.OK if found == self.checksum else FileState.CORRUPT
        check = FileCheck(file=self.folder, state=state, found=found, expected=self.checksum)
        return {"content": check}

    def load(self) -> OpenSet:
        """Maps the images and verifies what is mapped: of 245 MB that takes about 0.3 s."""
        import torch

        images, labels = (
            # shared=False, as for MNIST: a stray in-place operation would write through to the cache
            torch.from_file(str(file), shared=False, size=prod(shape), dtype=dtype).view(shape)
            for (file, shape), dtype in zip(self._files(), (torch.uint8, torch.int64), strict=True)
        )
        if (found := self._content(images.numpy(), labels.numpy())) != self.checksum:
            raise self._damaged(f"has SHA-256 {found}")
        return OpenSet(description=self, images=images, labels=labels)

    def _files(self) -> list[tuple[Path, tuple[int, ...]]]:
        """The file and its shape, of the images and of the labels. Raises DatasetUnusable where one has
        another size than it says."""
        examples = sum(self.sizes.values())
        shapes = {IMAGES: (examples, *self.image_shape), LABELS: (examples, len(self.label_columns))}
        for name, width in ((IMAGES, 1), (LABELS, 8)):
            file, expected = self.folder / name, prod(shapes[name]) * width
            try:
                size = file.stat().st_size
            except OSError as error:
                raise self._damaged(f"cannot be read ({file.name}: {error.strerror})") from error
            if size != expected:
                raise self._damaged(f"has {size:,} bytes of {name}, where {expected:,} belong")
        return [(self.folder / name, shape) for name, shape in shapes.items()]

    def _content(self, images: NDArray[np.uint8], labels: NDArray[np.int64]) -> str:
        """The checksum of these examples in the place of this set's."""
        digests = [digest for _, digest in example_digests(images, labels)]
        return content_checksum(self.image_shape, self.label_columns, self.sizes, digests)

    def _damaged(self, reason: str) -> DatasetUnusable:
        return DatasetUnusable(
            f"the set of images {self.name} in {self.folder} {reason}: remove that folder, and run "
            f"`tune data add {self.facts.origin}`"
        )

    def __reduce__(self) -> tuple[object, ...]:
        return ImageSet, (self.name, self.folder, self.facts)


@dataclass(frozen=True, kw_only=True, eq=False)
class OpenSet:
    """The images of a set, memory-mapped, so that all processes of a machine share one copy.

    The mapping is copy-on-write: writing to a tensor changes neither the file nor another process.
    """

    description: ImageSet
    images: Tensor
    """uint8 (N, C, H, W) of training, validation and test, one after the other."""
    labels: Tensor
    """int64 (N, heads)."""

    @property
    def checksums(self) -> Mapping[str, str]:
        """`content` → SHA-256 of the content."""
        return MappingProxyType({"content": self.description.checksum})

    def split(self, split: Split) -> LabeledImages:
        """Views of the memory map: images uint8 (N, C, H, W), labels int64 (N, heads)."""
        sizes = self.description.sizes
        begin = sum(sizes[each] for each in [*Split][: [*Split].index(split)])
        end = begin + sizes[split]
        return LabeledImages(self.images[begin:end], self.labels[begin:end])

    def fold(self, number: int) -> NoReturn:
        """A set has no folds: raises ValueError."""
        raise ValueError(f"the set {self.description.name} has no folds, and none of number {number}")


def sets_folder() -> Path:
    """Where sets are stored."""
    return cache_folder() / "sets"


def is_set_name(name: str) -> bool:
    """Whether a dataset or a task of this name is a set of images."""
    return content_digits(name) is not None


def name_of(path: Path) -> str:
    """The first part of the name of the set that is made of this path: its last part, in lower case, with `-`
    in place of what names may not have."""
    stem = path.resolve().name.lower().removesuffix(".npz")
    return re.sub(r"[^a-z0-9_]+", "-", stem).strip("-") or "images"


def content_digits(name: str) -> str | None:
    """The part of a set's name that is of its content: sets with the same are the same. None: of no set."""
    matched = NAME.fullmatch(name)
    return None if matched is None else matched["digits"]


def set_name(name: str, checksum: str) -> str:
    """The name of a set: NAME@ and the first digits of its checksum."""
    return f"{name}@{checksum[:DIGITS]}"


def get_set(name: str) -> ImageSet:
    """The stored set of that name. Its digits choose; the part before them may be another than it was added
    under, on this machine or another.

    Raises:
        SetAbsent: no such set is stored here, or its description cannot be read.
    """
    digits = content_digits(name)
    if digits is None:
        raise ValueError(f"the name of a set is NAME@{'x' * DIGITS}, not {name!r}")
    try:
        folders = sorted(sets_folder().glob(f"{digits}*"))
    except OSError:
        folders = []
    if not folders:
        raise SetAbsent(name, f"is not stored in {sets_folder()}", "run `tune data add PATH` with its images")
    return ImageSet(name, folders[0], _read_facts(name, folders[0]))


def set_folders() -> list[Path]:
    """Where the sets of this machine lie, also those whose description cannot be read."""
    return sorted(sets_folder().glob("[0-9a-f]" * 64))


def stored_sets() -> list[ImageSet]:
    """All sets of this machine that can be read, by name."""
    found = []
    for folder in set_folders():
        with suppress(SetAbsent):
            found.append(set_in(folder))
    return sorted(found, key=lambda each: each.name)


def set_in(folder: Path) -> ImageSet:
    """The set in that folder, under its own name. Raises SetAbsent where its description cannot be read."""
    facts = _read_facts(folder.name, folder)
    return ImageSet(set_name(facts.name, folder.name), folder, facts)


def example_digests(images: NDArray[np.uint8], labels: NDArray[np.int64]) -> Iterator[tuple[bytes, bytes]]:
    """SHA-256 of the pixels of each example, and of its pixels and labels; images (N, C, H, W), labels
    (N, label columns)."""
    import numpy as np

    for pixels, classes in zip(images, np.ascontiguousarray(labels, dtype="<i8"), strict=True):
        digest = hashlib.sha256(np.ascontiguousarray(pixels).data)
        of_pixels = digest.digest()
        digest.update(classes.data)
        yield of_pixels, digest.digest()


def content_checksum(
    image_shape: Sequence[int],
    label_columns: Sequence[LabelColumn],
    sizes: Mapping[Split, int],
    digests: Sequence[bytes],
) -> str:
    """SHA-256 of a set: of its shape, heads, names of classes, sizes of splits, and of its examples, whose
    `digests` are in the order of the splits, sorted in each."""
    facts = {
        "format": FORMAT,
        "image_shape": [*image_shape],
        "label_columns": [[each.name, [*each.classes]] for each in label_columns],
        "sizes": {split.value: sizes[split] for split in Split},
    }
    whole = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    for digest in digests:
        whole.update(digest)
    return whole.hexdigest()


def _read_facts(name: str, folder: Path) -> SetFacts:
    """What the stored set's description says. Raises SetAbsent."""
    file = folder / DESCRIPTION
    try:
        return SetFacts.from_json(read_regular(file, limit=DESCRIPTION_BYTES).decode())
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = f"cannot be read from {file} ({getattr(error, 'strerror', None) or error})"
        raise SetAbsent(
            name, reason, f"remove {folder}, and run `tune data add PATH` with its images"
        ) from error


def _questions(columns: Sequence[LabelColumn]) -> str:
    """What is asked of each image; a single question is told by its answers alone."""
    if len(columns) == 1:
        return _listed(columns[0].classes)
    return "; ".join(f"{each.name} ({_listed(each.classes)})" for each in columns)


def _listed(classes: Sequence[str]) -> str:
    """The names of the classes, or the first of many."""
    few = ", ".join(classes[:10])
    return few if len(classes) <= 10 else f"{few} and {len(classes) - 10} more classes"
