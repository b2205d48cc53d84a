"""Rows of tune's whose study or trial Optuna no longer has: whoever deletes there knows nothing of ours.
Knows nothing of files.

They must go before anything new is made, for SQLite gives the numbers of what was deleted last to what comes
next: a new study would find the target, the claims and the curves of an old one.
"""

from __future__ import annotations

from sqlalchemy import Connection, delete, select

from search.store import optuna_tables, tables
from search.store.database import Database

OF_STUDIES = (
    tables.claims,
    tables.offers,
    tables.workers,
    tables.precisions,
    tables.checkpoints,
    tables.looks,
    tables.exports,
    tables.studies,
)
OF_TRIALS = (tables.points, tables.head_points, tables.head_looks, tables.weights)
_NAMING_A_TRIAL = (*OF_TRIALS, tables.checkpoints, tables.looks, tables.exports)


def sweep(database: Database) -> list[int]:
    """Removes them, all or none; returns the numbers of the studies that were gone.

    A study that is just being made is safe: Optuna's row is there before any of tune's.
    """
    return database.patiently(lambda: _sweep(database))


def _sweep(database: Database) -> list[int]:
    with database.read() as connection:
        if not _gone(connection):
            return []
    with database.write() as connection:
        gone = _gone(connection)
        trials = select(optuna_tables.trials.c.trial_id)
        studies = select(optuna_tables.studies.c.study_id)
        # Claims go first: from then on nobody can add weights to these trials (Store.add_checkpoint).
        for table in OF_STUDIES:
            connection.execute(delete(table).where(table.c.study_id.not_in(studies)))
        for table in OF_TRIALS:
            connection.execute(delete(table).where(table.c.trial_id.not_in(trials)))
    return gone


def forget(connection: Connection, trial_id: int) -> None:
    """Removes what is there of an earlier trial with the number of one that has only just begun."""
    if connection.dialect.name != "sqlite":  # servers give no number twice
        return
    for table in _NAMING_A_TRIAL:
        connection.execute(delete(table).where(table.c.trial_id == trial_id))


def _gone(connection: Connection) -> list[int]:
    known = select(optuna_tables.studies.c.study_id)
    found = select(tables.studies.c.study_id).where(tables.studies.c.study_id.not_in(known))
    return list(connection.scalars(found.order_by(tables.studies.c.study_id)))
