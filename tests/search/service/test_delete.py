"""`tune delete`: what is lost is said, asked for and gone, and nothing else is."""

from __future__ import annotations

import contextlib
import datetime
import errno
import os
import shutil
import socket
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from data.datasets.mnist import Mnist
from search.errors import TuneError
from search.optuna_db.storage import Storage, open_storage
from search.records import CheckpointRecord, NetworkSpec, Report, StudySpec, TestEvaluation, Worker
from search.service.create import RunRequest, create_or_resume
from search.service.delete import Losses, delete, delete_what_others_left
from search.service.repeat import repeat
from search.store import tables
from search.study.study import Study, StudyDeleted
from search.worker.artifacts import Artifacts
from search.worker.context import prepare
from search.worker.worker_loop import work

Command = Callable[..., Any]
QUICK = RunRequest(task="twodigit", trials=3, epochs=0.02, model="mlp", pruner="none")


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


def test_test_evaluations_are_told(folder: Path, here: Command) -> None:
    with opened(folder) as storage:
        study = Study.find(storage, "twodigit")
        assert study is not None
        evaluation = TestEvaluation(
            study_id=study.study_id,
            trial_id=study.trials()[0].trial_id,
            moment=datetime.datetime.now(datetime.UTC),
            reason="a test",
            pictures=10,
            heads={"first_digit": 0.9},
            joint=0.9,
        )
        storage.store.add_test_evaluation_once(evaluation)
    assert "1 on the test set" in here("delete", "twodigit", "--yes", cwd=folder).stderr


def unchanged(folder: Path, here: Command, *arguments: str, code: int, words: str) -> None:
    before, kept = rows(folder), files(folder)
    done = here("delete", *arguments, cwd=folder)
    assert done.returncode == code, done.stderr
    assert words in done.stderr
    assert (rows(folder), files(folder)) == (before, kept)


def test_without_a_terminal_nothing_is_deleted(folder: Path, here: Command) -> None:
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


def test_a_study_with_a_confirmation_is_not_deleted(folder: Path, here: Command) -> None:
    with opened(folder) as storage:
        record = storage.store.studies()[0]
        Study.create(storage, "twodigit-confirmation", replace(record.spec, confirms="twodigit"), 0)
    unchanged(folder, here, "twodigit", "--yes", code=2, words="twodigit-confirmation confirms")
    assert here("delete", "twodigit-confirmation", "--yes", cwd=folder).returncode == 0
    assert here("delete", "twodigit", "--yes", cwd=folder).returncode == 0


def kept(folder: Path, study: str) -> set[Path]:
    """Files of the weights of a study below a folder, whatever its artifact folder is called."""
    return set(folder.rglob(f"*-{study}-*/*.safetensors"))


