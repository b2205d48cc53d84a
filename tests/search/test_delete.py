"""`tune delete`: what is lost is said, asked for and gone, and nothing else is."""

from __future__ import annotations

import datetime
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from search.confirmation import Look
from search.study.storage import Storage, open_storage
from search.study.study import Study

Command = Callable[..., Any]


@pytest.fixture
def folder(finished: Path, tmp_path: Path) -> Path:
    """A copy of the finished studies that may be harmed."""
    return Path(shutil.copytree(finished, tmp_path / "copy"))


def rows(folder: Path) -> dict[str, int]:
    """Rows of every table, Optuna's too."""
    with closing(sqlite3.connect(folder / "studies.db")) as connection:
        names = [
            name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        ]
        return {name: connection.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0] for name in names}


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def opened(folder: Path) -> Storage:
    return open_storage(f"sqlite:///{folder / 'studies.db'}")


def test_a_deleted_study_is_gone_and_the_others_are_whole(folder: Path, here: Command) -> None:
    before, best = rows(folder), here("best", "again", "--json", cwd=folder).parsed
    kept = {file for file in files(folder) if "0001-twodigit-" not in file}
    assert kept < files(folder), "there are files to lose"
    done = here("delete", "twodigit", "--yes", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "trials   4 complete, 0 pruned, 0 failed" in done.stderr
    assert "studies.artifacts/0001-twodigit-" in done.stderr
    assert done.stdout == "twodigit is deleted.\n"
    assert files(folder) == kept
    assert [each["study"] for each in here("studies", "--json", cwd=folder).parsed] == ["again", "sum"]
    assert here("best", "again", "--json", cwd=folder).parsed == best

    for name in ("again", "sum"):
        assert here("delete", name, "--yes", cwd=folder).returncode == 0
    left = {name: count for name, count in rows(folder).items() if count}
    versions = {name: before[name] for name in ("alembic_version", "version_info", "tune_schema")}
    assert left == versions, "of three studies nothing is left, in any table"


def test_what_was_looked_at_is_told(folder: Path, here: Command) -> None:
    with opened(folder) as storage:
        study = Study.find(storage, "twodigit")
        assert study is not None
        look = Look(
            study_id=study.study_id,
            trial_id=study.trials()[0].trial_id,
            moment=datetime.datetime.now(datetime.UTC),
            reason="a test",
            pictures=10,
            heads={"first_digit": 0.9},
            joint=0.9,
        )
        storage.store.add_look(look)
    assert "1 at the test set" in here("delete", "twodigit", "--yes", cwd=folder).stderr


def unchanged(folder: Path, here: Command, *arguments: str, code: int, words: str) -> None:
    before, kept = rows(folder), files(folder)
    done = here("delete", *arguments, cwd=folder)
    assert done.returncode == code, done.stderr
    assert words in done.stderr
    assert (rows(folder), files(folder)) == (before, kept)


def test_nobody_to_ask_means_no(folder: Path, here: Command) -> None:
    unchanged(folder, here, "twodigit", code=2, words="say --yes")


def test_no_means_no(folder: Path, here: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("typer.confirm", lambda question, err: False)
    unchanged(folder, here, "twodigit", code=1, words="will be lost")


def test_an_unknown_study_is_refused(folder: Path, here: Command) -> None:
    unchanged(folder, here, "twodigti", "--yes", code=2, words="did you mean twodigit?")


def test_one_that_is_worked_on_is_not_deleted_under_its_workers(folder: Path, here: Command) -> None:
    with opened(folder) as storage:
        study = Study.find(storage, "twodigit")
        assert study is not None
        storage.store.set_target(study.study_id, 5)
        assert storage.store.claim(study.study_id, "host:1:a", lease_s=30) is not None
    unchanged(folder, here, "twodigit", "--yes", code=75, words="being worked on, by host:1:a")
    assert here("delete", "twodigit", "--yes", "--force", cwd=folder).returncode == 0


def test_one_that_another_confirms_is_kept_for_it(folder: Path, here: Command) -> None:
    with opened(folder) as storage:
        record = storage.store.studies()[0]
        Study.create(storage, "twodigit-confirmation", replace(record.spec, confirms="twodigit"), 0)
    unchanged(folder, here, "twodigit", "--yes", code=2, words="twodigit-confirmation confirms")
    assert here("delete", "twodigit-confirmation", "--yes", cwd=folder).returncode == 0
    assert here("delete", "twodigit", "--yes", cwd=folder).returncode == 0
