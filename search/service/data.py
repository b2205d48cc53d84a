"""Brings a dataset to this machine and opens it, in the words of tune's refusals."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from search.errors import ConfigError, TryAgain, TuneError, UsageError
from search.files import write_whole
from search.service.output import may_write

if TYPE_CHECKING:
    from data.datasets.base import Dataset, Fetched, FileCheck, OpenDataset
    from data.datasets.source import Progress


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


def verify_data() -> Mapping[str, FileCheck]:
    """Each cached file of MNIST with its state and checksums."""
    from data.datasets.base import DatasetError
    from data.datasets.mnist import MNIST

    try:
        return MNIST.verify()
    except DatasetError as error:
        raise ConfigError(str(error)) from error


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
    from data.registry import UnknownName, UnusableEntry
    from data.tasks.base import Augmentation
    from data.tasks.example_grid import grid, save_png
    from data.tasks.registry import get_task

    try:
        chosen = get_task(task)
    except (UnknownName, UnusableEntry) as error:
        raise UsageError(f"--task {task}: {error}.") from error
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

    from data.registry import UnknownName, UnusableEntry
    from data.tasks.arrays import arrays
    from data.tasks.registry import get_task

    try:
        chosen = get_task(task)
    except (UnknownName, UnusableEntry) as error:
        raise UsageError(f"--task {task}: {error}.") from error
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
