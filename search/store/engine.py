"""Builds the one kind of database engine that tune uses, for its own tables and for Optuna's.

SQLite needs care (docs/decisions/001): the driver's implicit transactions let two processes read one
queue and both take its head, so every writing transaction here begins with BEGIN IMMEDIATE.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError, DatabaseError, DBAPIError, OperationalError, SQLAlchemyError

from search.errors import ConfigError, TryAgain, TuneError
from search.redaction import redacted
from search.store.connecting import connect_arguments, prepare_server, words
from search.store.opened_file import moved
from search.store.url import masked as masked
from search.store.url import parse_url as parse_url
from search.store.url import shown

BUSY_TIMEOUT_S = 60.0
"""How long SQLite itself waits for another process's transaction, deaf to signals."""

SHORT_BUSY_TIMEOUT_S = 3.0
"""The same where Database.retry follows, which must notice a signal meanwhile."""


CONNECTIONS = 2
"""To a server that an engine keeps open once they were needed: one for the thread that does the work, one for
the thread that renews leases. A connection beyond them is closed after use. Each connect of PyMySQL costs 25
to 50 ms of processor time, for it makes a TLS context each time. One of ours cannot be handed to it: it would
refuse servers without TLS."""


def engine_arguments(url: URL, *, retries: bool = False) -> dict[str, Any]:
    """Arguments of `create_engine` that suit the database; also handed to Optuna's storage.

    retries: whether the caller retries what fails because the database is locked.
    """
    if url.get_backend_name() == "sqlite":
        timeout_s = SHORT_BUSY_TIMEOUT_S if retries else BUSY_TIMEOUT_S
        return {} if "timeout" in url.query else {"connect_args": {"timeout": timeout_s}}
    return {
        "pool_pre_ping": True,
        "pool_size": CONNECTIONS,
        "max_overflow": 1,
        "connect_args": connect_arguments(url),
    }


def prepare(engine: Engine) -> None:
    """Makes an existing engine safe for several processes."""
    if engine.dialect.name != "sqlite":
        prepare_server(engine)
        return

    @event.listens_for(engine, "connect")
    def _own_transactions(connection: Any, _record: object) -> None:
        connection.isolation_level = None  # the driver must not begin transactions behind our back
        cursor = connection.cursor()
        # Not WAL: SQLite before 3.51.3 can corrupt a database when a WAL is reset.
        cursor.execute("PRAGMA journal_mode=DELETE")
        cursor.execute("PRAGMA synchronous=FULL")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        reads = connection.get_execution_options().get("reads_only", False)
        connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")

    engine.dispose()  # connections made before the listeners would lack them


def build_engine(url: URL, *, retries: bool = False) -> Engine:
    """An engine for tune's own tables.

    Raises ConfigError where the driver is not installed, or an option of the URL is not what it takes.
    """
    try:
        engine = create_engine(url, **engine_arguments(url, retries=retries))
    except ImportError as error:
        extra = "postgresql" if url.get_backend_name() == "postgresql" else "mysql"
        raise ConfigError(
            f"The driver for {masked(url)} is not installed; `pip install -e '.[{extra}]'` in tune's folder "
            "brings it."
        ) from error
    except (ArgumentError, TypeError, ValueError) as error:
        raise ConfigError(
            f"The storage {masked(url)} has an option that cannot be used: {redacted(words(error))}."
        ) from error
    prepare(engine)
    return engine


@contextmanager
def translated(url: URL) -> Iterator[None]:
    """Turns a driver's error into a sentence: TryAgain, ConfigError or TuneError, never with a password."""
    try:
        yield
    except SQLAlchemyError as error:
        raise _translate(url, error) from error
    except json.JSONDecodeError as error:
        raise ConfigError(
            f"The storage {masked(url)} holds a value that tune did not write ({error}): it is damaged, or "
            "another program changed it. Nothing was changed now."
        ) from error
    except Exception as error:
        # SQLAlchemy wraps no error of the driver where rows are fetched past it, nor where the isolation
        # level of a connection is reset as it returns to the pool.
        dialect = url.get_dialect()
        driver_error = dialect.import_dbapi().Error
        if not isinstance(error, driver_error):
            raise
        wrapped = DBAPIError.instance(None, None, error, driver_error, dialect=dialect())
        assert isinstance(wrapped, SQLAlchemyError), "the error is one of the driver's"
        raise _translate(url, wrapped) from error


def _translate(url: URL, error: SQLAlchemyError) -> TuneError:
    original = getattr(error, "orig", None)
    reason = redacted(words(original or error))
    where = masked(url)
    if isinstance(original, sqlite3.Error) and url.database is not None:
        return _sqlite_error(shown(url.database), original)
    if isinstance(error, OperationalError):
        return TryAgain(
            f"The storage {where} does not answer: {reason}. Is the server up, and may this user log in?"
        )
    if isinstance(error, DatabaseError):
        return TuneError(f"The storage {where} refused a statement: {reason}.")
    return TuneError(f"The storage {where} failed: {reason}.")


def _sqlite_error(path: Path, error: sqlite3.Error) -> TuneError:
    reason = words(error)
    name = getattr(error, "sqlite_errorname", "")  # an error of the module itself has none
    if name.startswith("SQLITE_CANTOPEN"):
        folder = path.absolute().parent
        if not folder.is_dir():
            return ConfigError(f"The storage {path} cannot be made: there is no folder {folder}.")
        return ConfigError(f"The storage {path} cannot be opened: check that you may read and write it.")
    if name == "SQLITE_READONLY_DBMOVED":
        return moved(path, replaced=path.exists())
    if name.startswith("SQLITE_READONLY"):
        return ConfigError(f"The storage {path} is read-only for you; make it and its folder writable.")
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return TryAgain(
            f"The storage {path} is locked by another process, and stayed so; end that process, "
            "or use a server: --storage postgresql://…"
        )
    if name == "SQLITE_FULL":
        return TuneError(
            f"The disk of {path} is full: nothing was lost; make room and give the same command again."
        )
    if name.startswith(("SQLITE_NOTADB", "SQLITE_CORRUPT")):
        return ConfigError(
            f"The storage {path} is not a whole SQLite database ({reason}); it was not changed."
        )
    if name.startswith("SQLITE_IOERR"):
        return TuneError(
            f"The disk of {path} fails: {reason}. Nothing that was saved is lost; check the disk."
        )
    return TuneError(f"The storage {path} failed: {reason}.")
