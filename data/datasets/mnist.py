"""MNIST: what is in it, where its four files lie, whether they are the genuine ones, and their pixels.

Torch is imported where the pixels are mapped, and nowhere before: commands that only need to know whether the
files are the right ones start without it.
"""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from math import prod
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import platformdirs

from data.datasets.base import (
    Dataset,
    DatasetUnavailable,
    DatasetUnusable,
    Fetched,
    FileCheck,
    FileState,
    LabeledImages,
    Split,
)
from data.datasets.folds import Fold
from data.datasets.source import Progress
from search.files import open_regular

if TYPE_CHECKING:
    from torch import Tensor

FILES: dict[str, str] = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
"""File name → SHA-256 of the uncompressed file. Only these bytes are MNIST, from any source."""

SHAPES: dict[str, tuple[int, ...]] = {
    "train-images-idx3-ubyte": (60_000, 28, 28),
    "train-labels-idx1-ubyte": (60_000,),
    "t10k-images-idx3-ubyte": (10_000, 28, 28),
    "t10k-labels-idx1-ubyte": (10_000,),
}


TRAIN_DIGITS = 54_000
"""The first 54,000 of MNIST's training digits are for training, the other 6,000 for validation.

The file is in the order of its writers, so those who validate are other people (docs/decisions/021).
"""


class MnistMissing(DatasetUnusable):
    """Files are absent from `folder`."""

    def __init__(self, folder: Path, names: Iterable[str], remedy: str = "run `tune data fetch`") -> None:
        self.folder, self.names, self.remedy = folder, tuple(names), remedy
        super().__init__(folder, self.names, remedy)  # all arguments, so that it survives pickling

    def __str__(self) -> str:
        return f"MNIST is not complete in {self.folder} (missing: {', '.join(self.names)}): {self.remedy}"


class MnistCorrupt(DatasetUnusable):
    """`file` is not what its name says: truncated, damaged or another file altogether."""

    def __init__(self, file: Path, found: str, expected: str, remedy: str = "run `tune data fetch`") -> None:
        self.file, self.found, self.expected, self.remedy = file, found, expected, remedy
        super().__init__(file, found, expected, remedy)

    def __str__(self) -> str:
        return (
            f"{self.file} is damaged or not an MNIST file "
            f"(SHA-256 found {self.found}, expected {self.expected}): {self.remedy}"
        )


class MnistUnreadable(DatasetUnusable):
    """A file or a folder that somebody named cannot be read."""


class MnistUnavailable(DatasetUnavailable):
    """Every source failed; `failures` holds (source, reason) in the order of the attempts."""

    def __init__(self, failures: Iterable[tuple[str, str]]) -> None:
        self.failures = tuple(failures)
        super().__init__(self.failures)

    def __str__(self) -> str:
        tried = "; ".join(f"{source}: {reason}" for source, reason in self.failures)
        return (
            f"MNIST could not be fetched ({tried}): put {', '.join(FILES)}, plain or as .gz, "
            "into a folder and run `tune data fetch --from FOLDER`"
        )


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Mnist:
    """All of MNIST; the images are memory-mapped, so that all processes of a machine share one copy.

    The mapping is copy-on-write: who writes to a tensor changes neither the file nor another process.
    """

    train_images: Tensor
    """uint8 (60000, 28, 28), ink 255 on background 0."""
    train_labels: Tensor
    """int64 (60000,), 0..9."""
    test_images: Tensor
    """uint8 (10000, 28, 28)."""
    test_labels: Tensor
    """int64 (10000,), 0..9."""
    checksums: dict[str, str]
    """File name → SHA-256 of the bytes that these tensors show; belongs into the record of a run."""

    def split(self, split: Split) -> LabeledImages:
        """Views of the memory map, not copies."""
        match split:
            case Split.TRAIN:
                return LabeledImages(self.train_images[:TRAIN_DIGITS], self.train_labels[:TRAIN_DIGITS])
            case Split.VALIDATION:
                return LabeledImages(self.train_images[TRAIN_DIGITS:], self.train_labels[TRAIN_DIGITS:])
            case Split.TEST:
                return LabeledImages(self.test_images, self.test_labels)

    def fold(self, number: int) -> Fold:
        """Holds out digits 6000·number … 6000·(number + 1) of the 60,000. The file is in the order of its
        writers, so that writers are divided only at these two places. Raises ValueError."""
        return Fold(whole=self, number=number)


def cache_folder() -> Path:
    """Where the four files lie: `TUNE_DATA_DIR`, else the user's cache folder for `tune`."""
    chosen = os.environ.get("TUNE_DATA_DIR")
    return expanded(Path(chosen)) if chosen else platformdirs.user_cache_path("tune")


def expanded(folder: Path) -> Path:
    """The folder with `~` replaced by the home folder.

    Raises:
        MnistUnreadable: `~somebody`, and there is no such user.
    """
    try:
        return folder.expanduser()
    except RuntimeError as error:
        raise MnistUnreadable(
            f"{folder} names no folder: there is no such user; write the whole path"
        ) from error


