from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack

import pytest
from sqlalchemy import create_engine, inspect, text

from search.optuna_db.deletion import delete_study
from search.optuna_db.storage import Storage, open_storage

VERSIONS = {"alembic_version", "version_info", "tune_schema"}
"""Tables with the versions of the others."""


@pytest.fixture(scope="module", params=["sqlite", "postgresql", "mysql"])
def shared_storage(
    request: pytest.FixtureRequest,
    shared_database: Callable[[str], str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Storage]:
    """One database of each kind for all tests of a module."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path_factory.mktemp('shared') / 'studies.db'}"
    else:
        url = shared_database(request.param)
    with open_storage(url) as storage:
        yield storage


@pytest.fixture
def emptied(shared_storage: Storage) -> Iterator[Storage]:
    """The shared storage, of which every study is deleted after each test."""
    yield shared_storage
    for study_id in shared_storage.trials.names():
        delete_study(shared_storage.trials.database, study_id)


@pytest.fixture(scope="session")
def emptied_database(
    fresh_database: Callable[[str], AbstractContextManager[str]],
) -> Iterator[Callable[[str], str]]:
    """emptied_database("mysql"): the URL of a database with all tables and no row; its ids begin with 1.

    It is one for all tests that ask for it: the tables of a new one take a server a second.
    """
    made: dict[str, str] = {}
    with ExitStack() as stack:

        def url(kind: str) -> str:
            if kind in made:
                _empty(made[kind])
            else:
                made[kind] = stack.enter_context(fresh_database(kind))
                open_storage(made[kind]).close()
            return made[kind]

        yield url


@pytest.fixture
def empty_database(
    request: pytest.FixtureRequest, emptied_database: Callable[[str], str]
) -> Callable[[str], str]:
    """empty_database("sqlite"): the URL of a new SQLite file, or of a server's emptied database."""

    def url(kind: str) -> str:
        return str(request.getfixturevalue("sqlite_url")) if kind == "sqlite" else emptied_database(kind)

    return url


def _empty(url: str) -> None:
    engine = create_engine(url)
    with engine.begin() as connection:
        names = [name for name in inspect(connection).get_table_names() if name not in VERSIONS]
        if engine.dialect.name == "postgresql":
            connection.execute(text(f"TRUNCATE {', '.join(names)} RESTART IDENTITY CASCADE"))
        else:
            connection.execute(text("SET FOREIGN_KEY_CHECKS = 0"))
            for name in names:
                connection.execute(text(f"DELETE FROM {name}"))
            used = "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE()"
            for name in connection.execute(text(f"{used} AND auto_increment > 1")).scalars().all():
                connection.execute(text(f"ALTER TABLE {name} AUTO_INCREMENT = 1"))
    engine.dispose()
