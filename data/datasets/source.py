"""What all sources of the MNIST files share: how they tell their progress, how they fail, how they unpack.

Knows no single source, and not where the files end up.
"""

import zlib
from typing import BinaryIO, Protocol

PACKED_BYTES = 1 << 20
"""Of a compressed file that are read in one step."""


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


class Unpacking:
    """Reads a gzip file of one member a part at a time, in the order of its content."""

    def __init__(self, file: BinaryIO) -> None:
        """file: at its beginning."""
        self._file = file
        # Not the module gzip: of a file of many empty members it reads each in Python.
        self._member = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)

    def read(self, size: int, /) -> bytes:
        """The next `size` bytes, fewer at the end, where the checksum is verified.

        Raises ValueError: it is cut off or damaged.
        """
        parts, missing = list[bytes](), size
        while missing > 0 and not self._member.eof:
            packed = self._member.unconsumed_tail or self._file.read(PACKED_BYTES)
            try:
                part = self._member.decompress(packed, missing)
            except zlib.error as error:
                raise ValueError(f"damaged gzip: {error}") from error
            if not packed and not part:
                raise ValueError("damaged gzip: it is cut off")
            parts.append(part)
            missing -= len(part)
        if missing > 0:
            self._refuse_more()
        return b"".join(parts)

    def _refuse_more(self) -> None:
        """Zeros may follow the member, as tapes padded them."""
        rest = self._member.unused_data
        while rest:
            if rest.strip(b"\0"):
                raise ValueError("damaged gzip: something follows its end")
            rest = self._file.read(PACKED_BYTES)