def load(folder: Path | None = None) -> Mnist:
    """Map the four files of `folder` (None: `cache_folder()`); verifies every byte, about 50 ms in all.

    Raises:
        MnistMissing: a file is absent.
        MnistCorrupt: a file is not the genuine one; the first such is named.
        MnistUnreadable: a file cannot be read.
    """
    folder = folder or cache_folder()
    if missing := [name for name in FILES if _size(folder / name) is None]:
        raise MnistMissing(folder, missing)
    return Mnist(
        train_images=_map(folder, "train-images-idx3-ubyte"),
        train_labels=_map(folder, "train-labels-idx1-ubyte").long(),
        test_images=_map(folder, "t10k-images-idx3-ubyte"),
        test_labels=_map(folder, "t10k-labels-idx1-ubyte").long(),
        checksums=dict(FILES),
    )


def verify(folder: Path | None = None) -> dict[str, FileCheck]:
    """Check each of the four files of `folder` (None: `cache_folder()`), keyed by file name.

    Raises:
        MnistUnreadable: a file is there but cannot be read.
    """
    folder = folder or cache_folder()
    return {name: _check(folder / name, expected, idx_bytes(name)) for name, expected in FILES.items()}


def sha256(content: bytes | memoryview) -> str:
    return hashlib.sha256(content).hexdigest()


def idx_header(shape: tuple[int, ...]) -> bytes:
    """The first bytes of an IDX file of uint8 in this shape (http://yann.lecun.com/exdb/mnist, FILE FORMATS).

    Two zero bytes, 0x08 for uint8, the number of dimensions, then each dimension as big-endian uint32.
    """
    return struct.pack(f">BBBB{len(shape)}I", 0, 0, 0x08, len(shape), *shape)


def idx_bytes(name: str) -> int:
    """Size in bytes of the genuine uncompressed file `name`."""
    return len(idx_header(SHAPES[name])) + prod(SHAPES[name])


def _check(file: Path, expected: str, size: int) -> FileCheck:
    """`size` is that of the genuine file; of a larger one nothing more is read."""
    try:
        with open_regular(file) as opened:
            content = opened.read(size + 1)
            found = sha256(content) if len(content) <= size else f"none, it is longer than {size:,} bytes"
    except FileNotFoundError:
        return FileCheck(file=file, state=FileState.MISSING, found=None, expected=expected)
    except OSError as error:
        raise _unreadable(file, error) from error
    state = FileState.OK if found == expected else FileState.CORRUPT
    return FileCheck(file=file, state=state, found=found, expected=expected)


def _map(folder: Path, name: str) -> Tensor:
    """The file's items without its header, uint8 in the shape of SHAPES; what is mapped is what is hashed."""
    import torch

    file, shape, size = folder / name, SHAPES[name], idx_bytes(name)
    try:
        complete = _size(file) == size
        # shared=False maps copy-on-write and opens read-only: with shared=True a stray in-place
        # operation would write through to the cache. Untouched pages are shared either way.
        content = torch.from_file(str(file), shared=False, size=size, dtype=torch.uint8) if complete else None
    except RuntimeError as error:  # torch's word for an OSError
        raise _unreadable(file, error) from error
    found = _check(file, FILES[name], size).found if content is None else sha256(content.numpy().data)
    if content is None or found != FILES[name]:
        raise MnistCorrupt(file, str(found), FILES[name])
    return content[len(idx_header(shape)) :].view(shape)


def _size(file: Path) -> int | None:
    """In bytes; None: there is no such file."""
    try:
        return file.stat().st_size
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _unreadable(file, error) from error


def _unreadable(file: Path, error: Exception) -> MnistUnreadable:
    reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
    return MnistUnreadable(
        f"{file} cannot be read ({reason}): fix its permissions or remove it, then run `tune data fetch`"
    )


class MnistDataset(Dataset):
    """Handwritten digits, 28×28, by 500 people (LeCun, Cortes and Burges)."""

    name = "mnist"
    title = "MNIST"
    scope = (
        "It knows MNIST: single digits, written by Americans around 1990, cut out, scaled and centerd. "
        "Photographs, forms, cheques, postal codes and other scripts are something else, and it was tried "
        "on none."
    )
    remark = (
        "Some of the last step is no surprise: validation has an easy tenth of MNIST's training digits "
        "(docs/decisions/021)."
    )
    image_shape = (1, 28, 28)
    classes = tuple("0123456789")
    sizes = MappingProxyType({Split.TRAIN: TRAIN_DIGITS, Split.VALIDATION: 6_000, Split.TEST: 10_000})
    folds = 10
    """The last is the usual division."""
    mean = (0.1307,)
    deviation = (0.3081,)
    """Of all 60,000 training digits; the constants of PyTorch's own MNIST example."""

    def fetch(self, *, source: Path | None = None, progress: Progress | None = None) -> Fetched:
        """See data.datasets.fetch."""
        from data.datasets.fetch import fetch  # the network's modules, which readers do without

        return fetch(source=source, progress=progress)

    def verify(self) -> dict[str, FileCheck]:
        return verify()

    def load(self) -> Mnist:
        return load()


MNIST = MnistDataset()
