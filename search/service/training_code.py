"""Reads what a person's training code declares, and makes of it the spec of a study."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from search.errors import ConfigError, UsageError
from search.objectives.external.kind import CODE
from search.objectives.external.process import hello_of
from search.records import DeclaredSpec, Direction, Metric
from search.report.words import amount, count
from search.service.create import RunRequest
from search.space.spec import declared_entries, space_of_entries_in_full
from search.study.samplers import DEFAULT_SAMPLER
from tune.space import SpaceError

SERVE = Path(__file__).resolve().parents[2] / "tune" / "serve.py"
"""What the person's interpreter is started with; `tune` need not be installed there."""

PAUSING, STOPPING = "asha", "percentile"
"""Pruners of a new study whose code can continue a trial, and of one whose code cannot."""


def command_of(request: RunRequest) -> tuple[list[str], Path, str]:
    """(command, folder, objective as it is told to the command) of the code that a request names.

    Raises UsageError where the file or the interpreter is not there.
    """
    assert request.objective is not None, "the request names an objective"
    file, _, name = request.objective.partition(":")
    python = Path(sys.executable) if request.python is None else request.python
    if not python.is_file():
        raise UsageError(f"--python {python}: there is no such file.")
    if not file.endswith(".py"):  # a module below this folder
        return [str(python.absolute()), str(SERVE), request.objective], Path.cwd(), request.objective
    path = Path(file).absolute()
    if not path.is_file():
        raise UsageError(f"--objective {request.objective}: there is no file {path}.")
    told = path.name + (f":{name}" if name else "")
    return [str(python.absolute()), str(SERVE), told], path.parent, told


def declare(request: RunRequest) -> DeclaredSpec:
    """The spec of a study of this training code, which is started once to say what it declares.

    Raises UsageError for code that is not there, ConfigError where it cannot be imported or declares
    something invalid.
    """
    command, folder, objective = command_of(request)
    hello = hello_of(command, folder)
    if ":" not in objective:  # the file has one only
        objective = f"{objective}:{hello.name}"
        command = [*command[:-1], objective]
    try:
        space = space_of_entries_in_full(hello.space)
        direction = Direction(hello.direction)
    except (SpaceError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise ConfigError(
            f"{objective} declares a space or a direction that is not valid: {error}."
        ) from error
    return DeclaredSpec(
        objective=CODE,
        metric=Metric(name=hello.score, direction=direction, is_fraction=False),
        unit=hello.unit,
        budget=hello.budget,
        space=declared_entries(space),
        seed=request.seed or 0,
        sampler=request.sampler or DEFAULT_SAMPLER,
        pruner=request.pruner or (PAUSING if hello.checkpoints else STOPPING),
        options={
            "command": command,
            "folder": str(folder),
            "objective": objective,
            "code": dict(hello.code),
            "checkpoints": hello.checkpoints,
            "test": hello.test,
        },
    )


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
