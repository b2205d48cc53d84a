"""Deletes a study: Optuna's side, ours, and its files.
Knows nothing of who is asked before.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from search.errors import TryAgain, UsageError
from search.records import Counts, StudyRecord
from search.service.confirmed import confirmations
from search.service.look import find, refuse_foreign
from search.store.deletion import delete_study
from search.study.storage import open_storage

PATIENCE_S = 20.0
"""How long a deletion is tried again while workers write to the same rows."""

if TYPE_CHECKING:  # takes a while to import; commands that only look do without it
    from search.study.storage import Storage
    from search.study.study import Study


@dataclass(frozen=True, kw_only=True, slots=True)
class Losses:
    """What goes with a study."""

    record: StudyRecord
    counts: Counts
    looks: int
    """at the test set, which nobody will know of any more"""
    exports: int
    """that will not be found in the database any more; their folders stay"""
    weights: int
    """of trials, kept in the database"""
    weights_megabytes: float
    folder: Path
    """of its resume checkpoints, and of best weights that are not in the database"""
    files: int
    megabytes: float


def delete(storage_url: str, name: str, *, force: bool, agree: Callable[[Losses], bool]) -> bool:
    """Deletes the study if `agree` does, once it was told what will be lost; whether it did.

    Raises UsageError where there is no such study or another one confirms it, ConfigError where tune did not
    make it, TryAgain where workers have trials of it in hand; `force` does it all the same.
    """
    refuse_foreign(storage_url, name)
    with open_storage(storage_url, create=False, patience_s=PATIENCE_S) as storage:
        study, record = find(storage, name)
        if not force:
            _refuse_in_use(storage, record)
        losses = _losses(storage, study, record)
        if not agree(losses):
            return False
        if not force:
            _refuse_in_use(storage, record)  # whoever was asked may have taken his time
        delete_study(storage.trials.database, record.study_id)
        shutil.rmtree(losses.folder, ignore_errors=True)
    return True


def _refuse_in_use(storage: Storage, record: StudyRecord) -> None:
    if confirming := [each.name for each in confirmations(storage, record)]:
        raise UsageError(
            f"{record.name} is what {' and '.join(confirming)} confirms: delete that first, or say --force."
        )
    holders = sorted({claim.worker_id for claim in storage.store.open_claims(record.study_id)})
    if holders:
        some = ", ".join(holders[:3]) + (" …" if holders[3:] else "")
        raise TryAgain(
            f"{record.name} is being worked on, by {some}: stop the workers first. Where they are gone for "
            "good, --force deletes it all the same."
        )


def _losses(storage: Storage, study: Study, record: StudyRecord) -> Losses:
    from search.work.artifacts import Artifacts, artifact_root

    folder = Artifacts.of(artifact_root(storage.url), record).folder
    files = [path for path in folder.rglob("*") if path.is_file()]
    in_database = [each for each in storage.store.checkpoints(record.study_id) if each.in_database]
    return Losses(
        record=record,
        counts=study.counts(),
        looks=len(storage.store.looks([record.study_id])),
        exports=len(storage.store.exports(record.study_id)),
        weights=len(in_database),
        weights_megabytes=sum(each.bytes for each in in_database) / 1e6,
        folder=folder,
        files=len(files),
        megabytes=sum(path.stat().st_size for path in files) / 1e6,
    )
