"""Studies in Optuna's tables: which there are, and a new one."""

from __future__ import annotations

import json

from sqlalchemy import Connection, insert, select

from search.optuna_db import optuna_tables as tables
from search.optuna_db.deletion import delete_rows
from search.optuna_db.optuna_tables import as_word
from search.records import Direction, Metric
from search.store.database import Database, Transaction, raw, retried
from search.store.upsert import put

METRIC_NAMES = "study:metric_names"
"""System attribute in which Optuna keeps what the values of a study are called."""


class OptunaStudies:
    """The studies of one database."""

    database: Database

    @retried
    def names(self) -> dict[int, str]:
        """The name of every study, by id."""
        query = select(tables.studies.c.study_id, tables.studies.c.study_name)
        with self.database.read() as connection:
            return {row.study_id: row.study_name for row in connection.execute(query)}

    @retried
    def named(self, name: str) -> tuple[int, str] | None:
        """(id, name) of the study that the database takes for that name; None where there is none."""
        query = select(tables.studies.c.study_id, tables.studies.c.study_name)
        with self.database.read() as connection:
            row = connection.execute(query.where(tables.studies.c.study_name == name)).first()
        return None if row is None else (row.study_id, row.study_name)

    @retried
    def exists(self, study_id: int) -> bool:
        """Whether there is such a study."""
        query = select(tables.studies.c.study_id).where(tables.studies.c.study_id == study_id)
        with self.database.read() as connection:
            return connection.execute(query).first() is not None

    @retried
    def signed(self) -> frozenset[int]:
        """Ids of the studies that have what `add_study` writes, and plain Optuna does not by itself.

        SQLite gives the id of a study that was deleted to the next one: without this, a study that another
        program makes then would be taken for the one of tune's that was there.
        """
        table = tables.study_system_attributes.c
        with self.database.read() as connection:
            rows = raw(connection, select(table.study_id).where(table.key == METRIC_NAMES))
        return frozenset(study_id for (study_id,) in rows)

    @retried
    def is_signed(self, study_id: int) -> bool:
        """Whether there is such a study, and it is one of `signed`."""
        with self.database.read() as connection:
            return _is_signed(connection, study_id)

    def require_signed(self, study_id: int, *, within: Transaction) -> None:
        """Raises KeyError where another program has deleted the study, and perhaps made one with its id."""
        if within.dialect.name == "sqlite" and not _is_signed(within, study_id):  # servers give no id twice
            raise KeyError(f"there is no study {study_id} of tune's")

    @retried
    def direction(self, study_id: int) -> Direction | None:
        """Of the study's one value, as `add_study` wrote it; None where another program changed it."""
        table = tables.directions.c
        query = select(as_word(table.direction)).where(table.study_id == study_id)
        with self.database.read() as connection:
            words = [word for (word,) in raw(connection, query)]
        return next((each for each in Direction if [each.name] == words), None)

    @retried
    def add_study(self, name: str, metric: Metric, *, within: Transaction | None = None) -> int | None:
        """Adds a study that optimizes one metric; its id, or None where the name is taken.

        Who adds one of the same name at the same time waits for the transaction to end: `within`, which the
        caller has opened, or a new one.
        """
        query = select(tables.studies.c.study_id).where(tables.studies.c.study_name == name)
        with self.database.write(within) as connection:
            # No plain read before the row is locked: MySQL would continue to read what was there before it.
            on_file = connection.dialect.name == "sqlite"
            is_new = on_file and connection.execute(query).first() is None
            put(connection, tables.studies, ("study_name",), [{"study_name": name}], replace=False)
            study_id = int(connection.execute(query.with_for_update()).scalar_one())
            if is_new:
                delete_rows(connection, study_id)  # orphans of a deleted study that had this id
            direction = tables.directions.c
            if connection.execute(select(direction.study_id).where(direction.study_id == study_id)).first():
                return None
            row = {"study_id": study_id, "objective": 0, "direction": metric.direction.name}
            connection.execute(insert(tables.directions).values(**row))
            named = {"key": METRIC_NAMES, "value_json": json.dumps([metric.title])}
            connection.execute(insert(tables.study_system_attributes).values(study_id=study_id, **named))
        return study_id


def _is_signed(connection: Connection, study_id: int) -> bool:
    table, attributes = tables.studies.c, tables.study_system_attributes.c
    query = select(table.study_id).where(table.study_id == attributes.study_id, table.study_id == study_id)
    return connection.execute(query.where(attributes.key == METRIC_NAMES)).first() is not None
