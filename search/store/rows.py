"""Rows of tune's tables as records, and the other way round."""

from __future__ import annotations

import datetime
import math
import operator
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import MISSING, asdict, fields
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar

from sqlalchemy import RowMapping

from search.records import (
    ACCURACY_SCORE,
    SCORES,
    CheckpointRecord,
    Claim,
    DeclaredSpec,
    Direction,
    ExportRecord,
    Metric,
    NetworkSpec,
    SpaceChange,
    StudyRecord,
    StudySpec,
    TestAttempt,
    TestEvaluation,
    Worker,
)
from search.store import tables


def utc(moment: datetime.datetime) -> datetime.datetime:
    """A stored moment with its zone."""
    return moment.replace(tzinfo=datetime.UTC)


def stored(moment: datetime.datetime) -> datetime.datetime:
    """A moment as the databases keep it: in UTC, without its zone."""
    return moment.astimezone(datetime.UTC).replace(tzinfo=None)


_SAID_IF_OTHER = (
    "confirms",
    "ablates",
    "baseline",
    "folds",
    "evaluate_every",
    "widen",
    "compositions",
    "precision",
    "norm_images",
    "score",
    "space_changes",
    "origin",
)
"""Parts of a network study's spec that are written only where they differ from their default: a study made
before they were thought of reads the same."""


def spec_to_json(spec: StudySpec) -> dict[str, Any]:
    """A study's spec as the JSON column keeps it."""
    written = {**asdict(spec), "references": list(spec.references)}
    if isinstance(spec, DeclaredSpec):
        unsaid = [name for name in ("ablates", "baseline", "space_changes") if written[name] in (None, ())]
        told = {name: value for name, value in written.items() if name not in unsaid}
        return _with_changes(told, spec)
    default = {each.name: each.default for each in fields(spec)}
    told = {
        name: value for name, value in written.items() if name not in _SAID_IF_OTHER or value != default[name]
    }
    return _with_changes(told, spec)


def _with_changes(told: dict[str, Any], spec: StudySpec) -> dict[str, Any]:
    """The changes of the space as JSON can hold them."""
    if not spec.space_changes:
        return told
    changes = [
        {
            "space": dict(each.space),
            "moment": each.moment.astimezone(datetime.UTC).isoformat(),
            "set_aside": list(each.set_aside),
        }
        for each in spec.space_changes
    ]
    return {**told, "space_changes": changes}


def _space_changes(written: object) -> tuple[SpaceChange, ...]:
    """Raises Unusable."""
    try:
        if not isinstance(written, list):
            raise TypeError("it is not a list")
        changes = tuple(
            SpaceChange(
                space=dict(each["space"]),
                moment=datetime.datetime.fromisoformat(each["moment"]).astimezone(datetime.UTC),
                set_aside=tuple(map(operator.index, each["set_aside"])),
            )
            for each in written
        )
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise Unusable("its spec has invalid space_changes") from error
    return changes


def _metric_of(written: object) -> Metric:
    if not isinstance(written, dict) or not isinstance(written.get("name"), str):
        raise Unusable("its spec has an invalid metric")
    try:
        return Metric(**{**written, "direction": Direction(str(written.get("direction")))})
    except (TypeError, ValueError) as error:
        raise Unusable("its spec has an invalid metric") from error


class Unusable(ValueError):
    """A row that another program wrote or edited. The message says what is wrong with it."""


Row = TypeVar("Row")
Record = TypeVar("Record")


def usable(make: Callable[[Row], Record], rows: Iterable[Row]) -> Iterator[Record]:
    """The records of these rows; rows that cannot be used are left out."""
    for row in rows:
        try:
            record = make(row)
        except Unusable:
            continue
        yield record


