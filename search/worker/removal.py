"""Deletes the files of studies, and names those that cannot be deleted from here."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import socket
import time
from dataclasses import dataclass
from pathlib import Path

from search.errors import ConfigError, TuneError
from search.optuna_db.orphans import delete_orphaned_rows, orphaned_studies
from search.optuna_db.storage import Storage
from search.records import StudyRecord, Worker
from search.store.base import Store
from search.store.location import ARTIFACTS_VARIABLE, SUFFIX, Location
from search.study.reading import Reading
from search.worker.artifacts import Artifacts, folder_pattern

TRIES = 5
"""A worker that does not know yet that its study is deleted may write while its folder is emptied."""

PAUSE_S = 0.1
"""Between two tries."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Remaining:
    """Files of a deleted study that are, or may be, still there."""

    host: str
    folder: str
    why: str
    """the end of a sentence"""
    failed: bool = False
    """whether they were to be deleted here, and could not"""


@dataclass(frozen=True, kw_only=True, slots=True)
class StudyFiles:
    """The files of one study, in every folder that its workers have noted."""

    location: Location
    folders: tuple[Path, ...]
    """on this machine: to be deleted"""
    elsewhere: tuple[Remaining, ...]
    """out of reach"""

    def sizes(self) -> list[int]:
        """Bytes of each file in `folders`. Workers may write and remove files meanwhile."""
        found = []
        for folder in self.folders:
            for parent, _, names in os.walk(folder):
                for name in names:
                    with contextlib.suppress(OSError):  # it is gone already
                        found.append(Path(parent, name).lstat().st_size)
        return found

    def delete(self) -> list[Remaining]:
        """Deletes the folders; returns what remains anywhere."""
        left = []
        for folder in self.folders:
            why = delete_folder(folder)
            if why is not None:
                left.append(Remaining(host=socket.gethostname(), folder=str(folder), why=why, failed=True))
            elif folder.parent in self.location.earlier and self.location.database is not None:
                _remove_empty(folder.parent, within=self.location.database)
        return [*left, *self.elsewhere]


def files_of(store: Store, record: StudyRecord, location: Location) -> StudyFiles:
    """Where the files of a study are. The store must still have its rows.

    Folders of this machine are to be deleted, and those that a worker of another machine noted if they are
    reached from here under the same path. An SQLite file may be a copy of one that is still in use: of its
    studies only the files in the folders of this very file are to be deleted, others are named.
    """
    found = _Found(store, record, location)
    for worker in store.workers(record.study_id).values():
        found.add(worker)
    return StudyFiles(
        location=location, folders=tuple(found.folders), elsewhere=tuple(dict.fromkeys(found.elsewhere))
    )


class _Found:
    """What is known of a study's folders while its workers are gone through."""

    def __init__(self, store: Store, record: StudyRecord, location: Location) -> None:
        self._here = socket.gethostname()
        self._location = location
        self._pattern = folder_pattern(record)
        self._name = Artifacts.of(Path(), record).folder.name if record.name else self._pattern
        self._roots = {os.path.realpath(root) for root in location.roots}
        workers = store.workers(record.study_id).values()
        self._noted_here = {worker.artifacts for worker in workers if worker.host == self._here}
        trained_by = {claim.trial_id: claim.worker_id for claim in store.claims(record.study_id)}
        self._kept: dict[str | None, list[str]] = {}
        """paths of the files of weights that each worker kept, below an artifact folder"""
        files = [each for each in store.checkpoints(record.study_id) if not each.in_database]
        for checkpoint in files:
            self._kept.setdefault(trained_by.get(checkpoint.trial_id), []).append(checkpoint.path)
        self.elsewhere: list[Remaining] = []
        self.folders = [folder for root in location.roots for folder in self._in(root)]

    def add(self, worker: Worker) -> None:
        """Takes in where this worker has written."""
        if worker.artifacts is None:
            kept = self._kept.get(worker.worker_id, [])
            if not all(os.path.lexists(self._location.find(path)) for path in kept):
                self._name_it(worker, "an unknown folder", "a previous version of tune did not note which")
            return
        root = Path(worker.artifacts)
        known = os.path.realpath(root) in self._roots
        there = self._in(root)
        if self._location.database is not None:
            if not known and (there or worker.host != self._here):
                self._name_it(worker, root / self._name, "not the artifact folder of this database")
        elif self._reached(worker, root, there):
            self.folders += [folder for folder in there if folder not in self.folders]
        else:
            self._name_it(worker, root / self._name, "out of reach; it may be gone already")

    def _in(self, root: Path) -> list[Path]:
        try:
            return [path for path in root.iterdir() if path.match(self._pattern)]
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            why = error.strerror or str(error)
            folder = str(root / self._name)
            self.elsewhere.append(Remaining(host=self._here, folder=folder, why=why, failed=True))
            return []

    def _reached(self, worker: Worker, root: Path, there: list[Path]) -> bool:
        """Whether the folder that the worker noted is the one of that path on this machine."""
        if worker.host == self._here:
            return True
        kept = self._kept.get(worker.worker_id, [])
        # A folder that no process of this machine made is shared between the machines.
        made_here = worker.artifacts in self._noted_here
        return bool(there) and (not made_here or any(os.path.lexists(root / path) for path in kept))

    def _name_it(self, worker: Worker, folder: Path | str, why: str) -> None:
        self.elsewhere.append(Remaining(host=worker.host, folder=str(folder), why=why))


def delete_folder(folder: Path) -> str | None:
    """Deletes a study's folder, and the artifact folder if that is empty now.

    Returns why it could not be deleted; None where it is gone.
    """
    for tried in range(1, TRIES + 1):
        try:
            shutil.rmtree(folder)
            break
        except OSError as error:
            if not os.path.lexists(folder):
                break
            if error.errno not in (errno.ENOTEMPTY, errno.ENOENT) or tried == TRIES:
                return error.strerror or str(error)
            time.sleep(PAUSE_S)
    root = folder.parent
    chosen = os.environ.get(ARTIFACTS_VARIABLE)
    if root.name.endswith(SUFFIX) and not (chosen and Path(chosen).absolute() == root):
        with contextlib.suppress(OSError):  # it has other things in it
            root.rmdir()
    return None


def delete_orphans(storage: Storage) -> list[Remaining]:
    """Deletes rows and files of the studies that only Optuna's side has lost; returns what remains of them.

    Files first: a process that is killed in between leaves the rows, by which the next one finds the files.
    """
    left = []
    for study_id in orphaned_studies(storage.trials.database):
        try:
            record = storage.store.study(study_id)
            files = None if record is None else files_of(storage.store, record, storage.location)
            left += [] if files is None else files.delete()
        except ConfigError:  # a damaged row does not tell where its files are
            continue
    delete_orphaned_rows(storage.trials.database)
    return left


def delete_if_orphaned(storage: Storage | Reading, record: StudyRecord, root: Path) -> bool:
    """Deletes what was written below `root` since the study was deleted; whether it was.

    For those that have written. Does nothing while the study is there, or the storage does not answer.
    """
    try:
        current = storage.store.study(record.study_id) if storage.trials.exists(record.study_id) else None
        deleted = current is None or current.created != record.created  # SQLite gives a number again
        if deleted:
            delete_folder(Artifacts.of(root, record).folder)
        return deleted
    except TuneError:
        return False


def _remove_empty(root: Path, *, within: Path) -> None:
    """Removes the empty folders that a previous version of tune made for `root`, beside that of `within`."""
    try:
        for parent in root.parents:
            if parent in within.parents:
                return
            parent.rmdir()
    except OSError:  # it is not empty, and neither are those above it
        return
