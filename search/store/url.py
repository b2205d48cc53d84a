"""Reads a storage URL, refuses one that tune cannot work with, and says how it may be shown.

An invalid URL is refused here, before a file or a connection is made. A text that is no URL is never
quoted: where a password has a stray `@`, the part of the text that is the password is unknown.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from search.errors import ConfigError
from search.redaction import is_harmless, masked_url, remember

_NOT_A_URL = (
    "The storage is not a database URL; write it like sqlite:///studies.db or "
    "postgresql://user@host:5432/database."
)
_SPECIAL_CHARACTERS = (
    " In a user name and a password the characters @ : / ? # & % are written %40 %3A %2F %3F %23 %26 %25."
)

_SQLITE_OPTIONS = {"timeout"}

_NAMES_A_DATABASE = {"database", "db", "read_default_file", "read_default_group"}
"""Options of PyMySQL that can name the database; PostgreSQL takes the user's name by default."""

_NOT_FROM_A_URL = {
    "autocommit",  # a transaction would be many
    "context",
    "conv",
    "cursor_factory",
    "cursorclass",
    "defer_connect",
    "plugin",  # SQLAlchemy's: code of another package
    "row_factory",
}
"""Arguments of psycopg's and PyMySQL's `connect` that are no text, or that tune must set itself."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Backend:
    """A kind of database that tune works with."""

    scheme: str
    """as users write it"""
    driver: str
    """the only one that tune is tested with"""
    drivername: str
    """as SQLAlchemy and Optuna are told"""


_SQLITE = _Backend(scheme="sqlite", driver="pysqlite", drivername="sqlite")
_POSTGRESQL = _Backend(scheme="postgresql", driver="psycopg", drivername="postgresql")
_MYSQL = _Backend(scheme="mysql", driver="pymysql", drivername="mysql+pymysql")

BACKENDS = {
    "sqlite": _SQLITE,
    "postgresql": _POSTGRESQL,
    "postgres": _POSTGRESQL,  # as some hosting services write it
    "mysql": _MYSQL,
    "mariadb": _MYSQL,  # SQLAlchemy's `mysql` finds out by itself which of the two it talks to
}
"""By the name in the URL."""


def parse_url(text: str) -> URL:
    """The storage URL, checked, with the driver that tune uses. Its secrets are hidden from now on.

    Raises ConfigError for one that no supported database has.
    """
    not_a_url = ConfigError(_NOT_A_URL + (_SPECIAL_CHARACTERS if "@" in text else ""))
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        raise not_a_url from None  # the words of its cause can quote a part of a password
    remember(_secrets(url))
    if "@" in (url.host or ""):
        raise not_a_url
    if url.port is not None and not 0 < url.port < 65536:
        raise ConfigError("The port in the URL of the storage must be from 1 to 65535.")
    name, _, driver = url.drivername.partition("+")
    if name not in BACKENDS:
        raise ConfigError(
            f"The storage {masked(url)} names {name}; tune works with sqlite, postgresql or mysql."
        )
    backend = BACKENDS[name]
    if driver and driver != backend.driver:
        raise ConfigError(
            f"The storage {masked(url)} names the driver {driver}; tune works with {backend.driver}, which "
            f"{backend.scheme}:// stands for: leave +{driver} out."
        )
    if backend is _SQLITE:
        _check_sqlite(url, set(make_url(text, keep_blank_values=True).query))
    else:
        _check_server(url, backend)
    return url.set(drivername=backend.drivername)


def masked(url: URL) -> str:
    """The URL as it may be shown (redaction.masked_url), the path of an SQLite file as a person types it."""
    if url.get_backend_name() != _SQLITE.scheme or not url.database:
        return masked_url(url.render_as_string(hide_password=True))
    # Only what SQLAlchemy would read as something else is encoded, and what would break the line.
    path = re.sub(r"%(?=[0-9A-Fa-f]{2})|[?\x00-\x1f\x7f]", _encoded, str(shown(url.database)))
    start, mark, query = url.set(database="").render_as_string(hide_password=True).partition("?")
    return f"{masked_url(start)}{path}{masked_url(mark + query)}"


def _encoded(found: re.Match[str]) -> str:
    return f"%{ord(found[0]):02X}"


def shown(database: str) -> Path:
    """The path of an SQLite file for messages: relative where it lies below the current folder."""
    path = Path(database)
    try:
        return path.relative_to(Path.cwd())
    except (ValueError, OSError):  # elsewhere, or the current folder was deleted
        return path


def _secrets(url: URL) -> Iterator[str]:
    """The password, every value of an option that may be secret, and what such a value sets in its turn."""
    if url.password:
        yield str(url.password)
    for key, values in url.normalized_query.items():
        for value in values:
            if not is_harmless(key, value):
                yield value
                yield from re.findall(r"=\s*([^\s'\",;=]+)", value)  # options=-c name=secret


def _check_sqlite(url: URL, options: set[str]) -> None:
    """options: those without a value too, which SQLAlchemy drops."""
    database = url.database or ""
    if url.host or url.username or url.port:
        raise ConfigError(
            "The URL of an SQLite storage has three slashes before a path, four before a whole one, and no "
            "host: sqlite:///studies.db or sqlite:////srv/tune/studies.db."
        )
    if database in ("", ":memory:", "file::memory:") or url.query.get("mode") == "memory":
        raise ConfigError(
            "A storage in memory cannot be shared by workers; name a file: sqlite:///studies.db."
        )
    if database.startswith("file:"):
        raise ConfigError(
            f"The storage {masked(url)} is a file: URI, which tune does not understand; write the path "
            "itself: sqlite:///studies.db."
        )
    if unknown := sorted(options - _SQLITE_OPTIONS):
        raise ConfigError(
            f"The storage {masked(url)} has options that tune does not understand for SQLite "
            f"({', '.join(unknown)}): only timeout, in seconds. A question mark that belongs to the name of "
            "the file is written %3F."
        )
    try:
        timeouts_s = [float(value) for value in url.normalized_query.get("timeout", ())]
    except ValueError:
        timeouts_s = [math.nan]
    if not all(0 <= timeout_s <= 3600 for timeout_s in timeouts_s) or len(timeouts_s) > 1:
        raise ConfigError(
            f"The storage {masked(url)}: timeout must be one number from 0 to 3600, in seconds."
        )


def _check_server(url: URL, backend: _Backend) -> None:
    if re.search("[&=]", url.database or ""):  # perhaps a password: not quoted
        raise ConfigError(
            "The database name of the storage has & or = in it: options come after a question mark, as in "
            "postgresql://user@host/database?sslmode=require."
        )
    if backend is _MYSQL and not url.database and not _NAMES_A_DATABASE & set(url.query):
        raise ConfigError(f"The storage {masked(url)} names no database: mysql://user@host/database.")
    if refused := sorted(_NOT_FROM_A_URL & set(url.query)):
        raise ConfigError(f"The storage {masked(url)} sets {', '.join(refused)}, which tune sets itself.")
