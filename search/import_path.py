"""Where the processes of tune look for modules, and those of training code, which may have files and packages
of the same names.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType

OWN = ("data", "models", "tune")
"""Packages of tune's beside `search`, which is found already."""

FOLDER = str(Path(__file__).resolve().parents[1])

SAFE_PATH = "PYTHONSAFEPATH"
"""Environment variable of Python's own: the current folder is not searched."""

SET_BY_TUNE = "TUNE_SET_SAFE_PATH"
"""Environment variable beside it, where `set_safe_path` has set it."""


class OwnPackages(MetaPathFinder):
    """Finds the packages of tune's beside this one."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        return PathFinder.find_spec(name, [FOLDER]) if name in OWN else None


def find_own_packages_first() -> None:
    """From now on, in this process. Repositories of training code have packages named `data` and `models`,
    too, which come first on the import path with PYTHONPATH=. for instance."""
    sys.meta_path.insert(0, OwnPackages())


def set_safe_path() -> None:
    """For the processes that this one starts: worker processes would look for Python's own modules in the
    current folder first, and a socket.py there ended each of them."""
    if SAFE_PATH not in os.environ:
        os.environ.update({SAFE_PATH: "1", SET_BY_TUNE: "1"})


def without_safe_path(environment: Mapping[str, str]) -> dict[str, str]:
    """An environment for processes that are not tune's: programs that training code starts import the files
    beside them. What the person has set stays."""
    ours = (SAFE_PATH, SET_BY_TUNE) if SET_BY_TUNE in environment else ()
    return {name: value for name, value in environment.items() if name not in ours}
