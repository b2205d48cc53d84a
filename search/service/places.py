"""Says where the parts of a study lie: database, best weights, resume checkpoints, exports."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

from search.store.location import ARTIFACTS_VARIABLE, locate
from search.study.reading import open_reading
from search.worker.best_weights import LARGEST_BYTES, place_for_new_weights

NAMED = 3
"""Exports that are named at most, the newest first."""


def _folder(storage_url: str) -> str:
    named = f" ({ARTIFACTS_VARIABLE})" if os.environ.get(ARTIFACTS_VARIABLE) else ""
    return f"{locate(storage_url).artifacts}{named}"


def _database(storage_url: str) -> str:
    location = locate(storage_url)
    return location.name if location.database is None else str(location.database)


def _best_weights(storage_url: str) -> str:
    folder = _folder(storage_url)
    if place_for_new_weights(locate(storage_url)) == "folder":
        return f"in {folder}"
    return (
        f"in the database, up to {LARGEST_BYTES / 2**20:.0f} MB for each trial; larger ones in {folder} on "
        "the machine that trained them"
    )


def _resume_checkpoints(storage_url: str) -> str:
    return f"in {_folder(storage_url)}; a trial that was cut short is continued from them"


def _exports(storage_url: str) -> str:
    with open_reading(storage_url) as storage:
        every = [each for study in storage.store.studies() for each in storage.store.exports(study.study_id)]
    if not every:
        return "none yet; `tune export STUDY --out FOLDER` makes one where it is told"
    every.sort(key=lambda export: export.moment, reverse=True)
    named = ", ".join(str(Path(each.folder)) for each in every[:NAMED])
    return f"{len(every)} recorded, the newest in {named}" + (" …" if len(every) > NAMED else "")


WHERE: Mapping[str, Callable[[str], str]] = {
    "database": _database,
    "best weights": _best_weights,
    "resume checkpoints": _resume_checkpoints,
    "exports": _exports,
}
"""By what lies there, the function that says where, given the storage URL. Each may raise TuneError."""
