"""Where the images of a study came from, so that a machine that has not stored them reads them there again.

A set is found by its checksum in the cache, then at the recorded path, then at that of --data.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data.datasets.image_set import is_set_name
from search.errors import AbsentHere, ConfigError, TuneError, UsageError
from search.records import NetworkSpec, StudyRecord
from search.service.data import add_images
from search.tasks import TaskAbsent, task_named

if TYPE_CHECKING:
    from data.datasets.base import Dataset
    from data.datasets.image_set import ImageSet
    from data.datasets.source import Progress
    from data.ingest.add import Added
    from data.tasks.base import Task


def origin_of(source: Dataset) -> Mapping[str, object] | None:
    """What a study records of the images of its task: the path, and how they were read. None: of no set."""
    from data.datasets.image_set import ImageSet

    if not isinstance(source, ImageSet):
        return None
    channels, height, width = source.image_shape
    return {
        "path": source.facts.origin,
        "size": f"{height}x{width}",  # the found one: it gives the same images, and needs no other rule
        "channels": channels,
        "fit": source.fit,
        "skip_damaged": bool(source.facts.skipped),
    }


def bring_set(record: StudyRecord, data: Path, progress: Progress | None, *, skip_damaged: bool) -> ImageSet:
    """Stores the set of images of a study on this machine, from the path that the user names.

    Raises UsageError for a study of no images, ConfigError for other images than the study's.
    """
    spec = record.spec
    if not isinstance(spec, NetworkSpec) or not is_set_name(spec.task):
        raise UsageError(
            f"--data is for studies of sets of images, and {record.name} is of none: leave it out."
        )
    read = _read_as(spec.origin)
    added = add_images(data, **{**read, "skip_damaged": skip_damaged}, progress=progress)
    if wrong := _other_images(record.name, spec, data, added):
        raise ConfigError(wrong)
    return added.image_set


def find_set(record: StudyRecord, progress: Progress | None) -> ImageSet | None:
    """Stores the set of images of a study that this machine lacks, if its images lie at the path that the
    study recorded. None: it is of no images, they are stored here, or nothing lies there.

    Raises AbsentHere where what lies there is something else.
    """
    from data.datasets.image_set import get_set
    from data.registry import SetAbsent

    spec = record.spec
    if not isinstance(spec, NetworkSpec) or not is_set_name(spec.task) or spec.origin is None:
        return None
    try:
        get_set(spec.task)
    except SetAbsent:
        path = Path(str(spec.origin.get("path")))
    else:
        return None
    try:
        if not path.is_absolute() or not path.exists():
            return None
        added = add_images(path, **_read_as(spec.origin), progress=progress)
    except TuneError as error:
        raise AbsentHere(
            f"The study {record.name} was made with the images at {path}, which cannot be read here: {error}"
        ) from error
    if wrong := _other_images(record.name, spec, path, added):
        raise AbsentHere(f"{wrong} Say with --data where the right ones lie.")
    return added.image_set


def require_task(spec: NetworkSpec) -> Task:
    """The task of a study. Raises AbsentHere where this machine lacks it, of a set of images with the path
    that the study recorded."""
    try:
        return task_named(spec.task)
    except TaskAbsent as error:
        path = None if spec.origin is None else spec.origin.get("path")
        if not is_set_name(spec.task) or not isinstance(path, str):
            raise
        empty = "" if os.path.exists(path) else ", where nothing lies here"  # noqa: PTH110  # it never raises
        raise AbsentHere(
            f"{error} The study was made with those at {path}{empty}; `tune worker` and `tune run` take "
            "another path with --data."
        ) from error


def _read_as(origin: Mapping[str, object] | None) -> dict[str, Any]:
    """How the images were read, as arguments of add_images; what cannot be used of it is left out."""
    origin = origin or {}
    allowed = {"size": str, "channels": int, "fit": str, "skip_damaged": bool}
    found = {name: origin[name] for name, kind in allowed.items() if isinstance(origin.get(name), kind)}
    if found.get("fit") not in ("pad", "crop", "stretch"):
        found.pop("fit", None)
    return found


def _other_images(study: str, spec: NetworkSpec, path: Path, added: Added) -> str | None:
    """The sentence that says that these are not the images of the study, if they are not."""
    checksum = added.image_set.checksum
    if checksum == spec.checksums.get("content"):
        return None
    return (
        f"The images at {path} are not those of the study {study}: their checksum begins with "
        f"{checksum[:12]}, that of {spec.task} is another."
    )
