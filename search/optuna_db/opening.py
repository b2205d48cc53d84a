"""Decides whether a database may be opened or is refused untouched.

creation.py makes tables, upgrade.py brings them up to date.
"""

from __future__ import annotations

import shlex
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, inspect, select

from search.errors import ConfigError, NoStorage
from search.optuna_db import optuna_tables
from search.optuna_db.creation import is_being_made, is_half_made, refusal_of_another_program, revisions
from search.store import tables
from search.store.engine import masked, translated
from search.store.sql import SQLStore
from search.store.upgrade import upgrade
from search.store.url import shown

BEING_MADE_S = 10.0
"""So long a reader waits for a database that another process is making."""

_OPTUNAS = {optuna_tables.studies.name, optuna_tables.trials.name, tables.schema.name}
"""One of these is in every database of Optuna's or of tune's; that of alembic is in many another one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """What a database holds."""

    optuna: bool
    """Optuna's tables, in the one revision that tune reads"""
    version: int | None
    """schema of tune's tables; None where there are none yet, or not all"""

    @property
    def is_whole(self) -> bool:
        """Whether nothing of the schema is missing."""
        return self.optuna and self.version is not None


NOTHING = Found(optuna=False, version=None)


def open_tables(
    store: SQLStore, *, create: bool = False, backed_up: bool = False, plain: bool = False
) -> bool:
    """Whether the database of this store has all tables already, Optuna's and tune's. Tables of an older
    tune's are brought up to date first (upgrade.py; `backed_up` as there), else nothing changes.

    Raises ConfigError for a database of another program, of a newer tune or of another Optuna, for a
    server's of an older tune unless `backed_up`, or, unless `create`, for one that holds nothing of
    tune's (`plain`: unless it holds studies of plain Optuna); TryAgain where none answers.
    """
    with translated(store.database.url):
        found = look(store.database.engine, create=create, plain=plain)
        store.may_lack_tables = plain and found.version is None
        if found.version is not None and found.version < tables.SCHEMA_VERSION:
            refuse_damaged(store.database.engine)
            upgrade(store.database.engine, backed_up=backed_up)
        return found.is_whole


def look(engine: Engine, *, create: bool, plain: bool = False) -> Found:
    """What this database holds already. Changes nothing.

    Raises ConfigError for a database of another program, of a newer tune or of another Optuna, for a path
    that is no file, and, unless `create`, for one that does not exist or holds nothing of tune's. plain: one
    that holds studies of plain Optuna is not refused.
    """
    where = masked(engine.url)
    if engine.dialect.name == "sqlite":
        path = Path(engine.url.database or "")
        if path.exists():
            _refuse_no_file(path)
        elif create:
            # Connecting would make the file; only commands that create a database may do that.
            return NOTHING
        else:
            raise NoStorage(f"There is no storage {where}; `tune run` makes one, --storage names another.")
    deadline = time.monotonic() + BEING_MADE_S
    while True:
        with _reading(engine) as connection:
            found = _look(connection)
            if create or found.is_whole or (plain and found.optuna and _has_studies(connection)):
                return found
            if not is_being_made(connection) or time.monotonic() > deadline:
                raise NoStorage(f"The storage {where} holds no study of tune's yet; `tune run` makes one.")
        time.sleep(0.1)


def _reading(engine: Engine) -> Connection:
    """A connection that changes nothing. On MySQL without a snapshot: in that a table which is made meanwhile
    cannot be read."""
    options: dict[str, Any] = {"reads_only": True}
    if engine.dialect.name in ("mysql", "mariadb"):
        options["isolation_level"] = "READ COMMITTED"
    return engine.connect().execution_options(**options)


def _look(connection: Connection) -> Found:
    where = masked(connection.engine.url)
    names = set(inspect(connection).get_table_names())
    version: int | None = None
    if tables.schema.name in names:
        version = connection.execute(select(tables.schema.c.version)).scalar_one_or_none()
        if version is not None and version > tables.SCHEMA_VERSION:
            raise ConfigError(
                f"The storage {where} has schema {version} of a newer tune; this one reads up to "
                f"{tables.SCHEMA_VERSION}. Nothing was changed; update tune."
            )
    found = revisions(connection, names)
    if not found and (not names or is_half_made(connection, names)):
        return Found(optuna=False, version=version)
    if not found or not names & _OPTUNAS:
        raise refusal_of_another_program(connection.engine, names)
    if found != [optuna_tables.REVISION]:
        raise ConfigError(
            f"The storage {where} was made by another version of Optuna (schema {', '.join(found)}; this "
            f"tune reads {optuna_tables.REVISION}, that of Optuna {optuna_tables.TESTED[-1]}). Nothing was "
            "changed. If it is older, `optuna storage upgrade --storage URL` brings it up to date; keep a "
            "copy."
        )
    return Found(optuna=True, version=version)


def _refuse_no_file(path: Path) -> None:
    """Raises ConfigError for a folder, a pipe or a device: SQLite would call them a disk that fails."""
    if not path.is_file():
        kind = "a folder" if path.is_dir() else "a pipe or a device"
        raise ConfigError(
            f"The storage {shown(str(path))} is {kind}, not a file; --storage names another one."
        )


def refuse_damaged(engine: Engine) -> None:
    """Raises ConfigError for an SQLite file whose pages do not fit together. Changes nothing.

    SQLite finds that out only when it comes to such a page, which may be after it has written others. Takes
    the time of reading the file once.
    """
    path = Path(engine.url.database or "")
    if engine.dialect.name != "sqlite" or not path.exists():
        return
    with engine.connect().execution_options(reads_only=True) as connection:
        found = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar()
        page_bytes = connection.exec_driver_sql("PRAGMA page_size").scalar_one()
        # SQLite takes what is missing of a last page for zeros. No process can be writing it now.
        if found == "ok" and path.stat().st_size % page_bytes:
            found = "its last page is cut off"
    if found != "ok":
        file = shown(engine.url.database or "")
        raise ConfigError(
            f"The storage {file} is damaged ({' '.join(str(found).split())}); it was not changed. "
            f"`sqlite3 {shlex.quote(str(file))} .recover | sqlite3 new.db` saves what can be read."
        )


def _has_studies(connection: Connection) -> bool:
    """Whether Optuna has a study there, made by tune or not."""
    return connection.execute(select(optuna_tables.studies.c.study_id).limit(1)).first() is not None
