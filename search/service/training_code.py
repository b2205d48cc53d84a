"""Reads what a person's training code declares, and makes of it the spec of a study."""

from __future__ import annotations

import os
import secrets
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

from search.errors import AbsentHere, ConfigError, UsageError
from search.files import write_whole
from search.objectives.external.declared import FUNCTION, CodeOptions, hello_of, is_gone, spec_of
from search.objectives.external.kind import CODE
from search.optuna_db.storage import Storage
from search.records import DeclaredSpec, StudyRecord, StudySpec
from search.report.words import amount, count
from search.service.create import RunRequest, command_words
from search.store.location import Location
from search.study.samplers import DEFAULT_SAMPLER
from search.worker.artifacts import Artifacts
from tune.loading import split_target
from tune.pickled import ANY_STUDY, SUFFIX

SERVE = Path(__file__).resolve().parents[2] / "tune" / "serve.py"
"""What the person's interpreter is started with; `tune` need not be installed there."""

PAUSING, STOPPING = "asha", "percentile"
"""Pruners of a new study whose code can continue a trial, and of one whose code cannot."""


def command_of(request: RunRequest, known: StudySpec | None) -> tuple[list[str], Path, str]:
    """(command, folder, what messages call it) of the code that a request names.

    known: of the study that the request names; None: there is none yet. Raises AbsentHere for an interpreter
    that is not on the PATH.
    """
    if request.command is not None:
        return command_words(request.command), Path.cwd(), request.command
    assert request.objective is not None, "the request names an objective"
    file, name = split_target(request.objective)
    if file.endswith(SUFFIX):  # of a notebook, in whose folder it runs, with its interpreter
        return [sys.executable, str(SERVE), file], Path.cwd(), name
    start = [_interpreter(request.python, known), str(SERVE)]
    if not file.endswith(".py"):  # a module below this folder
        return [*start, request.objective], Path.cwd(), request.objective
    path = Path(file).absolute()
    told = path.name + (f":{name}" if name else "")
    return [*start, told], path.parent, told


def _interpreter(python: str | None, known: StudySpec | None) -> str:
    """As a shell finds it: a name without a slash is looked up on the PATH. None: that of the study."""
    if python is None:
        return _recorded_interpreter(known) or sys.executable
    if os.sep in python:
        return str(Path(python).absolute())
    found = shutil.which(python)
    if found is None:
        raise AbsentHere(f"--python {python}: there is no such program on the PATH; give its path.")
    return str(Path(found).absolute())


def _recorded_interpreter(spec: StudySpec | None) -> str | None:
    """What runs the Python function of a study; None: it has none that is in a file."""
    if not isinstance(spec, DeclaredSpec) or spec.objective != CODE or FUNCTION in spec.options:
        return None
    program, *arguments = CodeOptions.of(spec).command
    return program if arguments and Path(arguments[0]).name == SERVE.name else None


def declare(request: RunRequest, location: Location, known: StudySpec | None) -> DeclaredSpec:
    """The spec of a study of this training code, which is started once to say what it declares. A pickled
    function will be in the folder of its study (`bring_code`).

    known: of the study that the request names; None: there is none yet. Raises AbsentHere where it cannot be
    started here, ConfigError where it declares something invalid.
    """
    command, folder, objective = command_of(request, known)
    hello = hello_of(objective, command, folder)
    more = {}
    if request.command is None and command[-1].endswith(SUFFIX):
        more[FUNCTION] = str(location.artifacts / ANY_STUDY / f"function-{secrets.token_hex(8)}{SUFFIX}")
        command = [*command[:-1], more[FUNCTION]]
    elif request.command is None and not split_target(objective)[1]:  # the file has one only
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


def bring_code(
    request: RunRequest,
    storage: Storage,
    record: StudyRecord,
    declared: DeclaredSpec,
    tell: Callable[[str], None],
) -> None:
    """Has the study of a request, its confirmations and its ablations run the code as the request names it:
    a function that was pickled just now, or a file that was moved since the study was created.

    A pickled function replaces the one in the folder of its study, and brings its interpreter, the only one
    that can load it. Workers that start from now on run it. Raises ConfigError where the disk refuses.
    """
    assert isinstance(record.spec, DeclaredSpec), "the study is of training code"
    has, named = CodeOptions.of(record.spec), CodeOptions.of(declared)
    kept, was_moved = record.spec.options.get(FUNCTION), is_gone(record.spec)
    options: dict[str, object] = {}
    if kept is not None and request.objective is not None:
        name = Path(str(kept)).name
        _write_function(request.objective, storage, record, name)
        # As of now: the folder of the artifacts may be another one than at the last call, and so may tune's.
        function = str(storage.location.artifacts / ANY_STUDY / name)
        options = {FUNCTION: function, "command": [*named.command[:-1], function]}
    elif was_moved and (has.folder, has.command) != (named.folder, named.command):
        options = {"command": list(named.command)}
    if options and was_moved:
        options["folder"] = str(named.folder)
        tell(f"{has.objective} was moved: its study runs it in {named.folder} now, with {named.command[0]}.")
    if options:
        _set_options(storage, record, options)


def _write_function(objective: str, storage: Storage, record: StudyRecord, name: str) -> None:
    """objective: that of a request, the file of a pickled function. name: of the file that the study has."""
    given = Path(split_target(objective)[0])
    path = Artifacts.of(storage.location.artifacts, record).folder / name
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, given.read_bytes())
        path.chmod(0o600)
    except OSError as error:
        raise ConfigError(f"The function cannot be written to {path}: {error.strerror}.") from error


def _set_options(storage: Storage, record: StudyRecord, options: Mapping[str, object]) -> None:
    """Writes these options of training code into the spec of a study and of those that retrain its trials."""

    def write(study: StudyRecord) -> None:
        with storage.trials.database.write() as transaction:
            storage.trials.lock(study.study_id, within=transaction)
            now = storage.store.study(study.study_id, within=transaction)
            if now is None or now.created != study.created or not isinstance(now.spec, DeclaredSpec):
                return
            changed = replace(now.spec, options={**now.spec.options, **options})
            if changed != now.spec:
                storage.store.set_spec(now.study_id, changed, within=transaction)

    for each in storage.store.studies():
        retrains = each.spec.based_on == record.name and each.created >= record.created
        if retrains or each.study_id == record.study_id:
            with suppress(KeyError):  # another command has deleted the study
                storage.trials.database.retry(partial(write, each))


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
    if spec.has_test:
        yield (
            "`tune confirm` and `tune ablate` repeat configurations on fresh seeds, and `tune confirm` calls "
            "its test function once, for the run that it chose."
        )
    else:
        yield (
            "`tune confirm` and `tune ablate` repeat configurations on fresh seeds. It has no test function "
            "(`@train.test` decorates one): a confirmation ends with its results on validation."
        )
