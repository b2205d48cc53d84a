"""A database of an older tune is copied, then brought up to date; nothing in it is lost."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import create_engine, inspect, text

from search.errors import ConfigError
from search.optuna_db.storage import open_storage
from search.records import Counts
from search.service.look import best, trials
from search.service.upgrade import upgrade
from search.store import tables
from search.store.engine import parse_url
from search.store.sql import SQLStore

SCHEMA_1 = Path(__file__).with_name("schema_1.sql")
"""A study of four trials as the first schema kept it: the real thing, dumped before there was a second."""

NEW = {
    "tune_looks",
    "tune_head_looks",
    "tune_exports",
    "tune_offers",
    "tune_precisions",
    "tune_weights",
    "tune_answers",
    "tune_deleted_looks",
}
"""Tables that schemas 2 to 5 added."""


def dump(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as connection:
        return list(connection.iterdump())


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """An SQLite file of schema 1."""
    path = tmp_path / "studies.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(SCHEMA_1.read_text(encoding="utf-8"))
    return path


def test_everything_is_there_afterwards_and_the_backup_is_the_old_file(old: Path) -> None:
    before = dump(old)
    seen = trials(f"sqlite:///{old}", "old")  # a command that only looks upgrades too
    assert [trial.number for trial in seen.trials] == [0, 1, 2, 3]
    assert best(f"sqlite:///{old}", "old").trial.number == 3, "the best searched one"
    assert seen.foreign == [], "tune's own, although no mark says so"
    assert best(f"sqlite:///{old}", "old").view.counts == Counts(complete=4)
    assert dump(old.with_name("studies.db.schema-1.backup")) == before
    kept = [line for line in before if "INSERT" in line and '"tune_schema"' not in line]
    assert set(kept) <= set(dump(old))
    store = SQLStore(parse_url(f"sqlite:///{old}"))
    assert store.looks([1]) == []
    store.close()


def test_the_upgraded_schema_is_the_one_that_is_made_anew(old: Path, tmp_path: Path) -> None:
    trials(f"sqlite:///{old}", "old")
    open_storage(f"sqlite:///{tmp_path / 'new.db'}").close()

    def columns(path: Path) -> dict[str, list[str]]:
        with closing(sqlite3.connect(path)) as connection:
            names = [
                row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            ]
            return {
                name: [str(row[1:]) for row in connection.execute(f"PRAGMA table_info({name})")]
                for name in names
                if name.startswith("tune_")
            }

    assert columns(old) == columns(tmp_path / "new.db")


def test_an_earlier_backup_is_never_overwritten(old: Path) -> None:
    taken = old.with_name("studies.db.schema-1.backup")
    taken.write_text("mine")
    trials(f"sqlite:///{old}", "old")
    assert taken.read_text() == "mine"
    assert old.with_name("studies.db.schema-1.backup-2").exists()


def test_without_room_for_the_backup_nothing_is_changed(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = old.read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("search.store.upgrade.os.fsync", full)
    with pytest.raises(
        ConfigError, match=r"cannot be written: .*No space left on device. Nothing was changed"
    ):
        trials(f"sqlite:///{old}", "old")
    assert old.read_bytes() == before
    assert [path.name for path in old.parent.iterdir()] == ["studies.db"]


def test_a_step_that_fails_leaves_the_old_schema_whole(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = dump(old)

    def breaks(connection: object) -> None:
        tables.metadata.create_all(connection, tables=[tables.looks])  # type: ignore[arg-type]
        raise RuntimeError("power cut")

    monkeypatch.setattr("search.store.upgrade.STEPS", {2: breaks})
    with pytest.raises(RuntimeError, match="power cut"):
        trials(f"sqlite:///{old}", "old")
    assert dump(old) == before


def test_many_processes_at_once_upgrade_once(old: Path) -> None:
    look = f"from search.service.look import trials; print(len(trials('sqlite:///{old}', 'old').trials))"
    several = [
        subprocess.Popen(
            [sys.executable, "-c", look], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for _ in range(4)
    ]
    said = [process.communicate(timeout=60) for process in several]
    assert [out.strip() for out, _ in said] == ["4"] * 4
    assert sum(f"from schema 1 to {tables.SCHEMA_VERSION}" in err for _, err in said) == 1
    assert len(list(old.parent.glob("*.backup*"))) == 1


@pytest.mark.parametrize("database", ["postgresql_url", "mysql_url"])
def test_a_server_is_left_alone_until_its_operator_has_copied_it(
    request: pytest.FixtureRequest, database: str
) -> None:
    url = request.getfixturevalue(database)
    open_storage(url).close()
    engine = create_engine(parse_url(url))
    with engine.begin() as connection:
        for name in NEW:
            connection.execute(text(f"DROP TABLE {name}"))
        connection.execute(text("UPDATE tune_schema SET version = 1"))
    with pytest.raises(ConfigError, match=r"schema 1 of an older tune.*tune upgrade --backed-up"):
        open_storage(url)
    assert NEW.isdisjoint(inspect(engine).get_table_names()), "a refused database stays as it is"
    upgrade(url, backed_up=True)
    assert set(inspect(engine).get_table_names()) >= NEW
    open_storage(url).close()
    engine.dispose()
