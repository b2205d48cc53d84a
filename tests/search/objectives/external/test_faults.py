"""Training code under `tune worker`: its process stands still, its worker or the command is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from spoken import BUDGET, heard, program, spoken_spec

from search.optuna_db.storage import Storage, open_storage
from search.records import Failure, State
from search.study.study import Study

pytestmark = [
    pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks for processes in /proc"),
    pytest.mark.timeout(300),
]

Start = Callable[..., subprocess.Popen[str]]

PIDS = """
def pids(trial):
    helper = subprocess.Popen(["sleep", "1000"], start_new_session=True)
    (here / f"pids-{trial['number']}.tmp").write_text(f"{os.getpid()} {os.getppid()} {helper.pid}")
    os.rename(here / f"pids-{trial['number']}.tmp", here / f"pids-{trial['number']}")
"""


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[Storage]:
    with open_storage(f"sqlite:///{tmp_path}/studies.db") as opened:
        yield opened


def study_of(storage: Storage, folder: Path, train: str, *, trials: int, **changed: object) -> Study:
    path = program(folder / "code", PIDS + textwrap.dedent(train))
    study = Study.create(storage, "s", spoken_spec(path, **changed), trials)
    assert study is not None
    return study


def until(condition: Callable[[], bool], within_s: float = 60.0) -> None:
    end = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.02)


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def pids(folder: Path, number: int) -> list[int]:
    """Of the program, its guard and a helper, once trial `number` has begun."""
    path = folder / "code" / f"pids-{number}"
    until(path.exists)
    return [int(each) for each in path.read_text().split()]


def curve(storage: Storage, study: Study, trial_id: int) -> list[tuple[int, float]]:
    found = storage.store.curve(trial_id, study.metric)
    return [(report.step, report.metrics["first"]) for report in found]


def test_a_process_that_stands_still_is_killed_and_its_trial_failed(
    storage: Storage, tmp_path: Path, start: Start
) -> None:
    train = """
    def train(trial):
        pids(trial)
        report(1, loss=1, first=1.0)
        if trial["number"] == 0:
            os.kill(os.getpid(), signal.SIGSTOP)
        for step in range(2, 10):
            report(step, loss=1, first=1.0)
    """
    study = study_of(storage, tmp_path, train, trials=3)
    command = start("worker", "s", "--workers", "1", "--stall-timeout", "10", cwd=tmp_path)
    stopped = pids(tmp_path, 0)
    out, err = command.communicate(timeout=120)
    assert command.returncode == 0, out + err
    trials = study.trials()
    assert (trials[0].failure, trials[0].failure_detail) == (Failure.TIMEOUT, "no report for 10 s")
    assert [trial.state for trial in trials[1:]] == [State.COMPLETE] * 3
    assert not any(map(is_alive, stopped))
    assert not any(map(is_alive, pids(tmp_path, 3))), "nor is anything left of the last one"


SLOW = """
def train(trial):
    pids(trial)
    whole(trial, each=lambda trial, step: time.sleep(1.0))
"""


def test_a_trial_continues_from_its_last_checkpoint_after_its_worker_was_killed(
    storage: Storage, tmp_path: Path, start: Start
) -> None:
    study = study_of(storage, tmp_path, SLOW, trials=1, pruner="none")
    command = start("worker", "s", "--workers", "1", cwd=tmp_path)
    first = pids(tmp_path, 0)
    files = Path(tmp_path, "studies.artifacts")
    until(lambda: bool(list(files.glob("*/trial-*.at-*"))))
    os.kill(parent_of(first[1]), signal.SIGKILL)
    until(lambda: not any(map(is_alive, first)))
    out, err = command.communicate(timeout=200)
    assert command.returncode == 0, out + err
    dead, again = study.trials()
    assert dead.failure is Failure.WORKER_DIED
    assert (again.retry_of, again.state) == (dead.number, State.COMPLETE)
    found = curve(storage, study, again.trial_id)
    assert [step for step, _ in found] == list(range(1, BUDGET + 1))
    began = {first for _, first in found}
    assert len(began) == 2
    assert max(began) > 3, "it continued from the checkpoint, of step 3 or later"
    assert [body["resumed"] for _, body in heard(tmp_path / "code", "trial")] == [False, True]
    assert not any(map(is_alive, pids(tmp_path, 1)))
    assert [path.name for path in files.rglob("*") if path.is_file()] == []
    assert list(files.glob("*/running/*")) == []


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_nothing_is_left_when_the_command_ends(
    how: signal.Signals, storage: Storage, tmp_path: Path, start: Start
) -> None:
    study = study_of(storage, tmp_path, SLOW, trials=2)
    command = start("worker", "s", "--workers", "1", cwd=tmp_path)
    first = pids(tmp_path, 0)
    until(lambda: study.trials()[0].step > 1)
    command.send_signal(how)
    command.communicate(timeout=60)
    until(lambda: not any(map(is_alive, first)), 10)
    if how != signal.SIGKILL:
        assert study.trials()[0].failure is Failure.INTERRUPTED
        assert list(Path(tmp_path, "studies.artifacts").glob("*/trial-*.at-*")), "to continue from"
