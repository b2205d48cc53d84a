"""A trial that needs more memory than there is: it fails, and a fresh process continues with the next one."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from data.datasets.mnist import Mnist
from search.records import Failure, State
from search.service.look import trials
from search.study.reading import open_reading

LIMIT_BYTES = 2_600_000_000
"""Address space of each process: torch at work takes 0.8 GB of it, a layer of 16,384 × 32,768 takes 2.1."""


@pytest.mark.timeout(300)
def test_a_fresh_worker_goes_on(
    mnist: Mnist, tmp_path: Path, limited: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    (tmp_path / "space.toml").write_text("width = [8, 16384]\ndepth = 2\ntaper = 2.0\n")
    done = limited(
        "run", "--task", "twodigit", "--model", "mlp", "--epochs", "0.02", "--trials", "3", "--workers", "1",
        "--sampler", "random", "--seed", "2", "--pruner", "none", "--space", "space.toml", cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = trials(f"sqlite:///{tmp_path / 'studies.db'}", "twodigit").trials
    failed = [trial for trial in found if trial.state is State.FAILED]
    assert {trial.failure for trial in failed} == {Failure.OUT_OF_MEMORY}
    assert {trial.settings["width"] for trial in failed} == {16384}
    assert len(found) - len(failed) == 3
    assert max(trial.number for trial in failed) < max(trial.number for trial in found), "and goes on"
    with open_reading(f"sqlite:///{tmp_path / 'studies.db'}") as storage:
        assert len(storage.store.workers(1)) == 1 + len(failed), "each failure, another process"


@pytest.fixture
def limited() -> Callable[..., subprocess.CompletedProcess[str]]:
    """limited("run", …, cwd=folder): the command with little memory."""

    def run(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-P", "-m", "search", *arguments],
            cwd=cwd,
            env={**os.environ, "TUNE_STORAGE": "sqlite:///studies.db"},
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (LIMIT_BYTES, LIMIT_BYTES)),
            capture_output=True,
            text=True,
            timeout=280,
            check=False,
        )

    return run
