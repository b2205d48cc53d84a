"""Opens files that a user names: regular ones only, and never more of them than is asked for."""

from __future__ import annotations

import errno
import os
import stat
from io import BufferedReader
from pathlib import Path


def open_regular(path: Path, *, limit: int, follow: bool = True) -> BufferedReader:
    """The file, opened for reading. Never waits, as opening a FIFO does.

    limit: bytes that it may have. follow: whether it may be a symbolic link. Raises OSError, whose `strerror`
    says why, for everything but a regular file of that size.
    """
    try:
        file = open(path, "rb", opener=_open if follow else _open_no_link)  # noqa: SIM115  # it is returned
    except ValueError as error:  # a name with a zero byte, or one that no encoding has
        raise OSError(errno.EINVAL, "no file can have this name", str(path)) from error
    try:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "it is not a regular file", str(path))
        if status.st_size > limit:
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
