"""The command `tune`, in two ways: inside this process, and as a process that one waits for."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import select
import shutil
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from worker_thread import run_workers_as_threads

from data.datasets.mnist import Mnist
from search.cli.app import run_command
from search.optuna_db.storage import open_storage
from search.service.create import RunRequest, create_or_resume
from search.service.export import export
from search.worker.context import prepare
from search.worker.worker_loop import work

TUNE = (sys.executable, "-P", "-m", "search")
"""Not the script `tune`: where Ray is installed too, that may be its own."""


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    returncode: int
    stdout: str
    stderr: str

    @property
    def parsed(self) -> Any:
        """What a command with --json printed; everything that is not data must be elsewhere."""
        assert self.returncode == 0, self.stderr
        return json.loads(self.stdout)


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Done]:
    """here("studies", cwd=folder): the command inside this process, which spares the seconds of importing."""

    def run(*arguments: str, cwd: Path, debug: bool = False) -> Done:
        monkeypatch.chdir(cwd)
        capsys.readouterr()
        code = run_command(list(arguments), debug=debug)
        printed = capsys.readouterr()
        return Done(returncode=code, stdout=printed.out, stderr=printed.err)

    return run


@pytest.fixture
def worker_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """A command that runs `here` starts its workers as threads."""
    run_workers_as_threads(monkeypatch)


@pytest.fixture
def tune() -> Callable[..., Done]:
    """tune("studies", cwd=folder): the command as a process of its own."""

    def run(*arguments: str, cwd: Path, **environment: str) -> Done:
        done = subprocess.run(
            [*TUNE, *arguments],
            cwd=cwd,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=110,
            check=False,
        )
        return Done(returncode=done.returncode, stdout=done.stdout, stderr=done.stderr)

    return run


@pytest.fixture(scope="session")
def in_a_terminal() -> Callable[..., tuple[int, str]]:
    """in_a_terminal([TUNE, "studies"], columns=80): the exit code and all that a terminal of that width is
    sent, its control codes left out."""

    def run(
        command: list[str], *, columns: int, cwd: Path | None = None, timeout_s: float = 60
    ) -> tuple[int, str]:
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
        environment = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
        process = subprocess.Popen(
            command,
            cwd=cwd,
            env={**environment, "TERM": "xterm"},
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)
        sent, until = b"", time.monotonic() + timeout_s
        try:
            while time.monotonic() < until:
                if select.select([ours], [], [], 0.2)[0]:
                    sent += os.read(ours, 65536)
                elif process.poll() is not None:
                    break
        except OSError:  # how Linux says that the last process has closed it
            pass
        finally:
            os.close(ours)
            if process.poll() is None and time.monotonic() >= until:
                process.kill()
        text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\r", "", sent.decode())
        return process.wait(timeout=10), text

    return run


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, mnist: Mnist) -> Path:
    """A folder with two finished studies of twodigit and one of sum."""
    torch.set_num_threads(1)  # as in a worker process; the last bits depend on it
    folder = tmp_path_factory.mktemp("finished")
    storage = open_storage(f"sqlite:///{folder / 'studies.db'}")
    for task, name, seed in (("twodigit", "twodigit", 0), ("twodigit", "again", 1), ("sum", "sum", 0)):
        request = RunRequest(task=task, trials=4, study=name, epochs=0.02, model="mlp", seed=seed)
        create_or_resume(storage, request, mnist)
        context = prepare(storage, name, mnist, folder / "studies.artifacts", device="cpu", threads=1)
        assert work(context, stop=lambda: False) == 4
    storage.close()
    return folder


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory, finished: Path) -> Path:
    """A folder with the finished studies and their exports: `twodigit` (with int8) and `sum`."""
    folder = tmp_path_factory.mktemp("exported") / "here"
    shutil.copytree(finished, folder)
    for study in ("twodigit", "sum"):
        export(
            f"sqlite:///{folder / 'studies.db'}",
            study,
            trial=None,
            out=folder / study,
            force=False,
            int8=study == "twodigit",
            tell=lambda words: None,
        )
    return folder
