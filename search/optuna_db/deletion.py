"""Deletes a study from Optuna's tables and from tune's in one transaction.

Optuna's own `delete_study` reads every row first and deletes what it has seen. Where a worker adds one
meanwhile, the foreign key stops it on a server, and Optuna takes that for success: the study is still there.
In an SQLite file, which checks no foreign keys, such rows stay behind as orphans.
"""

from __future__ import annotations

import datetime

from sqlalchemy import Connection, delete, select

from search.optuna_db import optuna_tables
from search.store import sql_ledger, tables
from search.store.database import Database
from search.store.rows import utc

DEADLOCK_S = 5.0
"""For how long a deletion is tried again. Workers write weights before they lock their claim, a deletion
deletes claims before weights: where both happen at once, MySQL ends one of the two transactions."""


def delete_study(database: Database, study_id: int, *, created: datetime.datetime | None = None) -> bool:
    """Deletes the study with all its trials, all of it or nothing; False where there is none.

    created: when the study was made that is meant; False too where another one has its id by now. A worker at
    one of its trials finds that trial gone, or its claim, at its next write.
    """
    begun = False

    def work() -> bool:
        nonlocal begun
        with database.write() as connection:
            name = _lock(connection, study_id, created)
            if name is None:
                return begun  # a try before this one was committed as its connection was cut
            begun = True
            delete_rows(connection, study_id, name=name)
            connection.execute(
                delete(optuna_tables.studies).where(optuna_tables.studies.c.study_id == study_id)
            )
        return True

    return database.retry(work, at_least_s=DEADLOCK_S)


def _lock(connection: Connection, study_id: int, created: datetime.datetime | None) -> str | None:
    """Locks the rows of a study so that none can be added under them; returns its name, None if it is gone.

    They are locked in the order in which workers lock them.
    """
    trials, studies = optuna_tables.trials.c, optuna_tables.studies.c
    locked = select(studies.study_name).where(studies.study_id == study_id).with_for_update()
    row = connection.execute(locked).first()
    if row is None:
        return None
    connection.execute(select(trials.trial_id).where(trials.study_id == study_id).with_for_update()).all()
    ours = select(tables.studies.c.created).where(tables.studies.c.study_id == study_id)
    found = connection.execute(ours.with_for_update()).scalar()
    if created is not None and (found is None or utc(found) != created):
        return None
    return str(row.study_name)


def delete_rows(connection: Connection, study_id: int, *, name: str | None = None) -> None:
    """Deletes whatever belongs to a study of this id, on both sides; only Optuna's row of the study stays.

    Its test evaluations stay on record, under its name.
    """
    sql_ledger.keep(connection, tables.test_evaluations.c.study_id == study_id, study=name)
    trials = optuna_tables.trials.c
    ids = select(trials.trial_id).where(trials.study_id == study_id)
    for table in tables.OF_STUDIES:
        connection.execute(delete(table).where(table.c.study_id == study_id))
    for table in (*tables.OF_TRIALS, *optuna_tables.OF_TRIALS):
        connection.execute(delete(table).where(table.c.trial_id.in_(ids)))
    for table in optuna_tables.OF_STUDIES:
        connection.execute(delete(table).where(table.c.study_id == study_id))
