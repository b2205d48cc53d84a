"""Brings a dataset to this machine and opens it, in the words of tune's refusals."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Literal

from search.errors import ConfigError, TryAgain, TuneError, UsageError
from search.files import write_whole
from search.service.output import may_write

if TYPE_CHECKING:
    from data.datasets.base import Dataset, Fetched, FileCheck, OpenDataset
    from data.datasets.image_set import ImageSet
    from data.datasets.source import Progress
    from data.ingest.add import Added
    from data.tasks.base import Task


def fetch_data(
    dataset: Dataset | None = None, *, source: Path | None = None, progress: Progress | None = None
) -> Fetched:
    """Makes sure that the dataset (None: MNIST) is on this machine. Imports no torch.

    Raises TryAgain where no source answers, ConfigError for files in `source` that are not the dataset's and
    for files or folders that cannot be read.
    """
    from data.datasets.base import DatasetError, DatasetUnavailable, DatasetUnusable
    from data.datasets.mnist import MNIST

    try:
        return (dataset or MNIST).fetch(source=source, progress=progress)
    except DatasetUnavailable as error:
        raise TryAgain(str(error)) from error
    except DatasetUnusable as error:
        raise ConfigError(str(error)) from error
    except DatasetError as error:
        raise TuneError(str(error)) from error


def load_data(dataset: Dataset) -> OpenDataset:
    """The images, verified. Raises ConfigError where the dataset is missing or damaged on this machine."""
    from data.datasets.base import DatasetError

    try:
        return dataset.load()
    except DatasetError as error:
        raise ConfigError(str(error)) from error


@dataclass(frozen=True, kw_only=True, slots=True)
class Verified:
    """What `verify_data` found out about one file of MNIST, or one set of images."""

    check: FileCheck
    remedy: str
    """The sentence that says how to replace it."""


def verify_data(name: str | None = None) -> dict[str, Verified]:
    """The state of each cached file of MNIST and of each set of images, with checksums, by name.

    name: of one set, or mnist; None: all sets, and MNIST if any of it is there or there are no sets.

    Raises UsageError for a set that is not stored here, ConfigError for files that cannot be read.
    """
    from data.datasets.image_set import content_digits, set_folders
    from data.datasets.mnist import MNIST

    folders = set_folders()
    if name is not None and name != MNIST.name:
        digits = content_digits(name)
        folders = [each for each in folders if digits is not None and each.name.startswith(digits)]
        if not folders:
            raise UsageError(
                f"{name}: no such set of images is stored here; `tune data list` shows them, and mnist is "
                "MNIST."
            )
        return dict(map(_verified_set, folders))
    found = _verified_mnist()
    if name is None:
        if folders and all(each.check.state == "missing" for each in found.values()):
            found = {}
        found |= dict(map(_verified_set, folders))
    return found


def _verified_mnist() -> dict[str, Verified]:
    from data.datasets.base import DatasetError
    from data.datasets.mnist import MNIST

    try:
        checks = MNIST.verify()
    except DatasetError as error:
        raise ConfigError(str(error)) from error
    remedy = "`tune data fetch` brings what is missing or damaged."
    return {name: Verified(check=check, remedy=remedy) for name, check in checks.items()}


def _verified_set(folder: Path) -> tuple[str, Verified]:
    """Name and state of the set of images in that folder."""
    from data.datasets.base import DatasetUnusable, FileCheck, FileState
    from data.datasets.image_set import set_in
    from data.registry import SetAbsent

    name, origin = folder.name, "PATH"
    try:
        image_set = set_in(folder)
        name, origin = image_set.name, image_set.facts.origin
        (check,) = image_set.verify().values()
    except (SetAbsent, DatasetUnusable) as error:
        check = FileCheck(file=folder, state=FileState.CORRUPT, found=f"none: {error}", expected=folder.name)
    return name, Verified(check=check, remedy=f"`tune data add {quote(origin)}` replaces {name}.")


def add_images(
    path: Path,
    *,
    name: str | None = None,
    size: str | None = None,
    fit: Literal["pad", "crop", "stretch"] = "pad",
    channels: int | None = None,
    skip_damaged: bool = False,
    progress: Progress | None = None,
) -> Added:
    """Makes a set of the images at `path` and stores it in the cache; see data.ingest.add. Imports no torch.

    size: HEIGHTxWIDTH in pixels; None: the images' own. Raises UsageError for a name or a size that no set
    can have, ConfigError with all mistakes of what lies there, TuneError where it cannot be stored.
    """
    from data.datasets.base import DatasetError, DatasetUnusable
    from data.images import Fit
    from data.ingest.add import add_set
    from data.ingest.pixels import Options

    if name is not None and not re.fullmatch(r"[a-z0-9_-]+", name):
        raise UsageError(f"--name {name}: a set's name has small letters, digits, _ and - alone.")
    if channels not in (None, 1, 3):
        raise UsageError(f"--channels {channels}: images have 1 channel (gray) or 3 (RGB).")
    options = Options(size=_size(size), fit=Fit(fit), channels=channels, skip_damaged=skip_damaged)
    try:
        return add_set(path, name=name, options=options, progress=progress)
    except DatasetUnusable as error:
        raise ConfigError(str(error)) from error
    except DatasetError as error:
        raise TuneError(f"{error}.") from error


def list_sets() -> list[ImageSet]:
    """The sets of images that are stored on this machine, by name."""
    from data.datasets.image_set import stored_sets

    return stored_sets()


def _size(text: str | None) -> tuple[int, int] | None:
    """(height, width) of `64x48`. Raises UsageError."""
    from data.ingest.pixels import MAX_SIDE, MIN_SIDE

    if text is None:
        return None
    matched = re.fullmatch(r"([0-9]{1,4})[x×]([0-9]{1,4})", text)
    if matched is None or not all(MIN_SIDE <= int(side) <= MAX_SIDE for side in matched.groups()):
        raise UsageError(
            f"--size {text}: write HEIGHTxWIDTH in pixels, each {MIN_SIDE} to {MAX_SIDE}, such as 64x48."
        )
    return int(matched[1]), int(matched[2])


def _task(name: str) -> Task:
    """Raises UsageError for an unknown task, ConfigError for a set of images that is not stored here."""
    from data.registry import SetAbsent, UnknownName, UnusableEntry
    from data.tasks.registry import get_task

    try:
        return get_task(name)
    except SetAbsent as error:
        raise ConfigError(f"{error}.") from error
    except (UnknownName, UnusableEntry) as error:
        raise UsageError(f"--task {name}: {error}.") from error


def draw_examples(
    task: str,
    out: Path,
    *,
    split: Literal["train", "validation"],
    rows: int,
    columns: int,
    shift: int,
    affine: float,
    seed: int,
    force: bool,
) -> None:
    """Writes a labeled grid of examples as a PNG.

    Raises UsageError for an unknown task, a path where it cannot or (unless `force`) should not be written,
    and for what does nothing to the split.
    """
    from data.tasks.base import Augmentation
    from data.tasks.example_grid import grid, save_png

    chosen = _task(task)
    if out.suffix.lower() != ".png":
        raise UsageError(f"--out {out}: images are written as PNG; name it {out.with_suffix('.png')}.")
    may_write(out, force=force)
    idle = [flag for flag, given in (("shift", shift), ("affine", affine), ("seed", seed)) if given]
    if split == "validation" and idle:
        raise UsageError(
            f"--split validation is the same for everyone, and --{' and --'.join(idle)} would do nothing: "
            "leave that out, or show --split train."
        )
    image = grid(
        chosen,
        load_data(chosen.source),
        split=split,
        rows=rows,
        columns=columns,
        seed=seed,
        augmentation=Augmentation(shift=shift, affine=affine),
    )
    try:
        save_png(image, out.resolve())
    except OSError as error:
        raise UsageError(f"--out {out} cannot be written: {error.strerror or error}.") from error


def export_arrays(task: str, out: Path, *, force: bool) -> Mapping[str, tuple[int, ...]]:
    """Writes the training and validation examples of a task as an .npz file, for training code that is not
    tune's; returns the shape of each array. The test split is not in it.

    Raises UsageError for an unknown task and for a path where it cannot or (unless `force`) should not be
    written, ConfigError where the dataset is missing or damaged.
    """
    from io import BytesIO

    import numpy as np

    from data.tasks.arrays import arrays

    chosen = _task(task)
    if out.suffix.lower() != ".npz":
        raise UsageError(f"--out {out}: arrays are written as .npz; name it {out.with_suffix('.npz')}.")
    may_write(out, force=force)
    fetch_data(chosen.source)
    found = arrays(chosen, load_data(chosen.source))
    content = BytesIO()
    np.savez_compressed(content, allow_pickle=False, **found)
    try:
        write_whole(out.resolve(), content.getvalue())
    except OSError as error:
        raise UsageError(f"--out {out} cannot be written: {error.strerror or error}.") from error
    return {name: array.shape for name, array in found.items()}
