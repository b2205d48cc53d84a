"""Builds the one kind of database engine that tune uses, for its own tables and for Optuna's.
Knows nothing of what is stored.

SQLite needs care (docs/decisions/001): the driver's implicit transactions let two processes read one
queue and both take its head, so every writing transaction here begins with BEGIN IMMEDIATE.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DatabaseError, NoSuchModuleError, OperationalError, SQLAlchemyError

from search.errors import ConfigError, TryAgain, TuneError

BUSY_TIMEOUT_S = 60.0
"""How long SQLite itself waits for another process's transaction, deaf to signals."""

SHORT_BUSY_TIMEOUT_S = 3.0
"""The same for whoever tries again afterwards (Database.patiently) and must hear a signal meanwhile."""


def parse_url(text: str) -> URL:
    """The storage URL, checked. Raises ConfigError for one that no supported database has."""
    try:
        url = make_url(text)
        backend = url.get_backend_name()
    except (ArgumentError, ValueError) as error:
        raise ConfigError(
            "The storage is not a database URL; write it like sqlite:///studies.db "
            "or postgresql://user@host/database."
        ) from error
    if backend not in ("sqlite", "postgresql", "mysql", "mariadb"):
        raise ConfigError(
            f"The storage {masked(url)} names {backend}; tune works with sqlite, postgresql or mysql."
        )
    if backend == "sqlite" and url.database in (None, "", ":memory:"):
        raise ConfigError(
            "A storage in memory cannot be shared by workers; name a file: sqlite:///studies.db."
        )
    if url.drivername == "mysql":  # the driver that the extra `mysql` installs
        url = url.set(drivername="mysql+pymysql")
    return url


def masked(url: URL) -> str:
    """The URL as it may be shown: without its password, the path of an SQLite file as a person types it."""
    if url.get_backend_name() != "sqlite" or not url.database:
        return url.render_as_string(hide_password=True)
    # Only what SQLAlchemy would read as something else is encoded, and what would break the line.
    path = re.sub(r"%(?=[0-9A-Fa-f]{2})|[?\x00-\x1f\x7f]", _encoded, str(shown(url.database)))
    start, mark, query = url.set(database="").render_as_string(hide_password=True).partition("?")
    return f"{start}{path}{mark}{query}"


def _encoded(found: re.Match[str]) -> str:
    return f"%{ord(found[0]):02X}"


def shown(database: str) -> Path:
    """The path of an SQLite file for messages: relative where it lies below the current folder."""
    path = Path(database)
    try:
        return path.relative_to(Path.cwd())
    except (ValueError, OSError):  # elsewhere, or the current folder was deleted
        return path


def engine_arguments(url: URL, *, patient: bool = False) -> dict[str, Any]:
    """Arguments of `create_engine` that suit the database; also handed to Optuna's storage.

    patient: what fails because the database is locked will be tried again.
    """
    match url.get_backend_name():
        case "sqlite":
            return {"connect_args": {"timeout": SHORT_BUSY_TIMEOUT_S if patient else BUSY_TIMEOUT_S}}
        case "postgresql":
            return {
                "pool_pre_ping": True,
                "pool_size": 1,
                "max_overflow": 2,
                "connect_args": {"connect_timeout": 10, "options": "-c timezone=utc"},
            }
        case _:
            return {
                "pool_pre_ping": True,
                "pool_size": 1,
                "max_overflow": 2,
                "connect_args": {"connect_timeout": 10, "init_command": "SET time_zone = '+00:00'"},
            }


def prepare(engine: Engine) -> None:
    """Makes an existing engine safe for several processes; does nothing on servers."""
    if engine.dialect.name != "sqlite":
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


def build_engine(url: URL, *, patient: bool = False) -> Engine:
    """An engine for tune's own tables. Raises ConfigError where the driver is not installed."""
    try:
        engine = create_engine(url, **engine_arguments(url, patient=patient))
    except (ImportError, NoSuchModuleError) as error:
        extra = "postgresql" if url.get_backend_name() == "postgresql" else "mysql"
        raise ConfigError(
            f"The driver for {masked(url)} is not installed; pip install 'tune[{extra}]' brings it."
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
    except sqlite3.Error as error:  # of rows that were read past SQLAlchemy
        raise _sqlite_error(shown(url.database or ""), _words(error)) from error
    except json.JSONDecodeError as error:
        raise ConfigError(
            f"The storage {masked(url)} holds a value that tune did not write ({error}): it is damaged, or "
            "another program changed it. Nothing was changed now."
        ) from error


def _translate(url: URL, error: SQLAlchemyError) -> TuneError:
    original = getattr(error, "orig", None)
    reason = _words(original or error)
    if url.password:
        reason = reason.replace(str(url.password), "***")
    where = masked(url)
    if isinstance(original, sqlite3.Error) and url.database is not None:
        return _sqlite_error(shown(url.database), reason)
    if isinstance(error, OperationalError):
        return TryAgain(
            f"The storage {where} does not answer: {reason}. Is the server up, and may this user log in?"
        )
    if isinstance(error, DatabaseError):
        return TuneError(f"The storage {where} refused a statement: {reason}.")
    return TuneError(f"The storage {where} failed: {reason}.")


def _words(error: BaseException) -> str:
    return " ".join(str(error).split()).rstrip(".?!")


def _sqlite_error(path: Path, reason: str) -> TuneError:
    folder = path.absolute().parent
    if "unable to open" in reason:
        if not folder.is_dir():
            return ConfigError(f"The storage {path} cannot be made: there is no folder {folder}.")
        return ConfigError(f"The storage {path} cannot be opened: check that you may read and write it.")
    if "readonly" in reason or "read-only" in reason:
        return ConfigError(f"The storage {path} is read-only for you; make it and its folder writable.")
    if "locked" in reason:
        return TryAgain(
            f"The storage {path} is locked by another process, and stayed so; end that process, "
            "or use a server: --storage postgresql://…"
        )
    if "full" in reason:
        return TuneError(
            f"The disk of {path} is full: nothing was lost; make room and give the same command again."
        )
    if "not a database" in reason or "malformed" in reason or "corrupt" in reason:
        return ConfigError(
            f"The storage {path} is not a whole SQLite database ({reason}); it was not changed."
        )
    if "disk I/O" in reason:
        return TuneError(
            f"The disk of {path} fails: {reason}. Nothing that was saved is lost; check the disk."
        )
    return TuneError(f"The storage {path} failed: {reason}.")
