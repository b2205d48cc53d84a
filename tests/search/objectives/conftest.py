"""The package that declares the objective of tests/support/valley.py, as pip installs it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import valley


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as pip makes one of an installed package, in which commands and workers find the objective."""
    folder = tmp_path_factory.mktemp("site")
    told = folder / "valley_objective-1.0.dist-info"
    told.mkdir()
    (told / "METADATA").write_text("Metadata-Version: 2.1\nName: valley-objective\nVersion: 1.0\n")
    (told / "entry_points.txt").write_text("[tune.objectives]\nvalley = valley:VALLEY\n")
    shutil.copy(valley.__file__, folder / "valley.py")
    return folder
