"""Numbered migrations: brings a database of an older tune to the schema that this one reads.

Adding a step: raise tables.SCHEMA_VERSION, write a function here, enter it in STEPS. A step must bear being
done twice, because MySQL ends a transaction with every change of a table.
"""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path

from sqlalchemy import Connection, Engine, select, update

from search.errors import ConfigError
from search.store import tables
from search.store.engine import masked

_log = logging.getLogger(__name__)


def _looks_and_exports(connection: Connection) -> None:
    """Looks at the test set and exported models get tables; nothing that was there changes."""
    added = [tables.looks, tables.head_looks, tables.exports]
    tables.metadata.create_all(connection, tables=added)


def _offers(connection: Connection) -> None:
    """Trials that wait may be offered to other workers; nothing that was there changes."""
    tables.metadata.create_all(connection, tables=[tables.offers])


def _weights_and_precisions(connection: Connection) -> None:
    """Best weights may lie in the database, and a study records its precision for each kind of processor.

    Weights that lie in folders stay there.
    """
    tables.metadata.create_all(connection, tables=[tables.weights, tables.precisions])


def _answers_and_deleted_looks(connection: Connection) -> None:
    """Kept weights get the record of their right and wrong answers, and test evaluations outlive their study.

    Weights that are there already have no such record.
    """
    tables.metadata.create_all(connection, tables=[tables.answers, tables.deleted_looks])


STEPS: Mapping[int, Callable[[Connection], None]] = {
    2: _looks_and_exports,
    3: _offers,
    4: _weights_and_precisions,
    5: _answers_and_deleted_looks,
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
    with engine.begin() as connection:  # nobody writes meanwhile, SQLite sees to that
        query = select(tables.schema.c.version).with_for_update()
        version = connection.execute(query).scalar_one_or_none()
        if version is None or version >= tables.SCHEMA_VERSION:
            return None
        if sqlite:
            backup = back_up(Path(engine.url.database or ""), version)
        elif not backed_up:
            raise ConfigError(
                f"The storage {masked(engine.url)} has schema {version} of an older tune; this one reads "
                f"{tables.SCHEMA_VERSION}. Nothing was changed. Copy the database (pg_dump, mysqldump), end "
                "the older workers, then give `tune upgrade --backed-up`."
            )
        for step in range(version + 1, tables.SCHEMA_VERSION + 1):
            STEPS[step](connection)
            connection.execute(update(tables.schema).values(version=step))
    copied = "" if backup is None else f"; {backup} is as it was before"
    _log.warning(
        "%s was brought from schema %d to %d%s.",
        masked(engine.url),
        version,
        tables.SCHEMA_VERSION,
        copied,
    )
    return backup


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
