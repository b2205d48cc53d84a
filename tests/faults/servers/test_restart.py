"""A server that dies and comes back while a study is worked on: exactly N, and without anybody's help."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from search.errors import TuneError
from search.records import Counts
from search.service import look

pytestmark = pytest.mark.timeout(300)
TRIALS = 14


def test_workers_wait_for_it(arena: Callable[..., Any], server: Any, away_s: float) -> None:
    study = arena(server.new_database(), trials=TRIALS)
    for _ in range(3):
        study.start(pause_s=0.03)
    wait_until(lambda: len(confirmed(study)) >= 3)
    server.kill()
    time.sleep(away_s / 2)
    before = len(confirmed(study))
    assert before < TRIALS, "it was in the middle"
    time.sleep(away_s / 2)
    assert len(study.alive()) == 3
    assert len(confirmed(study)) == before, "nothing is confirmed by nobody"
    server.start()
    wait_until(lambda: not study.alive())
    study.check()
    assert [line for line in study.history if line["event"] == "gave up"] == []


RUN_ON = ["postgresql", "mariadb"] if "TUNE_SOAK" in os.environ else ["postgresql"]
"""A whole run takes its seconds to start."""
RUN = ("run", "--objective", "train.py:train", "--pruner", "none", "--workers", "1")
TRAIN = """
import time
import tune

@tune.objective(space=tune.Space(x=tune.Float(0.0, 1.0)), score="loss", direction="minimize", budget=5)
def train(trial):
    for step in range(1, trial.budget + 1):
        time.sleep(0.2)  # a network would keep a processor busy meanwhile
        trial.report(step, loss=trial.params["x"] / step)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "train.py").write_text(TRAIN)
    return tmp_path


@pytest.mark.parametrize("server", RUN_ON, indirect=True)
def test_a_run_goes_on_by_itself(server: Any, start: Any, folder: Path, away_s: float) -> None:
    url = server.new_database()
    running = start(*RUN, "--trials", "5", cwd=folder, TUNE_STORAGE=url)
    wait_until(lambda: counts(url).finished >= 1)
    server.kill()
    time.sleep(away_s)
    server.start()
    out, words = running.communicate(timeout=200)
    assert running.returncode == 0, words
    assert "5 of 5 trials finished (5 complete, 0 pruned)" in out, "none failed"


@pytest.mark.parametrize("server", RUN_ON, indirect=True)
def test_a_signal_is_obeyed_while_it_is_away(server: Any, start: Any, folder: Path) -> None:
    url = server.new_database()
    running = start(*RUN, "--trials", "3", cwd=folder, TUNE_STORAGE=url)
    wait_until(lambda: counts(url).running == 1)
    server.kill()
    time.sleep(1)
    running.terminate()
    _, words = running.communicate(timeout=60)  # of the two minutes that it would wait otherwise
    server.start()
    assert running.returncode == 143, words
    assert "the same command continues" in words
    again = start(*RUN, "--trials", "3", cwd=folder, TUNE_STORAGE=url)
    out, words = again.communicate(timeout=200)
    assert again.returncode == 0, words
    assert "3 of 3 trials finished" in out


def counts(url: str) -> Counts:
    """Of the study; nothing where there is none yet."""
    try:
        return look.studies(url)[0].counts
    except (TuneError, IndexError):
        return Counts()


def confirmed(study: Any) -> list[Any]:
    return [line for line in study.history if line["event"] == "confirmed"]


def wait_until(true: Callable[[], bool], *, timeout_s: float = 120) -> None:
    deadline = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < deadline, f"not within {timeout_s} s"
        time.sleep(0.1)  # each look reads the database, with workers that need the processor more
