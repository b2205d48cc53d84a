"""The ledger of test evaluations: those of deleted studies are kept, and all of one test set are counted."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from sqlalchemy import ColumnElement, Connection, func, insert, select

from search.records import TestEvaluations
from search.store import tables

_LOOKS, _HEADS, _STUDIES, _DELETED = tables.looks, tables.head_looks, tables.studies, tables.deleted_looks


def keep(connection: Connection, these: ColumnElement[bool], *, study: str | None = None) -> None:
    """Notes the looks that are about to be deleted. these: condition on tune_looks; study: its name."""
    looks = connection.execute(select(_LOOKS).where(these)).mappings().all()
    if not looks:
        return
    tasks = _tasks(connection)
    mine = _HEADS.c.trial_id.in_({look["trial_id"] for look in looks})
    accuracies = defaultdict(list)
    for row in connection.execute(select(_HEADS).where(mine)).mappings():
        if isinstance(row["accuracy"], int | float):  # another program may have changed it
            accuracies[row["trial_id"], row["moment"]].append(row["accuracy"])
    rows = []
    for look in looks:
        heads = accuracies[look["trial_id"], look["moment"]]
        rows.append(
            {
                **{name: look[name] for name in ("moment", "reason", "pictures", "joint")},
                "accuracy": sum(heads) / len(heads) if heads else None,
                "task": tasks.get(look["study_id"]),
                "study": study,
            }
        )
    connection.execute(insert(_DELETED), rows)


def count(connection: Connection, task: str) -> TestEvaluations:
    """How often the test set of a task was evaluated. One whose task is not known any more counts for all."""
    tasks = _tasks(connection)
    by_study = select(_LOOKS.c.study_id, func.count()).group_by(_LOOKS.c.study_id)
    kept = sum(
        int(looks) for study_id, looks in connection.execute(by_study) if tasks.get(study_id, task) == task
    )
    gone = select(func.count()).where((_DELETED.c.task == task) | _DELETED.c.task.is_(None))
    deleted = connection.execute(gone).scalar_one()
    return TestEvaluations(total=kept + deleted, of_deleted_studies=deleted)


def _tasks(connection: Connection) -> Mapping[int, str]:
    """The task of each study, where it can be read."""
    rows: Any = connection.execute(select(_STUDIES.c.study_id, _STUDIES.c.spec))
    return {
        study_id: str(spec["task"])[:64]
        for study_id, spec in rows
        if isinstance(spec, dict) and isinstance(spec.get("task"), str)
    }
