"""An array in a file, read some rows at a time, so that its size does not matter."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from math import prod
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

ROWS = 4096
"""Of one step, at most."""

CHUNK_BYTES = 1 << 22
"""Of one step, unless a single row has more."""


class ArrayDamaged(ValueError):
    """The items cannot be read. The message is a phrase after the array's name: "is cut off"."""


class Reader(Protocol):
    """The items of an array, one byte after the other."""

    def read(self, size: int, /) -> bytes:
        """The next `size` bytes; fewer only at the end."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class StoredArray:
    """Where the items of an array are, and how they are laid out."""

    name: str
    """For messages."""
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    items: Callable[[], AbstractContextManager[Reader]]
    """Opens the file at the first item. Its checksum, if it has one, is verified at the end of the items."""
    by_column: bool = False
    """Whether the first index varies fastest (Fortran order), so that no row is in one place: such an array
    is read whole."""

    def chunks(self) -> Iterator[NDArray[Any]]:
        """All rows, some at a time, in order. Raises ArrayDamaged."""
        if self.by_column:
            yield self.whole()
            return
        row_bytes = max(1, prod(self.shape[1:]) * self.dtype.itemsize)
        step = max(1, min(ROWS, CHUNK_BYTES // row_bytes))
        with self._opened() as reader:
            for begin in range(0, self.shape[0], step):
                yield self._items(reader, min(step, self.shape[0] - begin), row_bytes)
            self._end(reader)

    def whole(self) -> NDArray[Any]:
        """All items in memory. Raises ArrayDamaged."""
        with self._opened() as reader:
            size = prod(self.shape) * self.dtype.itemsize
            content = reader.read(size)
            if len(content) < size:
                raise ArrayDamaged(f"has fewer bytes than its shape {self.shape} needs")
            self._end(reader)
        found: NDArray[Any] = np.frombuffer(content, dtype=self.dtype)
        return found.reshape(self.shape[::-1]).T if self.by_column else found.reshape(self.shape)

    @contextmanager
    def _opened(self) -> Iterator[Reader]:
        """The items; all that may be wrong with them is told as ArrayDamaged."""
        try:
            with self.items() as reader:
                yield reader
        except ArrayDamaged:
            raise
        except OSError as error:
            raise ArrayDamaged(f"cannot be read ({error.strerror or error})") from error
        except (ValueError, zipfile.BadZipFile, zlib.error, EOFError) as error:
            raise ArrayDamaged(f"is damaged ({error})") from error

    def _items(self, reader: Reader, rows: int, row_bytes: int) -> NDArray[Any]:
        content = reader.read(rows * row_bytes)
        if len(content) < rows * row_bytes:
            raise ArrayDamaged(f"has fewer bytes than its shape {self.shape} needs")
        return np.frombuffer(content, dtype=self.dtype).reshape(rows, *self.shape[1:])

    def _end(self, reader: Reader) -> None:
        if reader.read(1):
            raise ArrayDamaged(f"has more bytes than its shape {self.shape} needs")
