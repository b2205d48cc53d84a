"""Reads what a person's training code declares, and makes of it the spec of a study."""

from __future__ import annotations

import os
import secrets
import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from search.errors import AbsentHere, ConfigError, UsageError
from search.files import write_whole
from search.objectives.external.declared import hello_of, spec_of
from search.records import DeclaredSpec, StudyRecord
from search.report.words import amount, count
from search.service.create import RunRequest, command_words
from search.store.location import Location
from search.study.samplers import DEFAULT_SAMPLER
from search.worker.artifacts import Artifacts
from tune.pickled import ANY_STUDY, SUFFIX

FUNCTION = "function"
"""Option of a study whose function is pickled: its file, in the folder of any study."""

SERVE = Path(__file__).resolve().parents[2] / "tune" / "serve.py"
"""What the person's interpreter is started with; `tune` need not be installed there."""

PAUSING, STOPPING = "asha", "percentile"
"""Pruners of a new study whose code can continue a trial, and of one whose code cannot."""


def command_of(request: RunRequest) -> tuple[list[str], Path, str]:
    """(command, folder, what messages call it) of the code that a request names.

    Raises AbsentHere for an interpreter that is not on the PATH.
    """
    if request.command is not None:
        return command_words(request.command), Path.cwd(), request.command
    assert request.objective is not None, "the request names an objective"
    file, _, name = request.objective.partition(":")
    start = [str(_interpreter(request.python)), str(SERVE)]
    if file.endswith(SUFFIX):  # of a notebook, in whose folder it runs
        return [*start, file], Path.cwd(), name
    if not file.endswith(".py"):  # a module below this folder
        return [*start, request.objective], Path.cwd(), request.objective
    path = Path(file).absolute()
    told = path.name + (f":{name}" if name else "")
    return [*start, told], path.parent, told


def _interpreter(python: Path | None) -> Path:
    """As a shell finds it: a name without a slash is looked up on the PATH."""
    if python is None:
        return Path(sys.executable)
    if os.sep in str(python):
        return python.absolute()
    found = shutil.which(python)
    if found is None:
        raise AbsentHere(f"--python {python}: there is no such program on the PATH; give its path.")
    return Path(found).absolute()


def declare(request: RunRequest, location: Location) -> DeclaredSpec:
    """The spec of a study of this training code, which is started once to say what it declares. A pickled
    function will be in the folder of its study (`keep_function`).

    Raises AbsentHere where it cannot be started here, ConfigError where it declares something invalid.
    """
    command, folder, objective = command_of(request)
    hello = hello_of(objective, command, folder)
    more = {}
    if request.command is None and command[-1].endswith(SUFFIX):
        more[FUNCTION] = str(location.artifacts / ANY_STUDY / f"function-{secrets.token_hex(8)}{SUFFIX}")
        command = [*command[:-1], more[FUNCTION]]
    elif request.command is None and ":" not in objective:  # the file has one only
        objective = f"{objective}:{hello.name}"
        command = [*command[:-1], objective]
    spec = spec_of(
        hello,
        objective=objective,
        command=command,
        folder=folder,
        seed=request.seed or 0,
        sampler=request.sampler or DEFAULT_SAMPLER,
        pruner=request.pruner or (PAUSING if hello.checkpoints else STOPPING),
    )
    return replace(spec, options={**spec.options, **more})


def keep_function(request: RunRequest, record: StudyRecord, location: Location) -> None:
    """Puts the pickled function of a request into the folder of its study, in place of the one that is there.

    Workers that start from now on run it. Does nothing where the code is in a file of the user's. Raises
    ConfigError where the disk refuses.
    """
    assert isinstance(record.spec, DeclaredSpec), "the study is of training code"
    kept = record.spec.options.get(FUNCTION)
    if kept is None or request.objective is None:
        return
    given = Path(request.objective.partition(":")[0])
    path = Artifacts.of(location.artifacts, record).folder / Path(str(kept)).name
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, given.read_bytes())
        path.chmod(0o600)
    except OSError as error:
        raise ConfigError(f"The function cannot be written to {path}: {error.strerror}.") from error


def refuse_pausing(request: RunRequest, spec: DeclaredSpec) -> None:
    """Raises UsageError for a pruner that pauses trials of code which cannot continue them."""
    if request.pruner == PAUSING and not spec.options.get("checkpoints"):
        raise UsageError(
            f"--pruner {PAUSING} pauses trials and continues the best, and {spec.options['objective']} "
            "declares no checkpoints: say checkpoints=True in `@tune.objective` once it can continue, or "
            f"take --pruner {STOPPING}, which stops trials for good."
        )


def plan(spec: DeclaredSpec) -> Iterator[str]:
    """What of pausing, resuming and confirming the code supports, and why: sentences."""
    objective = spec.options["objective"]
    yield (
        f"{objective}: {count(len(spec.space), 'setting')}; {spec.metric.title} is "
        f"{spec.metric.direction.value}d; a trial has {amount(spec.budget, spec)}."
    )
    if spec.options.get("checkpoints"):
        yield (
            "It has checkpoints: trials can pause and continue, and one whose worker is killed continues "
            "from its last checkpoint."
        )
    else:
        yield (
            "It has no checkpoints (`checkpoints=True` declares them): trials are stopped, never paused, and "
            "one whose worker is killed begins again."
        )
    yield "`tune confirm` and `tune ablate` repeat configurations on fresh seeds."
