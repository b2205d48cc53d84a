"""`tune.search` and `tune.open_study`: a search is stopped and continued, looked at, and refused what the
command line refuses. The searches start the command as a process; other calls take it inside this one, where
nothing has to be imported anew."""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import subprocess
import sys
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import pytest
from worker_thread import run_workers_as_threads

import tune
from search.cli.app import run_command
from search.records import DeclaredSpec
from search.study.reading import open_reading
from tune import command
from tune.progress import Progress
from tune.study import place_of

CELL = """
import os, signal, time
from pathlib import Path

import tune

MARK = "a mark of the code that no database may have"

def value(x, epoch):
    return x * x + 1 / epoch + 0 * len(MARK)

@tune.objective(
    space=tune.Space(x=tune.Float(-1, 1), kind=tune.Choice(["a", "b"])),
    score="loss", direction="minimize", budget=2, unit="epoch",
)
def train(trial):
    if trial.number == 3 and not Path("interrupted").exists():
        Path("interrupted").touch()
        os.kill(NOTEBOOK, signal.SIGINT)
        time.sleep(60)
    for epoch in range(1, trial.budget + 1):
        trial.report(epoch, loss=value(trial.params["x"], epoch))
"""
"""Ctrl-C comes during the fourth trial, which then waits: the search cannot end before it is stopped."""


def cell(code: str = CELL) -> tune.Objective:
    names: dict[str, Any] = {"__name__": "__main__", "NOTEBOOK": os.getpid()}
    exec(code, names)
    objective = names["train"]
    assert isinstance(objective, tune.Objective)
    return objective


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("notebook")


@pytest.fixture(scope="module")
def stopped(home: Path) -> BaseException:
    """What the first search raised, which Ctrl-C stopped."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        patch.delenv("TUNE_STORAGE", raising=False)
        with pytest.raises(KeyboardInterrupt) as caught:
            tune.search(cell(), trials=6, workers=1)
    return caught.value


@pytest.fixture(scope="module")
def study(home: Path, stopped: BaseException) -> tune.Study:
    """The study after the same call was made once more."""
    assert "the same command continues" in str(stopped)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        patch.delenv("TUNE_STORAGE", raising=False)
        return tune.search(cell(), trials=6, workers=1)


@dataclass
class Ended:
    """A command that has ended, as `tune.command` sees a process."""

    stderr: IO[bytes]
    code: int

    def wait(self) -> int:
        return self.code


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands run inside this process, in the folder and environment that their caller gives them, and their
    workers are threads. What they print and how they end is read as a process is."""

    def run(
        arguments: Sequence[str],
        folder: Path,
        environment: Mapping[str, str],
        output: IO[bytes],
        display: Progress | None,
    ) -> command._Told:
        printed, said = io.StringIO(), io.StringIO()
        with pytest.MonkeyPatch.context() as patch:
            run_workers_as_threads(patch)
            patch.chdir(folder)
            for name, value in environment.items():
                patch.setenv(name, value)
            with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(said):
                code = run_command(list(arguments), debug=False)
        output.write(printed.getvalue().encode())
        told = command._Told()
        ended: Any = Ended(io.BytesIO(said.getvalue().encode()), code)
        command._follow(ended, told, display)
        return told

    monkeypatch.setattr(command, "_run", run)


pytestmark = pytest.mark.timeout(400)  # two searches, whose processes import their libraries anew


def test_the_same_call_continues_to_the_exact_total(study: tune.Study) -> None:
    """The study knows its storage, also where the notebook has changed its folder since."""
    found = study.trials
    finished = [trial for trial in found if trial.state in ("complete", "pruned")]
    assert len(finished) == 6
    assert [trial.number for trial in found] == list(range(len(found)))
    assert {trial.failure for trial in found} <= {None, "interrupted"}
    complete = [trial for trial in found if trial.state == "complete"]
    best = min(complete, key=lambda trial: trial.value or 0.0)
    assert best.value == pytest.approx(float(best.params["x"]) ** 2 + 0.5)
    assert study.best == tune.BestTrial(
        number=best.number,
        value=best.value,
        params=best.params,
        step=2,
        metrics={"loss": best.value},
    )


def test_the_function_lies_in_the_folder_of_the_study_and_not_in_the_database(
    study: tune.Study, home: Path
) -> None:
    [file] = (home / "studies.artifacts").glob("*/*.pickle")
    assert study.name == "train"
    assert file.parent.name.startswith("0001-train-")
    assert file.stat().st_mode & 0o777 == 0o600
    mark = b"a mark of the code"
    assert mark in file.read_bytes()
    for database in home.glob("studies.db*"):
        assert mark not in database.read_bytes()


