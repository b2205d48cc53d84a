"""Training code in a worker's process: what a study says of it, and that the code still says the same."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import platform
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from search.errors import AbsentHere, ConfigError
from search.objectives.base import Job, Joining, OpenObjective, Product, ResumeCheckpoint
from search.objectives.external import checkpoint_file
from search.objectives.external.checkpoint_file import CodeState, KeptFiles
from search.objectives.external.messages import Hello
from search.objectives.external.process import LOG_BYTES, Check, Process, Unstarted, start, unstarted
from search.objectives.external.session import Session
from search.objectives.external.trial_files import RunningFolder, log_path
from search.objectives.external.work import CodeWork, Place
from search.records import DeclaredSpec
from search.space.spec import space_of_spec

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class CodeOptions:
    """What the spec of a study says of its training code, besides metric, unit, budget and space."""

    command: tuple[str, ...]
    """what is started; nothing is added to it"""
    folder: Path
    """absolute: where the command runs"""
    objective: str
    """what messages call it: train.py:train"""
    code: Mapping[str, str]
    """SHA-256 by file, of the code with which the study was created"""
    checkpoints: bool
    """whether a trial can continue from files in its directory"""
    test: bool
    """whether the code has a test function"""
    log_bytes: int = LOG_BYTES
    """of a trial's output that are kept"""

    @classmethod
    def of(cls, spec: DeclaredSpec) -> CodeOptions:
        """Raises ConfigError for options that tune did not write."""
        told: Mapping[str, Any] = spec.options
        try:
            found = cls(
                command=tuple(map(str, told["command"])),
                folder=Path(told["folder"]),
                objective=str(told["objective"]),
                code=dict(told["code"]),
                checkpoints=bool(told["checkpoints"]),
                test=bool(told["test"]),
                log_bytes=int(told.get("log_bytes", LOG_BYTES)),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ConfigError(
                f"The study's training code cannot be read from its spec: {error!r}."
            ) from error
        if not found.command or not found.folder.is_absolute():
            raise ConfigError("The study's training code has no command, or a folder that is not absolute.")
        return found


class OpenCode(OpenObjective):
    """The training code of one study, with a process of this worker."""

    def __init__(self, spec: DeclaredSpec, options: CodeOptions, folder: Path, *, threads: int) -> None:
        """folder: of the study's files. threads: that the process may use.

        Raises ConfigError where the code cannot be started, or declares another study.
        """
        self.spec, self.options = spec, options
        self.has_checkpoints = options.checkpoints
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
        """Its output until the first trial is in a log that is deleted, unless the code does not start."""
        log = self._folder / "logs" / f"start-{platform.node()}-{os.getpid()}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        try:
            return self._started(log, lambda: None)
        except Unstarted as error:
            raise ConfigError(unstarted(self.options.command, error)) from error
        except OSError as error:
            command, folder = self.options.command[0], self.options.folder
            raise ConfigError(f"{command} cannot be started in {folder}: {error.strerror}.") from error
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
        if (problem := difference(self.spec, options, hello)) is not None:
            process.kill()
            raise ConfigError(
                f"{options.objective} declares another {problem}. Undo that change, or give a search with it "
                "another name: --study NAME."
            )
        if hello.code != self._code:
            _logger.warning("the code of %s has changed since the study was created", options.objective)
        self._code = hello.code
        return process


def difference(spec: DeclaredSpec, options: CodeOptions, hello: Hello) -> str | None:
    """What training code declares otherwise than its study, the first of it in words; None: nothing.

    A confirmation and an ablation may have another space and another budget than the code.
    """
    told: list[tuple[str, object, object]] = [
        ("score", hello.score, spec.metric.name),
        ("direction", hello.direction, spec.metric.direction.value),
        ("unit", hello.unit, spec.unit),
        ("support of checkpoints", hello.checkpoints, options.checkpoints),
    ]
    if spec.searches:
        told.append(("budget", hello.budget, spec.budget))
    for what, now, then in told:
        if now != then:
            return f"{what} than its study has: {now}, and not {then}"
    return _other_space(spec, hello) if spec.searches else None


def _other_space(spec: DeclaredSpec, hello: Hello) -> str | None:
    try:
        now = space_of_spec(replace(spec, space=hello.space)).domains
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        return f"search space than its study has, one that is not valid: {error}"
    then = space_of_spec(spec).domains
    for name in (*then, *now):
        if now.get(name) != then.get(name):
            return f"search space than its study has: {name} is {now.get(name)}, and not {then.get(name)}"
    return None


def open_code(joining: Joining) -> OpenCode:
    """Starts the training code of a study.

    Raises AbsentHere where its folder or its interpreter is not on this machine, else ConfigError where it
    cannot be started or declares another study.
    """
    spec = joining.record.spec
    assert isinstance(spec, DeclaredSpec), "the registry finds this objective for no other"
    options = CodeOptions.of(spec)
    if not options.folder.is_dir():
        raise AbsentHere(
            f"{options.objective} is in the folder {options.folder}, which is not on this machine "
            f"({platform.node()}): the study's workers need it under the same path."
        )
    if not _can_be_started(options.command, options.folder):
        raise AbsentHere(
            f"{options.objective} is started with {options.command[0]}, which is not on this machine "
            f"({platform.node()}): the study's workers need it under the same path."
        )
    return OpenCode(spec, options, joining.folder, threads=joining.threads)


def _processor() -> str:
    """The name of this machine's processor, as far as the system tells it."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _can_be_started(command: Sequence[str], folder: Path) -> bool:
    program = command[0]
    return shutil.which(folder / program if "/" in program else program) is not None
