"""One trial as rows of Optuna's tables: begun, queued, changed. The caller's transaction holds them together.

They are the rows that Optuna writes, one by one, so that its readers and optuna-dashboard see no difference
(tests/contracts/test_optuna_tables.py).
"""

from __future__ import annotations

import datetime
import json
from typing import Any

from sqlalchemy import Connection, delete, insert, select, update

from search.optuna_db import optuna_tables as tables
from search.optuna_db.optuna_tables import stored
from search.optuna_db.trial_facts import Change
from search.store.upsert import put


def lock_study(connection: Connection, study_id: int) -> None:
    """Until this transaction ends, no other process gets the number of a next trial. Raises KeyError where
    there is no such study.

    A locking read alone: under MySQL's REPEATABLE READ the first other one fixes what the transaction sees.
    """
    study = select(tables.studies.c.study_id).where(tables.studies.c.study_id == study_id)
    if connection.execute(study.with_for_update()).first() is None:
        raise KeyError(f"there is no study {study_id}")


def next_number(connection: Connection, study_id: int) -> int:
    """Of the study's next trial; no other process gets one before this transaction ends."""
    lock_study(connection, study_id)
    trials = tables.trials.c
    last = select(trials.number).where(trials.study_id == study_id)
    number = connection.execute(last.order_by(trials.trial_id.desc()).limit(1)).scalar()
    return 0 if number is None else number + 1


def start_trial(connection: Connection, trial_id: int) -> bool:
    """Whether the trial waited, and now runs."""
    mine = (tables.trials.c.trial_id == trial_id) & (tables.trials.c.state == "WAITING")
    values = {"state": "RUNNING", "datetime_start": utc_now()}
    return connection.execute(update(tables.trials).where(mine).values(**values)).rowcount == 1


def insert_trial(connection: Connection, study_id: int, number: int, **columns: Any) -> int:
    """A new trial's id."""
    row = {"study_id": study_id, "number": number, **columns}
    key = connection.execute(insert(tables.trials).values(**row)).inserted_primary_key
    assert key is not None
    trial_id = int(key[0])
    if connection.dialect.name == "sqlite":  # orphans of a deleted trial that had this id
        for table in tables.OF_TRIALS:
            connection.execute(delete(table).where(table.c.trial_id == trial_id))
    return trial_id


def write_change(connection: Connection, trial_id: int, change: Change) -> None:
    """All of a change but the state."""
    params = [
        {"trial_id": trial_id, "param_name": name, "param_value": number, "distribution_json": kind}
        for name, (number, kind) in change.params.items()
    ]
    put(connection, tables.params, ("trial_id", "param_name"), params, replace=False)
    for table, attributes in (
        (tables.user_attributes, change.user),
        (tables.system_attributes, change.system),
    ):
        rows = [
            {"trial_id": trial_id, "key": key, "value_json": json.dumps(value)}
            for key, value in attributes.items()
        ]
        put(connection, table, ("trial_id", "key"), rows)
    steps = [
        {"trial_id": trial_id, "step": step, "intermediate_value": number, "intermediate_value_type": kind}
        for step, (number, kind) in ((step, stored(value)) for step, value in change.steps.items())
    ]
    put(connection, tables.steps, ("trial_id", "step"), steps)
    if change.value is not None:
        objectives = enumerate((change.value, *change.further))
        values = [
            {"trial_id": trial_id, "objective": objective, "value": number, "value_type": kind}
            for objective, (number, kind) in ((each, stored(value)) for each, value in objectives)
        ]
        put(connection, tables.values, ("trial_id", "objective"), values)


def utc_now() -> datetime.datetime:
    """UTC by this machine's clock, without a zone, as Optuna has it."""
    return datetime.datetime.now(datetime.UTC).replace(tzinfo=None)
