"""The database's clock jumps by an hour at every look: who lives keeps its trials, who is gone is noticed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

DATABASES = ["sqlite_url", "postgresql_url", "mysql_url"]


@pytest.mark.parametrize("database", DATABASES)
def test_a_worker_that_lives_keeps_its_trials(
    request: pytest.FixtureRequest, arena: Callable[..., Any], database: str
) -> None:
    study = arena(request.getfixturevalue(database), trials=8, pruner="none")
    for _ in range(3):
        study.start(pause_s=0.05, lease_s=15.0, clock_jumps=True)
    for pid in study.pids:
        study.wait(pid)
    study.check()
    begun = [line["trial"] for line in study.history if line["event"] == "begun"]
    assert sorted(begun) == list(range(8)), "none had to be repeated"


@pytest.mark.parametrize("database", DATABASES)
def test_a_worker_that_is_gone_is_noticed(
    request: pytest.FixtureRequest, arena: Callable[..., Any], database: str
) -> None:
    """Also where its claim holds for another hour by the clock that it saw."""
    study = arena(request.getfixturevalue(database), trials=4, pruner="none")
    # In the middle of its first trial, also where a slow machine lets a renewal of its lease come between.
    study.wait(study.start(pause_s=0.0, clock_jumps=True, die_at=12))
    told = [(line["event"], line["trial"]) for line in study.history if "trial" in line]
    assert [each for each in told if each[0] in ("begun", "confirmed")] == [("begun", 0)]
    study.wait(study.start(pause_s=0.0, clock_jumps=True))
    study.check()
