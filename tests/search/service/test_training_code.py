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
from search.service.training_code import SERVE, bring_code, command_of
from search.study.study import Study
from search.worker.artifacts import Artifacts
from tune.loading import find_code
from tune.pickled import find_function

SENTENCES = Snapshots(__file__, "training_code")


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[Storage]:
    with open_storage(f"sqlite:///{tmp_path}/s.db") as opened:
        yield opened


class TestCommand:
    @pytest.mark.parametrize(
        ("objective", "folder", "told", "study"),
        [
            ("train.py:train", ".", "train.py:train", "train"),
            ("train.py", ".", "train.py", "train"),
            ("at 10:30/train.py:train", "at 10:30", "train.py:train", "train"),
            ("at 10:30/train.py", "at 10:30", "train.py", "train"),
            ("10:30.py:train", ".", "10:30.py:train", "10:30"),
            ("package.module:train", ".", "package.module:train", "package.module"),
        ],
    )
    def test_a_file_is_told_from_its_function(
        self,
        objective: str,
        folder: str,
        told: str,
        study: str,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.chdir(tmp_path)
        request = RunRequest(objective=objective)
        command, found, words = command_of(request, None)
        assert (command, found, words) == ([sys.executable, str(SERVE), told], tmp_path / folder, told)
        assert request.name == study
        found.mkdir(exist_ok=True)
        monkeypatch.chdir(found)
        if not told.startswith("package"):
            (found / told.removesuffix(":train")).touch()
        assert find_code(told).attribute == ("train" if told.endswith(":train") else "")

    def test_an_interpreter_is_found_as_a_shell_finds_it(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        on_path = tmp_path / "bin" / "python"
        on_path.parent.mkdir()
        on_path.touch(mode=0o755)
        monkeypatch.setenv("PATH", str(on_path.parent))
        monkeypatch.chdir(tmp_path)
        found = {
            python: command_of(RunRequest(objective="train.py", python=python), None)[0][0]
            for python in ("python", "./python", "env/bin/python")
        }
        assert found == {
            "python": str(on_path),
            "./python": str(tmp_path / "python"),
            "env/bin/python": str(tmp_path / "env" / "bin" / "python"),
        }


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
