"""All tasks by name: a new task is a module of its own and one line here."""

from difflib import get_close_matches

from data.tasks.base import Task
from data.tasks.digitsum import DigitSum
from data.tasks.twodigit import TwoDigit

TASKS: dict[str, Task] = {
    "twodigit": TwoDigit(),
    "sum": DigitSum(),
}


class UnknownTask(ValueError):
    """No task has this name; the message lists those that have a similar one, else all."""

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(name)

    def __str__(self) -> str:
        near = get_close_matches(self.name, TASKS, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}?" if near else f"known are {', '.join(TASKS)}"
        return f"there is no task {self.name!r}: {hint}"


def get_task(name: str) -> Task:
    """The task of that name.

    Raises:
        UnknownTask: there is none.
    """
    try:
        return TASKS[name]
    except KeyError:
        raise UnknownTask(name) from None
