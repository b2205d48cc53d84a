"""A new database gets Optuna's tables and tune's; one whose creation was cut short is completed."""

from __future__ import annotations

import os
import sqlite3
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.storages import RDBStorage
from optuna.storages._rdb import models
from sqlalchemy import Connection, Engine, Index, create_engine, inspect, text

from search.errors import ConfigError, TryAgain
from search.optuna_db import creation, installed, optuna_tables
from search.optuna_db.opening import NOTHING, look
from search.optuna_db.storage import open_storage
from search.store import tables
from search.store.engine import parse_url
from search.study.reading import open_reading

KINDS = ["sqlite", "postgresql", "mysql"]


@pytest.fixture(params=KINDS)
def url(request: pytest.FixtureRequest) -> str:
    """A new database of each kind."""
    return str(request.getfixturevalue(f"{request.param}_url"))


@pytest.fixture
def engine(url: str) -> Any:
    made = create_engine(parse_url(url))
    yield made
    made.dispose()


def half_made(engine: Engine, moment: int | str) -> None:
    """What a tune that made Optuna's tables one by one leaves when it is killed."""
    theirs = models.BaseModel.metadata.sorted_tables
    ours = tables.metadata.sorted_tables
    with engine.begin() as connection:
        for each in theirs[: moment if isinstance(moment, int) else None]:
            each.create(connection)
        if moment == "no index":
            for each in theirs:
                for index in each.indexes:
                    _drop_index(connection, index)
        if isinstance(moment, int) or moment in ("no index", "no version"):
            return
        row = {"schema_version": models.SCHEMA_VERSION, "library_version": optuna.__version__}
        connection.execute(models.VersionInfoModel.__table__.insert().values(**row))
        if moment in ("no revision", "a part of tune", "no version of tune"):
            optuna_tables.alembic_version.create(connection)
        if moment in ("a part of tune", "no version of tune"):
            connection.execute(
                optuna_tables.alembic_version.insert().values(version_num=optuna_tables.REVISION)
            )
            for each in ours[: 4 if moment == "a part of tune" else None]:
                each.create(connection)
                for index in each.indexes:
                    _drop_index(connection, index)


def _drop_index(connection: Connection, index: Index) -> None:
    """MySQL keeps one that a foreign key needs."""
    if connection.dialect.name != "mysql" or index.name != "ix_trials_study_id":
        index.drop(connection)


