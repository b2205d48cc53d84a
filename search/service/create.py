"""From a request to a study: makes the study, or opens it where it fits.
search.service.check says whether a request is valid.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from search.errors import ConfigError, UsageError
from search.records import StudyRecord, StudySpec
from search.service.look import find
from search.space.defaults import DEFAULT_EPOCHS, NORM_IMAGES, REFERENCES, default_space, families_of
from search.space.domain import Space
from search.space.file import read_space, space_entries
from search.study.ladder import halvings_of
from search.study.pruners import DEFAULT_PRUNER
from search.study.reading import find_id
from search.study.samplers import DEFAULT_SAMPLER
from search.study.storage import Storage
from search.study.study import Study
from search.worker.options import DEFAULT_OPTIONS, WorkerOptions

if TYPE_CHECKING:  # torch takes a second to import; commands that only look do without it
    from data.mnist import Mnist
    from data.task import Task

TASKS = tuple(REFERENCES)
"""Names of the tasks, known without importing torch; a test holds them against data.tasks."""

DEFAULT_TRIALS = 100
"""Of a new study."""

MAX_NAME = 100
"""Characters of a study's name: it must fit a line, a path and every database."""

SUFFIX = ".confirm"
"""What the name of a confirmation adds to that of the study which it confirms."""

PrecisionName = Literal["auto", "float32", "bfloat16"]


@dataclass(frozen=True, kw_only=True, slots=True)
class RunRequest:
    """What `tune run` is asked. None means: not said, so an existing study decides, else the default."""

    task: str | None = None
    """there is no default for a new study"""
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
    precision: PrecisionName | None = None
    """of all trials; auto: what pays on a kind of processor, decided once"""
    options: WorkerOptions = DEFAULT_OPTIONS

    @property
    def name(self) -> str:
        """Of the study: the task's unless another is asked for; empty where neither is said."""
        return (self.task or "") if self.study is None else self.study


def create_or_resume(storage: Storage, request: RunRequest, mnist: Mnist) -> tuple[Study, StudyRecord]:
    """The study that is asked for, new with its references queued, or as it is with the new target.

    Raises ConfigError where a study of that name exists and means something else, or is not tune's.
    """
    if find_id(storage.trials, request.name) is None:
        _create(storage, request, mnist)
    study, record = find(storage, request.name)
    if record.spec.confirms is not None:
        raise UsageError(
            f"{request.name} is the confirmation of {record.spec.confirms}, with nothing to search: "
            f"`tune confirm {shlex.quote(record.spec.confirms)}` goes on with it."
        )
    _refuse_conflicts(request, record.spec, mnist)
    target = request.trials or record.target_trials
    if target != record.target_trials:
        storage.store.set_target(study.study_id, target)
    return study, replace(record, target_trials=target)


def _create(storage: Storage, request: RunRequest, mnist: Mnist) -> None:
    """Makes the study, unless another process makes it at this very moment."""
    from search.worker.spec import reference_settings

    spec = _new_spec(request, mnist)
    references = {name: reference_settings(name) for name in spec.references}
    target = request.trials or DEFAULT_TRIALS
    Study.create(storage, request.name, spec, target, references=references)


def _new_spec(request: RunRequest, mnist: Mnist) -> StudySpec:
    from data.tasks import get_task

    assert request.task is not None, "search.service.check refuses a new study without a task"
    task = get_task(request.task)
    epochs = request.epochs or DEFAULT_EPOCHS[task.name]
    return StudySpec(
        task=task.name,
        space=space_entries(space_of(request)),
        epochs=epochs,
        epoch_images=task.epoch_examples,
        validation_pictures=validation_pictures(task, mnist),
        seed=request.seed or 0,
        sampler=request.sampler or DEFAULT_SAMPLER,
        pruner=request.pruner or DEFAULT_PRUNER,
        references=REFERENCES[task.name],
        checksums=mnist.checksums,
        halvings=halvings_of(task.name, epochs),
        precision=request.precision or "auto",
        norm_images=NORM_IMAGES,
    )


def space_of(request: RunRequest) -> Space:
    """The search space that is asked for. Raises UsageError and ConfigError with every mistake in it."""
    families = families_of(request.model or "all")
    return read_space(request.space, families) if request.space else default_space(families)


def validation_pictures(task: Task, mnist: Mnist, compositions: int = 0) -> int:
    """Pictures, not examples: ten sums of one picture are not ten independent observations, and neither are
    several compositions of the same digits."""
    examples = task.validation(mnist, compositions=compositions).examples
    return examples // max(1, task.numbers) // max(1, compositions)


def _refuse_conflicts(request: RunRequest, spec: StudySpec, mnist: Mnist) -> None:
    """Raises ConfigError naming everything in which the request differs from the study as it is."""
    differences = [
        f"--{flag} {asked} (the study has {had})"
        for flag, asked, had in (
            ("task", request.task, spec.task),
            ("epochs", request.epochs, spec.epochs),
            ("seed", request.seed, spec.seed),
            ("sampler", request.sampler, spec.sampler),
            ("pruner", request.pruner, spec.pruner),
            ("precision", request.precision, spec.precision),
        )
        if asked is not None and asked != had
    ]
    if request.model is not None or request.space is not None:
        asked_space = space_entries(space_of(request))
        changed = sorted(
            name
            for name in {*asked_space, *spec.space}
            if asked_space.get(name, _ABSENT) != spec.space.get(name, _ABSENT)
        )
        if changed:
            differences.append(f"another search space (it differs in {', '.join(changed)})")
    if dict(spec.checksums) != mnist.checksums:
        differences.append("other MNIST files")
    if differences:
        raise ConfigError(
            f"The study {request.name} exists and differs from this request: {'; '.join(differences)}. "
            "Give --study another name for a new search, or leave the options out to go on with this one."
        )


_ABSENT = object()
