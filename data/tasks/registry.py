"""All tasks by name: a new task is a module and one line here, or in a package's metadata."""

from __future__ import annotations

from data import registry
from data.tasks.base import Task
from data.tasks.digitsum import DigitSum
from data.tasks.twodigit import TwoDigit

TASKS: dict[str, Task] = {
    "twodigit": TwoDigit(),
    "sum": DigitSum(),
}

GROUP = "tune.tasks"
"""Entry points of installed packages that declare one more."""


def get_task(name: str) -> Task:
    """The task of that name.

    Raises:
        UnknownName, UnusableEntry: see data.registry.declared.
    """
    if name in TASKS:
        return TASKS[name]
    found = registry.declared(Task, name, GROUP, tuple(TASKS))
    assert isinstance(found, Task), "it was looked at"
    return found


def task_names() -> tuple[str, ...]:
    """Names of all tasks, also of those that installed packages declare."""
    return registry.names(GROUP, TASKS)