@pytest.mark.usefixtures("in_this_process")
def test_a_figure_and_a_table(study: tune.Study) -> None:
    history = study.plot_history()
    assert history.layout.title.text == "The course of the search"
    assert sum(len(trace.x) for trace in history.data if trace.mode == "markers") == 6
    table = study.trials_dataframe()
    assert list(table.columns) == [
        *("number", "state", "value", "step", "seconds", "failure"),
        *("params_x", "params_kind"),
    ]
    assert set(table["params_kind"]) <= {"a", "b"}
    assert table["value"].min() == pytest.approx(study.best.value)


@pytest.mark.usefixtures("in_this_process")
def test_a_figure_that_needs_more_trials_says_so(study: tune.Study) -> None:
    for plot, told in (
        (study.plot_effects, r"only 6 can be compared, 12 are needed\."),
        (
            lambda: study.plot_effect("x"),
            r"with fewer than 12 exploration trials .*: x \(n = 6\)",
        ),
        (lambda: study.plot_effect("y"), r"has no figure 'effect y'; it has: history, curves, time\."),
    ):
        with pytest.raises(tune.TuneError, match=told) as refused:
            plot()
        assert refused.value.exit_code == 2


@pytest.mark.usefixtures("in_this_process")
def test_a_page_and_the_refusal_to_write_over_it(
    study: tune.Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = study.report("found.html")
    assert path == tmp_path / "found.html"
    assert "train: what the search found" in path.read_text(encoding="utf-8")
    with pytest.raises(tune.TuneError, match="--force writes over it") as refused:
        study.report("found.html")
    assert refused.value.exit_code == 2


@pytest.mark.usefixtures("in_this_process")
def test_another_space_is_refused_as_on_the_command_line(
    study: tune.Study, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(home)
    [file] = (home / "studies.artifacts").glob("*/*.pickle")
    before = file.read_bytes()
    with pytest.raises(tune.TuneError, match="train declares another space than its study has") as refused:
        tune.search(cell(CELL.replace("Float(-1, 1)", "Float(-2, 1)")), trials=8)
    assert refused.value.exit_code == 78
    assert file.read_bytes() == before


@pytest.mark.usefixtures("in_this_process")
def test_a_function_that_was_changed_on_disk_is_not_run(
    study: tune.Study, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the next call, with more trials, puts it right."""
    monkeypatch.chdir(home)
    [file] = (home / "studies.artifacts").glob("*/*.pickle")
    file.write_bytes(file.read_bytes().replace(b"a mark of", b"A MARK OF"))
    with pytest.raises(tune.TuneError, match="is damaged or was changed, and is not used"):
        study._caller.ask("run", "--study=train", "--trials=7", "--workers=1")
    more = tune.search(cell(), trials=7, workers=1, progress=False)
    assert sum(trial.state in ("complete", "pruned") for trial in more.trials) == 7


@pytest.mark.usefixtures("in_this_process")
def test_a_call_brings_its_interpreter_and_keeps_its_folder(
    study: tune.Study, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pickle can be loaded by the interpreter of the kernel that wrote it alone, also in a confirmation."""
    monkeypatch.chdir(home)
    study.confirm(top=1, seeds=2, workers=1, progress=False)
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    found = tune.search(cell(), workers=1, progress=False)
    assert found.name == "train"
    storage = f"sqlite:///{home / 'studies.db'}"
    with open_reading(storage) as reading:
        specs = [record.spec for record in reading.store.studies()]
    started = [spec.options["command"] for spec in specs if isinstance(spec, DeclaredSpec)]
    assert [command[0] for command in started] == [str(python)] * 2, "the search and its confirmation"
    monkeypatch.chdir(tmp_path)
    with pytest.raises(tune.TuneError, match=f"in {home}, and this command names the one in {tmp_path}"):
        tune.search(cell(), storage=storage)


def test_an_unknown_study_is_refused(study: tune.Study, home: Path) -> None:
    storage = f"sqlite:///{home / 'studies.db'}"
    with pytest.raises(
        tune.TuneError, match=r"There is no study trian in .* \(did you mean train\?\)"
    ) as refused:
        tune.open_study("trian", storage=storage)
    assert refused.value.exit_code == 2


def test_what_is_no_objective_is_refused_before_anything_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TypeError, match=r"takes a function decorated with @tune.objective"):
        tune.search(print)  # type: ignore[arg-type]  # that is the mistake
    monkeypatch.setattr("tune.objectives.importing", ["train.py"])
    with pytest.raises(RuntimeError, match='call it below `if __name__ == "__main'):
        tune.search(cell())


def test_a_password_is_neither_an_argument_nor_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[list[str]] = []
    monkeypatch.setattr(subprocess, "Popen", lambda command, **_: started.append(command) or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        tune.open_study("train", storage="postgresql://me:secret@host/db")
    assert "secret" not in " ".join(started[0])
    study = tune.Study("train", tune.command.Caller.here("postgresql://me:secret@host/db"))
    assert "secret" not in repr(study) + repr(study._caller)


def test_what_workers_may_use_is_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the flags that `tune run` and `tune confirm` take, which read them as numbers."""
    started: list[list[str]] = []

    def run(arguments: Sequence[str], *_: object) -> command._Told:
        started.append(list(arguments))
        return command._Told(sentence="seen", code=2)

    monkeypatch.setattr(command, "_run", run)
    limits: dict[str, Any] = {"threads": 2, "device": "cpu", "trial_timeout": 3600, "stall_timeout": 1800.5}
    with pytest.raises(tune.TuneError, match="seen"):
        tune.search(cell(), progress=False, **limits)
    with pytest.raises(tune.TuneError, match="seen"):
        tune.Study("train", tune.command.Caller.here(None)).confirm(progress=False, **limits)
    assert [arguments[0] for arguments in started] == ["run", "confirm"]
    flags = {"--threads=2", "--device=cpu", "--trial-timeout=3600", "--stall-timeout=1800.5"}
    assert [flags - set(arguments) for arguments in started] == [set(), set()]


@pytest.mark.parametrize(
    ("printed", "found"), [(b'{"chosen": 3}', {"chosen": 3}), (b"", None), (b'{"cho', None)]
)
def test_what_a_command_that_failed_has_printed_is_in_the_error(
    printed: bytes, found: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the ranking of a confirmation whose test function failed."""

    def run(_arguments: object, _folder: object, _environment: object, output: IO[bytes], *_: object) -> Any:
        output.write(printed)
        return command._Told(sentence="The test function failed.", code=1)

    monkeypatch.setattr(command, "_run", run)
    with pytest.raises(tune.TuneError, match="The test function failed") as caught:
        tune.Study("train", tune.command.Caller.here(None)).confirm(progress=False)
    assert (caught.value.exit_code, caught.value.found) == (1, found)


def test_an_optional_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    study = tune.Study("train", tune.command.Caller.here(None))
    monkeypatch.delitem(sys.modules, "plotly.graph_objects", raising=False)
    for library, call in (("pandas", study.trials_dataframe), ("plotly", study.plot_time)):
        monkeypatch.setitem(sys.modules, library, None)
        with pytest.raises(
            ModuleNotFoundError, match=r"needs (pandas|plotly), .*pip install -e '\.\[notebook\]'"
        ):
            call()


# Where a function is

CODE = CELL.replace("NOTEBOOK", "0")


def write(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(CODE)
    return path


def test_a_file_is_named_with_its_function(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write(tmp_path / "search_of_a_file.py")
    monkeypatch.syspath_prepend(str(tmp_path))
    module = importlib.import_module("search_of_a_file")
    assert place_of(module.train) == f"{file}:train"


def test_a_package_is_named_where_workers_find_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "package_of_a_test" / "code" / "train.py")
    for folder in ("package_of_a_test", "package_of_a_test/code"):
        (tmp_path / folder / "__init__.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    module = importlib.import_module("package_of_a_test.code.train")
    monkeypatch.chdir(tmp_path)
    assert place_of(module.train) == "package_of_a_test.code.train:train"
    monkeypatch.chdir(tmp_path / "package_of_a_test")
    assert place_of(module.train) is None, "it is pickled, with the import path of this process"


def test_what_is_in_no_file_has_no_place() -> None:
    assert place_of(cell()) is None


def test_a_script_is_a_file_and_what_a_shell_passes_is_none(tmp_path: Path) -> None:
    tell = "from tune.study import place_of\nprint(place_of(train))\n"
    file = write(tmp_path / "script.py")
    file.write_text(file.read_text() + tell)
    root = str(Path(tune.__file__).parents[1])
    for arguments, expected in (([str(file)], f"{file}:train"), (["-c", CODE + tell], "None")):
        done = subprocess.run(
            [sys.executable, *arguments],
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONPATH": root},
            check=True,
        )
        assert done.stdout.strip() == expected


def test_a_function_inside_a_function_is_pickled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inside = "def make():\n" + textwrap.indent(CODE, "    ") + "\n    return train\n"
    (tmp_path / "makes_objectives.py").write_text(inside)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert place_of(importlib.import_module("makes_objectives").make()) is None
