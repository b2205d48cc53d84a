"""Puts a folder in its place whole or not at all, also where another one stands there."""

from __future__ import annotations

import ctypes
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from search.files import sync

_AT_FDCWD, _RENAME_EXCHANGE = -100, 2
"""Of Linux's fcntl.h: paths are relative to the current folder; both names change hands at once."""


@contextmanager
def whole_folder(out: Path, *, replace: bool) -> Iterator[Path]:
    """Gives an empty folder beside `out` to be filled; when the block ends well, it becomes `out`.

    When it ends badly, `out` is as it was, and nothing is left beside it. Raises OSError where the disk
    refuses, as it does where `out` is there (as anything but an empty folder) and shall not be replaced.
    """
    out = out.absolute()  # "." has no name to stand beside
    aside = out.with_name(f".{out.name}.{uuid.uuid4().hex}.tmp")
    aside.mkdir()
    try:
        yield aside
        for path in (*aside.rglob("*"), aside):
            sync(path)
        if replace and out.exists():
            _exchange(aside, out)
        else:
            aside.rename(out)
        sync(out.parent)
    finally:
        shutil.rmtree(aside, ignore_errors=True)  # what was begun, or what was replaced


def _exchange(one: Path, other: Path) -> None:
    """Swaps two folders: in one step where the system can, else in two with a moment between them."""
    try:
        done = ctypes.CDLL(None).renameat2(
            _AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE
        )
    except (AttributeError, OSError, TypeError):  # not Linux, or an old C library
        done = -1
    if done == 0:
        return
    between = one.with_name(f"{one.name}.old")
    other.rename(between)
    try:
        one.rename(other)
    except BaseException:
        between.rename(other)
        raise
    between.rename(one)
