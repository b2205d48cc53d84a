"""Brings MNIST to this machine and opens it, in the words of tune's refusals."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from search.errors import ConfigError, TryAgain, TuneError, UsageError
from search.service.output import may_write

if TYPE_CHECKING:  # torch takes a second to import; commands that only look do without it
    from data.datasets.fetch import Fetched, Progress
    from data.datasets.mnist import FileCheck, Mnist


def fetch_data(*, source: Path | None = None, progress: Progress | None = None) -> Fetched:
    """Makes sure that MNIST is in the cache.

    Raises TryAgain where no source answers, ConfigError for files in `source` that are not MNIST's and for
    files or folders that cannot be read.
    """
    from data.datasets.fetch import fetch
    from data.datasets.mnist import MnistCorrupt, MnistError, MnistMissing, MnistUnavailable, MnistUnreadable

    try:
        return fetch(source=source, progress=progress)
    except MnistUnavailable as error:
        raise TryAgain(str(error)) from error
    except (MnistCorrupt, MnistMissing, MnistUnreadable) as error:
        raise ConfigError(str(error)) from error
    except MnistError as error:
        raise TuneError(str(error)) from error


def load_data() -> Mnist:
    """MNIST from the cache, verified. Raises ConfigError where it is missing or damaged."""
    from data.datasets.mnist import MnistError, load

    try:
        return load()
    except MnistError as error:
        raise ConfigError(str(error)) from error


def verify_data() -> dict[str, FileCheck]:
    """Each cached file with its state and sums."""
    from data.datasets.mnist import MnistError, verify

    try:
        return verify()
    except MnistError as error:
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
    """Writes a labelled grid of examples as a PNG.

    Raises UsageError for an unknown task, a path where it cannot or (unless `force`) should not be written,
    and for what does nothing to the split.
    """
    from data.tasks.base import Augmentation
    from data.tasks.example_grid import grid, save_png
    from data.tasks.registry import UnknownTask, get_task

    try:
        chosen = get_task(task)
    except UnknownTask as error:
        raise UsageError(f"--task {task}: {error}.") from error
    if out.suffix.lower() != ".png":
        raise UsageError(f"--out {out}: pictures are written as PNG; name it {out.with_suffix('.png')}.")
    may_write(out, force=force)
    idle = [flag for flag, given in (("shift", shift), ("affine", affine), ("seed", seed)) if given]
    if split == "validation" and idle:
        raise UsageError(
            f"--split validation is the same for everyone, and --{' and --'.join(idle)} would do nothing: "
            "leave that out, or show --split train."
        )
    picture = grid(
        chosen,
        load_data(),
        split=split,
        rows=rows,
        columns=columns,
        seed=seed,
        augmentation=Augmentation(shift=shift, affine=affine),
    )
    try:
        save_png(picture, out.resolve())
    except OSError as error:
        raise UsageError(f"--out {out} cannot be written: {error.strerror or error}.") from error
