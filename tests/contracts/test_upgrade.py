"""A database of an older tune is copied, then brought up to date; nothing in it is lost."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import Connection, create_engine, inspect, text

from search.errors import ConfigError
from search.heads import head_report
from search.optuna_db.storage import open_storage
from search.records import ACCURACY, Counts, HeadScore, Report, Scores
from search.service.look import best, trials
from search.service.upgrade import upgrade
from search.store import former, tables
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
    "tune_reports",
}
"""Tables that schemas 2 to 6 added."""

SCHEMA_5 = Path(__file__).with_name("schema_5.sql")
"""A study of four trials with three reports each, as the last schema with tune_points kept it."""


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
    gone = ('"tune_schema"', '"tune_points"', '"tune_head_points"')
    kept = [line for line in before if "INSERT" in line and not any(name in line for name in gone)]
    assert set(kept) <= set(dump(old))
    store = SQLStore(parse_url(f"sqlite:///{old}"))
    assert store.test_evaluations([1]) == []
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

    def breaks(connection: object) -> bool:
        tables.metadata.create_all(connection, tables=[tables.test_evaluations])  # type: ignore[arg-type]
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
        former.metadata.create_all(connection)
        connection.execute(text("UPDATE tune_schema SET version = 1"))
    with pytest.raises(ConfigError, match=r"schema 1 of an older tune.*tune upgrade --backed-up"):
        open_storage(url)
    assert NEW.isdisjoint(inspect(engine).get_table_names()), "a refused database stays as it is"
    upgrade(url, backed_up=True)
    assert set(inspect(engine).get_table_names()) >= NEW
    open_storage(url).close()
    engine.dispose()


def read_sql(path: Path, script: Path) -> Path:
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(script.read_text(encoding="utf-8"))
    return path


def points_of(path: Path) -> dict[int, list[Report]]:
    """The learning curves of a file of schema 5, read with SQL alone."""
    curves: dict[int, list[Report]] = {}
    with closing(sqlite3.connect(path)) as connection:
        points = (
            "SELECT trial_id, images, seconds, learning_rate, train_joint, validation_joint FROM tune_points"
        )
        heads = (
            "SELECT head, train_loss, train_accuracy, validation_loss, validation_accuracy "
            "FROM tune_head_points WHERE trial_id = ? AND images = ? ORDER BY position"
        )
        for trial_id, images, seconds, rate, *joint in connection.execute(
            f"{points} ORDER BY trial_id, images"
        ):
            rows = connection.execute(heads, (trial_id, images)).fetchall()
            train, validation = (
                Scores(
                    heads={row[0]: HeadScore(loss=row[at], accuracy=row[at + 1]) for row in rows}, joint=both
                )
                for at, both in zip((1, 3), joint, strict=True)
            )
            report = head_report(
                step=images, seconds=seconds, learning_rate=rate, train=train, validation=validation
            )
            curves.setdefault(trial_id, []).append(report)
    return curves


@pytest.mark.parametrize("script", [SCHEMA_1, SCHEMA_5], ids=["1", "5"])
def test_every_point_becomes_one_report(tmp_path: Path, script: Path) -> None:
    path = read_sql(tmp_path / "studies.db", script)
    curves = points_of(path)
    assert len(curves) == 4
    trials(f"sqlite:///{path}", "old")
    store = SQLStore(parse_url(f"sqlite:///{path}"))
    found = store.curves(list(curves), ACCURACY)
    assert found == curves
    assert [list(report.parts) for report in found[1]] == [["first_digit", "second_digit"]] * len(found[1])
    store.close()
    assert {"tune_points", "tune_head_points"}.isdisjoint(
        line.split("(")[0].split()[-1].strip('"') for line in dump(path) if line.startswith("CREATE TABLE")
    )


def test_a_number_that_was_unreadable_stays_so(tmp_path: Path) -> None:
    path = read_sql(tmp_path / "studies.db", SCHEMA_5)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE tune_head_points SET validation_loss = 9e999 WHERE trial_id = 2")
        connection.execute("UPDATE tune_points SET learning_rate = 'fast' WHERE trial_id = 3")
        connection.execute("DELETE FROM tune_head_points WHERE trial_id = 4 AND head = 'first_digit'")
        connection.commit()
    seen = trials(f"sqlite:///{path}", "old")
    assert [trial.number for trial in seen.trials] == [0]
    store = SQLStore(parse_url(f"sqlite:///{path}"))
    checks = store.check_curves([1, 2, 3, 4], ACCURACY)
    assert [checks[trial_id].unsound for trial_id in (1, 2, 3, 4)] == [0, 3, 3, 0]
    assert set(checks[1].names) - set(checks[4].names) == {
        f"{part}/first_digit"
        for part in ("train/loss", "train/accuracy", "validation/loss", "validation/accuracy")
    }
    store.close()


def test_a_damaged_file_is_not_upgraded(tmp_path: Path) -> None:
    path = read_sql(tmp_path / "studies.db", SCHEMA_5)
    whole = path.read_bytes()
    path.write_bytes(whole[:-100])
    with pytest.raises(ConfigError, match="it was not changed"):
        trials(f"sqlite:///{path}", "old")
    assert path.read_bytes() == whole[:-100]
    assert [each.name for each in tmp_path.iterdir()] == ["studies.db"]


@pytest.mark.parametrize("database", ["postgresql_url", "mysql_url"])
def test_copying_the_reports_on_a_server_is_resumed(
    request: pytest.FixtureRequest, database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    curves = points_of(read_sql(tmp_path / "studies.db", SCHEMA_5))
    url = request.getfixturevalue(database)
    open_storage(url).close()
    engine = create_engine(parse_url(url))
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE tune_reports"))
        connection.execute(text("UPDATE tune_schema SET version = 5"))
        former.metadata.create_all(connection)
        for table in former.metadata.sorted_tables:
            with closing(sqlite3.connect(tmp_path / "studies.db")) as file:
                rows = file.execute(f"SELECT {', '.join(table.columns.keys())} FROM {table.name}").fetchall()
            connection.execute(
                table.insert(), [dict(zip(table.columns.keys(), row, strict=True)) for row in rows]
            )
    copy_some, calls = former.copy_some, []

    def cut(connection: Connection, trials: int) -> int:
        calls.append(trials)
        if len(calls) == 3:
            raise OSError("power cut")
        return copy_some(connection, 1)

    monkeypatch.setattr(former, "copy_some", cut)
    with pytest.raises(OSError, match="power cut"):
        upgrade(url, backed_up=True)
    store = SQLStore(parse_url(url))
    assert store.curves([1, 2, 3, 4], ACCURACY) == {trial_id: curves[trial_id] for trial_id in (1, 2)}
    with pytest.raises(ConfigError, match="schema 5 of an older tune"):
        open_storage(url)
    upgrade(url, backed_up=True)
    assert store.curves([1, 2, 3, 4], ACCURACY) == curves
    assert former.NAMES.isdisjoint(inspect(engine).get_table_names())
    assert len(calls) == 3 + 3, "the two trials that were there were not copied again"
    store.close()
    engine.dispose()
