"""An SQLite file that is moved away or replaced while a command uses it."""

from __future__ import annotations

import shutil
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import optuna
import pytest
from sqlalchemy import Engine
from valley import valley_spec

from data.datasets.mnist import Mnist
from models import device
from search.errors import ConfigError
from search.optuna_db import storage as storage_module
from search.optuna_db.storage import Storage, open_storage
from search.records import Value
from search.service.create import RunRequest, create_or_resume
from search.service.dashboard import while_storage_is_there
from search.service.dashboard_storage import open_undisturbing
from search.service.drive import drive
from search.store.engine import translated
from search.store.opened_file import OpenedFile
from search.study.reading import open_reading
from search.study.study import Study
from search.worker.options import WorkerOptions
from search.worker.process import WorkerConfig, _work

MOVED = "was moved or deleted while this command used it"
REPLACED = "was replaced by another file while this command used it; nothing was written to that one"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """An SQLite storage with one study."""
    path = tmp_path / "studies.db"
    with open_storage(url(path)) as storage:
        storage.optuna.create_new_study([optuna.study.StudyDirection.MAXIMIZE], "s")
    return path


def url(path: Path) -> str:
    return f"sqlite:///{path}"


def replace(path: Path) -> bytes:
    """Puts a copy in the place of the file; returns what is in the copy."""
    copy = path.with_name("copy.db")
    shutil.copy(path, copy)
    path.rename(path.with_name("away.db"))
    copy.rename(path)
    return path.read_bytes()


def write(storage: Storage) -> None:
    storage.trials.add(1)


def write_as_optuna(storage: Storage) -> None:
    storage.optuna.set_study_user_attr(1, "a", 1)


def read(storage: Storage) -> None:
    storage.store.studies()


def read_as_optuna(storage: Storage) -> None:
    storage.optuna.get_all_studies()


@pytest.mark.parametrize("use", [write, write_as_optuna, read, read_as_optuna])
@pytest.mark.parametrize("connected", [True, False], ids=["connected", "connecting again"])
class TestEveryUse:
    """connected: by way of a connection that is open already, which stays with its file."""

    def test_a_database_file_that_was_moved(
        self, file: Path, use: Callable[[Storage], None], connected: bool
    ) -> None:
        with open_storage(url(file)) as storage:
            use(storage)
            file.rename(file.with_name("away.db"))
            if not connected:
                storage.trials.database.engine.dispose()
                storage.optuna.engine.dispose()
            with pytest.raises(ConfigError, match=MOVED):
                use(storage)
            assert not file.exists(), "SQLite would have made an empty one"
            file.with_name("away.db").rename(file)
            use(storage)

    def test_a_database_file_that_was_replaced(
        self, file: Path, use: Callable[[Storage], None], connected: bool
    ) -> None:
        with open_storage(url(file)) as storage:
            use(storage)
            other = replace(file)
            if not connected:
                storage.trials.database.engine.dispose()
                storage.optuna.engine.dispose()
            with pytest.raises(ConfigError, match=REPLACED):
                use(storage)
        assert file.read_bytes() == other


