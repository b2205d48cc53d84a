"""An SQLite file that another program keeps locked: it is waited for, and a signal is obeyed meanwhile."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.timeout(300)


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """Nobody else can read or write it for as long as the block lasts."""
    with closing(sqlite3.connect(file, timeout=60, isolation_level=None)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        yield
        connection.execute("ROLLBACK")


def test_workers_wait_for_it(arena: Callable[..., Any], tmp_path: Path, locked_s: float) -> None:
    file = tmp_path / "studies.db"
    study = arena(f"sqlite:///{file}", trials=14)
    for _ in range(3):
        study.start(pause_s=0.03)
    wait_until(lambda: len(confirmed(study)) >= 3)
    with locked(file):
        before = len(confirmed(study))
        assert before < 14, "it was in the middle"
        time.sleep(locked_s)
        assert len(study.alive()) == 3
        assert len(confirmed(study)) <= before + 3, "at most what was on its way"
    wait_until(lambda: not study.alive())
    study.check()
    assert [line for line in study.history if line["event"] == "gave up"] == []


def test_a_signal_is_obeyed_while_it_is_locked(start: Callable[..., Any], tmp_path: Path) -> None:
    run = ("run", "--task", "twodigit", "--model", "mlp", "--pruner", "none", "--workers", "1")
    file = tmp_path / "studies.db"
    running = start(*run, "--epochs", "20", "--trials", "3", cwd=tmp_path, TUNE_STORAGE=f"sqlite:///{file}")
    wait_until(lambda: file.exists() and is_training(file))
    with locked(file):
        time.sleep(0.5)
        running.terminate()
        _, words = running.communicate(timeout=50)  # SQLite alone would wait for a minute, again and again
    assert running.returncode == 143, words
    assert "while the storage did not answer" in words


def is_training(file: Path) -> bool:
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True, timeout=1)) as connection:
        try:
            [(running,)] = connection.execute(
                "SELECT count(*) FROM trials JOIN tune_reports USING (trial_id) WHERE state = 'RUNNING'"
            )
        except sqlite3.OperationalError:  # no table yet
            return False
        return bool(running)


def confirmed(study: Any) -> list[Any]:
    return [line for line in study.history if line["event"] == "confirmed"]


def wait_until(true: Callable[[], bool], *, timeout_s: float = 120) -> None:
    deadline = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < deadline, f"not within {timeout_s} s"
        time.sleep(0.02)
