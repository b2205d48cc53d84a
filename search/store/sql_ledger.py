"""The ledger of test evaluations: those of deleted studies are kept, and all of one test set are counted."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from sqlalchemy import ColumnElement, Connection, RowMapping, exists, func, insert, select

from search.records import TestEvaluationCounts
from search.records.spec import data_of_test
from search.store import tables
from search.store.rows import is_test_score

_EVALUATIONS, _HEADS, _STUDIES, _DELETED = (
    tables.test_evaluations,
    tables.head_test_evaluations,
    tables.studies,
    tables.deleted_test_evaluations,
)

WITHOUT_RESULT = ~exists().where(
    _HEADS.c.trial_id == _EVALUATIONS.c.trial_id, _HEADS.c.moment == _EVALUATIONS.c.moment
)
"""Of rows of tune_looks: what a network or a test function answered has a row for each head or metric."""


def keep(connection: Connection, these: ColumnElement[bool], *, study: str | None = None) -> None:
    """Keeps a record of the test evaluations that are about to be deleted.

    these: condition on tune_looks. study: its name.
    """
    test_evaluations = connection.execute(select(_EVALUATIONS).where(these)).mappings().all()
    if not test_evaluations:
        return
    test_sets = _test_sets(connection)
    mine = _HEADS.c.trial_id.in_({evaluation["trial_id"] for evaluation in test_evaluations})
    accuracies = defaultdict(list)
    with_result = set()
    for row in connection.execute(select(_HEADS).where(mine)).mappings():
        with_result.add((row["trial_id"], row["moment"]))
        if is_test_score(row["head"]):
            continue
        if isinstance(row["accuracy"], int | float):  # another program may have changed it
            accuracies[row["trial_id"], row["moment"]].append(row["accuracy"])
    rows = []
    for evaluation in test_evaluations:
        key = evaluation["trial_id"], evaluation["moment"]
        result = {"joint": evaluation["joint"], "accuracy": _value(evaluation, accuracies[key])}
        rows.append(
            {
                **{name: evaluation[name] for name in ("moment", "reason", "pictures")},
                **(result if key in with_result else dict.fromkeys(result)),
                "task": test_sets.get(evaluation["study_id"]),
                "study": study,
            }
        )
    connection.execute(insert(_DELETED), rows)


def _value(evaluation: RowMapping, heads: list[float]) -> float | None:
    if evaluation["pictures"] == 0:  # of training code: it has no heads
        return evaluation["joint"] if isinstance(evaluation["joint"], int | float) else None
    return sum(heads) / len(heads) if heads else None


def count(connection: Connection, test_set: str) -> TestEvaluationCounts:
    """How often a test set was evaluated. One whose test set is not known any more counts for all."""
    test_sets = _test_sets(connection)
    by_study = select(_EVALUATIONS.c.study_id, func.count()).group_by(_EVALUATIONS.c.study_id)

    def kept(query: Any) -> int:
        return sum(
            int(test_evaluations)
            for study_id, test_evaluations in connection.execute(query)
            if test_sets.get(study_id, test_set) == test_set
        )

    gone = select(func.count()).where((_DELETED.c.task == test_set) | _DELETED.c.task.is_(None))
    deleted = connection.execute(gone).scalar_one()
    without = connection.execute(gone.where(_DELETED.c.joint.is_(None))).scalar_one()
    return TestEvaluationCounts(
        total=kept(by_study) + deleted,
        of_deleted_studies=deleted,
        without_result=kept(by_study.where(WITHOUT_RESULT)) + without,
    )


def _test_sets(connection: Connection) -> Mapping[int, str]:
    """The test set of each study, where it can be read: a task, or the data of a test function."""
    rows: Any = connection.execute(select(_STUDIES.c.study_id, _STUDIES.c.spec))
    found = {}
    for study_id, spec in rows:
        if not isinstance(spec, dict):
            continue
        if isinstance(spec.get("task"), str):
            found[study_id] = spec["task"][:64]
        elif isinstance(spec.get("options"), dict):
            found[study_id] = data_of_test(spec["options"])
    return found
