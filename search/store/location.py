"""Resolves a storage URL to its database and to the folder in which the files of its studies lie."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from sqlalchemy import URL

from search.errors import ConfigError
from search.store.url import masked, parse_url

ARTIFACTS_VARIABLE = "TUNE_ARTIFACTS"
SUFFIX = ".artifacts"
"""Of the artifact folder of an SQLite file, in place of that of the file."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Location:
    """Where a storage is. All paths are absolute: they mean the same in every process of this machine."""

    url: URL = field(repr=False)
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
        return find_file(relative, self.roots)


def locate(text: str) -> Location:
    """Resolves the storage URL that a user gave.

    The file is the one that SQLAlchemy opens: it takes the path as it is written, but decodes `%41`, and ends
    it at the first question mark. A relative path counts from the current folder, now and not later.

    Raises ConfigError for a URL that is not valid.
    """
    url = parse_url(text)
    chosen = os.environ.get(ARTIFACTS_VARIABLE)
    folder = Path(chosen).absolute() if chosen else None
    if url.get_backend_name() != "sqlite":
        return Location(url=url, database=None, artifacts=folder or Path(f"tune{SUFFIX}").absolute())
    database = _sqlite_file(url.database or "")
    return Location(
        url=url.set(database=str(database)),
        database=database,
        artifacts=folder or _beside(database),
        earlier=() if folder else _earlier(text, url.database or "", database),
    )


def find_file(relative: str, roots: Iterable[Path]) -> Path:
    """The file of this path below the first of these folders that has it; else the one below the first."""
    paths = [root / relative for root in roots]
    for path in paths:
        with contextlib.suppress(OSError):  # a folder above it may not be entered
            if path.is_file():
                return path
    return paths[0]


def _sqlite_file(typed: str) -> Path:
    try:
        typed.encode()
        database = Path(os.path.realpath(typed))
        str(database).encode()
    except ValueError as error:  # not UTF-8, or with a zero byte
        raise ConfigError(
            "The path of the storage is not valid UTF-8 text: rename the file or its folder, or name another."
        ) from error
    return database


def _beside(database: Path) -> Path:
    """The artifact folder of an SQLite file."""
    if not database.name:  # the root folder, which is refused when it is opened
        return database / f"tune{SUFFIX}"
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
