"""From a request to a study: makes the study, or opens it where it fits.
search.service.check says whether a request is valid.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from data.datasets.image_set import content_digits, is_set_name, name_of
from search.errors import ConfigError, UsageError
from search.objectives.external.declared import is_gone, refuse_change, refuse_other_place
from search.optuna_db.storage import Storage
from search.records import ACCURACY_SCORE, DeclaredSpec, NetworkSpec, StudyRecord, StudySpec
from search.report.words import listed
from search.service.change_space import change
from search.service.look import find
from search.service.origin import origin_of
from search.space.defaults import NORM_IMAGES, default_space, families_of
from search.space.file import read_space, space_entries
from search.space.spec import differences, space_of_spec
from search.study.evaluation_schedule import early_evaluations_of
from search.study.pruners import DEFAULT_PRUNER
from search.study.reading import find_id
from search.study.samplers import DEFAULT_SAMPLER
from search.study.study import Study
from search.tasks import known_task, task_named
from search.worker.options import DEFAULT_OPTIONS, WorkerOptions
from tune.loading import split_target
from tune.space import Space

if TYPE_CHECKING:
    from data.datasets.base import Provenance
    from data.datasets.image_set import ImageSet
    from data.tasks.base import Task

DEFAULT_TRIALS = 100
"""Of a new study."""

MOST_CHANGES = 5
"""Settings of which a refusal says how they differ."""

MAX_NAME = 100
"""Characters of a study's name: it must fit a line, a path and every database."""

CONFIRMATION_SUFFIX = ".confirm"
"""What the name of a confirmation adds to that of the study which it confirms."""

ABLATION_SUFFIX = ".ablate"
"""What the name of an ablation adds to that of the study whose winner it changes."""

PrecisionName = Literal["auto", "float32", "bfloat16"]


@dataclass(frozen=True, kw_only=True, slots=True)
class RunRequest:
    """What `tune run` is asked. None means: not said, so an existing study decides, else the default."""

    task: str | None = None
    """of the networks; a new study has this or an objective"""
    objective: str | None = None
    """training code of a person's: FILE.py:FUNCTION, or MODULE:FUNCTION below this folder"""
    data: Path | None = None
    """folder or file of a user's images, which become the task"""
    skip_damaged: bool = False
    """leave out those that cannot be read"""
    python: str | None = None
    """the interpreter that runs it, as a shell finds it: `./python` is in this folder, `python` on the PATH;
    None: that of the study, if there is one, else tune's own"""
    command: str | None = None
    """in place of an objective: a program that speaks the protocol of training code, with its arguments, as a
    shell reads them"""
    trials: int | None = None
    """trials that shall be finished in all"""
    study: str | None = None
    model: str | None = None
    """mlp, conv or all"""
    epochs: float | None = None
    seed: int | None = None
    sampler: str | None = None
    pruner: str | None = None
    space: Path | None = None
    space_changed: bool = False
    """the space of a study that exists becomes the one that is asked for, or that its code declares"""
    precision: PrecisionName | None = None
    """of all trials; auto: what pays on a kind of processor, decided once"""
    score: str | None = None
    """what is optimized, a key of search.records.SCORES"""
    options: WorkerOptions = DEFAULT_OPTIONS

    @property
    def name(self) -> str:
        """Of the study: the task's, file's or folder's unless another is asked for; empty if none is said."""
        if self.study is not None:
            return self.study
        if self.task is None and self.command is not None:
            return _program(command_words(self.command)).stem
        if self.task is None and self.objective is not None:
            return split_target(self.objective)[0].removesuffix(".py").replace("\\", "/").split("/")[-1]
        if self.task is None and self.data is not None:
            return name_of(self.data)
        return (self.task or "").partition("@")[0]  # of a set of images without its checksum

    @property
    def of_code(self) -> str | None:
        """The training code that it names, as it was given; None: it names none."""
        return self.command if self.objective is None else self.objective


def command_words(command: str) -> list[str]:
    """A command as a shell reads it. Raises UsageError where that is not possible, or it is empty."""
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise UsageError(f"--command {command}: {str(error).lower()}.") from error
    if not words:
        raise UsageError('--command is empty: name a program, such as "./program --flag".')
    return words


