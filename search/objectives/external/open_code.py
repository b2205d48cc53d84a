"""Training code in a worker's process, with the process that runs it."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
from collections.abc import Mapping
from pathlib import Path

from search.errors import AbsentHere, ConfigError
from search.objectives.base import Job, Joining, OpenObjective, Product, ResumeCheckpoint
from search.objectives.external import checkpoint_file
from search.objectives.external.checkpoint_file import CodeState, KeptFiles
from search.objectives.external.declared import (
    CodeOptions,
    checksums,
    refuse_absent,
    refuse_change,
    spec_now,
    unstarted,
)
from search.objectives.external.process import Check, Process, Unstarted, start
from search.objectives.external.session import Session
from search.objectives.external.trial_files import RunningFolder, log_path
from search.objectives.external.work import CodeWork, Place
from search.records import DeclaredSpec


class OpenCode(OpenObjective):
    """The training code of one study, with a process of this worker."""

    def __init__(self, spec: DeclaredSpec, folder: Path, *, threads: int, checkpoints: bool = True) -> None:
        """folder: of the study's files. threads: that the process may use. checkpoints: whether a trial is
        continued from those of code that makes some.

        Raises AbsentHere where the code cannot be started, ConfigError where it declares another search.
        """
        options = CodeOptions.of(spec)
        refuse_absent(options.objective, options.command, options.folder)
        self.spec, self.options = spec, options
        self.has_checkpoints = options.checkpoints and checkpoints
        self._folder, self._threads = folder, threads
        self._code: Mapping[str, str] = options.code
        """of the process that was started last"""
        self._running: RunningFolder | None = None
        first = self._first_process()
        self._session = Session(self._started, first)
        self.environment = {
            "device": "cpu",
            "cpu": _processor(),
            "interpreter": options.command[0],
            **{f"code {name}": sha256 for name, sha256 in self._code.items()},
        }

    def begin(self, job: Job, state: CodeState | None = None) -> CodeWork:
        if self._running is None:
            self._running = RunningFolder(self._folder)
        self._running.make()
        log = log_path(self._folder, job.number)
        log.parent.mkdir(parents=True, exist_ok=True)
        place = Place(directory=self._running.directory(job.number), scratch=self._running.path, log=log)
        return CodeWork(
            self._session,
            job,
            self.spec,
            place,
            state,
            lambda: self._code,
            checkpoints=self.has_checkpoints,
        )

    def fingerprint(self, job: Job) -> str:
        """Without the code: it may change while a study is searched, which is shown, and a checkpoint is the
        code's own to read."""
        parts = [self.options.objective, sorted(job.settings.items()), job.seed, job.budget, self.spec.unit]
        return hashlib.sha256(json.dumps([checkpoint_file.FORMAT, *parts]).encode()).hexdigest()

    def write(self, path: Path, checkpoint: ResumeCheckpoint, about: Mapping[str, str]) -> None:
        best = checkpoint.best
        assert best is None or isinstance(best, KeptFiles), "it is this objective's"
        checkpoint_file.write(path, checkpoint.state, best, about)

    def read(self, path: Path) -> tuple[CodeState, Product | None, Mapping[str, str]]:
        return checkpoint_file.read(path)

    def about(self, job: Job) -> Mapping[str, str]:
        return {"objective": self.options.objective, **{f"code {k}": v for k, v in self._code.items()}}

    def close(self) -> None:
        self._session.close()
        running, self._running = self._running, None
        if running is not None:
            running.close()

    def _first_process(self) -> Process:
        """Its output until the first trial is in a log that is deleted; where the code does not start, the
        refusal has the end of it."""
        log = self._folder / "logs" / f"start-{platform.node()}-{os.getpid()}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        try:
            return self._started(log, lambda: None)
        except (Unstarted, OSError) as error:
            raise AbsentHere(unstarted(self.options.objective, error)) from error
        finally:
            log.unlink(missing_ok=True)

    def _started(self, log: Path, check: Check) -> Process:
        """A process whose code declares this very study. Raises Unstarted, ConfigError, and as `check`."""
        options = self.options
        process, hello = start(
            options.command,
            options.folder,
            log,
            check,
            log_bytes=options.log_bytes,
            threads=self._threads,
        )
        try:
            refuse_change(self.spec, spec_now(self.spec, hello))
        except ConfigError:
            process.kill()
            raise
        self._code = checksums(hello, options.command, options.folder)
        return process


def open_code(joining: Joining) -> OpenCode:
    """Starts the training code of a study.

    Raises AbsentHere where it cannot be started here, ConfigError where it declares another search.
    """
    spec = joining.record.spec
    assert isinstance(spec, DeclaredSpec), "the registry finds this objective for no other"
    return OpenCode(spec, joining.folder, threads=joining.threads)


def _processor() -> str:
    """The name of this machine's processor, as far as the system tells it."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