class TestWhileItIsWorkedOn:
    """Workers write until they notice: they take that with them."""

    def test_what_a_worker_writes_after_the_deletion_goes(self, tmp_path: Path, mnist: Mnist) -> None:
        url = f"sqlite:///{tmp_path / 'studies.db'}"
        with open_storage(url) as storage:
            create_or_resume(storage, QUICK, mnist)
            root = storage.location.artifacts
            context = prepare(storage, "twodigit", mnist, root, device="cpu", threads=1)
            written = context.artifacts.folder / "trial-00000-1.safetensors"
            looks: list[bool] = []

            def stop() -> bool:
                """Asked after each report: at the third the study is deleted under a write."""
                looks.append(written.parent.is_dir())
                if len(looks) == 3:
                    assert delete(url, "twodigit", force=True, agree=lambda losses: True) == []
                    written.parent.mkdir(parents=True)
                    written.touch()
                return False

            with contextlib.suppress(StudyDeleted):
                work(context, stop=stop)
            assert len(looks) >= 3
            assert [path.name for path in tmp_path.iterdir()] == ["studies.db"]

    def test_a_run_ends_without_a_file(self, tmp_path: Path, start: Command, here: Command) -> None:
        """Two workers: one has kept weights while the other trains, and writes after the deletion."""
        conv = ("--task", "twodigit", "--model", "conv", "--epochs", "2", "--trials", "8", "--workers", "2")
        process = start("run", *conv, cwd=tmp_path)
        deadline = time.monotonic() + 90
        while not kept(tmp_path, "twodigit"):
            assert time.monotonic() < deadline
            time.sleep(0.2)
        done = here("delete", "twodigit", "--yes", "--force", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        _, said = process.communicate(timeout=60)
        assert process.returncode == 1
        assert "The study twodigit was deleted while it was worked on." in said
        assert [path.name for path in tmp_path.iterdir()] == ["studies.db"]

    def test_a_database_that_is_swapped_for_another_costs_no_file(
        self, folder: Path, mnist: Mnist, sqlite_url: str
    ) -> None:
        """A study that is not in the file of that name now may be in the one that was moved away."""
        database = folder / "studies.db"
        with open_storage(sqlite_url) as other:
            assert Study.find(other, "twodigit") is None
        with opened(folder) as storage:
            storage.store.set_target(1, 9)
            root = storage.location.artifacts
            context = prepare(storage, "twodigit", mnist, root, device="cpu", threads=1)
            looks: list[int] = []

            def stop() -> bool:
                looks.append(1)
                if len(looks) == 3:
                    database.rename(folder / "moved.db")
                    shutil.copy(sqlite_url.removeprefix("sqlite:///"), database)
                return False

            with pytest.raises(TuneError):
                work(context, stop=stop)
        assert len(kept(folder, "twodigit")) >= 4

    def test_weights_restored_for_a_deleted_study_go(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        url = f"sqlite:///{folder / 'studies.db'}"
        deleted: list[object] = []

        def watch(_spec: StudySpec, before: Report | None, again: Report) -> None:
            if not deleted:
                deleted.append(delete(url, "twodigit", force=False, agree=lambda losses: True))

        with pytest.raises(TuneError, match="was deleted meanwhile: no weights were kept"):
            repeat(url, "twodigit", 0, restore=True, tell=lambda words: None, watch=watch)
        assert kept(folder, "twodigit") == set()
        assert rows(folder)["tune_checkpoints"] == 8, "of the two other studies"


class TestWhatRemains:
    """What cannot be deleted from here is named, with its host and path."""

    def worker(self, name: str, *, host: str | None = None, root: Path | None) -> Worker:
        return Worker(
            worker_id=name,
            host=host or socket.gethostname(),
            pid=1,
            device="cpu",
            threads=1,
            environment={},
            artifacts=None if root is None else str(root),
        )

    def study(
        self, storage: Storage, spec: NetworkSpec, *workers: Worker, content: bytes | None = None
    ) -> dict[str, str]:
        """A study in which each of these workers kept the weights of a trial; paths below their folders.

        content: of the weights, if they are in the database.
        """
        study = Study.create(storage, "lost", spec, len(workers))
        assert study is not None
        record = storage.store.study(study.study_id)
        assert record is not None
        paths = {}
        for worker in workers:
            storage.store.add_worker(study.study_id, worker)
            claim = storage.store.claim(study.study_id, worker.worker_id, lease_s=60)
            assert claim is not None
            asked = study.ask(claim)
            artifacts = Artifacts.of(Path(), replace(record, name="lost"))
            path = str(artifacts.checkpoint(asked.number, 100))
            row = CheckpointRecord(
                trial_id=asked.trial_id, path=path, sha256="0" * 64, score=0.5, step=100, bytes=1
            )
            storage.store.add_checkpoint(study.study_id, row, content=content)
            paths[worker.worker_id] = path
        return paths

    def written(self, root: Path, path: str) -> Path:
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
        return file

    def test_on_a_server(
        self,
        postgresql_url: str,
        plain_spec: NetworkSpec,
        tmp_path: Path,
        here: Command,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.delenv("TUNE_ARTIFACTS", raising=False)
        monkeypatch.chdir(tmp_path)
        mine, shared, mixed, theirs = (tmp_path / each for each in ("mine", "shared", "mixed", "theirs"))
        workers = [
            self.worker("other folder", root=mine / "tune.artifacts"),
            self.worker("shared", host="b", root=shared),
            self.worker("mixed, here", root=mixed),
            self.worker("mixed, there", host="b", root=mixed),
            self.worker("there", host="b", root=theirs / "tune.artifacts"),
            self.worker("unknown", host="c", root=None),
        ]
        with open_storage(postgresql_url) as storage:
            paths = self.study(storage, plain_spec, *workers)
        own = self.written(tmp_path / "tune.artifacts", "uploads/by-a-person")
        self.written(mine / "tune.artifacts", paths["other folder"])
        self.written(shared, paths["shared"])
        self.written(mixed, paths["mixed, here"])
        done = here("delete", "lost", "--yes", "--force", "--storage", postgresql_url, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert done.stdout == "lost is deleted.\n"
        name = Path(paths["there"]).parent.name
        told = done.stderr.partition("cannot be deleted from here")[2].splitlines()[1:]
        assert sorted(line.split("  ")[1:3] for line in told) == [
            ["b", str(mixed / name)],
            ["b", str(theirs / "tune.artifacts" / name)],
            ["c", "an unknown folder"],
        ]
        assert [path for path in tmp_path.rglob("*") if path.is_file()] == [own], "all here are deleted"
        assert {path.name for path in tmp_path.iterdir()} == {"tune.artifacts", "mine", "shared", "mixed"}
        assert list(mine.iterdir()) == [], "tune made that folder"

    @pytest.mark.parametrize(("content", "named"), [(None, ["an unknown folder"]), (b"weights", [])])
    def test_weights_in_the_database_are_not_searched_in_folders(
        self, postgresql_url: str, plain_spec: NetworkSpec, content: bytes | None, named: list[str]
    ) -> None:
        with open_storage(postgresql_url) as storage:
            self.study(storage, plain_spec, self.worker("unknown", host="c", root=None), content=content)
        left = delete(postgresql_url, "lost", force=True, agree=lambda losses: True)
        assert left is not None
        assert [each.folder for each in left] == named

    def test_a_file_that_vanishes_while_they_are_counted(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Workers continue until they notice."""
        walk, told = os.walk, []

        def disturbed(top: Path, **more: Any) -> Iterator[tuple[str, list[str], list[str]]]:
            gone = ["gone"] if "-twodigit-" in str(top) else []
            for parent, folders, names in walk(top, **more):
                yield parent, folders, [*names, *gone]

        def agree(losses: Losses) -> bool:
            told.append(losses.files)
            return False

        monkeypatch.setattr(os, "walk", disturbed)
        assert delete(f"sqlite:///{folder / 'studies.db'}", "twodigit", force=True, agree=agree) is None
        assert told == [len(kept(folder, "twodigit"))]

    def test_of_a_copied_database_the_first_ones_are_kept(self, folder: Path, here: Command) -> None:
        """The copy's rows still name the files of the first one."""
        copy = folder / "elsewhere" / "copy.db"
        copy.parent.mkdir()
        shutil.copy(folder / "studies.db", copy)
        first = next(iter(kept(folder, "twodigit"))).parent
        with open_storage(f"sqlite:///{copy}") as storage, storage.trials.database.write() as connection:
            noted = {"artifacts": str(first.parent)}
            connection.execute(tables.workers.update().values(environment=noted))
        before = files(folder)
        done = here("delete", "twodigit", "--yes", "--storage", f"sqlite:///{copy}", cwd=folder)
        assert done.returncode == 0, done.stderr
        assert f"{socket.gethostname()}  {first}  (not the artifact folder of this database)" in done.stderr
        assert files(folder) == before

    def test_a_folder_that_cannot_be_deleted_fails_the_command(
        self, folder: Path, here: Command, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(path: Path) -> None:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))

        monkeypatch.setattr(shutil, "rmtree", refuse)
        done = here("delete", "twodigit", "--yes", cwd=folder)
        assert done.returncode == 1
        assert done.stdout == "twodigit is deleted.\n"
        lost = next(iter(kept(folder, "twodigit"))).parent
        assert "Files that could not be deleted:" in done.stderr
        assert f"{socket.gethostname()}  {lost}  (Permission denied)" in done.stderr

    def test_a_folder_that_cannot_be_read_fails_the_command(
        self, folder: Path, here: Command, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        root = folder / "studies.artifacts"
        read = Path.iterdir

        def refuse(path: Path) -> Iterator[Path]:
            if path == root:
                raise PermissionError(errno.EACCES, "Permission denied", str(path))
            return read(path)

        monkeypatch.setattr(Path, "iterdir", refuse)
        done = here("delete", "twodigit", "--yes", cwd=folder)
        assert done.returncode == 1
        assert f"  {root}/0001-twodigit-" in done.stderr.partition("could not be deleted")[2]

    def test_a_write_under_way_does_not_fail_it(
        self, folder: Path, here: Command, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A worker that has not noticed yet puts a file into the folder while it is emptied."""
        remove, tries = shutil.rmtree, []

        def disturbed(path: Path) -> None:
            tries.append(path)
            if len(tries) < 3:
                raise OSError((errno.ENOTEMPTY, errno.ENOENT)[len(tries) - 1], "meanwhile", str(path))
            remove(path)

        monkeypatch.setattr(shutil, "rmtree", disturbed)
        done = here("delete", "twodigit", "--yes", cwd=folder)
        assert done.returncode == 0, done.stderr
        assert len(tries) == 3
        assert kept(folder, "twodigit") == set()

    @pytest.mark.parametrize("old", ["%C3%BC.artifacts", "ü.artifacts"])
    def test_the_folder_of_a_previous_version_goes_too(self, finished: Path, here: Command, old: str) -> None:
        folder = finished.parent / f"copied-{len(old)}" / "jü"
        shutil.copytree(finished, folder)
        (folder / "studies.db").rename(folder / "ü.db")
        stray = folder.parent / "j%C3%BC" / "%C3%BC.artifacts"
        stray.parent.mkdir()
        (folder / "studies.artifacts").rename(folder / old)
        moved = next(iter(kept(folder, "sum"))).parent
        (stray / moved.name).mkdir(parents=True)
        next(iter(kept(folder, "sum"))).rename(stray / moved.name / "trial-00009-1.safetensors")
        for study in ("twodigit", "again", "sum"):
            done = here("delete", study, "--yes", "--storage", "sqlite:///ü.db", cwd=folder)
            assert done.returncode == 0, done.stderr
        assert {str(path.relative_to(folder.parent)) for path in folder.parent.rglob("*")} == {
            "jü",
            "jü/ü.db",
        }


def test_a_deletion_that_was_killed_in_the_middle_is_finished_by_the_same_command(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the rows nobody would find the files again."""
    url = f"sqlite:///{folder / 'studies.db'}"

    def killed(*_arguments: object, **_more: object) -> bool:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("search.service.delete.delete_study", killed)
        with pytest.raises(KeyboardInterrupt):
            delete(url, "twodigit", force=True, agree=lambda losses: True)
    assert kept(folder, "twodigit") == set()
    assert delete(url, "twodigit", force=True, agree=lambda losses: True) is not None
    with opened(folder) as storage:
        assert Study.find(storage, "twodigit") is None


def test_files_of_a_study_that_optuna_deleted_go_with_the_next_run(
    folder: Path, here: Command, mnist: Mnist
) -> None:
    with opened(folder) as storage:
        storage.optuna.delete_study(1)
        storage.optuna.delete_study(3)
        told: list[str] = []
        assert len(kept(folder, "twodigit")) == 4
        delete_what_others_left(storage, told.append)
        assert storage.store.study(1) is None
    assert kept(folder, "twodigit") == kept(folder, "sum") == set()
    assert len(kept(folder, "again")) == 4
    [words] = told
    assert words.count("(not the artifact folder of this database)") == 2, "this is a copy"

    with opened(folder) as storage:
        storage.optuna.delete_study(2)
    done = here("run", "--task", "twodigit", "--model", "mlp", "--trials", "1", "--detach", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert files(folder) == {"studies.db"}


def test_a_damaged_row_of_a_deleted_study_stops_no_run(folder: Path) -> None:
    with opened(folder) as storage:
        storage.optuna.delete_study(1)
        with storage.trials.database.write() as connection:
            connection.execute(tables.studies.update().where(tables.studies.c.study_id == 1).values(spec={}))
        told: list[str] = []
        delete_what_others_left(storage, told.append)
        records, faults = storage.store.checked_studies()
        assert ([record.study_id for record in records], faults) == ([2, 3], {})
    assert told == []
