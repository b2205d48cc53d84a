"""Whose process ids mean something here."""

from __future__ import annotations

import os
import socket
from dataclasses import replace
from pathlib import Path

import pytest

from data.datasets.mnist import Mnist
from search.launchers.base import Place
from search.machine import is_here, machine, new_worker_id
from search.optuna_db.storage import open_storage
from search.records import Worker
from search.service import drive
from search.service.create import RunRequest, create_or_resume
from search.worker.context import prepare

GONE = 2**22 + 1
"""A process id that no Linux gives."""


def test_an_id_says_where_its_worker_is() -> None:
    mine = new_worker_id()
    assert mine != new_worker_id()
    assert mine.startswith(f"{socket.gethostname()}:{os.getpid()}:{machine()}:")
    assert is_here(mine)
    assert not is_here(mine.replace(machine(), "00000000")), "a clone with the same name"
    assert not is_here(f"{socket.gethostname()}:{os.getpid()}:{machine()}"), "of an older tune"


@pytest.mark.parametrize("where", ["here", "clone"])
def test_only_a_process_of_this_machine_can_be_known_to_be_dead(
    sqlite_url: str, mnist: Mnist, tmp_path: Path, where: str
) -> None:
    """A clone of this machine has its name, and a worker there may have any process id."""
    with open_storage(sqlite_url) as storage:
        study, _ = create_or_resume(storage, RunRequest(task="twodigit", trials=3), mnist)
        context = prepare(storage, study.name, mnist, tmp_path, device="cpu", threads=1)
        place = machine() if where == "here" else "00000000"
        host = socket.gethostname()
        worker: Worker = replace(context.worker, worker_id=f"{host}:{GONE}:{place}:abc", pid=GONE)
        storage.store.add_worker(study.study_id, worker)
        assert storage.store.claim(study.study_id, worker.worker_id, lease_s=60) is not None
        known = {worker.worker_id} if where == "here" else set()
        assert drive.dead_here(storage, study) == known
        assert drive._ids_of(storage, study, [Place(host, GONE)]) == known
        assert drive._ids_of(storage, study, [Place("elsewhere", GONE)]) == set()
