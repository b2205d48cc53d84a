"""Decides whether a database may be opened or is refused untouched, and makes tune's tables.
Knows nothing of the data in the tables, nor of how an older schema is brought up to date (upgrade.py).
"""

from __future__ import annotations

import random
import shlex
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from sqlalchemy import Engine, inspect, select, text

from search.errors import ConfigError
from search.store import optuna_tables, tables
from search.store.engine import masked, shown

T = TypeVar("T")

HALF_MADE_S = 10.0
"""How long a database may look half made before it counts as another program's."""

_OPTUNAS = {optuna_tables.studies.name, optuna_tables.trials.name, tables.schema.name}
"""One of these is in every database of Optuna's or of tune's; that of alembic is in many another one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """What a database holds."""

    optuna: bool
    """Optuna's tables, in the one revision that tune reads"""
    version: int | None
    """schema of tune's tables; None where there are none yet"""


def look(engine: Engine, *, create: bool) -> Found:
    """What this database holds already. Changes nothing.

    Raises ConfigError for a database of another program, of a newer tune or of another Optuna, and, unless
    `create`, for one that does not exist or holds nothing of tune's.
    """
    where = masked(engine.url)
    if engine.dialect.name == "sqlite" and not Path(engine.url.database or "").exists():
        if create:
            # Connecting would make the file; leave that to whoever means it.
            return Found(optuna=False, version=None)
        raise ConfigError(f"There is no storage {where}; `tune run` makes one, --storage names another.")
    deadline = time.monotonic() + HALF_MADE_S
    while _half_made(names := _table_names(engine)) and time.monotonic() < deadline:
        time.sleep(0.1)  # another process is making this very database
    # In a file tables are made all at once; on a server who makes them can die in the middle.
    whole = "alembic_version" in names or engine.dialect.name != "sqlite"
    if names and not (whole and names & _OPTUNAS):
        example = ", ".join(sorted(names)[:3])
        raise ConfigError(
            f"The storage {where} belongs to another program (it has the tables {example}). "
            "Nothing was changed; choose another one with --storage."
        )
    if not create and tables.schema.name not in names:
        raise ConfigError(f"The storage {where} holds no study of tune's yet; `tune run` makes one.")
    version: int | None = None
    with engine.connect().execution_options(reads_only=True) as connection:
        if tables.schema.name in names:
            version = connection.execute(select(tables.schema.c.version)).scalar_one_or_none()
            if version is not None and version > tables.SCHEMA_VERSION:
                raise ConfigError(
                    f"The storage {where} has schema {version} of a newer tune; this one reads up to "
                    f"{tables.SCHEMA_VERSION}. Nothing was changed; update tune."
                )
        if "alembic_version" not in names:
            return Found(optuna=False, version=version)
        revision = connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one_or_none()
    if revision is None:
        return Found(optuna=False, version=version)  # another process is about to write it
    if revision != optuna_tables.REVISION:
        raise ConfigError(
            f"The storage {where} was made by another version of Optuna (schema {revision}; this tune reads "
            f"{optuna_tables.REVISION}). Nothing was changed. If it is older, `optuna storage upgrade "
            "--storage URL` brings it up to date; keep a copy."
        )
    return Found(optuna=True, version=version)


def refuse_damaged(engine: Engine) -> None:
    """Raises ConfigError for an SQLite file whose pages do not fit together. Changes nothing.

    SQLite finds that out only when it comes to such a page, which may be after it has written others. Takes
    the time of reading the file once.
    """
    if engine.dialect.name != "sqlite":
        return
    with engine.connect().execution_options(reads_only=True) as connection:
        found = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar()
        page_bytes = connection.exec_driver_sql("PRAGMA page_size").scalar_one()
        # SQLite takes what is missing of a last page for zeros. Nobody can be writing it now.
        if found == "ok" and Path(engine.url.database or "").stat().st_size % page_bytes:
            found = "its last page is cut off"
    if found != "ok":
        file = shown(engine.url.database or "")
        raise ConfigError(
            f"The storage {file} is damaged ({' '.join(str(found).split())}); it was not changed. "
            f"`sqlite3 {shlex.quote(str(file))} .recover | sqlite3 new.db` saves what can be read."
        )


def _table_names(engine: Engine) -> set[str]:
    with engine.connect().execution_options(reads_only=True) as connection:
        return set(inspect(connection).get_table_names())


def _half_made(names: set[str]) -> bool:
    """Optuna makes its tables one by one; the one with the schema's revision comes last."""
    return "studies" in names and "alembic_version" not in names


def create(engine: Engine) -> None:
    """Makes tune's tables where they are missing. Safe when several processes do it at once."""

    def make() -> None:
        with engine.begin() as connection:
            tables.metadata.create_all(connection)
            if connection.execute(select(tables.schema.c.version)).first() is None:
                connection.execute(tables.schema.insert().values(one=1, version=tables.SCHEMA_VERSION))

    made_by_many(make)


def made_by_many(make: Callable[[], T]) -> T:
    """Calls `make`, which makes tables where they are missing, and returns what it returns.

    Processes that make the tables of one new database at once trip over each other: each looks, sees
    nothing, and finds the table there when it writes. Whoever tripped looks again, and sees more each time.
    """
    deadline = time.monotonic() + HALF_MADE_S
    while True:
        try:
            return make()
        except Exception as error:
            cause = str(error.__cause__ or error).lower()
            tripped = any(words in cause for words in ("already exists", "duplicate", "unique"))
            if not tripped or time.monotonic() > deadline:
                raise
            time.sleep(random.uniform(0.02, 0.2))
