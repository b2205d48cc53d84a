"""Connects to a database server: which arguments the driver is given, what each new connection is told, and
whether a connection that failed is worth another try."""

from __future__ import annotations

import os
import re
import ssl
from collections.abc import Iterator
from typing import Any

from sqlalchemy import Dialect, Engine, event
from sqlalchemy.engine import URL

from search.errors import ConfigError
from search.redaction import redacted
from search.store.url import masked

CONNECT_TIMEOUT_S = 10

_SET_UTC = {"postgresql": "SET TIME ZONE 'UTC'", "mysql": "SET time_zone = '+00:00'"}
"""By SQLAlchemy's name of the database."""

_POSTGRESQL_REFUSALS = re.compile(
    # the server, in English, whatever stands between it and us
    r'(password|peer|ident|certificate|scram|sasl) authentication failed|role "[^"]*" does not exist'
    r'|database "[^"]*" does not exist|is not permitted to log in|permission denied for database'
    r"|no pg_hba\.conf entry|unrecognized configuration parameter|invalid value for parameter"
    r"|parameter .* cannot be (changed|set)|permission denied to set parameter|invalid command-line argument"
    r"|(--|-c )\S* requires a value"
    # PgBouncer
    r"|unsupported startup parameter|no such (database|user)|auth failed"
    # libpq
    r'|authentication method requirement|invalid "?\w+"? value|invalid port number'
    r"|invalid integer value|does not support SSL|did not request an SSL certificate"
    r"|(certificate|private key|revocation list) file|certificate verify failed|does not match host name"
    r"|definition of service .* not found|service file .* not found",
    re.IGNORECASE,
)
"""What is said when the same URL will fail again. Up to libpq 18 there is no SQLSTATE of a connection that
failed, only whether a password was missing: its words are all there is. A server that speaks another language
is tried again instead, which costs time. tests/faults/servers/test_refusals.py provokes them."""

_MYSQL_REFUSALS = {
    1044,  # access denied to the database
    1045,  # access denied to the user
    1049,  # unknown database
    1115,  # unknown character set
    1130,  # host not allowed
    1251,  # client too old for this way to log in
    1273,  # unknown collation
    1698,  # access denied, no password could help
    1820,  # password has to be changed
    1862,  # password has expired
    2026,  # TLS required and not offered
    2059,  # way to log in not known to the driver
}
"""Error codes of MySQL, MariaDB and PyMySQL when the same URL will fail again."""


def connect_arguments(url: URL) -> dict[str, Any]:
    """What the driver's `connect` is given beside what the URL says, which goes before it."""
    arguments: dict[str, Any] = {}
    if "connect_timeout" not in url.query:
        arguments["connect_timeout"] = CONNECT_TIMEOUT_S
    threshold = url.query.get("prepare_threshold")  # psycopg takes no text for it
    if isinstance(threshold, str):
        arguments["prepare_threshold"] = None if threshold.lower() == "none" else int(threshold)
    return arguments


def prepare_server(engine: Engine) -> None:
    """Every new connection works in UTC; one that cannot be had with this URL raises ConfigError.

    The time zone is set by a statement and not by an argument of `connect`: `options` and `init_command`
    are the URL's, and PgBouncer refuses `options`.
    """
    set_utc = _SET_UTC[engine.dialect.name]

    @event.listens_for(engine, "do_connect")
    def _connect(dialect: Dialect, _record: object, arguments: list[Any], options: dict[str, Any]) -> Any:
        try:
            return dialect.connect(*arguments, **options)
        except Exception as error:
            if not _refused(dialect, error):
                raise
            reason = redacted(_what_is_wrong(error, options))
            raise ConfigError(
                f"The storage {masked(engine.url)} cannot be opened: {reason}. "
                "Trying again will not help: correct the URL, or what it names on the server."
            ) from error

    @event.listens_for(engine, "connect")
    def _use_utc(connection: Any, _record: object) -> None:
        cursor = connection.cursor()
        cursor.execute(set_utc)
        cursor.close()
        connection.commit()  # PostgreSQL takes a setting back with the transaction that made it

    engine.dispose()  # connections made before the listeners would lack them


def _refused(dialect: Dialect, error: Exception) -> bool:
    """Whether the same URL will fail again: it is wrong, or the server does not take it."""
    driver: Any = dialect.loaded_dbapi
    if not isinstance(error, driver.Error):
        return isinstance(error, (TypeError, ValueError, AttributeError, NotImplementedError, OSError))
    if not isinstance(error, driver.OperationalError):
        return isinstance(error, (driver.ProgrammingError, driver.NotSupportedError, driver.DataError))
    if dialect.name == "postgresql":
        failed = getattr(error, "pgconn", None)
        lacks_password = failed is not None and failed.needs_password
        return lacks_password or _POSTGRESQL_REFUSALS.search(str(error)) is not None
    cause = getattr(error, "original_exception", None)
    return error.args[:1][0] in _MYSQL_REFUSALS or isinstance(cause, ssl.SSLCertVerificationError)


def words(error: BaseException) -> str:
    """What an error says, in one line, to be put into a sentence."""
    code_and_words = len(error.args) == 2 and isinstance(error.args[0], int)  # PyMySQL's
    return " ".join(str(error.args[1] if code_and_words else error).split()).rstrip(".?!")


def _what_is_wrong(error: Exception, options: dict[str, Any]) -> str:
    """What is wrong. PyMySQL checks its options with whatever errors come of it, and those say little."""
    if isinstance(error, UnicodeEncodeError):
        return "the password has characters that the driver cannot send"
    if isinstance(error, OSError):
        files = [str(value) for value in _flat(options) if isinstance(value, str) and os.sep in value]
        if missing := [file for file in files if not os.access(file, os.R_OK)]:
            return f"{missing[0]} cannot be read"
    if isinstance(error, AttributeError) and "charset" in options:
        return f"the driver does not know the charset {options['charset']}"
    return words(error)


def _flat(options: dict[str, Any]) -> Iterator[Any]:
    """All values, those of nested options too."""
    for value in options.values():
        if isinstance(value, dict):
            yield from _flat(value)
        else:
            yield value
