"""Exactly N, whatever is killed, frozen or cut off meanwhile. `make soak` runs many more schedules."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

import pytest

SCHEDULES = int(os.environ.get("TUNE_SOAK", "1"))
"""Seeded schedules on each database."""
FIRST = int(os.environ.get("TUNE_SOAK_FIRST", "0"))
TRIALS = 14
WORKERS = 3


@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", range(FIRST, FIRST + SCHEDULES))
@pytest.mark.parametrize("database", ["sqlite_url", "postgresql_url", "mysql_url"])
def test_nothing_is_lost_doubled_or_left_over(
    request: pytest.FixtureRequest,
    arena: Callable[..., Any],
    nemesis: Callable[[Any, int], Any],
    database: str,
    seed: int,
) -> None:
    study = arena(request.getfixturevalue(database), trials=TRIALS, created=False, seed=seed)
    evil = nemesis(study, seed)
    evil.create()
    made = len(evil.done)
    deadline = time.monotonic() + 240
    strikes = evil.generator.randint(4, 10)
    for _ in range(WORKERS):
        study.start(pause_s=0.02)
    while study.alive():
        assert time.monotonic() < deadline, f"not done; what happened: {evil.done}"
        time.sleep(evil.generator.uniform(0.05, 0.4))
        evil.thaw()
        if len(evil.done) - made < strikes:
            evil.strike()
        awake = [pid for pid in study.alive() if pid not in evil.frozen]
        if len(awake) < WORKERS and not finished(study):
            study.start(pause_s=0.02)
        if len(evil.done) - made >= strikes and finished(study):
            evil.thaw(everything=True)
    evil.end()
    study.check()
    assert len(evil.done) - made >= strikes or finished(study)


def finished(study: Any) -> bool:
    """Whether some worker found the study done. Confirmations need not be N then: a worker that is killed
    between its last write and its note in the history confirms nothing."""
    return any(line["event"] == "study done" for line in study.history)
