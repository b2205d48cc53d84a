from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from search.optuna_db.deletion import delete_study
from search.optuna_db.storage import Storage, open_storage


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
