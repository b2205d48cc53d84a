"""One database of tune's: an engine, and the two kinds of block in which anything happens to it.
Knows nothing of tables.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager

from sqlalchemy import Connection
from sqlalchemy.engine import URL

from search.store.engine import build_engine, translated

_IDS_PER_QUERY = 500
"""SQLite takes 999 variables in the oldest builds still around."""


def portions(ids: Collection[int]) -> Iterator[Sequence[int]]:
    """Rising, in lists short enough for one query each."""
    rising = sorted(set(ids))
    for start in range(0, len(rising), _IDS_PER_QUERY):
        yield rising[start : start + _IDS_PER_QUERY]


class Database:
    """Holds at most one pooled connection and opens a second under load."""

    def __init__(self, url: URL) -> None:
        """Prepares an engine; touches nothing yet. Raises ConfigError without a driver."""
        self.url = url
        self.engine = build_engine(url)
        self._writing = threading.local()

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """One transaction: all of it or nothing. Errors of the driver leave it in words.

        A block inside another one of the same thread is part of that one.
        """
        outer: Connection | None = getattr(self._writing, "connection", None)
        if outer is not None:
            yield outer
            return
        with translated(self.url), self.engine.begin() as connection:
            self._writing.connection = connection
            try:
                yield connection
            finally:
                self._writing.connection = None

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A look that keeps no writer waiting. Errors of the driver leave it in words."""
        with (
            translated(self.url),
            self.engine.connect().execution_options(reads_only=True) as connection,
        ):
            yield connection

    def close(self) -> None:
        """Gives back every connection."""
        self.engine.dispose()