def never_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on a pause, such as one for another process that makes the database, fails the test."""
    monkeypatch.setattr(time, "sleep", lambda _: pytest.fail("there is nothing to wait for"))


def schema(engine: Engine) -> dict[str, Any]:
    """Everything that a database says of its tables, in words, and the rows with the versions."""
    seen = inspect(engine)
    found: dict[str, Any] = {}
    for name in seen.get_table_names():
        found[name] = {
            "columns": [
                {key: str(value) for key, value in column.items()} for column in seen.get_columns(name)
            ],
            "key": seen.get_pk_constraint(name),
            "unique": sorted(map(str, seen.get_unique_constraints(name))),
            "foreign": sorted(map(str, seen.get_foreign_keys(name))),
            "indexes": sorted(map(str, seen.get_indexes(name))),
            "checks": sorted(map(str, seen.get_check_constraints(name))),
        }
    with engine.connect() as connection:
        for name in sorted(creation.VERSION_TABLES & found.keys()):
            found[f"rows of {name}"] = connection.execute(text(f"SELECT * FROM {name}")).all()
    return found


def emptied(engine: Engine) -> None:
    """Drops everything."""
    if engine.dialect.name == "postgresql":
        with engine.begin() as connection:
            connection.execute(text("DROP SCHEMA public CASCADE"))
            connection.execute(text("CREATE SCHEMA public"))
        return
    with engine.begin() as connection:
        for each in (*reversed(models.BaseModel.metadata.sorted_tables), optuna_tables.alembic_version):
            each.drop(connection, checkfirst=True)


def test_optunas_tables_are_those_that_optuna_itself_makes(url: str, engine: Engine) -> None:
    RDBStorage(url).engine.dispose()
    theirs = schema(engine)
    assert theirs.keys() - {f"rows of {name}" for name in creation.VERSION_TABLES} == optuna_tables.NAMES
    emptied(engine)
    assert inspect(engine).get_table_names() == []
    open_storage(url).close()
    made = schema(engine)
    assert {name: made[name] for name in theirs} == theirs
    assert set(made) - set(theirs) == {*tables.metadata.tables, "rows of tune_schema"}


@pytest.mark.parametrize(
    "moment",
    [1, 7, "no index", "no version", "no alembic", "no revision", "a part of tune", "no version of tune"],
)
def test_a_creation_that_was_cut_short_is_completed_at_once(
    url: str, engine: Engine, moment: int | str, monkeypatch: pytest.MonkeyPatch
) -> None:
    half_made(engine, moment)
    before = schema(engine)
    never_wait(monkeypatch)
    with pytest.raises(ConfigError, match="holds no study of tune's yet; `tune run` makes one"):
        open_reading(url)
    with pytest.raises(ConfigError, match="holds no study of tune's yet; `tune run` makes one"):
        open_storage(url, create=False)
    assert schema(engine) == before, "a command that only looks makes nothing"
    with open_storage(url) as storage:
        study = storage.optuna.create_new_study([optuna.study.StudyDirection.MAXIMIZE], "s")
        assert storage.trials.add(study).number == 0
    assert set(inspect(engine).get_table_names()) == creation.KNOWN_TABLES
    made = schema(engine)
    indexes = "".join(made["studies"]["indexes"] + made["tune_looks"]["indexes"])
    assert "ix_studies_study_name" in indexes
    assert "tune_looks_study" in indexes
    assert made["rows of alembic_version"] == [(optuna_tables.REVISION,)]
    assert made["rows of tune_schema"] == [(1, tables.SCHEMA_VERSION)]
    assert len(made["rows of version_info"]) == 1


def test_half_made_tables_of_tune_with_other_columns_are_made_again(url: str, engine: Engine) -> None:
    """An older tune on MySQL, where tables are made one by one, was killed before it noted its version."""
    half_made(engine, "no revision")
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE tune_reports (trial_id INTEGER)"))
        connection.execute(text("CREATE TABLE tune_points (trial_id INTEGER)"))
    open_storage(url).close()
    columns = {column["name"] for column in inspect(engine).get_columns("tune_reports")}
    assert columns == set(tables.reports.columns.keys())
    assert "tune_points" not in inspect(engine).get_table_names(), "this version has no such table"


@pytest.mark.parametrize(
    ("statement", "names"),
    [
        ("CREATE TABLE songs (title VARCHAR(20))", "has the tables"),
        ("INSERT INTO studies (study_name) VALUES ('mine')", "has the tables"),
        ("ALTER TABLE studies ADD COLUMN patient INTEGER", "has the tables studies"),
    ],
    ids=["another table", "rows", "other columns"],
)
def test_what_is_not_half_made_is_refused_at_once_and_untouched(
    url: str, engine: Engine, statement: str, names: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    half_made(engine, 7)
    with engine.begin() as connection:
        connection.execute(text(statement))
    before = schema(engine)
    never_wait(monkeypatch)
    with pytest.raises(ConfigError, match=f"belongs to another program .it {names}"):
        open_storage(url)
    assert schema(engine) == before


@pytest.mark.parametrize("moment", [3, "no revision"])
def test_many_may_complete_one_at_once(url: str, engine: Engine, moment: int | str) -> None:
    half_made(engine, moment)
    start = threading.Barrier(4)

    def opened(_: int) -> None:
        start.wait()
        open_storage(url).close()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(opened, range(4)))
    assert set(inspect(engine).get_table_names()) == creation.KNOWN_TABLES
    assert schema(engine)["rows of tune_schema"] == [(1, tables.SCHEMA_VERSION)]


def test_an_empty_file_is_a_new_database(tmp_path: Path) -> None:
    path = tmp_path / "empty.db"
    path.touch()
    open_storage(f"sqlite:///{path}").close()
    assert [each.name for each in tmp_path.iterdir()] == ["empty.db"]
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT version FROM tune_schema").fetchall() == [(tables.SCHEMA_VERSION,)]


def test_with_another_optuna_nothing_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installed, "installed_revision", lambda: "v9.0.0.a")
    words = r"of schema v9.0.0.a; this tune reads .*Nothing was .*pip install 'optuna==5\.0\.\*'"
    with pytest.raises(ConfigError, match=words):
        open_storage(f"sqlite:///{tmp_path / 'new.db'}")
    assert list(tmp_path.iterdir()) == []


def test_an_optuna_that_keeps_its_tables_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna.storages._rdb.models", None)
    monkeypatch.delattr(optuna.storages._rdb, "models")
    with pytest.raises(ConfigError, match=r"does not describe its tables .*install Optuna 5\.0: pip install"):
        open_storage(f"sqlite:///{tmp_path / 'new.db'}")
    assert list(tmp_path.iterdir()) == []


def _pipe(path: Path) -> None:
    os.mkfifo(path)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (Path.mkdir, "is a folder, not a file"),
        (_pipe, "is a pipe or a device, not a file"),
        (lambda path: path.symlink_to("/dev/zero"), "is a pipe or a device, not a file"),
        (
            lambda path: path.symlink_to("/no/folder/x.db"),
            "x.db cannot be made: there is no folder /no/folder",
        ),
        (lambda path: path.symlink_to(path), "cannot be opened"),
    ],
    ids=["folder", "pipe", "device", "link to nowhere", "link to itself"],
)
def test_a_path_that_can_be_no_database(tmp_path: Path, make: Callable[[Path], None], words: str) -> None:
    path = tmp_path / "studies.db"
    make(path)
    with pytest.raises(ConfigError, match=words):
        open_storage(f"sqlite:///{path}")
    assert [each.name for each in tmp_path.iterdir()] == ["studies.db"]


class TestOnMySQL:
    """Tables appear one by one there; a lock tells who is making them."""

    def test_a_reader_waits_for_the_one_who_makes_it(self, mysql_url: str) -> None:
        engine = create_engine(parse_url(mysql_url))
        half_made(engine, 7)
        with ThreadPoolExecutor(1) as pool:
            with creation._only_creator(engine) as connection:
                seen = pool.submit(look, engine, create=False)
                time.sleep(0.5)
                assert not seen.done()
                creation._make(connection, None)
            with pytest.raises(ConfigError, match="holds no study of tune's yet"):
                seen.result(timeout=30)
        engine.dispose()

    def test_one_creator_at_a_time(self, mysql_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
        engine = create_engine(parse_url(mysql_url))
        monkeypatch.setattr(creation, "LOCK_S", 1)
        with (
            creation._only_creator(engine),
            pytest.raises(TryAgain, match="is being made by another process"),
        ):
            open_storage(mysql_url)
        assert look(engine, create=True) == NOTHING
        open_storage(mysql_url).close()
        engine.dispose()
