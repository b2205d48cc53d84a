"""One database of tune's: an engine, and the two kinds of block in which anything happens to it.

A transaction is the SQLAlchemy `Connection` that `Database.write` gives. What is written or read within it is
handed that connection, as the argument `within`; without it, a call opens a new transaction.
"""

from __future__ import annotations

import functools
import random
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, Protocol, TypeAlias, TypeVar

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


RETRY_S = 120.0
"""Deadline of the retries of a run while the database is away: servers are restarted, networks fail."""

LONGEST_PAUSE_S = 3.0
"""The longest back-off: a lease must outlast it by far."""

ENDING_S = 2.0
"""Deadline of the retries once the process is ending: enough for one connection that was cut."""

Transaction: TypeAlias = Connection
"""One that `Database.write` has opened, to be handed to what is written or read within it."""

Result = TypeVar("Result")
Arguments = ParamSpec("Arguments")


class _OnDatabase(Protocol):
    database: Database


Self = TypeVar("Self", bound=_OnDatabase)


def retried(
    method: Callable[Concatenate[Self, Arguments], Result],
) -> Callable[Concatenate[Self, Arguments], Result]:
    """Decorates an idempotent method of an object with a `database`: see Database.retry.

    A call with `within=`, a transaction of the caller's, is not retried: the whole transaction is lost.
    """

    @functools.wraps(method)
    def retrying(self: Self, /, *arguments: Arguments.args, **more: Arguments.kwargs) -> Result:
        if more.get("within") is not None:
            return method(self, *arguments, **more)
        return self.database.retry(lambda: method(self, *arguments, **more))

    return retrying


class Database:
    """Opens connections when they are needed; to a server it keeps two of them (engine.CONNECTIONS)."""

    def __init__(self, url: URL, *, retry_s: float = 0.0, file_id: FileId | None = None) -> None:
        """Prepares an engine; touches nothing yet. Raises ConfigError without a driver.

        file_id: of the SQLite file that is meant; None: the one that is there when it is opened.
        """
        self.url = url
        self.engine = build_engine(url, retries=retry_s > 0)
        self.file: OpenedFile | None = None
        """None on a server"""
        if url.get_backend_name() == "sqlite":
            self.file = OpenedFile(Path(url.database or "").absolute(), file_id)
            self.watch(self.engine)
        self.retry_s = retry_s
        """deadline of `retry` in seconds; 0 for commands that a person waits for"""
        self.ending: Callable[[], bool] = lambda: False
        """whether the process is ending: the deadline is then ENDING_S at most"""

    def watch(self, engine: Engine) -> None:
        """Binds another engine of the same database to the same SQLite file."""
        if self.file is not None:
            self.file.watch(engine)

    def engine_arguments(self, *, retries: bool) -> dict[str, Any]:
        """Arguments of `create_engine` for another engine of this database, as engine.engine_arguments has
        them. Bound to the same SQLite file from its first connection on."""
        arguments = engine_arguments(self.url, retries=retries)
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
    def write(self, within: Transaction | None = None) -> Iterator[Connection]:
        """One transaction: all of it or nothing. Errors of the driver leave it in words.

        within: a transaction that the caller has opened. The block is then part of it, and its end commits
        nothing.
        """
        if within is not None:
            yield within
            return
        with translated(self.url), self.engine.begin() as connection:
            yield connection

    @contextmanager
    def read(self, within: Transaction | None = None) -> Iterator[Connection]:
        """A read-only transaction, which keeps no writer waiting. Driver errors are raised as TuneError.

        within: a transaction that the caller has opened, in which is then read.
        """
        if within is not None:
            yield within
            return
        with (
            translated(self.url),
            self.engine.connect().execution_options(reads_only=True) as connection,
        ):
            yield connection

    def retry(self, work: Callable[[], Result], *, at_least_s: float = 0.0) -> Result:
        """Does the work, and retries it with back-off while the database is away or contended.

        at_least_s: the deadline is `retry_s`, and never shorter than this, also where `retry_s` is 0.
        The work must be idempotent: when a connection breaks while a transaction ends, the transaction may
        have been written. Not for work within a transaction: a failure loses all of it, so that only the
        whole transaction can be repeated.
        """
        began = time.monotonic()
        pause_s = 0.05
        while True:
            try:
                return work()
            except TryAgain:
                if time.monotonic() + pause_s > began + max(self._retry_now_s(), at_least_s):
                    raise
            self._pause(pause_s * random.uniform(0.5, 1.5))  # or all workers retry at the same time
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    def _retry_now_s(self) -> float:
        return min(self.retry_s, ENDING_S) if self.ending() else self.retry_s

    def _pause(self, seconds: float) -> None:
        """In steps, so that a signal is noticed."""
        until = time.monotonic() + seconds
        while (left_s := until - time.monotonic()) > 0:
            time.sleep(min(left_s, 0.2))
            if self.ending():
                return

    def close(self) -> None:
        """Gives back every connection."""
        self.engine.dispose()
