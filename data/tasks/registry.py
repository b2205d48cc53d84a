"""All tasks by name: a new task is a module and one line here, or in a package's metadata. A set of images is
a task as it is."""

from __future__ import annotations

from data import registry
from data.datasets.image_set import get_set, is_set_name
from data.tasks.base import Task
from data.tasks.classification import Classification
from data.tasks.digitsum import DigitSum
from data.tasks.twodigit import TwoDigit

TASKS: dict[str, Task] = {
    "twodigit": TwoDigit(),
    "sum": DigitSum(),
}

GROUP = "tune.tasks"
"""Entry points of installed packages that declare one more."""


def get_task(name: str) -> Task:
    """The task of that name; NAME@DIGITS is the classification of a set of images that a user added.

    Raises:
        SetAbsent: it is a set of images that is not stored here; see data.datasets.image_set.get_set.
        UnknownName, UnusableEntry: see data.registry.declared.
    """
    if name in TASKS:
        return TASKS[name]
    if is_set_name(name):
        return Classification(get_set(name))
    found = registry.declared(Task, name, GROUP, tuple(TASKS))
    assert isinstance(found, Task), "it was looked at"
    return found


def task_names() -> tuple[str, ...]:
    """Names of all tasks, also of those that installed packages declare."""
    return registry.names(GROUP, TASKS)
