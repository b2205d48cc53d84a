"""Rows of tune's tables as records, and the other way round.
Knows nothing of queries.
"""

from __future__ import annotations

import datetime
from typing import Any

from sqlalchemy import RowMapping

from search.confirmation import Look
from search.records import (
    CheckpointRecord,
    Claim,
    ExportRecord,
    HeadScore,
    Point,
    Scores,
    StudyRecord,
    StudySpec,
    Worker,
)
from search.store import tables


def utc(moment: datetime.datetime) -> datetime.datetime:
    """A stored moment with its zone."""
    return moment.replace(tzinfo=datetime.UTC)


def stored(moment: datetime.datetime) -> datetime.datetime:
    """A moment as the databases keep it: in UTC, without its zone."""
    return moment.astimezone(datetime.UTC).replace(tzinfo=None)


def spec_to_json(spec: StudySpec) -> dict[str, Any]:
    """A study's spec as the JSON column keeps it."""
    confirms = {} if spec.confirms is None else {"confirms": spec.confirms}
    widen = {} if spec.widen == 1 else {"widen": spec.widen}
    return {
        "task": spec.task,
        "space": dict(spec.space),
        "epochs": spec.epochs,
        "epoch_images": spec.epoch_images,
        "validation_pictures": spec.validation_pictures,
        "seed": spec.seed,
        "sampler": spec.sampler,
        "pruner": spec.pruner,
        "references": list(spec.references),
        "checksums": dict(spec.checksums),
        "halvings": spec.halvings,
        **confirms,
        **widen,
    }


def study_of(row: RowMapping) -> StudyRecord:
    """A row of tune_studies; the name is Optuna's to give."""
    spec = dict(row["spec"])
    spec["references"] = tuple(spec["references"])
    return StudyRecord(
        study_id=row["study_id"],
        name="",
        spec=StudySpec(**spec),
        target_trials=row["target_trials"],
        created=utc(row["created"]),
    )


def claim_of(row: RowMapping) -> Claim:
    """A row of tune_claims."""
    fields = {column.name: row[column.name] for column in tables.claims.columns}
    return Claim(**{**fields, "expires": utc(row["expires"])})


def point_of(rows: list[RowMapping]) -> Point:
    """One point from its rows, one for each head."""

    def scores(split: str) -> Scores:
        heads = {
            row["head"]: HeadScore(loss=row[f"{split}_loss"], accuracy=row[f"{split}_accuracy"])
            for row in rows
        }
        return Scores(heads=heads, joint=rows[0][f"{split}_joint"])

    first = rows[0]
    return Point(
        images=first[tables.points.c.images],
        seconds=first["seconds"],
        learning_rate=first["learning_rate"],
        train=scores("train"),
        validation=scores("validation"),
    )


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
    """A row of tune_workers."""
    environment = dict(row["environment"])
    folder = environment.pop(_ARTIFACTS, None)
    return Worker(
        worker_id=row["worker_id"],
        host=row["host"],
        pid=row["pid"],
        device=row["device"],
        threads=row["threads"],
        environment=environment,
        artifacts=folder if isinstance(folder, str) else None,
    )


def checkpoint_of(row: RowMapping) -> CheckpointRecord:
    """A row of tune_checkpoints."""
    return CheckpointRecord(
        trial_id=row["trial_id"],
        path=row["path"],
        sha256=row["sha256"],
        score=row["score"],
        images=row["images"],
        bytes=row["bytes"],
    )


def look_to_rows(look: Look) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """A row of tune_looks and the rows of tune_head_looks that go with it."""
    key = {"trial_id": look.trial_id, "moment": stored(look.moment)}
    rest = {"study_id": look.study_id, "reason": look.reason, "pictures": look.pictures, "joint": look.joint}
    heads = [
        {**key, "head": head, "position": position, "accuracy": accuracy}
        for position, (head, accuracy) in enumerate(look.heads.items())
    ]
    return {**key, **rest}, heads


def look_of(rows: list[RowMapping]) -> Look:
    """One look from its rows, one for each head."""
    first = rows[0]
    return Look(
        study_id=first["study_id"],
        trial_id=first[tables.looks.c.trial_id],
        moment=utc(first[tables.looks.c.moment]),
        reason=first["reason"],
        pictures=first["pictures"],
        heads={row["head"]: row["accuracy"] for row in rows},
        joint=first["joint"],
    )


def export_of(row: RowMapping) -> ExportRecord:
    """A row of tune_exports."""
    return ExportRecord(
        study_id=row["study_id"],
        trial_id=row["trial_id"],
        moment=utc(row["moment"]),
        folder=row["folder"],
        manifest_sha256=row["manifest_sha256"],
    )
