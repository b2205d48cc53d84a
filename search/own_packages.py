"""Imports find tune's own packages first. Repositories of training code have packages named `data` and
`models`, too, which come first on the import path with PYTHONPATH=. for instance."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType

OWN = ("data", "models", "tune")
"""Beside `search`, which is found already."""

FOLDER = str(Path(__file__).resolve().parents[1])


class OwnPackages(MetaPathFinder):
    """Finds them beside this one."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        return PathFinder.find_spec(name, [FOLDER]) if name in OWN else None


def find_own_packages_first() -> None:
    """From now on, in this process."""
    sys.meta_path.insert(0, OwnPackages())
