"""Writes a file whole or not at all, also when the process or the machine dies meanwhile."""

import glob
import os
from pathlib import Path


def write_atomically(path: Path, content: bytes) -> None:
    """Replace `path` by `content`: a reader sees the old file or the new one, never a part.

    Raises:
        OSError: the disk refused (full, read-only …); `path` is then as it was before.
    """
    # Not tempfile: it makes files that only their owner may read, and a cache can serve a team.
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    # Without this the new name itself can be lost in a power cut.
    descriptor = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def leftovers(path: Path) -> list[Path]:
    """What writers of `path` that were killed left beside it."""
    found = path.parent.glob(f".{glob.escape(path.name)}.*.tmp")
    return [file for file in found if file.is_file() and not file.is_symlink()]
