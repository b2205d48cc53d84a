"""Deletes a study: Optuna's side, ours, and its files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from search.errors import TryAgain, UsageError
from search.optuna_db.deletion import delete_study
from search.optuna_db.storage import open_storage
from search.records import Counts, StudyRecord
from search.service.look import find, own_record
from search.service.read_ablation import ablations
from search.service.read_confirmation import confirmations
from search.worker.removal import Remaining, StudyFiles, delete_orphans, files_of

RETRY_S = 20.0
"""How long a deletion is tried again while workers write to the same rows."""

if TYPE_CHECKING:  # takes a while to import; commands that only look do without it
    from search.optuna_db.storage import Storage
    from search.study.study import Study


@dataclass(frozen=True, kw_only=True, slots=True)
class Losses:
    """What goes with a study."""

    record: StudyRecord
    counts: Counts
    test_evaluations: int
    """test evaluations; only their number stays on record"""
    exports: int
    """that will not be found in the database any more; their folders stay"""
    weights: int
    """of trials, kept in the database"""
    weights_megabytes: float
    folders: tuple[Path, ...]
    """on this machine, of its resume checkpoints and of best weights that are not in the database"""
    files: int
    megabytes: float


def delete(
    storage_url: str, name: str, *, force: bool, agree: Callable[[Losses], bool]
) -> list[Remaining] | None:
    """Deletes the study if `agree` does, once it was told what will be lost.

    Returns the files that could not be deleted from here; None where nothing was deleted.

    Raises UsageError where there is no such study or another one retrains its trials, ConfigError where tune
    did not make it, TryAgain where workers hold trials of it; `force` does it all the same.
    """
    own_record(storage_url, name)
    with open_storage(storage_url, create=False, retry_s=RETRY_S) as storage:
        study, record = find(storage, name)
        if not force:
            _refuse_in_use(storage, record)
        files = files_of(storage.store, record, storage.location)
        if not agree(_losses(storage, study, record, files)):
            return None
        if not force:
            _refuse_in_use(storage, record)  # the answer to the question may have taken long
        # Files first: if this process is killed in between, the same command finds the rest by the rows.
        left = files_of(storage.store, record, storage.location).delete()  # workers may have joined meanwhile
        if not delete_study(storage.trials.database, record.study_id, created=record.created):
            raise TryAgain(f"{name} was deleted or made again meanwhile; no more was deleted now.")
        return left


def delete_what_others_left(storage: Storage, tell: Callable[[str], None]) -> None:
    """Deletes rows and files of studies that were deleted with Optuna's means, which know none of tune's."""
    if left := delete_orphans(storage):
        tell(f"Files of deleted studies remain:\n{remaining_in_words(left)}")


def remaining_in_words(left: Sequence[Remaining]) -> str:
    """A line for each folder: host, path and why it remains."""
    width = max(len(each.host) for each in left)
    return "\n".join(f"  {each.host:<{width}}  {each.folder}  ({each.why})" for each in left)


def _refuse_in_use(storage: Storage, record: StudyRecord) -> None:
    for verb, based_on_it in (
        ("confirms", confirmations(storage, record)),
        ("ablates", ablations(storage, record)),
    ):
        if names := [each.name for each in based_on_it]:
            raise UsageError(
                f"{record.name} is what {' and '.join(names)} {verb}: delete that first, or say --force."
            )
    holders = sorted({claim.worker_id for claim in storage.store.open_claims(record.study_id)})
    if holders:
        some = ", ".join(holders[:3]) + (" …" if holders[3:] else "")
        raise TryAgain(
            f"{record.name} is being worked on, by {some}: stop the workers first. Where they are gone for "
            "good, --force deletes it all the same."
        )


def _losses(storage: Storage, study: Study, record: StudyRecord, files: StudyFiles) -> Losses:
    sizes = files.sizes()
    in_database = [each for each in storage.store.checkpoints(record.study_id) if each.in_database]
    return Losses(
        record=record,
        counts=study.counts(),
        test_evaluations=len(storage.store.test_evaluations([record.study_id]))
        + len(storage.store.test_attempts([record.study_id])),
        exports=len(storage.store.exports(record.study_id)),
        weights=len(in_database),
        weights_megabytes=sum(each.bytes for each in in_database) / 1e6,
        folders=files.folders,
        files=len(sizes),
        megabytes=sum(sizes) / 1e6,
    )
