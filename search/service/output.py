"""Files that a person asked for by name: never written over unasked, never left half written.
Knows nothing of what is in them.
"""

from __future__ import annotations

from pathlib import Path

from search.errors import UsageError


def may_write(out: Path, *, force: bool) -> None:
    """Refuses, before any work is done, a file that exists (unless `force`) or that can have no place."""
    if out.is_dir():
        raise UsageError(f"--out {out} is a folder; name a file in it, such as {out / 'page.html'}.")
    if out.exists() and not force:
        raise UsageError(f"--out {out} exists; --force writes over it, or choose another name.")
    if not out.absolute().parent.is_dir():
        raise UsageError(f"--out {out} cannot be written: there is no folder {out.parent}.")


def write(out: Path, text: str, *, force: bool) -> int:
    """Writes the file, whole or not at all, and returns its bytes. Raises UsageError as `may_write`."""
    from data.atomic import write_atomically

    may_write(out, force=force)
    content = text.encode()
    try:
        write_atomically(out, content)
    except OSError as error:
        raise UsageError(f"--out {out} cannot be written: {error.strerror or error}.") from error
    return len(content)
