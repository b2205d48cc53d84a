"""Training code, its process and its worker die at their first step, at their second, and so on, until all is
done without their dying. The trials are searched with ASHA and checkpoints: they pause and continue.

A worker dies before and after each commit. The process of the user dies before and after each line that it
sends or reads; such a trial has failed and is no finished one, and another takes its place.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from spoken import TRAIN, program, spoken_spec

from search.optuna_db.storage import open_storage
from search.records import Failure, State, TrialRecord
from search.study.study import Study

DIES = """
import os, pathlib
PLACE = pathlib.Path(__file__).with_name("moment")
SEEN = 0

def step():
    global SEEN
    SEEN += 1
    if PLACE.exists() and SEEN == int(PLACE.read_text()):
        PLACE.unlink()
        os.kill(os.getpid(), 9)
"""

DYING = """
_say, _hear = say, hear

def say(key, **body):
    step()
    _say(key, **body)
    step()

def hear():
    step()
    heard = _hear()
    step()
    return heard

def train(trial):
    whole(trial)
"""

SLOW = """
def train(trial):
    whole(trial, each=lambda trial, step: time.sleep(0.1))
"""

pytestmark = [
    pytest.mark.timeout(1800),
    pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks for processes in /proc"),
]


@pytest.fixture
def study(arena: Callable[..., Any]) -> Callable[..., Any]:
    """study(url): an arena of training code."""

    def make(url: str, train: str = TRAIN, *, before: str = "", trials: int = 2) -> Any:
        made = arena(url, trials=trials, created=False)
        path = program(made.folder / "code", train, before=before)
        with open_storage(made.url) as storage:
            assert Study.create(storage, made.study, spoken_spec(path, pruner="asha"), trials) is not None
        return made

    return make


def trials_of(study: Any) -> list[TrialRecord]:
    with open_storage(study.url, create=False) as storage:
        found = Study.find(storage, study.study)
        assert found is not None
        return found.trials()


def left_over(study: Any) -> list[str]:
    """Processes of the code that are alive."""
    found = []
    for each in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = each.read_bytes()
        except OSError:
            continue
        if str(study.folder / "code").encode() in line:
            found.append(line.decode())
    return found


def test_a_worker_may_die_at_any_write(study: Callable[..., Any], tmp_path: Path, stride: int) -> None:
    moment, survived = 1, False
    while not survived:
        one = study(f"sqlite:///{tmp_path}/{moment}.db")
        one.wait(one.start(die_at=moment))
        survived = one.history[-1]["event"] == "study done"
        one.bury()
        one.wait(one.start())
        one.check()
        assert left_over(one) == []
        moment += stride
    assert moment > 40, "two trials take more than twenty writes, two moments each"


def test_the_process_of_the_code_may_die_at_any_line(
    study: Callable[..., Any], tmp_path: Path, wide_stride: int
) -> None:
    # Before moment 3 it has not said hello, and the worker is refused. Who dies between trials is replaced.
    moment, survived, failures = 3, False, 0
    while not survived:
        one = study(f"sqlite:///{tmp_path}/{moment}.db", DYING, before=DIES)
        place = one.folder / "code" / "moment"
        place.write_text(str(moment))
        one.wait(one.start())
        survived = place.exists()
        one.check()
        failed = [trial for trial in trials_of(one) if trial.state is State.FAILED]
        assert [trial.failure for trial in failed] in ([], [Failure.ERROR]), moment
        failures += len(failed)
        assert left_over(one) == []
        moment += wide_stride
    assert moment > 60, "a trial has more than thirty lines, with two moments each"
    assert failures * wide_stride > 60, "and nearly all of them are in a trial"


@pytest.mark.server
def test_a_machine_of_two_may_vanish(study: Callable[..., Any], postgresql_url: str) -> None:
    """Machines that share a server and no folder: what the lost one had begun, the other one does."""
    one = study(postgresql_url, SLOW, trials=8)
    lost, left = (
        [one.start(artifacts=str(one.folder / name)) for _ in range(2)] for name in ("lost", "left")
    )
    until = time.monotonic() + 60
    while len({line["trial"] for line in one.history if line["event"] == "begun"}) < 5:
        assert time.monotonic() < until, one.history
        time.sleep(0.02)
    for pid in lost:
        one.kill(pid)
    for pid in left:
        one.wait(pid)
    one.check(artifacts=one.folder / "left")
    died = [trial.number for trial in trials_of(one) if trial.failure is Failure.WORKER_DIED]
    assert died
    assert {trial.retry_of for trial in trials_of(one)} >= set(died)
    assert left_over(one) == []
