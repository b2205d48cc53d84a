"""Every refusal that a person may see, and the exit code that goes with it.

    TuneError            1   the work failed
    ├── UsageError       2   an invalid flag, name or value
    ├── TryAgain        75   storage or network out of reach for now
    ├── ConfigError     78   a file, a study or a database that does not fit
    │   ├── NoStorage        a storage that does not exist, or holds no study yet
    │   └── AbsentHere       a study needs what this machine lacks: a task, an objective
    └── Interrupted    130   stopped by a signal (143 for SIGTERM)

A message is one sentence or a short list: what, why, and the command that fixes it.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import ClassVar


class TuneError(Exception):
    """The work failed. The message is for a person; no traceback is needed to act on it."""

    exit_code: ClassVar[int] = 1


class UsageError(TuneError):
    """The request is invalid: an unknown name, a number out of range."""

    exit_code = 2


class TryAgain(TuneError):
    """Nothing is wrong with the request, but something it needs is out of reach now."""

    exit_code = 75


class ConfigError(TuneError):
    """A file, a study or a database is not what this request needs it to be."""

    exit_code = 78


class NoStorage(ConfigError):
    """The storage does not exist, or holds no study of tune's yet."""


class AbsentHere(ConfigError):
    """This machine cannot work on a study, because it lacks what another one may have."""


class Interrupted(TuneError):
    """A signal asked for the end. `signal_number` gives the exit code of the shell's convention."""

    def __init__(self, message: str, signal_number: int) -> None:
        super().__init__(message)
        self.signal_number = signal_number


def exit_code(error: TuneError) -> int:
    """The process exit code for a refusal (docs/design.md, section 4)."""
    if isinstance(error, Interrupted):
        return 128 + error.signal_number
    return error.exit_code


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """` (did you mean adam?)`, or the whole list where nothing is near: the tail of a refusal."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=2, cutoff=0.6)
    if near:
        return f" (did you mean {' or '.join(near)}?)"
    return f" (known: {', '.join(names)})"
