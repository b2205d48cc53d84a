"""Resolves a storage URL to its database and to the folder in which the files of its studies lie."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from sqlalchemy import URL, make_url

from search.errors import ConfigError
from search.store.engine import masked, parse_url, shown

ARTIFACTS_VARIABLE = "TUNE_ARTIFACTS"
SUFFIX = ".artifacts"
"""Of the artifact folder of an SQLite file, in place of that of the file."""

_DRIVER_OPTIONS = {"timeout", "isolation_level", "detect_types", "check_same_thread", "cached_statements"}
"""What SQLAlchemy passes on from the query of an SQLite URL. It drops everything else."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Location:
    """Where a storage is. All paths are absolute: they mean the same in every process of this machine."""

    url: URL
    """with its password; the path of an SQLite file has no symbolic links"""
    database: Path | None
    """the SQLite file; None for a server"""
    artifacts: Path
    """new files of the studies are written below this folder"""
    earlier: tuple[Path, ...] = ()
    """folders in which previous versions of tune may have put them"""

    @property
    def text(self) -> str:
        """The URL with its password: never print it."""
        return self.url.render_as_string(hide_password=False)

    @property
    def name(self) -> str:
        """The URL without its password."""
        return masked(self.url)

    @property
    def roots(self) -> tuple[Path, ...]:
        """Every folder in which files of the studies may lie, the one for new files first."""
        return (self.artifacts, *self.earlier)

    def find(self, relative: str) -> Path:
        """The file that the database names by its path below an artifact folder; it need not exist."""
        for root in self.roots:
            with contextlib.suppress(OSError):  # a folder above it may not be entered
                if (root / relative).is_file():
                    return root / relative
        return self.artifacts / relative


def locate(text: str) -> Location:
    """Resolves the storage URL that a user gave.

    The file is the one that SQLAlchemy opens: it takes the path as it is written, but decodes `%41`, and ends
    it at the first question mark. A relative path counts from the current folder, now and not later.

    Raises ConfigError for a URL that is not valid, and for one whose query SQLAlchemy would ignore.
    """
    url = parse_url(text)
    try:
        chosen = os.environ.get(ARTIFACTS_VARIABLE)
        folder = Path(chosen).absolute() if chosen else None
        if url.get_backend_name() != "sqlite":
            return Location(url=url, database=None, artifacts=folder or Path(f"tune{SUFFIX}").absolute())
        database = _sqlite_file(url, text)
        return Location(
            url=url.set(database=str(database)),
            database=database,
            artifacts=folder or _beside(database),
            earlier=() if folder else _earlier(text, url.database or "", database),
        )
    except FileNotFoundError as error:  # what a path is relative to
        raise ConfigError("The current folder no longer exists: change to another one first.") from error


def _sqlite_file(url: URL, text: str) -> Path:
    typed = url.database or ""
    query = set(make_url(text, keep_blank_values=True).query)
    if unknown := sorted(query - _DRIVER_OPTIONS):
        raise ConfigError(
            f"The storage {masked(url)} ends with ?{unknown[0]}, which means nothing to SQLite here. A "
            "question mark that belongs to the name of the file is written %3F."
        )
    try:
        typed.encode()
        database = Path(os.path.realpath(typed))
        str(database).encode()
    except ValueError as error:  # not UTF-8, or with a zero byte
        raise ConfigError(
            "The path of the storage is not valid UTF-8 text: rename the file or its folder, or name another."
        ) from error
    with contextlib.suppress(OSError):  # what may not be looked at is refused when it is opened
        if database.is_dir():
            raise ConfigError(
                f"The storage {shown(str(database))} cannot be opened: it is a folder. Name a file in it, "
                "such as sqlite:///…/studies.db."
            )
    return database


def _beside(database: Path) -> Path:
    """The artifact folder of an SQLite file."""
    folder = database.with_suffix(SUFFIX)
    return folder if folder != database else database.with_name(database.name + SUFFIX)


def _earlier(text: str, typed: str, database: Path) -> tuple[Path, ...]:
    """The other folders that previous versions of tune may have used for this file.

    They wrote weights beside the percent-encoded form of the path that the user typed (`j%C3%BCrgen` for
    `jürgen`; SQLAlchemy spells a URL so), and read them beside the path as it was typed. Neither decoded it
    nor followed symbolic links. A relative path was encoded without the folders above it, hence every way to
    encode the last parts of a path. Weights that were kept then must be found now.
    """
    paths = [typed, str(database)]
    if "///" in text:
        paths.append(text.partition("///")[2].partition("?")[0])
    found: dict[Path, None] = {}
    for path in paths:
        parts = Path(path).absolute().parts
        for first in range(1, len(parts) + 1):
            encoded = Path(*parts[:first], *(quote(part, safe=" +") for part in parts[first:]))
            if encoded.name:
                found[Path(os.path.realpath(encoded.with_suffix(SUFFIX)))] = None
    found.pop(Path(os.path.realpath(_beside(database))), None)
    return tuple(found)
