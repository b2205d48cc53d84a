"""A study is deleted under its workers and another one made at once, which SQLite gives the same numbers.

Its workers must notice before they write: what they still bring belongs to no study any more.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from search.service.delete import delete


@pytest.mark.timeout(300)
@pytest.mark.parametrize("after_s", [0.1, 0.3, 0.6])
@pytest.mark.parametrize("database", ["sqlite_url", "postgresql_url", "mysql_url"])
def test_workers_of_a_deleted_study_write_nothing_into_its_successor(
    request: pytest.FixtureRequest, arena: Callable[..., Any], database: str, after_s: float
) -> None:
    old = arena(request.getfixturevalue(database), trials=8, seed=1)
    for _ in range(2):
        old.start(pause_s=0.05)
    deadline = time.monotonic() + 60
    while not any(line["event"] == "begun" for line in old.history):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    time.sleep(after_s)
    assert delete(old.url, old.study, force=True, agree=lambda _: True) is not None
    new = replace(old, folder=old.folder / "new", options={"seed": 2}, pids=[])
    new.folder.mkdir()
    new.create()
    for _ in range(2):
        new.start(pause_s=0.05)
    for pid in [*old.pids, *new.pids]:
        new.wait(pid)
    assert [line for line in old.history if line["event"] == "crashed"] == []
    assert old.refused() == []
    new.check()
    begun = {json.dumps(line["trial"]) for line in new.history if line["event"] == "begun"}
    assert len(begun) >= new.trials
