"""The folder in which a set is made: one process at a time has it, and one that is killed leaves it to the
next, with the blocks of images that were decoded."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data.datasets.source import Progress

SUFFIX = ".partial"
"""Ends the name of such a folder, `.SIGNATURE.partial`."""

LOCK = "lock"
"""The file in it that is locked while a process has the folder; it lives and dies with the folder."""

ABANDONED_S = 7 * 24 * 3600
"""A folder to which nothing was added for this time is not continued."""

REMOVED_S = 24 * 3600
"""A folder that is being removed, and is older than this, was left by a process that was killed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Block:
    """What is known of some decoded images beside their pixels."""

    sizes: tuple[tuple[int, int], ...]
    """Height and width of each as it was found, upright; of a damaged one those of the set."""
    brightest: tuple[int, ...]
    """Of each, as in data.images.Decoded; of a damaged one 0."""
    damaged: Mapping[str, str]
    """Place in the block, as text → why the image cannot be read."""
    notes: Mapping[str, int]
    """What was done to images → to how many."""


@contextmanager
def partial_folder(sets: Path, signature: str, progress: Progress) -> Iterator[Path]:
    """The folder for the set that has this signature; a second process waits until the first is done.

    It is removed when the block ends and when it fails. It stays where the process is killed or interrupted.
    """
    folder = sets / f".{signature}{SUFFIX}"
    lock = _take(folder, progress)
    try:
        yield folder
    except Exception:
        _remove(folder)
        raise
    else:
        _remove(folder)
    finally:
        os.close(lock)


def remove_abandoned(sets: Path, is_finished: Callable[[str], bool]) -> None:
    """Removes what processes that were killed left: folders that are old, or whose set is finished.

    is_finished: whether the set of a signature is stored.
    """
    for left in sets.glob(f".*{SUFFIX}"):
        with suppress(OSError):  # removed meanwhile, or another user's
            if is_finished(left.name[1 : -len(SUFFIX)]) or _age_s(left) > ABANDONED_S:
                _remove_unused(left)
    for left in sets.glob(".*.tmp"):
        with suppress(OSError):
            if _age_s(left) > REMOVED_S:
                shutil.rmtree(left, ignore_errors=True)


def keep_block(folder: Path, number: int, pixels: NDArray[np.uint8], block: Block) -> None:
    """Records a block whose pixels are in the file of the set. Raises OSError."""
    body = json.dumps({"shape": pixels.shape, **asdict(block)}).encode()
    # Nothing is synced: what a power cut damages has another checksum, and is decoded anew.
    (folder / _name(number)).write_bytes(_checksum(body, pixels).encode() + b"\n" + body)


def kept_block(folder: Path, number: int, pixels: NDArray[np.uint8]) -> Block | None:
    """The block as it was recorded; None where it was not, or where it or its pixels are damaged."""
    try:
        checksum, _, body = (folder / _name(number)).read_bytes().partition(b"\n")
    except FileNotFoundError:
        return None
    if _checksum(body, pixels).encode() != checksum:
        return None
    found = json.loads(body)
    if found["shape"] != [*pixels.shape]:
        return None
    sizes = tuple((int(height), int(width)) for height, width in found["sizes"])
    return Block(
        sizes=sizes,
        brightest=tuple(map(int, found["brightest"])),
        damaged=found["damaged"],
        notes=found["notes"],
    )


def _name(number: int) -> str:
    return f"block-{number:06}"


def _checksum(body: bytes, pixels: NDArray[np.uint8]) -> str:
    """SHA-256 of a record and of the pixels that it is about."""
    digest = hashlib.sha256(body)
    digest.update(np.ascontiguousarray(pixels).data)
    return digest.hexdigest()


def _take(folder: Path, progress: Progress) -> int:
    """Makes the folder, unless it is there, and locks it; returns the file descriptor of the lock."""
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
        except FileNotFoundError:  # the process that had the folder removed it a moment ago
            continue
        try:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                progress("another `tune`, which is reading them already", 0, None)
                fcntl.flock(lock, fcntl.LOCK_EX)
            if _is_at(folder / LOCK, lock):
                return lock
        except BaseException:
            os.close(lock)
            raise
        os.close(lock)


def _is_at(path: Path, descriptor: int) -> bool:
    """Whether the open file is the one at the path: the process that had the folder may have removed it."""
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _remove_unused(folder: Path) -> None:
    """Removes the folder unless a process has it. Raises OSError."""
    lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        with suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_at(folder / LOCK, lock):
                _remove(folder)
    finally:
        os.close(lock)


def _remove(folder: Path) -> None:
    """Removes the folder, which this process has locked. The next process must not find half of it."""
    removed = folder.with_name(f".{uuid.uuid4().hex}.tmp")
    with suppress(OSError):
        folder.rename(removed)
        shutil.rmtree(removed, ignore_errors=True)


def _age_s(path: Path) -> float:
    return time.time() - path.stat().st_mtime
