"""Finds a dataset or a task by its name: those of this repository, then those of installed packages.

A package of somebody else declares its own in one line of its metadata, an entry point of the group
`tune.datasets` or `tune.tasks` (docs/design.md, section 2). So whatever process looks for the name finds it,
on every machine where that package is installed.
"""

from __future__ import annotations

from collections.abc import Collection
from difflib import get_close_matches
from functools import cache
from importlib.metadata import entry_points


class UnknownName(ValueError):
    """Nothing has this name; the message lists those that have a similar one, else all."""

    def __init__(self, kind: str, name: str, known: tuple[str, ...]) -> None:
        self.kind, self.name, self.known = kind, name, known
        super().__init__(kind, name, known)  # all arguments, so that it survives pickling

    def __str__(self) -> str:
        near = get_close_matches(self.name, self.known, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}?" if near else f"known are {', '.join(self.known)}"
        return f"there is no {self.kind} {self.name!r}: {hint}"


class UnusableEntry(ValueError):
    """An installed package declares the name, and what it declares cannot be used."""


class SetAbsent(ValueError):
    """The name is that of a set of images, which is not stored on this machine or cannot be read."""

    def __init__(self, name: str, reason: str, remedy: str) -> None:
        self.name, self.reason, self.remedy = name, reason, remedy
        super().__init__(name, reason, remedy)

    def __str__(self) -> str:
        return f"the set of images {self.name} {self.reason}: {self.remedy}"


def names(group: str, ours: Collection[str]) -> tuple[str, ...]:
    """All names, this repository's first. Nothing of another package is imported."""
    return (*ours, *(entry.name for entry in entry_points(group=group) if entry.name not in ours))


@cache
def declared(kind: type, name: str, group: str, ours: tuple[str, ...]) -> object:
    """The `kind` that an installed package declares under this name. Found once a process, because that reads
    the metadata of all packages. ours: the names that need none, for the hint.

    Raises:
        UnknownName: there is none.
        UnusableEntry: what is declared cannot be imported, is of another kind, or has another name.
    """
    called = kind.__name__.lower()
    entries = tuple(entry_points(group=group, name=name))
    if not entries:
        raise UnknownName(called, name, names(group, ours))
    words = f"the {called} {name} is declared as {entries[0].value}"
    try:
        found: object = entries[0].load()
    except Exception as error:  # another's code, which may fail in any way
        raise UnusableEntry(f"{words}, which cannot be imported ({type(error).__name__}: {error})") from error
    if not isinstance(found, kind) or getattr(found, "name", None) != name:
        raise UnusableEntry(f"{words}, which is no {kind.__name__} named {name!r} but {found!r}")
    return found
