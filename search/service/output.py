"""Files that a person asked for by name: never written over unasked, never left half written."""

from __future__ import annotations

from pathlib import Path

from search.errors import UsageError
from search.files import write_whole


def may_write(out: Path, *, force: bool) -> None:
    """Refuses, before any work is done, a file that exists (unless `force`) or that can have no place."""
    try:
        if out.is_dir():
            raise UsageError(f"--out {out} is a folder; name a file in it, such as {out / 'page.html'}.")
        there = out.exists() or out.is_symlink()
        if there and not out.is_file():  # to replace a device such as /dev/null would harm the whole machine
            raise UsageError(f"--out {out} exists and is not a regular file; choose another name.")
        if there and not force:
            raise UsageError(f"--out {out} exists; --force writes over it, or choose another name.")
        if not out.absolute().parent.is_dir():
            raise UsageError(f"--out {out} cannot be written: there is no folder {out.parent}.")
    except OSError as error:
        raise UsageError(f"--out {out} cannot be written: {error.strerror or error}.") from error


def write(out: Path, text: str, *, force: bool) -> int:
    """Writes the file, whole or not at all, and returns its bytes. Raises UsageError as `may_write`."""
    may_write(out, force=force)
    content = text.encode()
    try:
        write_whole(out.resolve(), content)  # behind a link, not in its place
    except OSError as error:
        raise UsageError(f"--out {out} cannot be written: {error.strerror or error}.") from error
    return len(content)