@pytest.mark.parametrize("use", [read, read_as_optuna])
def test_a_database_file_that_is_moved_while_a_connection_is_made(
    file: Path, use: Callable[[Storage], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    check = OpenedFile.check

    def moved_afterwards(opened: OpenedFile) -> None:
        check(opened)
        if file.exists():
            file.rename(file.with_name("away.db"))

    with open_storage(url(file)) as storage:
        storage.trials.database.engine.dispose()
        storage.optuna.engine.dispose()
        monkeypatch.setattr(OpenedFile, "check", moved_afterwards)
        with pytest.raises(ConfigError, match=MOVED):
            use(storage)
    assert not file.exists(), "SQLite would have made an empty one"


def test_a_database_file_that_is_moved_while_a_worker_opens_it(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse_damaged = storage_module.refuse_damaged

    def moved_afterwards(engine: Engine) -> None:
        refuse_damaged(engine)
        file.rename(file.with_name("away.db"))

    monkeypatch.setattr(storage_module, "refuse_damaged", moved_afterwards)
    with pytest.raises(ConfigError, match=MOVED):
        open_storage(url(file), create=False)
    assert not file.exists(), "SQLite would have made an empty one"


def test_a_folder_that_is_renamed_takes_its_file_with_it(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    with open_storage(url(folder / "studies.db")) as storage:
        folder.rename(tmp_path / "other")
        with pytest.raises(ConfigError, match=MOVED):
            read(storage)


def test_a_worker_opens_the_file_of_its_run_or_none(file: Path) -> None:
    with open_storage(url(file)) as storage:
        file_id = storage.file_id
    assert file_id is not None
    open_storage(url(file), create=False, file_id=file_id).close()
    other = replace(file)
    with pytest.raises(ConfigError, match=REPLACED):
        open_storage(url(file), create=False, file_id=file_id)
    assert file.read_bytes() == other


def test_a_run_tells_its_workers_which_file_is_meant(
    tmp_path: Path, mnist: Mnist, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Started(Exception):
        pass

    class Launcher:
        def starter(self, _size: int) -> Callable[[WorkerConfig], Any]:
            def start(order: WorkerConfig) -> Any:
                raise Started(order)

            return start

    file = tmp_path / "run.db"
    request = RunRequest(task="twodigit", trials=3, options=WorkerOptions(workers=1))
    with open_storage(url(file)) as storage:
        study, record = create_or_resume(storage, request, mnist)
        launcher: Any = Launcher()
        with pytest.raises(Started) as started:
            drive(storage, study, record, request.options, launcher, watch=lambda _: None, detach=False)
    order = started.value.args[0]
    other = replace(file)
    monkeypatch.setattr(device, "prepare_process", lambda _: None)
    with pytest.raises(ConfigError, match=REPLACED):
        _work(order, lambda: False, time.monotonic())
    assert file.read_bytes() == other


def test_what_sqlite_itself_says_of_it_is_translated(file: Path) -> None:
    with open_storage(url(file)) as storage:
        database = storage.trials.database
        with closing(sqlite3.connect(file)) as connection:
            connection.execute("SELECT * FROM studies")
            file.rename(file.with_name("away.db"))
            with pytest.raises(ConfigError, match=MOVED), translated(database.url):
                connection.execute("DELETE FROM studies")


def test_a_disk_that_fails_is_for_sqlite_to_report(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_storage(url(file)) as storage:
        opened = storage.trials.database.file
        assert opened is not None

        def fails(_: Path) -> None:
            raise OSError(5, "Input/output error")

        monkeypatch.setattr(Path, "stat", fails)
        opened.check()


def test_the_dashboard_answers_with_a_sentence(file: Path) -> None:
    def app(_environment: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        return [b"fine"]

    def asked() -> tuple[str, str]:
        status: list[str] = []
        body = served({}, lambda line, _headers: status.append(line))
        return status[0], b"".join(body).decode()

    with open_reading(url(file)) as reading:
        served: Any = while_storage_is_there(app, reading)
        storage = open_undisturbing(url(file), lambda _: None, reading.store.database, threads=1)
        storage.get_all_studies()
        assert asked() == ("200 OK", "fine")
        replace(file)
        status, words = asked()
        assert status.startswith("503")
        assert REPLACED in words
        with pytest.raises(ConfigError, match=REPLACED):
            storage.delete_study(1)
        storage.engine.dispose()


@pytest.mark.parametrize("how", ["moved", "replaced"])
def test_a_run_ends_with_a_sentence_and_writes_to_no_other_file(
    start: Callable[..., Any], site: Path, tmp_path: Path, how: str
) -> None:
    """What its trials compute is of no interest: each of their nine steps waits for half a second."""
    file = tmp_path / "studies.db"
    with open_storage(url(file)) as storage:
        reference: dict[str, Value] = {"start": 2.0, "friction": 0.5, "push": "left", "bounces": 0}
        references = {"easy": reference, "steep": {**reference, "start": -3.0}}
        Study.create(storage, "v", valley_spec(references=tuple(references)), 9, references=references)
    waiting = {"PYTHONPATH": str(site), "VALLEY_WAIT": "0.5"}
    running = start("run", "--study", "v", "--workers", "1", cwd=tmp_path, **waiting)
    deadline = time.monotonic() + 100
    while not is_training(file):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    other = b""
    if how == "moved":
        file.rename(tmp_path / "away.db")
    else:
        other = replace(file)
    _, words = running.communicate(timeout=60)
    assert running.returncode == 78
    assert (MOVED if how == "moved" else REPLACED) in words
    assert "unexpected error" not in words
    assert (file.read_bytes() == other) if how == "replaced" else not file.exists()
    (tmp_path / "away.db").rename(file)
    with open_storage(url(file)) as storage:  # nothing was lost with it
        study = Study.find(storage, "v")
        assert study is not None
        assert len(study.trials()) >= 2


def is_training(file: Path) -> bool:
    query = "SELECT count(*) FROM trials JOIN tune_reports USING (trial_id) WHERE state = 'RUNNING'"
    try:
        with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True, timeout=1)) as connection:
            return bool(connection.execute(query).fetchone()[0])
    except sqlite3.OperationalError:  # no file, or no table yet
        return False
