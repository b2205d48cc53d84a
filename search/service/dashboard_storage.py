"""What optuna-dashboard is shown beside what is stored: notes, figures, files. Nothing of it is ever written.

The dashboard keeps notes, figures and the list of files among the system attributes of a study, figures in
pieces of 2,045 letters, and reads those of all studies at each of its looks. Here they are made when the
dashboard asks and live as long as its process: no other reader of the database meets them, a study at work
is never written to, and a note that a person has written is in the database and goes before ours.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from optuna.artifacts import FileSystemArtifactStore
from optuna.artifacts.exceptions import ArtifactNotFound
from optuna.storages import RDBStorage

from search.errors import TuneError
from search.optuna_db.deletion import delete_study
from search.optuna_db.unnamed import study_id_of
from search.store.database import Database
from search.store.engine import prepare, translated
from search.store.location import locate

_OURS = "dashboard:"
"""What begins so is the dashboard's; nothing else is added."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ShownFile:
    """A file that can be downloaded at a trial."""

    trial_id: int
    sha256: str
    """its name for the dashboard, and how to know that it is whole"""
    name: str
    """as it is saved"""
    open: Callable[[], BinaryIO]
    """Opens it for reading, once it is known to be whole. Raises TuneError where it is not, or is gone;
    OSError where it cannot be read."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Shown:
    """What is shown of one study."""

    note: str
    """Markdown"""
    trial_notes: Mapping[int, str]
    """Markdown by trial id"""
    figures: Mapping[str, str]
    """plotly's JSON by name, which is a valid HTML id"""
    files: tuple[ShownFile, ...]


Show = Callable[[int], Shown | None]
"""From a study's id to what is shown of it; None for a study that is not tune's."""


class _Attributes(Mapping[str, Any]):
    """A study's system attributes and what is shown beside them, which is made when it is asked for."""

    def __init__(self, stored: Mapping[str, Any], show: Callable[[], Shown | None]) -> None:
        self._stored = stored
        self._show = show
        self._all: dict[str, Any] | None = None

    def _complete(self) -> dict[str, Any]:
        if self._all is None:
            shown = self._show()
            self._all = {**({} if shown is None else _added(shown, self._stored)), **self._stored}
        return self._all

    def __getitem__(self, key: str) -> Any:
        return self._complete()[key] if key.startswith(_OURS) else self._stored[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._complete())

    def __len__(self) -> int:
        return len(self._complete())


def _added(shown: Shown, stored: Mapping[str, Any]) -> dict[str, Any]:
    """In the dashboard's own form; of a note that a person has saved, however empty, nothing."""
    added: dict[str, Any] = {}
    for prefix, note in [(_OURS, shown.note)] + [
        (f"{_OURS}{trial_id}:", note) for trial_id, note in shown.trial_notes.items()
    ]:
        if f"{prefix}note_ver" not in stored:
            added |= {f"{prefix}note_ver": 0, f"{prefix}note_str:0": note}
    for name, figure in shown.figures.items():
        added[f"{_OURS}plot_data:{name}:0"] = figure
    for file in shown.files:
        added[f"{_OURS}artifacts:{file.trial_id}:{file.sha256}"] = json.dumps(
            {
                "artifact_id": file.sha256,
                "filename": file.name,
                "mimetype": "application/octet-stream",
                "encoding": None,
            }
        )
    return added


class ShowingStorage(RDBStorage):
    """Optuna's storage as the dashboard reads it, with what is shown beside it."""

    def __init__(self, url: str, show: Show, database: Database, *, engine_kwargs: dict[str, Any]) -> None:
        # Its tables were looked at when `database` was opened.
        super().__init__(url, engine_kwargs=engine_kwargs, skip_compatibility_check=True)
        self._show = show
        self._database = database

    def delete_study(self, study_id: int) -> None:
        """With tune's side of it. Optuna's own way leaves a study that is worked on, and says nothing."""
        if not delete_study(self._database, study_id):
            raise KeyError(f"there is no study {study_id}")

    def get_all_studies(self) -> list[Any]:
        """With lazy system attributes: a list of studies asks for none of what is shown."""
        studies = super().get_all_studies()
        for study in studies:
            lazy = _Attributes(study.system_attrs, self._later(study_id_of(study)))
            study.system_attrs = lazy  # type: ignore[assignment]  # it is asked for a mapping's things only
        return studies

    def get_study_system_attrs(self, study_id: int) -> dict[str, Any]:
        return _Attributes(super().get_study_system_attrs(study_id), self._later(study_id))._complete()

    def _later(self, study_id: int) -> Callable[[], Shown | None]:
        return lambda: self._show(study_id)


def open_undisturbing(text: str, show: Show, database: Database, *, threads: int) -> ShowingStorage:
    """Optuna's storage for a program that looks far more often than it writes, such as optuna-dashboard.

    Without tune's rule that every transaction claims the right to write at once: readers with that rule
    would stand in the workers' way. The database must exist. show: what it is shown beside what is stored.
    database: the same one, opened before: an SQLite file that is moved or replaced is noticed by both.
    threads: how many use it at once.
    """
    location = locate(text)
    pool = {"pool_size": 1, "max_overflow": 2 * threads - 1}  # Optuna may open a second one inside a first
    with translated(location.url):
        storage = ShowingStorage(
            location.text,
            show,
            database,
            engine_kwargs={**database.engine_arguments(retries=False), **pool},
        )
    if storage.engine.dialect.name != "sqlite":
        prepare(storage.engine)
    database.watch(storage.engine)
    return storage


class ShownFiles:
    """The dashboard's store of files: tune's own to be read, those that people add in their own folder."""

    def __init__(self, find: Callable[[str], ShownFile | None], uploads: Path) -> None:
        """find: from a SHA-256 to the file; None where there is none of tune's."""
        self._find = find
        self._folder = uploads
        self._uploads = FileSystemArtifactStore(uploads)

    def open_reader(self, artifact_id: str) -> BinaryIO:
        """Raises ArtifactNotFound for a file that is gone, damaged or cannot be read."""
        file = self._find(artifact_id)
        if file is None:
            return self._uploads.open_reader(artifact_id)
        try:
            return file.open()
        except (TuneError, OSError) as error:
            raise ArtifactNotFound(str(error)) from error

    def write(self, artifact_id: str, content_body: BinaryIO) -> None:
        """Keeps what a person adds."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self._uploads.write(artifact_id, content_body)

    def remove(self, artifact_id: str) -> None:
        """Removes what a person added. Weights stay: the next run deletes those of lost studies."""
        if self._find(artifact_id) is None:
            self._uploads.remove(artifact_id)
