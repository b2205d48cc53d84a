"""Brings a database to the schema that this version of tune reads, or refuses it untouched.
Knows nothing of the data in the tables.
"""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Engine, inspect, select, text
from sqlalchemy.exc import DatabaseError

from search.errors import ConfigError
from search.store import tables
from search.store.engine import masked


def look(engine: Engine, *, create: bool) -> str | None:
    """The revision of Optuna's schema in this database, None for an empty one. Changes nothing.

    Raises ConfigError for a database of another program or of a newer tune, and, unless `create`, for a
    file that does not exist.
    """
    where = masked(engine.url)
    if engine.dialect.name == "sqlite" and not Path(engine.url.database or "").exists():
        if create:
            return None  # connecting would make the file; leave that to whoever means it
        raise ConfigError(f"There is no storage {where}; `tune run` makes one, --storage names another.")
    with engine.connect().execution_options(reads_only=True) as connection:
        names = set(inspect(connection).get_table_names())
        if tables.schema.name in names:
            version = connection.execute(select(tables.schema.c.version)).scalar_one_or_none()
            if version is not None and version > tables.SCHEMA_VERSION:
                raise ConfigError(
                    f"The storage {where} has schema {version} of a newer tune; this one reads up to "
                    f"{tables.SCHEMA_VERSION}. Nothing was changed; update tune."
                )
        if names and "alembic_version" not in names and engine.dialect.name == "sqlite":
            example = ", ".join(sorted(names)[:3])
            raise ConfigError(
                f"The storage {where} belongs to another program (it has the tables {example}). "
                "Nothing was changed; choose another file with --storage."
            )
        if "alembic_version" not in names:
            return None
        return connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one_or_none()


def create(engine: Engine) -> None:
    """Makes tune's tables where they are missing. Safe when several processes do it at once."""
    for attempt in (1, 2, 3):
        try:
            with engine.begin() as connection:
                tables.metadata.create_all(connection)
                if connection.execute(select(tables.schema.c.version)).first() is None:
                    connection.execute(tables.schema.insert().values(one=1, version=tables.SCHEMA_VERSION))
            return
        except DatabaseError:  # another process made a table between our look and our write
            if attempt == 3:
                raise