def study_of(row: RowMapping) -> StudyRecord:
    """A row of tune_studies; the name is Optuna's to give. Raises Unusable."""
    spec, target = row["spec"], row["target_trials"]
    if not isinstance(spec, dict):
        raise Unusable("its spec cannot be read")
    kind = DeclaredSpec if "objective" in spec else NetworkSpec
    known = {each.name: each for each in fields(kind)}
    required = {n for n, each in known.items() if each.default is MISSING and each.default_factory is MISSING}
    if kind is NetworkSpec:
        required.add("references")
    if lacking := sorted(required - spec.keys()):
        raise Unusable(f"its spec lacks {', '.join(lacking)}")
    if foreign := sorted(spec.keys() - known.keys()):
        raise Unusable(f"its spec has {', '.join(map(repr, foreign))}, which this version does not know")
    wrong = [name for name, form in _SPEC_TYPES.items() if name in spec and not _is(spec[name], form)]
    wrong += [name for name, low in _SPEC_LOWEST.items() if name not in wrong and spec.get(name, low) < low]
    wrong += ["score"] if spec.get("score", ACCURACY_SCORE) not in SCORES else []
    if wrong:
        raise Unusable(f"its spec has invalid {', '.join(wrong)}")
    told = {**spec, "references": tuple(spec["references"])}
    if "space_changes" in spec:
        told["space_changes"] = _space_changes(spec["space_changes"])
    if kind is DeclaredSpec:
        told["metric"] = _metric_of(spec["metric"])
    if not _is(target, int) or not target >= 0 or row["created"] is None:
        raise Unusable("its target or the moment of its creation cannot be read")
    return StudyRecord(
        study_id=row["study_id"],
        name="",
        spec=kind(**told),
        target_trials=target,
        created=utc(row["created"]),
    )


_SPEC_TYPES: Mapping[str, type | UnionType] = {
    "task": str,
    "space": dict,
    "epochs": int | float,
    "epoch_images": int,
    "validation_pictures": int,
    "seed": int,
    "sampler": str,
    "pruner": str,
    "references": list,
    "checksums": dict,
    "halvings": int,
    "evaluate_every": int,
    "confirms": str | None,
    "ablates": str | None,
    "baseline": int | None,
    "folds": int,
    "widen": int | float,
    "norm_images": int,
    "compositions": int,
    "objective": str,
    "unit": str,
    "budget": int,
    "options": dict,
    "score": str,
    "origin": dict | None,
}

_SPEC_LOWEST = {
    "epochs": 1e-6,
    "epoch_images": 1,
    "validation_pictures": 1,
    "halvings": 0,
    "evaluate_every": 1,
    "widen": 1,
    "norm_images": 0,
    "compositions": 0,
    "baseline": 0,
    "folds": 0,
    "budget": 1,
}


def _is(value: object, kind: type | UnionType) -> bool:
    """Whether the value is of that type; a number must be finite, and true and false are no numbers."""
    if isinstance(value, bool) or (isinstance(value, float) and not math.isfinite(value)):
        return False
    return isinstance(value, kind)


def claim_of(row: RowMapping) -> Claim:
    """A row of tune_claims."""
    columns = {column.name: row[column.name] for column in tables.claims.columns}
    return Claim(**{**columns, "expires": utc(row["expires"] or datetime.datetime.min)})


_ARTIFACTS = "artifacts"
"""Key of a worker's artifact folder in the column of its environment, which needs no new column so."""


def worker_to_row(study_id: int, worker: Worker) -> dict[str, Any]:
    """A worker as a row of tune_workers, but for when it joined."""
    folder = {} if worker.artifacts is None else {_ARTIFACTS: worker.artifacts}
    return {
        "study_id": study_id,
        "worker_id": worker.worker_id,
        "host": worker.host,
        "pid": worker.pid,
        "device": worker.device,
        "threads": worker.threads,
        "environment": {**worker.environment, **folder},
    }


def worker_of(row: RowMapping) -> Worker:
    """A row of tune_workers. Raises Unusable."""
    environment = row["environment"]
    if not (_is(row["pid"], int) and _is(row["threads"], int) and row["threads"] > 0):
        raise Unusable("its process or its threads are not numbers")
    if not (_is(row["host"], str) and _is(row["device"], str) and isinstance(environment, dict)):
        raise Unusable("its host, its device or its environment cannot be read")
    folder = environment.get(_ARTIFACTS)
    return Worker(
        worker_id=row["worker_id"],
        host=row["host"],
        pid=row["pid"],
        device=row["device"],
        threads=row["threads"],
        environment={
            name: value for name, value in environment.items() if name != _ARTIFACTS and _is(value, str | int)
        },
        artifacts=folder if isinstance(folder, str) else None,
    )


def checkpoint_of(row: RowMapping) -> CheckpointRecord:
    """A row of tune_checkpoints, with the column of sql_weights.in_database. Raises Unusable."""
    path = row["path"]
    if not _is(path, str) or not path or Path(path).is_absolute() or ".." in Path(path).parts:
        raise Unusable("its path is not inside the artifact folder")
    if not (_is(row["sha256"], str) and _is(row["score"], int | float) and math.isfinite(row["score"])):
        raise Unusable("its SHA-256 or its score cannot be read")
    if not (_is(row["images"], int) and _is(row["bytes"], int)):
        raise Unusable("its step or its bytes are not numbers")
    return CheckpointRecord(
        trial_id=row["trial_id"],
        path=row["path"],
        sha256=row["sha256"],
        score=row["score"],
        step=row["images"],
        bytes=row["bytes"],
        in_database=bool(row["in_database"]),
    )