def _program(words: Sequence[str]) -> Path:
    """The first file in the current folder that a command names (`sh valley.sh` names valley.sh), else its
    first word."""
    here = Path.cwd()
    files = (path for path in map(Path, words) if path.is_file() and path.resolve().is_relative_to(here))
    return next(files, Path(words[0]))


def networks_only(request: RunRequest, spec: StudySpec) -> Iterator[str]:
    """The sentence that refuses what was asked of a study which trains no networks."""
    given = {
        "--task": request.task,
        "--epochs": request.epochs,
        "--model": request.model,
        "--space": request.space,
        "--precision": request.precision,
        "--data": request.data,
        "--score": request.score,
    }
    flags = [flag for flag, value in given.items() if value is not None]
    if flags and not isinstance(spec, NetworkSpec):
        one = len(flags) == 1
        yield (
            f"{listed(flags)} {'is' if one else 'are'} for networks, and the study {request.name} is of the "
            f"objective {spec.objective}: leave {'it' if one else 'them'} out, or give --study another name."
        )


def create_or_resume(
    storage: Storage,
    request: RunRequest,
    dataset: Provenance | None,
    declared: DeclaredSpec | None = None,
    *,
    images: ImageSet | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> tuple[Study, StudyRecord]:
    """The study that is asked for, new with its references queued, or as it is with the new target.

    dataset: the one on this machine that the task of the request needs; None where it has no task. declared:
    what the training code of the request declares; None where it names none. images: the set as it was read
    now; None: as it is stored. tell: given a sentence where the space of the study has changed.

    Raises ConfigError where a study of that name exists and means something else, or is not tune's.
    """
    if find_id(storage.trials, request.name) is None:
        if request.space_changed:
            raise UsageError(
                f"There is no study {request.name} yet whose space could have changed: leave --space-changed "
                "out."
            )
        if declared is not None:
            Study.create(storage, request.name, declared, request.trials or DEFAULT_TRIALS)
        elif dataset is None:
            raise UsageError(f"The study {request.name} in {storage.name} was deleted a moment ago.")
        else:
            _create(storage, request, dataset, images)
    study, record = find(storage, request.name)
    if record.spec.confirms is not None:
        raise UsageError(
            f"{request.name} is the confirmation of {record.spec.confirms}, with nothing to search: "
            f"`tune confirm {shlex.quote(record.spec.confirms)}` continues with it."
        )
    if record.spec.ablates is not None:
        raise UsageError(
            f"{request.name} is an ablation of {record.spec.ablates}, with nothing to search: "
            f"`tune ablate {shlex.quote(record.spec.ablates)}` continues with it."
        )
    if declared is not None:
        _refuse_other_code(storage, request, record.spec, declared)
    _refuse_conflicts(request, record.spec, dataset)
    if request.space_changed:
        change(storage, study, record, _wanted_space(request, record.spec, declared), tell)
        study, record = find(storage, request.name)
    target = request.trials or record.target_trials
    if target != record.target_trials:
        storage.store.set_target(study.study_id, target)
    return study, replace(record, target_trials=target)


def _refuse_other_code(
    storage: Storage, request: RunRequest, spec: StudySpec, declared: DeclaredSpec
) -> None:
    """Raises ConfigError where the study is not of the training code that the request names, or not of what
    it declares now."""
    if not isinstance(spec, DeclaredSpec) or spec.objective != declared.objective:
        what = f"the task {spec.task}" if isinstance(spec, NetworkSpec) else f"the objective {spec.objective}"
        raise ConfigError(
            f"The study {request.name} exists and is of {what}: give --study another name for a new search."
        )
    # What a study in an SQLite file runs was on this machine, and was moved; on a server it may be elsewhere.
    if storage.location.database is None or not is_gone(spec):
        refuse_other_place(request.name, spec, declared)
    refuse_change(spec, declared, space_may_change=request.space_changed)


def _wanted_space(
    request: RunRequest, spec: StudySpec, declared: DeclaredSpec | None
) -> Mapping[str, object]:
    """The space that a study shall have from now on, in the form of its spec."""
    if declared is not None:
        return declared.space
    assert isinstance(spec, NetworkSpec), "search.service.check refuses the flag otherwise"
    return space_entries(space_of(request, known_task(spec.task)))


def _create(storage: Storage, request: RunRequest, dataset: Provenance, images: ImageSet | None) -> None:
    """Makes the study, unless another process makes it at this very moment."""
    assert request.task is not None, "search.service.check refuses a new study without a task"
    task = task_named(request.task)
    spec = replace(_new_spec(request, task, dataset), origin=origin_of(images or task.source))
    target = request.trials or DEFAULT_TRIALS
    Study.create(storage, request.name, spec, target, references=task.references)


def _new_spec(request: RunRequest, task: Task, dataset: Provenance) -> NetworkSpec:
    epochs = request.epochs or task.epochs
    return NetworkSpec(
        task=task.name,
        space=space_entries(space_of(request, task)),
        epochs=epochs,
        epoch_images=task.epoch_examples,
        validation_pictures=task.validation_images(),
        seed=request.seed or 0,
        sampler=request.sampler or DEFAULT_SAMPLER,
        pruner=request.pruner or DEFAULT_PRUNER,
        references=tuple(task.references),
        checksums=dict(dataset.checksums),
        halvings=early_evaluations_of(task.early_evaluations, epochs),
        evaluate_every=task.evaluate_every if epochs >= task.epochs else 1,
        precision=request.precision or "auto",
        norm_images=NORM_IMAGES,
        score=request.score or ACCURACY_SCORE,
    )


def space_of(request: RunRequest, task: Task | None) -> Space:
    """The search space that is asked for. Raises UsageError and ConfigError with every mistake in it."""
    families = families_of(request.model or "all")
    return read_space(request.space, families, task) if request.space else default_space(families, task)


def _refuse_conflicts(request: RunRequest, spec: StudySpec, dataset: Provenance | None) -> None:
    """Raises ConfigError naming everything in which the request differs from the study as it is, UsageError
    for what its objective does not have."""
    for refusal in networks_only(request, spec):
        raise UsageError(refusal)
    pairs: list[tuple[str, object, object]] = [
        ("seed", request.seed, spec.seed),
        ("sampler", request.sampler, spec.sampler),
        ("pruner", request.pruner, spec.pruner),
    ]
    if isinstance(spec, NetworkSpec):
        of_networks: list[tuple[str, object, object]] = [("epochs", request.epochs, spec.epochs)]
        if not _same_task(request, spec) and not _both_sets(request, spec):
            of_networks.insert(0, ("task", request.task, spec.task))
        pairs = [*of_networks, *pairs, ("precision", request.precision, spec.precision)]
        pairs.append(("score", request.score, spec.score))
    differences = [
        f"--{flag} {asked} (the study has {had})"
        for flag, asked, had in pairs
        if asked is not None and asked != had
    ]
    if isinstance(spec, NetworkSpec):
        differences += _differences(request, spec, dataset)
    if differences:
        raise ConfigError(
            f"The study {request.name} exists and differs from this request: {'; '.join(differences)}. "
            "Give --study another name for a new search, or leave the options out to continue with this one."
        )


def _differences(request: RunRequest, spec: NetworkSpec, dataset: Provenance | None) -> Iterator[str]:
    """Of the search space and the data."""
    if (request.model is not None or request.space is not None) and not request.space_changed:
        asked = space_entries(space_of(request, known_task(spec.task)))
        if asked != dict(spec.space):
            told = differences(space_of_spec(spec), space_of_spec(replace(spec, space=asked)))
            more = f"; and {len(told) - MOST_CHANGES} more" if len(told) > MOST_CHANGES else ""
            yield (
                f"another search space (it differs in {'; '.join(sorted(told)[:MOST_CHANGES])}{more}; "
                "--space-changed continues in it)"
            )
    if not _same_task(request, spec) and _both_sets(request, spec):
        yield f"other images, {request.task} (the study has {spec.task})"
    if _same_task(request, spec) and dataset is not None and dict(spec.checksums) != dict(dataset.checksums):
        yield f"other {task_named(spec.task).source.title} files"


def _same_task(request: RunRequest, spec: NetworkSpec) -> bool:
    """Whether the task that is asked for, if one is, is the study's. A set of images is the same one under
    another name."""
    if request.task in (None, spec.task):
        return True
    return _both_sets(request, spec) and content_digits(request.task or "") == content_digits(spec.task)


def _both_sets(request: RunRequest, spec: NetworkSpec) -> bool:
    return is_set_name(request.task or "") and is_set_name(spec.task)
