"""Reads the names of tune's studies and nothing else, for shell completion."""

from __future__ import annotations

import sqlite3

from sqlalchemy import create_engine, select
from sqlalchemy.pool import NullPool

from search.optuna_db import optuna_tables
from search.store import tables
from search.store.location import locate

WAIT_S = 1
"""For a server to answer, or for a lock on an SQLite file."""


def study_names(text: str) -> list[str]:
    """Names of tune's studies in the storage of that URL, the oldest first.

    Nothing is written: an SQLite file is opened read-only and never made, an older schema is not brought up
    to date. Raises whatever the driver raises.
    """
    location = locate(text)
    if location.database is not None:
        file = f"{location.database.as_uri()}?mode=ro"
        engine = create_engine(
            "sqlite://", poolclass=NullPool, creator=lambda: sqlite3.connect(file, uri=True, timeout=WAIT_S)
        )
    else:
        engine = create_engine(location.url, poolclass=NullPool, connect_args={"connect_timeout": WAIT_S})
    studies, ours = optuna_tables.studies.c, tables.studies.c
    query = select(studies.study_name).where(studies.study_id == ours.study_id).order_by(studies.study_id)
    with engine.connect() as connection:
        return list(connection.execute(query).scalars())
