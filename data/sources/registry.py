"""Chooses the source by what lies at a path: a new layout is a module and one line here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from data.sources import idx, image_folder, labels_csv, npz
from data.sources.base import Found, SetInvalid
from data.sources.labels_csv import TABLE


class Source(NamedTuple):
    """One layout of images and labels."""

    holds: Callable[[Path], bool]
    """Whether this is what lies at the path."""
    read: Callable[[Path], Found]
    """Raises SetInvalid."""


SOURCES: dict[str, Source] = {
    ".npz": Source(lambda path: path.is_file() and path.suffix.lower() == ".npz", npz.read),
    "labels.csv": Source(lambda path: (path / TABLE).is_file(), labels_csv.read),
    "IDX": Source(lambda path: path.is_dir() and bool(idx.names(path)), idx.read),
    "ImageFolder": Source(lambda path: path.is_dir(), image_folder.read),
}
"""The first that holds is taken."""


def find(path: Path) -> Found:
    """What lies at the path. Raises SetInvalid."""
    try:
        if not path.exists():
            raise SetInvalid(path, ["There is nothing at this path: check its spelling."])
        if path.name == TABLE and path.is_file():
            path = path.parent
        for source in SOURCES.values():
            if source.holds(path):
                return source.read(path)
    except OSError as error:
        raise SetInvalid(path, [f"It cannot be read: {error.strerror or error}."]) from error
    raise SetInvalid(
        path, [f"It is neither a folder nor an .npz file: name the folder that holds the images, or {TABLE}."]
    )
