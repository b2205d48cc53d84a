"""Deletes orphans: rows of tune's tables whose study or trial Optuna's tables no longer have.

Other programs delete a study in Optuna's tables only. Orphans must be deleted before a study is created, for
SQLite reuses the highest ids that were deleted: the new study would have the target, the claims and the
curves of the old one.
"""

from __future__ import annotations

from sqlalchemy import Connection, Table, delete, select

from search.optuna_db import optuna_tables
from search.store import sql_ledger, tables
from search.store.database import Database


def orphaned_studies(database: Database) -> list[int]:
    """Ids of the studies whose rows `delete_orphaned_rows` would delete."""

    def read() -> list[int]:
        with database.read() as connection:
            return _gone(connection)

    return database.retry(read)


def delete_orphaned_rows(database: Database) -> list[int]:
    """Deletes all orphans or none; returns the ids of the studies that were gone.

    A study that is being created is safe: Optuna's row exists before any row of tune's.
    """
    return database.retry(lambda: _delete_orphaned_rows(database))


def _delete_orphaned_rows(database: Database) -> list[int]:
    with database.read() as connection:
        if not _gone(connection):
            return []
    with database.write() as connection:
        gone = _gone(connection)
        trials = select(optuna_tables.trials.c.trial_id)
        studies = select(optuna_tables.studies.c.study_id)
        # Claims go first: from then on no worker can add weights to these trials (Store.add_checkpoint).
        sql_ledger.keep(connection, tables.test_evaluations.c.study_id.not_in(studies))
        for table in tables.OF_STUDIES:
            connection.execute(delete(table).where(table.c.study_id.not_in(studies)))
        of_trials: tuple[Table, ...] = tables.OF_TRIALS
        if connection.dialect.name == "sqlite":
            # SQLite checks no foreign keys: a worker may have written rows while Optuna deleted its study.
            for table in optuna_tables.OF_STUDIES:
                connection.execute(delete(table).where(table.c.study_id.not_in(studies)))
            of_trials += optuna_tables.OF_TRIALS
        for table in of_trials:
            connection.execute(delete(table).where(table.c.trial_id.not_in(trials)))
    return gone


def free_slots(database: Database, study_id: int) -> int:
    """Frees the slots of a study whose trials are gone or no longer finished; returns how many.

    A trial is finished before its slot is marked as filled: only another program can have changed it since.
    """
    trials, claims = optuna_tables.trials.c, tables.claims
    finished = select(trials.trial_id).where(
        trials.study_id == study_id, trials.state.in_(["COMPLETE", "PRUNED"])
    )
    in_vain = (claims.c.study_id == study_id) & claims.c.done.is_(True) & claims.c.trial_id.not_in(finished)

    def free() -> int:
        with database.read() as connection:
            if connection.execute(select(claims.c.claim_id).where(in_vain).limit(1)).first() is None:
                return 0
        with database.write() as connection:
            return connection.execute(delete(claims).where(in_vain)).rowcount

    return database.retry(free)


def _gone(connection: Connection) -> list[int]:
    known = select(optuna_tables.studies.c.study_id)
    found = select(tables.studies.c.study_id).where(tables.studies.c.study_id.not_in(known))
    return list(connection.scalars(found.order_by(tables.studies.c.study_id)))
