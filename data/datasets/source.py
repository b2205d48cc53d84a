"""What all sources of the MNIST files share: how they tell their progress, how they fail, how they unpack.

Knows no single source, and not where the files end up.
"""

import errno
import os
import stat
import zlib
from io import BufferedReader
from pathlib import Path
from typing import Protocol


class Progress(Protocol):
    """Called now and then while bytes arrive, from the thread that fetches."""

    def __call__(self, source: str, done: int, total: int | None, /) -> None:
        """`done` of `total` bytes came from `source`; total None: not known."""


class SourceFailed(Exception):
    """One source cannot give the file; the message is the reason, in a few words. The next one is tried."""


def silent(source: str, done: int, total: int | None, /) -> None:
    """The Progress of a caller who does not want to know."""


def unpack(content: bytes, limit: int) -> bytes:
    """`content`, decompressed if it is gzip; never more than `limit` + 1 bytes, whatever it would unpack to.

    Raises:
        ValueError: it begins like gzip but is cut off or damaged.
    """
    if not content.startswith(b"\x1f\x8b"):
        return content
    # Not the module gzip: of a file of many empty members it reads each in Python.
    member = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    try:
        unpacked = member.decompress(content, limit + 1)
    except zlib.error as error:
        raise ValueError(f"damaged gzip: {error}") from error
    if not member.eof and len(unpacked) <= limit:
        raise ValueError("damaged gzip: it is cut off")
    if member.unused_data.strip(b"\0"):
        raise ValueError("damaged gzip: something follows its end")
    return unpacked


def open_regular(file: Path) -> BufferedReader:
    """The file, opened for reading. Never waits, as opening a FIFO does.

    Raises:
        OSError: it cannot be opened, or it is not a regular file.
    """
    opened = open(file, "rb", opener=_open)  # noqa: SIM115  # it is returned
    if not stat.S_ISREG(os.fstat(opened.fileno()).st_mode):
        opened.close()
        raise OSError(errno.EINVAL, "it is not a regular file", str(file))
    return opened


def _open(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
