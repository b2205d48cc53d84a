"""One database of tune's: an engine, and the two kinds of block in which anything happens to it."""

from __future__ import annotations

import functools
import random
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.engine import URL

from search.errors import TryAgain
from search.store.engine import build_engine, engine_arguments, translated
from search.store.opened_file import FileId, OpenedFile

IDS_PER_QUERY = 500
"""SQLite takes 999 variables in the oldest builds still around."""


def portions(ids: Collection[int]) -> Iterator[Sequence[int]]:
    """Rising, in lists short enough for one query each."""
    rising = sorted(set(ids))
    for start in range(0, len(rising), IDS_PER_QUERY):
        yield rising[start : start + IDS_PER_QUERY]


def raw(connection: Connection, query: Any) -> list[Any]:
    """The rows of a query as the driver gives them."""
    result = connection.execute(query)
    found = list(result.cursor.fetchall()) if result.cursor is not None else []
    result.close()
    return found


PATIENCE_S = 120.0
"""So long a run waits for a database that is away: servers are restarted, networks fail."""

LONGEST_PAUSE_S = 3.0
"""Between two tries: a lease must outlast it by far."""

HURRY_S = 2.0
"""All the patience that is left once a signal asks for the end: enough for one connection that was cut."""

Result = TypeVar("Result")
Arguments = ParamSpec("Arguments")


class _OnDatabase(Protocol):
    database: Database


Self = TypeVar("Self", bound=_OnDatabase)


def retried(
    method: Callable[Concatenate[Self, Arguments], Result],
) -> Callable[Concatenate[Self, Arguments], Result]:
    """For a method of something with a `database` that may be done twice: see Database.patiently."""

    @functools.wraps(method)
    def patient(self: Self, /, *arguments: Arguments.args, **more: Arguments.kwargs) -> Result:
        return self.database.patiently(lambda: method(self, *arguments, **more))

    return patient


class Database:
    """Opens connections when they are needed; to a server it keeps two of them (engine.CONNECTIONS)."""

    def __init__(self, url: URL, *, patience_s: float = 0.0, file_id: FileId | None = None) -> None:
        """Prepares an engine; touches nothing yet. Raises ConfigError without a driver.

        file_id: of the SQLite file that is meant; None: the one that is there when it is opened.
        """
        self.url = url
        self.engine = build_engine(url, patient=patience_s > 0)
        self.file: OpenedFile | None = None
        """None on a server"""
        if url.get_backend_name() == "sqlite":
            self.file = OpenedFile(Path(url.database or "").absolute(), file_id)
            self.watch(self.engine)
        self.patience_s = patience_s
        """so long `patiently` tries again; commands that a person waits for have none"""
        self.hurry: Callable[[], bool] = lambda: False
        """whether somebody wants to end: patience then is HURRY_S at most"""
        self._writing = threading.local()

    def watch(self, engine: Engine) -> None:
        """Binds another engine of the same database to the same SQLite file."""
        if self.file is not None:
            self.file.watch(engine)

    def engine_arguments(self, *, patient: bool) -> dict[str, Any]:
        """Arguments of `create_engine` for another engine of this database, as engine.engine_arguments has
        them. Bound to the same SQLite file from its first connection on."""
        arguments = engine_arguments(self.url, patient=patient)
        if self.file is None:
            return arguments
        dialect, connect = self.engine.dialect, self.file.connect
        where, options = dialect.create_connect_args(self.url)
        options = {**options, **arguments.pop("connect_args", {})}
        return {**arguments, "creator": lambda: connect(dialect, where, options)}

    def check_file(self) -> None:
        """Raises ConfigError where the SQLite file was moved or replaced since it was opened."""
        if self.file is not None:
            self.file.check()

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

    def patiently(self, work: Callable[[], Result], *, at_least_s: float = 0.0) -> Result:
        """Does the work, and does it again while the database is away or contended, until patience ends.

        at_least_s: for how long also a database without patience tries again.
        The work must bear being done twice: when a connection breaks while a transaction ends, nobody knows
        whether it was written. Inside a `write` block nothing is repeated, for the whole block is lost then.
        """
        began = time.monotonic()
        pause_s = 0.05
        while True:
            try:
                return work()
            except TryAgain:
                inside = getattr(self._writing, "connection", None) is not None
                if inside or time.monotonic() + pause_s > began + max(self._patience_now_s(), at_least_s):
                    raise
            self._pause(pause_s * random.uniform(0.5, 1.5))  # or all workers come back in one moment
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    def _patience_now_s(self) -> float:
        return min(self.patience_s, HURRY_S) if self.hurry() else self.patience_s

    def _pause(self, seconds: float) -> None:
        """In steps: somebody may begin to hurry."""
        until = time.monotonic() + seconds
        while (left_s := until - time.monotonic()) > 0:
            time.sleep(min(left_s, 0.2))
            if self.hurry():
                return

    def close(self) -> None:
        """Gives back every connection."""
        self.engine.dispose()