def test_evaluation_to_rows(evaluation: TestEvaluation) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """A row of tune_looks and the rows of tune_head_looks that go with it."""
    key = {"trial_id": evaluation.trial_id, "moment": stored(evaluation.moment)}
    rest = {
        "study_id": evaluation.study_id,
        "reason": evaluation.reason,
        "pictures": evaluation.pictures,
        "joint": evaluation.joint,
    }
    # The score has a row, too, named as a metric; older versions of tune have a table of heads alone.
    values = {**evaluation.heads, **{f"{OF_TEST}{name}": value for name, value in evaluation.scores.items()}}
    heads = [
        {**key, "head": head, "position": position, "accuracy": accuracy}
        for position, (head, accuracy) in enumerate(values.items())
    ]
    return {**key, **rest}, heads


OF_TEST = "test/"
"""Begins the name of a score in tune_head_looks, where heads have their accuracies: `test/macro_f1`."""


def is_test_score(name: object) -> bool:
    """Whether a row of tune_head_looks with this name is of the score, and of no head."""
    return isinstance(name, str) and name.startswith(OF_TEST) and name.removeprefix(OF_TEST) in SCORES


def test_evaluation_of(rows: list[RowMapping]) -> TestEvaluation:
    """A test evaluation from its rows, one for each head. Raises Unusable."""
    first = rows[0]
    named = {row["head"]: row["accuracy"] for row in rows if first["pictures"] and is_test_score(row["head"])}
    rows = [row for row in rows if row["head"] not in named]
    shares = [first["joint"], *(row["accuracy"] for row in rows)]
    if not rows or not all(_is(score, int | float) for score in named.values()):
        raise Unusable("its score is invalid")
    if not all(_is(share, int | float) for share in shares):
        raise Unusable("one of its accuracies is invalid")
    if (
        first[tables.test_evaluations.c.moment] is None
        or not _is(first["pictures"], int)
        or first["pictures"] < 0
    ):
        raise Unusable("its time or its number of images cannot be read")
    if first["pictures"] and not all(0 <= share <= 1 for share in shares):
        raise Unusable("one of its accuracies is invalid")
    return TestEvaluation(
        study_id=first["study_id"],
        trial_id=first[tables.test_evaluations.c.trial_id],
        moment=utc(first[tables.test_evaluations.c.moment]),
        reason=first["reason"],
        pictures=first["pictures"],
        heads={row["head"]: row["accuracy"] for row in rows},
        joint=first["joint"],
        scores={name.removeprefix(OF_TEST): score for name, score in named.items()},
    )


REASON_CHARACTERS = 500
"""That tune_looks has room for."""


def test_attempt_to_row(attempt: TestAttempt) -> dict[str, Any]:
    """A row of tune_looks, with which no row of tune_head_looks goes. Why it failed is the reason's second
    line."""
    lines = attempt.reason if attempt.failure is None else f"{attempt.reason}\n{attempt.failure}"
    return {
        "trial_id": attempt.trial_id,
        "moment": stored(attempt.moment),
        "study_id": attempt.study_id,
        "reason": lines[:REASON_CHARACTERS],
        "pictures": 0,
        "joint": 0.0,
    }


def test_attempt_of(row: RowMapping) -> TestAttempt:
    """Raises Unusable."""
    if row["moment"] is None or not _is(row["reason"], str):
        raise Unusable("its time or its reason cannot be read")
    reason, _, failure = row["reason"].partition("\n")
    return TestAttempt(
        study_id=row["study_id"],
        trial_id=row["trial_id"],
        moment=utc(row["moment"]),
        reason=reason,
        failure=failure or None,
    )


def export_of(row: RowMapping) -> ExportRecord:
    """A row of tune_exports. Raises Unusable."""
    if row["moment"] is None:
        raise Unusable("its moment cannot be read")
    return ExportRecord(
        study_id=row["study_id"],
        trial_id=row["trial_id"],
        moment=utc(row["moment"]),
        folder=row["folder"],
        manifest_sha256=row["manifest_sha256"],
    )
