"""How often a worker connects to a database server: each time costs it 25 to 50 ms with PyMySQL."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
import torch
from sqlalchemy import event

from data.datasets.mnist import Mnist
from search.optuna_db.storage import open_storage
from search.service.create import RunRequest, create_or_resume
from search.store.engine import CONNECTIONS
from search.worker.context import prepare
from search.worker.worker_loop import work

REQUEST = RunRequest(task="twodigit", trials=3, epochs=0.02, model="mlp", pruner="none")


@pytest.mark.parametrize("database", ["postgresql_url", "mysql_url"])
def test_a_worker_connects_once_for_each_of_its_threads(
    database: str, request: pytest.FixtureRequest, mnist: Mnist, tmp_path: Path
) -> None:
    torch.set_num_threads(1)
    connected: list[str] = []
    used: set[str] = set()
    with open_storage(request.getfixturevalue(database)) as storage:
        create_or_resume(storage, REQUEST, mnist)
        engine = storage.trials.database.engine

        @event.listens_for(engine, "connect")
        def _connected(*_: object) -> None:
            connected.append(threading.current_thread().name)

        @event.listens_for(engine, "checkout")
        def _used(*_: object) -> None:
            used.add(threading.current_thread().name)

        here = prepare(storage, REQUEST.name, mnist, tmp_path, device="cpu", threads=1, lease_s=0.06)
        assert work(here, stop=lambda: False) == 3
    assert used == {"MainThread", "leases"}
    assert len(connected) < CONNECTIONS, "the first connection was made when the storage was opened"
