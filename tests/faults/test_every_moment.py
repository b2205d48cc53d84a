"""A worker, a reaper or the maker of a database dies at its first write, at its second, and so on, until
all is done without its dying.

Before and after every commit, and the maker before and after every statement. Among these moments are the one
between a trial's beginning and the first renewal of its lease, the one between a result and the settling of
its slot, and a reaper's between ending a lost trial and queuing its settings again. Parents are killed in
tests/search/test_processes.py.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from processes import exists
from sqlalchemy import create_engine, inspect, text
from sqlalchemy.engine import make_url

from search.optuna_db.creation import KNOWN_TABLES
from search.optuna_db.opening import look
from search.optuna_db.storage import open_storage
from search.store import tables
from search.study.study import Study


@pytest.mark.timeout(600)
def test_a_worker_may_die_at_any_write(arena: Callable[..., Any], tmp_path: Any, stride: int) -> None:
    moment, survived = 1, False
    while not survived:
        study = arena(f"sqlite:///{tmp_path}/{moment}.db", trials=3)
        study.wait(study.start(die_at=moment, pause_s=0.0))
        done = [line for line in study.history if line["event"] == "confirmed"]
        survived = len(done) == 3 and moment > 20
        study.bury()
        study.wait(study.start(pause_s=0.0))
        study.check()
        moment += stride
    assert moment > 40, "three trials take some thirty writes, two moments each"


def test_a_reaper_may_die_at_any_write(arena: Callable[..., Any], tmp_path: Any) -> None:
    moment, survived = 1, False
    while not survived:
        study = arena(f"sqlite:///{tmp_path}/{moment}.db", trials=3)
        study.wait(study.start(die_at=8, pause_s=0.0))
        assert [line["event"] for line in study.history] == ["created", "joined", "begun"]
        dead = [study.history[1]["worker"]]
        study.wait(study.start(reap=dead, die_at=moment))
        survived = study.history[-1]["event"] == "reaped"
        study.wait(study.start(reap=[*dead, "reaper"]))
        study.wait(study.start(pause_s=0.0))
        study.check()
        moment += 1
    assert moment > 8, "it takes over, ends, queues and lets go: four writes, two moments each"


INDEXES = {"ix_studies_study_name", "ix_trials_study_id"} | {
    index.name for table in tables.metadata.sorted_tables for index in table.indexes
}
"""They are made after their tables, one by one."""


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("kind", ["sqlite", "postgresql", "mysql"])
def test_a_maker_may_die_at_any_statement(
    request: pytest.FixtureRequest, zygote: Any, mnist: Any, tmp_path: Path, kind: str, wide_stride: int
) -> None:
    """Of the database, and of the first study in it: the same command then makes what is missing."""
    url = str(request.getfixturevalue(f"{kind}_url"))
    history = tmp_path / "history.jsonl"

    def make(die_at: int | None) -> str:
        """What the maker noted; empty where it died."""
        history.write_text("")
        order = {"url": url, "study": "s", "history": str(history), "die_at": die_at}
        pid = zygote.start({**order, "create": {"trials": 3}})
        deadline = time.monotonic() + 60
        while exists(pid):
            assert time.monotonic() < deadline, f"the maker that dies at {die_at} has not ended"
            time.sleep(0.005)
        return "".join(json.loads(line)["event"] for line in history.read_text().splitlines())

    moment, survived = 1, False
    while not survived:
        survived = make(moment) == "created"
        assert make(None) == "created"
        with open_storage(url, create=False) as storage:
            assert look(storage.trials.database.engine, create=False).is_whole
            found = indexes(url)
            assert found.keys() == KNOWN_TABLES
            assert {name for names in found.values() for name in names} >= INDEXES
            assert list(storage.trials.names().values()) == ["s"]
            study = Study.find(storage, "s")
            assert study is not None
            assert [trial.reference for trial in study.trials()] == ["course-mlp", "course-conv"]
        emptied(url)
        moment += wide_stride
    assert moment > 60, "some forty statements, two moments each"


def indexes(url: str) -> dict[str, set[str | None]]:
    """The names of the indexes of every table."""
    engine = create_engine(url)
    seen = inspect(engine)
    found = {table: {each["name"] for each in seen.get_indexes(table)} for table in seen.get_table_names()}
    engine.dispose()
    return found


def emptied(url: str) -> None:
    """The database as it was before anything was made in it."""
    database = make_url(url).database or ""
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    match engine.dialect.name:
        case "sqlite":
            Path(database).unlink()
        case "postgresql":
            with engine.connect() as connection:
                connection.execute(text("DROP SCHEMA public CASCADE"))
                connection.execute(text("CREATE SCHEMA public"))
        case _:
            with engine.connect() as connection:
                connection.execute(text(f"DROP DATABASE {database}"))
                connection.execute(text(f"CREATE DATABASE {database}"))
    engine.dispose()
