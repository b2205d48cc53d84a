"""Makes the schema of a storage, Optuna's tables and tune's; completes one whose creation was cut short.

SQLite and PostgreSQL make everything in one transaction. MySQL and MariaDB commit after every table: there a
named lock keeps creators apart, and the next one adds what is missing. Older versions of tune made Optuna's
tables one by one on every database, so that half-made databases occur on all of them.
"""

from __future__ import annotations

import hashlib
import random
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Engine, MetaData, Table, inspect, select, table, text
from sqlalchemy.exc import DatabaseError

from search.errors import ConfigError, TryAgain
from search.optuna_db import optuna_tables
from search.store import former, tables
from search.store.engine import masked

LOCK_S = 60
"""How long a creator waits for another one."""

RETRY_S = 10.0
"""How long creation is tried again while a process without the lock makes the same: Optuna, an older tune."""

_MADE_MEANWHILE: frozenset[int | str] = frozenset(
    {
        "23505",  # PostgreSQL: a row with this key is there, also in its catalog of types
        "42701",  # the column is there
        "42710",  # the object is there
        "42P07",  # the table is there
        1005,  # MySQL and MariaDB: the table cannot be created; MariaDB's word for a foreign key of that name
        1022,  # a row with this key is there
        1050,  # the table is there
        1060,  # the column is there
        1061,  # the index is there
        1062,  # a row with this key is there
        1412,  # the definition of the table has changed
        1586,  # a row with this key is there
        1826,  # a foreign key of that name is there
    }
)
"""Codes for a table or a row that another process has made since this one looked. SQLite has none: there the
first statement of a creator keeps all others out."""

VERSION_TABLES = frozenset({"version_info", optuna_tables.alembic_version.name, tables.schema.name})
"""They hold the versions of a schema; all other tables of a half-made database are empty."""

KNOWN_TABLES = optuna_tables.NAMES | frozenset(tables.metadata.tables)
"""Every table that Optuna or tune makes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class OptunaSchema:
    """The schema that the installed Optuna makes and reads."""

    metadata: MetaData
    """all tables but Alembic's"""
    revision: str
    """Alembic's name of the schema"""
    version_info: Mapping[str, Any]
    """the one row of that table"""


def is_half_made(connection: Connection, names: Collection[str]) -> bool:
    """Whether a creation was cut short here: only known tables, and rows only in those of the versions."""
    if not names or not (KNOWN_TABLES | former.NAMES).issuperset(names):
        return False
    return not any(_has_rows(connection, name) for name in set(names) - VERSION_TABLES)


def refusal_of_another_program(engine: Engine, names: Collection[str]) -> ConfigError:
    """For a database whose tables are neither Optuna's nor tune's."""
    example = ", ".join(sorted(names)[:3])
    return ConfigError(
        f"The storage {masked(engine.url)} belongs to another program (it has the tables {example}). "
        "Nothing was changed; choose another one with --storage."
    )


def is_being_made(connection: Connection) -> bool:
    """Whether another process is making this database; False where its tables appear all at once."""
    if connection.dialect.name not in ("mysql", "mariadb"):
        return False
    try:
        query = text("SELECT IS_USED_LOCK(:name)")
        return connection.execute(query, {"name": _lock_name(connection)}).scalar() is not None
    except DatabaseError:  # a cluster without named locks
        return False


def create_tables(engine: Engine, optuna_schema: OptunaSchema | None = None) -> None:
    """Makes all tables that are missing, and the rows with the versions. Several processes may do it at once.

    optuna_schema: None: only tune's tables.

    Raises ConfigError for a database of another program, which is left as it is, and TryAgain where another
    process makes it and does not come to an end.
    """
    deadline = time.monotonic() + RETRY_S
    while True:
        try:
            with _only_creator(engine) as connection:
                _make(connection, optuna_schema)
            return
        except DatabaseError as error:
            if _code(error.orig) not in _MADE_MEANWHILE or time.monotonic() > deadline:
                raise
            time.sleep(random.uniform(0.02, 0.2))


def _code(error: BaseException | None) -> int | str | None:
    """PostgreSQL's SQLSTATE, or the error number of MySQL or MariaDB; None where the error has neither."""
    if (state := getattr(error, "sqlstate", None)) is not None:
        return str(state)
    number = error.args[0] if error is not None and error.args else None
    return number if isinstance(number, int) else None


