"""`tune studies`, `trials`, `best` and `run` on a study that trains no network (tests/support/valley.py)."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from snapshots import Snapshots, lines_with
from valley import BUDGET, VALLEY, valley_spec

from data.registry import declared
from search.errors import AbsentHere
from search.objectives.registry import OBJECTIVES, ObjectiveAbsent
from search.optuna_db.storage import open_storage
from search.records import Value
from search.study.study import Study
from search.tasks import TaskAbsent
from search.worker.context import prepare
from search.worker.worker_loop import work

SENTENCES = Snapshots(__file__, "other_objective_commands")
Command = Callable[..., Any]
"""Of the fixtures `here` and `tune`."""

EASY: dict[str, Value] = {"start": 2.0, "friction": 0.5, "push": "left", "bounces": 0}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the storage is, with the finished study v: a reference, and two trials that are worse."""
    monkeypatch.setitem(OBJECTIVES, "valley", VALLEY)
    monkeypatch.setenv("TUNE_STORAGE", "sqlite:///studies.db")
    with open_storage(f"sqlite:///{tmp_path}/studies.db") as storage:
        Study.create(storage, "v", valley_spec(references=("easy",)), 3, references={"easy": EASY})
        work(prepare(storage, "v", None, tmp_path, threads=1), stop=lambda: False)
    return tmp_path


def test_the_list_of_studies_names_the_metric(here: Command, folder: Path) -> None:
    (row,) = here("studies", "--json", cwd=folder).parsed
    assert row["best_value"] < 0, "the energy itself, not the score"
    assert (row["objective"], row["unit"], row["budget"]) == ("valley", "step", BUDGET)
    assert row["metric"] == {"name": "energy", "direction": "minimize"}
    assert row["task"] is None
    assert row["epochs"] is None
    shown = here("studies", cwd=folder)
    assert f"energy −{-row['best_value']:.4g}" in shown.stdout
    SENTENCES.check("studies: a better reference", shown.stderr.splitlines())


def test_trials_are_listed_with_values_and_steps(here: Command, folder: Path) -> None:
    rows = here("trials", "v", "--json", cwd=folder).parsed
    assert [row["step"] for row in rows] == [BUDGET] * 3
    assert {row["unit"] for row in rows} == {"step"}
    assert {row[name] for row in rows for name in ("epochs", "images", "parameters")} == {None}
    assert rows[0]["value"] == min(row["value"] for row in rows)
    header, first, *_ = here("trials", "v", cwd=folder).stdout.splitlines()
    assert header.split() == ["trial", "state", "energy", "steps", "time", "settings"]
    assert first.split()[:4] == ["0", "complete", "−2.978", "9"]


def test_the_best_trial_shows_its_metrics_by_name(here: Command, folder: Path) -> None:
    best = here("best", "v", "--json", cwd=folder).parsed
    assert best["trial"] != 0, "never a reference"
    assert best["better_reference"]["value"] < best["value"]
    assert best["metrics"] == {"energy": best["value"], "height": pytest.approx(best["value"] + 3)}
    assert [best[name] for name in ("task", "model", "validation", "images")] == [None] * 4
    assert best["step"] == BUDGET
    shown = here("best", "v", cwd=folder).stdout
    assert f"metrics     height {best['metrics']['height']:.4g}" in shown
    assert "after 9 steps of 9" in shown
    assert "none: easy (−2.978) is" in shown
    assert "accuracy" not in shown


@pytest.mark.parametrize(
    "flags",
    [
        ("--task", "sum"),
        ("--epochs", "-1", "--model", "x"),
        ("--target", "nan"),
        ("--sampler", "tpe"),
    ],
    ids=lambda flags: flags[0],
)
def test_what_does_not_fit_the_study_is_refused(flags: tuple[str, ...], here: Command, folder: Path) -> None:
    done = here("run", "--study", "v", "--trials", "9", *flags, cwd=folder)
    assert done.returncode in (2, 78)
    SENTENCES.check(f"refused: {flags[0]}", done.stderr.splitlines())
    (row,) = here("studies", "--json", cwd=folder).parsed
    assert row["target_trials"] == 3, "nothing was changed"


def test_a_study_named_as_a_task_is_not_taken_for_one(here: Command, folder: Path) -> None:
    with open_storage(f"sqlite:///{folder}/studies.db") as storage:
        Study.create(storage, "sum", valley_spec(), 3)
    done = here("run", "--task", "sum", cwd=folder)
    assert done.returncode == 2
    SENTENCES.check("a study named as a task", done.stderr.splitlines())


def test_a_run_that_has_nothing_to_do_says_what_was_best(here: Command, folder: Path) -> None:
    done = here("run", "--study", "v", "--target", "-2.9", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "v: nothing is left to do, 3 of 3 trials are finished" in done.stdout
    SENTENCES.check("run: a better reference", lines_with(done.stdout, "The reference"))
    assert "Best of the search is trial" in done.stdout
    assert "metrics   height" in done.stdout


def test_a_change_of_its_direction_is_told_of(here: Command, folder: Path) -> None:
    with sqlite3.connect(folder / "studies.db") as changed:
        changed.execute("update study_directions set direction = 'MAXIMIZE'")
    done = here("best", "v", cwd=folder)
    assert done.returncode == 0
    assert "tune still minimizes its energy" in done.stderr


def test_an_objective_that_is_absent_is_passed_over_as_a_task_is(
    here: Command, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert issubclass(ObjectiveAbsent, AbsentHere)
    assert issubclass(TaskAbsent, AbsentHere)
    monkeypatch.delitem(OBJECTIVES, "valley")
    declared.cache_clear()  # another test may have found it in an installed package
    for command in (("run", "--study", "v", "--trials", "5"), ("worker", "v")):
        done = here(*command, cwd=folder)
        assert done.returncode == 78
        assert "there is no objective 'valley'" in done.stderr
    assert here("best", "v", cwd=folder).returncode == 0, "what is there can be looked at"


@pytest.mark.usefixtures("worker_threads")
def test_its_workers_find_the_objective_of_an_installed_package(
    tune: Command, here: Command, folder: Path, site: Path
) -> None:
    run = ("run", "--study", "v", "--workers", "1")
    done = tune(*run, "--trials", "8", cwd=folder, PYTHONPATH=str(site))
    assert done.returncode == 0, done.stderr
    assert "v: 8 of 8 trials finished (8 complete, 0 pruned)" in done.stdout
    assert "Best of the search is trial" in done.stdout
    assert "9 steps  start " in done.stderr
    done = here(*run, "--trials", "500", "--target", "100", "--json", cwd=folder)
    assert done.parsed["reason"] == "target", "every energy is below 100"
