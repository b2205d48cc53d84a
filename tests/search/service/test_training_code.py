"""What a study of training code runs, as a request names it. No code is started."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from snapshots import Snapshots
from spoken import program, spoken_spec

from search.objectives.external.declared import CodeOptions, is_gone
from search.optuna_db.storage import Storage, open_storage
from search.records import DeclaredSpec
from search.service.create import RunRequest
from search.service.training_code import SERVE, bring_code
from search.study.study import Study
from search.worker.artifacts import Artifacts
from tune.pickled import find_function

SENTENCES = Snapshots(__file__, "training_code")


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[Storage]:
    with open_storage(f"sqlite:///{tmp_path}/s.db") as opened:
        yield opened


class TestPickledFunction:
    """tune, the notebook and the artifacts lay in the folder `old` when the study was created."""

    def brought(self, storage: Storage, tmp_path: Path, **options: Any) -> tuple[DeclaredSpec, list[str]]:
        """(spec of the study after a call from a notebook in `tmp_path`, sentences). options: of the study
        before."""
        function = "/old/s.artifacts/*/function-ab.pickle"
        before = {"command": ["/old/python", "/old/tune/serve.py", function], "function": function, **options}
        spec = spoken_spec(program(tmp_path), options=before)
        Study.create(storage, "train", spec, 3)
        [record] = storage.store.studies()
        pickled = tmp_path / "train.pickle"
        pickled.write_bytes(b"the function of now")
        now = {"command": [sys.executable, str(SERVE), "/new/function-cd.pickle"], "folder": str(tmp_path)}
        declared = replace(spec, options={**spec.options, **now})
        told: list[str] = []
        bring_code(RunRequest(objective=f"{pickled}:train"), storage, record, declared, told.append)
        [record] = storage.store.studies()
        assert isinstance(record.spec, DeclaredSpec)
        file = Artifacts.of(storage.location.artifacts, record).folder / "function-ab.pickle"
        assert file.read_bytes() == b"the function of now"
        return record.spec, told

    def test_is_run_where_it_was_written_now(self, storage: Storage, tmp_path: Path) -> None:
        spec, told = self.brought(storage, tmp_path)
        options = CodeOptions.of(spec)
        assert options.command[:2] == (sys.executable, str(SERVE))
        assert options.command[2] == spec.options["function"]
        assert find_function(Path(options.command[2])).read_bytes() == b"the function of now"
        assert told == []

    def test_runs_in_the_present_folder_where_the_former_is_gone(
        self, storage: Storage, tmp_path: Path
    ) -> None:
        spec, told = self.brought(storage, tmp_path, folder="/old/notebooks")
        assert CodeOptions.of(spec).folder == tmp_path
        SENTENCES.check(
            "a notebook that was moved",
            [each.replace(str(tmp_path), "FOLDER").replace(sys.executable, "PYTHON") for each in told],
        )
        assert not is_gone(spec)
