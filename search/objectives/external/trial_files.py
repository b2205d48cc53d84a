"""Where the files of trials with training code lie, below the folder of their study."""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import shutil
from pathlib import Path


def log_path(folder: Path, number: int) -> Path:
    """The output of trial `number`, where the worker that did it wrote it. folder: of the study."""
    return folder / "logs" / f"trial-{number:05d}.log"


class RunningFolder:
    """The directories of the trials that one worker holds. They are deleted with it; those of a worker that
    was killed are deleted by the next one that comes or ends: it finds them unlocked.
    """

    def __init__(self, folder: Path) -> None:
        """folder: of the study. Raises OSError where it cannot be written."""
        self._root = folder / "running"
        self._root.mkdir(parents=True, exist_ok=True)
        delete_abandoned(self._root)
        while True:
            self.path = self._root / secrets.token_hex(6)
            self._lock = os.open(_lock_of(self.path), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            if _locked(self._lock, otherwise=True) and _is_at(self._lock, _lock_of(self.path)):
                break
            os.close(self._lock)  # another worker took it for abandoned, and deletes it
        self.path.mkdir()

    def directory(self, number: int) -> Path:
        """Where trial `number` works."""
        return self.path / f"trial-{number:05d}"

    def make(self) -> None:
        """Makes it once more if the study's folder was emptied meanwhile. Raises OSError."""
        self.path.mkdir(parents=True, exist_ok=True)

    def close(self) -> None:
        """Deletes it, and what others have left."""
        shutil.rmtree(self.path, ignore_errors=True)
        with contextlib.suppress(OSError):
            _lock_of(self.path).unlink()
        os.close(self._lock)
        delete_abandoned(self._root)


def delete_abandoned(root: Path) -> None:
    """Deletes the folders of workers that are gone, as far as they can be deleted."""
    for path in root.glob("*.lock"):
        with contextlib.suppress(OSError):
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
            try:
                if _locked(descriptor, otherwise=False) and _is_at(descriptor, path):
                    shutil.rmtree(path.with_suffix(""), ignore_errors=True)
                    path.unlink()
            finally:
                os.close(descriptor)


def _lock_of(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.lock")


def _locked(descriptor: int, *, otherwise: bool) -> bool:
    """Whether this process has the lock now, until the descriptor is closed or the process ends. otherwise:
    the answer where the file system has no locks."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return otherwise
    return True


def _is_at(descriptor: int, path: Path) -> bool:
    """Whether an open file is still the one of this path."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
