"""Numbered migrations: brings a database of an older tune to the schema that this one reads.

Adding a step: raise tables.SCHEMA_VERSION, write a function here, enter it in STEPS. A step does a part of
its work at each call and returns whether it is finished. On a server every call is a separate transaction,
so that a step that copies rows can be resumed and locks nothing for long; on SQLite all of them are one. A
step must bear being done twice, because MySQL ends a transaction with every change of a table.
"""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path

from sqlalchemy import Connection, Engine, inspect, select, update

from search.errors import ConfigError
from search.store import former, tables
from search.store.engine import masked

_log = logging.getLogger(__name__)


def _test_evaluations_and_exports(connection: Connection) -> bool:
    """Test evaluations and exported models get tables; existing rows stay as they are."""
    added = [tables.test_evaluations, tables.head_test_evaluations, tables.exports]
    tables.metadata.create_all(connection, tables=added)
    return True


def _offers(connection: Connection) -> bool:
    """Trials that wait may be offered to other workers; nothing that was there changes."""
    tables.metadata.create_all(connection, tables=[tables.offers])
    return True


def _weights_and_precisions(connection: Connection) -> bool:
    """Best weights may lie in the database, and a study records its precision for each kind of processor.

    Weights that lie in folders stay there.
    """
    tables.metadata.create_all(connection, tables=[tables.weights, tables.precisions])
    return True


def _answers_and_deleted_test_evaluations(connection: Connection) -> bool:
    """Kept weights get the record of their right and wrong answers, and test evaluations outlive their study.

    Weights that are there already have no such record.
    """
    tables.metadata.create_all(connection, tables=[tables.answers, tables.deleted_test_evaluations])
    return True


def _reports(connection: Connection) -> bool:
    """One table of reports with named metrics, in place of tune_points and tune_head_points.

    They are dropped last, when every row of theirs is in the new table.
    """
    if not inspect(connection).has_table(former.points.name):
        former.head_points.drop(connection, checkfirst=True)
        return True
    tables.metadata.create_all(connection, tables=[tables.reports])
    if not former.copy_some(connection, TRIALS_AT_ONCE):
        former.head_points.drop(connection, checkfirst=True)
        former.points.drop(connection, checkfirst=True)
    return False


TRIALS_AT_ONCE = 1000
"""Number of trials whose reports are copied in one transaction."""

STEPS: Mapping[int, Callable[[Connection], bool]] = {
    2: _test_evaluations_and_exports,
    3: _offers,
    4: _weights_and_precisions,
    5: _answers_and_deleted_test_evaluations,
    6: _reports,
}
"""By the version that a step leads to."""


def upgrade(engine: Engine, *, backed_up: bool = False) -> Path | None:
    """Brings tune's tables up to date, one step after the other, and returns the backup made before.

    An SQLite file is copied beside itself first. A server's database cannot be copied from here: its
    operator does it and says so with `backed_up`, else ConfigError is raised and nothing is changed.
    Safe when several processes do it at once. Returns None where nothing was to be done or copied.
    """
    sqlite = engine.dialect.name == "sqlite"
    backup: Path | None = None
    with engine.begin() as connection:  # no other process writes meanwhile: SQLite locks the file
        version = found = _version(connection)
        if found is None or found >= tables.SCHEMA_VERSION:
            return None
        if sqlite:
            backup = back_up(Path(engine.url.database or ""), found)
        elif not backed_up:
            raise ConfigError(
                f"The storage {masked(engine.url)} has schema {found} of an older tune; this one reads "
                f"{tables.SCHEMA_VERSION}. Nothing was changed. Copy the database (pg_dump, mysqldump), end "
                "the older workers, then give `tune upgrade --backed-up`."
            )
        while sqlite and version is not None and version < tables.SCHEMA_VERSION:
            version = _advance(connection, version)
    while version is not None and version < tables.SCHEMA_VERSION:
        with engine.begin() as connection:
            version = _advance(connection, _version(connection))
    copied = "" if backup is None else f"; {backup} is as it was before"
    _log.warning(
        "%s was brought from schema %d to %d%s.",
        masked(engine.url),
        found,
        tables.SCHEMA_VERSION,
        copied,
    )
    return backup


def _version(connection: Connection) -> int | None:
    """The version of tune's tables, locked until the transaction ends."""
    return connection.execute(select(tables.schema.c.version).with_for_update()).scalar_one_or_none()


def _advance(connection: Connection, version: int | None) -> int | None:
    """Does a part of the next step; returns the version that the tables have then."""
    if version is None or version >= tables.SCHEMA_VERSION or not STEPS[version + 1](connection):
        return version
    connection.execute(update(tables.schema).values(version=version + 1))
    return version + 1


def back_up(database: Path, version: int) -> Path:
    """Copies an SQLite database beside itself, whole and on the disk before this returns.

    Raises ConfigError where the folder cannot take the copy.
    """
    copy = _free_name(database, version)
    unfinished = copy.with_name(f"{copy.name}.{os.getpid()}.unfinished")
    try:
        with (
            closing(sqlite3.connect(database)) as source,
            closing(sqlite3.connect(unfinished)) as target,
        ):
            source.backup(target)
        with unfinished.open("rb") as file:
            os.fsync(file.fileno())
        unfinished.replace(copy)
    except (sqlite3.Error, OSError) as error:
        unfinished.unlink(missing_ok=True)
        raise ConfigError(
            f"The storage {database} has schema {version} of an older tune, and the copy {copy.name} that is "
            f"made before it is brought up to date cannot be written: {error}. Nothing was changed."
        ) from error
    return copy


def _free_name(database: Path, version: int) -> Path:
    """A name that no file has: an earlier backup is never overwritten."""
    copy = database.with_name(f"{database.name}.schema-{version}.backup")
    number = 2
    while copy.exists():
        copy = database.with_name(f"{database.name}.schema-{version}.backup-{number}")
        number += 1
    return copy
