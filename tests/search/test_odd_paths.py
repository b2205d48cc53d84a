"""However a database is called and spelled, it has one artifact folder, and none after a delete."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import torch

from data.datasets.mnist import Mnist
from search.optuna_db.storage import open_storage
from search.service.create import RunRequest, create_or_resume
from search.worker.context import prepare
from search.worker.worker_loop import work

Command = Callable[..., Any]

ALL = "ü #%.@:'[({0}&+$`\"\\"
"""Letters that a URL, a shell, a format string or a glob reads as something else."""


def searched(storage: str, mnist: Mnist) -> None:
    """A finished study of three trials, as `tune run` in this folder would make it, in this process."""
    torch.set_num_threads(1)
    with open_storage(storage) as opened:
        create_or_resume(opened, RunRequest(task="twodigit", trials=3, epochs=0.02, model="mlp"), mnist)
        root = opened.location.artifacts
        context = prepare(opened, "twodigit", mnist, root, device="cpu", threads=1)
        assert work(context, stop=lambda: False) == 3


def under(folder: Path) -> set[str]:
    """Everything below a folder, the links not followed."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def rows(database: Path) -> dict[str, int]:
    """Rows of tune's tables."""
    with closing(sqlite3.connect(database)) as connection:
        names = [
            name
            for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            if name.startswith("tune_") and name != "tune_schema"
        ]
        return {name: connection.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0] for name in names}


@pytest.fixture(scope="module")
def with_study(tmp_path_factory: pytest.TempPathFactory, mnist: Mnist) -> Callable[[str], Path]:
    """with_study("a.db"): a folder in which there is only the folder of a finished study, whose storage has
    this name. The next call puts it back as it was, at the same path: its rows name that."""
    saved: dict[str, tuple[Path, Path]] = {}

    def make(name: str) -> Path:
        if name not in saved:
            place, copy = tmp_path_factory.mktemp("place"), tmp_path_factory.mktemp("copy")
            folder = place / f"in {ALL}"
            folder.mkdir()
            with pytest.MonkeyPatch.context() as patch:
                patch.delenv("TUNE_ARTIFACTS", raising=False)
                patch.chdir(folder)
                searched(f"sqlite:///{name}", mnist)
            shutil.copytree(folder, copy / "study")
            saved[name] = place, copy / "study"
        place, copy = saved[name]
        for path in place.iterdir():
            shutil.rmtree(path)
        shutil.copytree(copy, place / f"in {ALL}")
        return place

    return make


@pytest.mark.parametrize(
    ("name", "used"),
    [
        *((f"{ALL}.db", used) for used in ("as made", "absolute", "from elsewhere", "by a link")),
        ("100%41 %3F.db", "absolute"),
        ("100%41 %3F.db", "from elsewhere"),
        ("two\nlines", "as made"),
        ("two\nlines", "by a link"),
        ("studies.artifacts", "as made"),
        ("studies.artifacts", "absolute"),
    ],
)
def test_a_study_leaves_nothing_behind(
    name: str,
    used: str,
    with_study: Callable[[str], Path],
    here: Command,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The commands spell the storage in another way than the run did."""
    monkeypatch.delenv("TUNE_ARTIFACTS", raising=False)
    place = with_study(name)
    folder, elsewhere = place / f"in {ALL}", place / "elsewhere"
    elsewhere.mkdir()
    [database] = (path for path in folder.iterdir() if path.is_file())
    (elsewhere / "link.db").symlink_to(database)
    before = under(place)
    assert len(list(place.rglob("*.safetensors"))) == 3
    assert {path.parents[1].parent for path in place.rglob("*.safetensors")} == {folder}
    cwd, storage = {
        "as made": (folder, f"sqlite:///{name}"),
        "absolute": (elsewhere, f"sqlite:///{folder}/{name}"),
        "from elsewhere": (elsewhere, f"sqlite:///../{folder.name}/{name}"),
        "by a link": (elsewhere, "sqlite:///link.db"),
    }[used]

    def done(*arguments: str) -> Any:
        ended = here(*arguments, "--storage", storage, cwd=cwd)
        assert ended.returncode == 0, ended.stderr
        assert "cannot be read" not in ended.stderr
        return ended

    best = done("best", "twodigit", "--json").parsed["trial"]
    repeated = done("repeat", "twodigit", "--trial", str(best), "--restore", "--json").parsed
    assert repeated["equal"]
    assert repeated["restored"] is not None
    assert under(place) == before, "restored where they were"
    assert "files    3 in" in done("delete", "twodigit", "--yes").stderr
    assert under(place) == {
        folder.name,
        f"{folder.name}/{database.name}",
        "elsewhere",
        "elsewhere/link.db",
    }
    assert not any(rows(database).values())


@pytest.mark.timeout(400)
@pytest.mark.usefixtures("worker_threads")
def test_every_command_finds_the_files_and_the_last_one_removes_them(
    tmp_path: Path, tune: Command, here: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each in another folder and with another spelling; the run and its worker are separate processes."""
    monkeypatch.delenv("TUNE_ARTIFACTS", raising=False)
    monkeypatch.delenv("TUNE_STORAGE", raising=False)
    folder, elsewhere = tmp_path / f"in {ALL}", tmp_path / "elsewhere"
    folder.mkdir()
    elsewhere.mkdir()
    database, artifacts = folder / f"{ALL}.db", folder / f"{ALL}.artifacts"
    (elsewhere / "link.db").symlink_to(database)
    relative, absolute, linked = f"sqlite:///{ALL}.db", f"sqlite:///{database}", "sqlite:///link.db"

    def done(*arguments: str, cwd: Path, storage: str) -> Any:
        command = tune if arguments[0] == "run" else here
        ended = command(*arguments, "--storage", storage, cwd=cwd)
        assert ended.returncode == 0, ended.stderr
        return ended

    quick = ("--task", "twodigit", "--model", "mlp", "--epochs", "0.02", "--workers", "1")
    done("run", *quick, "--trials", "3", cwd=folder, storage=relative)
    confirm = ("confirm", "twodigit", "--top", "1", "--seeds", "2", "--epochs", "0.02", "--workers", "1")
    confirmed = done(*confirm, "--json", cwd=elsewhere, storage=absolute).parsed
    assert confirmed["test_value"] is not None, "the weights were found"
    assert {path.parents[1] for path in tmp_path.rglob("*.safetensors")} == {artifacts}
    done("export", "twodigit", "--out", str(tmp_path / "out"), cwd=elsewhere, storage=linked)
    done("report", "twodigit", "--out", "page.html", cwd=folder, storage=relative)
    page = folder / "page.html"
    assert "its mistakes cannot be shown" not in page.read_text()
    page.unlink()
    findings = done("doctor", "--json", cwd=elsewhere, storage=linked).parsed
    assert str(artifacts) in next(each["finding"] for each in findings if each["check"] == "disk")
    for name in ("twodigit.confirm", "twodigit"):
        done("delete", name, "--yes", cwd=elsewhere, storage=linked)
    left = {each for each in under(tmp_path) if not each.startswith("out")}
    assert left == {folder.name, f"{folder.name}/{database.name}", "elsewhere", "elsewhere/link.db"}
    counted = rows(database)
    assert not any(count for name, count in counted.items() if "look" not in name), (
        "but the ledger of test use"
    )