def _make(connection: Connection, optuna_schema: OptunaSchema | None) -> None:
    names = set(inspect(connection).get_table_names())
    if optuna_schema is not None:
        if not revisions(connection, names):
            if names and not is_half_made(connection, names):
                raise refusal_of_another_program(connection.engine, names)
            _refuse_other_columns(connection, names, optuna_schema.metadata)
            _create_missing(connection, optuna_schema.metadata)
            optuna_tables.alembic_version.create(connection, checkfirst=True)
        if is_half_made(connection, names):
            _drop_outdated(connection, names)
    _create_missing(connection, tables.metadata)
    # The versions come last: where they are, everything is.
    if optuna_schema is not None:
        version_info = optuna_schema.metadata.tables["version_info"]
        _insert_first(connection, version_info, optuna_schema.version_info)
        _insert_first(connection, optuna_tables.alembic_version, {"version_num": optuna_schema.revision})
    _insert_first(connection, tables.schema, {"one": 1, "version": tables.SCHEMA_VERSION})


def _create_missing(connection: Connection, metadata: MetaData) -> None:
    """Makes the tables that are missing, and the indexes: a table may be there without its own."""
    metadata.create_all(connection)
    for each in metadata.sorted_tables:
        for index in each.indexes:
            index.create(connection, checkfirst=True)


def _insert_first(connection: Connection, into: Table, row: Mapping[str, Any]) -> None:
    """Inserts the row if the table has none."""
    if connection.execute(select(into)).first() is None:
        connection.execute(into.insert().values(**row))


def _drop_outdated(connection: Connection, names: set[str]) -> None:
    """Drops tune's tables, all empty, that an older version made: with other columns, they are made again."""
    former.metadata.drop_all(connection)
    for each in tables.metadata.sorted_tables:
        if each.name in names and _columns(connection, each.name) != set(each.columns.keys()):
            each.drop(connection)


def _refuse_other_columns(connection: Connection, names: set[str], expected: MetaData) -> None:
    """Raises ConfigError where a table has the name of one of Optuna's and other columns."""
    for each in expected.sorted_tables:
        if each.name in names and _columns(connection, each.name) != set(each.columns.keys()):
            raise refusal_of_another_program(connection.engine, {each.name})


def _columns(connection: Connection, name: str) -> set[str]:
    return {column["name"] for column in inspect(connection).get_columns(name)}


def _has_rows(connection: Connection, name: str) -> bool:
    return connection.execute(select(text("1")).select_from(table(name)).limit(1)).first() is not None


def revisions(connection: Connection, names: Collection[str]) -> list[str]:
    """What Alembic notes as the revision of the schema: one, or none while it is being made."""
    if optuna_tables.alembic_version.name not in names:
        return []
    return list(connection.scalars(select(optuna_tables.alembic_version)))


@contextmanager
def _only_creator(engine: Engine) -> Iterator[Connection]:
    """A transaction that no other creator has at the same time. SQLite allows one writer anyway."""
    match engine.dialect.name:
        case "sqlite":
            with engine.begin() as connection:
                yield connection
        case "postgresql":
            with engine.begin() as connection:
                connection.execute(text(f"SET LOCAL lock_timeout = '{LOCK_S}s'"))
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK_KEY})
                yield connection
        case _:
            with engine.connect() as connection:
                connection.detach()  # it is closed at the end of the block, which frees the lock
                _take_lock(connection)
                connection.commit()
                with connection.begin():
                    yield connection


_LOCK_KEY = int.from_bytes(hashlib.sha256(b"tune: creation").digest()[:8], "big", signed=True)


def _lock_name(connection: Connection) -> str:
    """MySQL's named locks belong to the whole server, and a name has at most 64 characters."""
    database = connection.engine.url.database or ""
    return f"tune-creation-{hashlib.sha256(database.encode()).hexdigest()[:32]}"


def _take_lock(connection: Connection) -> None:
    query = text("SELECT GET_LOCK(:name, :seconds)")
    try:
        got = connection.execute(query, {"name": _lock_name(connection), "seconds": LOCK_S}).scalar()
    except DatabaseError:  # a cluster without named locks: `create_tables` tells creators that meet apart
        return
    if got != 1:
        raise TryAgain(
            f"The storage {masked(connection.engine.url)} is being made by another process, which has not "
            f"come to an end within {LOCK_S} s; give the same command again."
        )
