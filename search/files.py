"""Opens files that a user names, regular ones only; writes files whole or not at all.

The one module of search that data and models import too: it is of the standard library and knows neither.
"""

from __future__ import annotations

import contextlib
import errno
import glob
import os
import stat
import uuid
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO


def open_regular(path: Path, *, limit: int | None = None, follow: bool = True) -> BufferedReader:
    """The file, opened for reading. Never waits, as opening a FIFO does.

    limit: bytes that it may have; None: any number. follow: whether it may be a symbolic link. Raises
    OSError, whose `strerror` says why, for everything but a regular file of that size.
    """
    try:
        file = open(path, "rb", opener=_open if follow else _open_no_link)  # noqa: SIM115  # it is returned
    except ValueError as error:  # a name with a zero byte, or one that no encoding has
        raise OSError(errno.EINVAL, "no file can have this name", str(path)) from error
    try:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "it is not a regular file", str(path))
        if limit is not None and status.st_size > limit:
            raise _too_large(path, limit)
    except BaseException:
        file.close()
        raise
    return file


def read_regular(path: Path, *, limit: int, follow: bool = True) -> bytes:
    """The content of a file. Raises OSError as `open_regular`, also for one that has no size and no end."""
    with open_regular(path, limit=limit, follow=follow) as file:
        content = file.read(limit + 1) or b""  # None: of a file in /proc that has nothing to say now
    if len(content) > limit:
        raise _too_large(path, limit)
    return content


def write_whole(path: Path, content: bytes) -> None:
    """Replaces `path` by `content` in one step that survives a crash: it is the old file or the new one.

    Raises OSError where the disk refuses (full, read-only …); `path` is then as it was before.
    """
    with whole_file(path) as file:
        file.write(content)


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """A file to write that takes the place of `path` when the block ends well, in one step that survives a
    crash. Where the block, or the disk, fails, `path` is as it was before."""
    # Not tempfile: it makes files that only their owner may read, and a folder can serve a team.
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync(path.parent)


def unfinished(path: Path) -> list[Path]:
    """What writers of `path` that were killed left beside it."""
    found = path.parent.glob(f".{glob.escape(path.name)}.*.tmp")
    return [file for file in found if file.is_file() and not file.is_symlink()]


def sync(path: Path) -> None:
    """Makes sure that a file's content, or a folder's names, survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _open(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _open_no_link(path: str, flags: int) -> int:
    try:
        return _open(path, flags | getattr(os, "O_NOFOLLOW", 0))
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise OSError(errno.ELOOP, "it is a symbolic link", path) from error
        raise


def _too_large(path: Path, limit: int) -> OSError:
    return OSError(errno.EFBIG, f"it has more than {limit:,} bytes", str(path))
