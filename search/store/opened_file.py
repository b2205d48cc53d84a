"""Watches whether the path of an SQLite storage still names the file that was opened.

A connection that is open stays with its file when that is moved, and each new connection opens what has the
path by then, or makes an empty file there: two files would get a part of the writes each. SQLite itself
notices only the first case, at a write, and calls it a read-only database.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import Connection, Engine, event

from search.errors import ConfigError

FileId = tuple[int, int]
"""Device and inode."""


class OpenedFile:
    """The file of one storage in this process. All its engines share one."""

    def __init__(self, path: Path, file_id: FileId | None = None) -> None:
        """path: absolute. file_id: of the file that another process has opened; None: the first connection
        decides."""
        self.path = path
        self.file_id = file_id

    def check(self) -> None:
        """Raises ConfigError where the path names no file any more, or another one than was opened."""
        try:
            current = self._current()
        except OSError:  # a disk or a network that fails is for SQLite to report
            return
        if self.file_id is not None and current != self.file_id:
            raise moved(self.path, replaced=current is not None)

    def connect(self, dialect: Any, where: Sequence[Any], options: Mapping[str, Any]) -> Any:
        """A new connection of the driver. Once a file is known it makes none, whenever that is moved."""
        self.check()
        if self.file_id is None or options.get("uri"):
            return dialect.connect(*where, **options)
        existing = f"file:{quote(str(self.path))}?mode=rw"
        try:
            return dialect.connect(existing, *where[1:], **options, uri=True)
        except dialect.loaded_dbapi.Error:
            self.check()
            raise

    def watch(self, engine: Engine) -> None:
        """From now on no connection of this engine is made, and no transaction begun, in another file."""

        @event.listens_for(engine, "do_connect")
        def _connect(dialect: Any, _record: object, where: list[Any], options: dict[str, Any]) -> Any:
            return self.connect(dialect, where, options)

        @event.listens_for(engine, "connect", insert=True)  # before anything is done with the connection
        def _connected(connection: Any, _record: object) -> None:
            if self.file_id is None:
                self.file_id = self._current()
            try:
                self.check()
            except ConfigError:
                connection.close()
                raise

        @event.listens_for(engine, "begin", insert=True)
        def _begin(_connection: Connection) -> None:
            self.check()

        engine.dispose()  # connections made before were not looked at

    def _current(self) -> FileId | None:
        try:
            found = self.path.stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        return found.st_dev, found.st_ino


def moved(path: Path, *, replaced: bool) -> ConfigError:
    """For a storage whose file was taken away while it was in use."""
    what = "was moved or deleted while this command used it."
    if replaced:
        what = "was replaced by another file while this command used it; nothing was written to that one."
    return ConfigError(
        f"The storage {path} {what} Move the file back and give the same command again, or name its new "
        "place with --storage."
    )
