"""The tasks and their data, in the words of tune's refusals. Imports no torch."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from search.errors import AbsentHere, ConfigError
from search.records import Examples, NetworkSpec, StudyRecord, StudySpec

if TYPE_CHECKING:
    from data.datasets.base import Provenance
    from data.tasks.base import Task


class TaskAbsent(AbsentHere):
    """This machine cannot work on a study, because it lacks the task; another one may have it."""


def task_named(name: str) -> Task:
    """The task of a study.

    Raises TaskAbsent where nothing on this machine declares it, or what does cannot be used.
    """
    from data.registry import SetAbsent, UnknownName, UnusableEntry
    from data.tasks.registry import get_task

    try:
        return get_task(name)
    except SetAbsent as error:
        raise TaskAbsent(f"{str(error)[0].upper()}{str(error)[1:]}.") from error
    except UnknownName as error:
        raise TaskAbsent(
            f"{error}. A task of another package is known where that package is installed, and its studies "
            "need it on every machine."
        ) from error
    except UnusableEntry as error:
        raise TaskAbsent(f"{error}. Repair or reinstall the package that declares it.") from error


def task_names() -> tuple[str, ...]:
    """Of all tasks, also of those that installed packages declare."""
    from data.tasks.registry import task_names as names

    return names()


def same_data(record: StudyRecord, dataset: Provenance) -> None:
    """Raises ConfigError where the study, which trains networks, was made with other files than these."""
    spec = record.spec
    assert isinstance(spec, NetworkSpec), "no other study is of a dataset of tune's"
    if dict(spec.checksums) != dict(dataset.checksums):
        title = task_named(spec.task).source.title
        raise ConfigError(
            f"The study {record.name} was made with other {title} files than this machine has; "
            "`tune data verify` shows which."
        )


def examples_of(spec: StudySpec) -> Examples:
    """What is known of the examples that a study's networks are measured on; of a task that is absent here,
    and of training code, nothing."""
    task = known_task(spec.task) if isinstance(spec, NetworkSpec) else None
    if task is None:
        return Examples()
    return Examples(
        are=task.examples_are,
        references_are=task.references_are,
        remark=task.source.remark,
        majority=task.majority(),
    )


@cache
def known_task(name: str) -> Task | None:
    """The task of that name; None where it is not known here, as of a study that can only be looked at."""
    try:
        return task_named(name)
    except ConfigError:
        return None
