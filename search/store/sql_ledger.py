"""The ledger of test evaluations: those of deleted studies are kept, and all of one test set are counted."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from sqlalchemy import ColumnElement, Connection, func, insert, select

from search.records import TestEvaluationCounts
from search.store import tables

_EVALUATIONS, _HEADS, _STUDIES, _DELETED = (
    tables.test_evaluations,
    tables.head_test_evaluations,
    tables.studies,
    tables.deleted_test_evaluations,
)


def keep(connection: Connection, these: ColumnElement[bool], *, study: str | None = None) -> None:
    """Keeps a record of the test evaluations that are about to be deleted.

    these: condition on tune_looks. study: its name.
    """
    test_evaluations = connection.execute(select(_EVALUATIONS).where(these)).mappings().all()
    if not test_evaluations:
        return
    tasks = _tasks(connection)
    mine = _HEADS.c.trial_id.in_({evaluation["trial_id"] for evaluation in test_evaluations})
    accuracies = defaultdict(list)
    for row in connection.execute(select(_HEADS).where(mine)).mappings():
        if isinstance(row["accuracy"], int | float):  # another program may have changed it
            accuracies[row["trial_id"], row["moment"]].append(row["accuracy"])
    rows = []
    for evaluation in test_evaluations:
        heads = accuracies[evaluation["trial_id"], evaluation["moment"]]
        rows.append(
            {
                **{name: evaluation[name] for name in ("moment", "reason", "pictures", "joint")},
                "accuracy": sum(heads) / len(heads) if heads else None,
                "task": tasks.get(evaluation["study_id"]),
                "study": study,
            }
        )
    connection.execute(insert(_DELETED), rows)


def count(connection: Connection, task: str) -> TestEvaluationCounts:
    """How often the test set of a task was evaluated. One whose task is not known any more counts for all."""
    tasks = _tasks(connection)
    by_study = select(_EVALUATIONS.c.study_id, func.count()).group_by(_EVALUATIONS.c.study_id)
    kept = sum(
        int(test_evaluations)
        for study_id, test_evaluations in connection.execute(by_study)
        if tasks.get(study_id, task) == task
    )
    gone = select(func.count()).where((_DELETED.c.task == task) | _DELETED.c.task.is_(None))
    deleted = connection.execute(gone).scalar_one()
    return TestEvaluationCounts(total=kept + deleted, of_deleted_studies=deleted)


def _tasks(connection: Connection) -> Mapping[int, str]:
    """The task of each study, where it can be read."""
    rows: Any = connection.execute(select(_STUDIES.c.study_id, _STUDIES.c.spec))
    return {
        study_id: str(spec["task"])[:64]
        for study_id, spec in rows
        if isinstance(spec, dict) and isinstance(spec.get("task"), str)
    }
