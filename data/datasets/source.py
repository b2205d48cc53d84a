"""What all sources of the MNIST files share: how they tell their progress, how they fail, how they unpack.

Knows no single source, and not where the files end up.
"""

import zlib
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
