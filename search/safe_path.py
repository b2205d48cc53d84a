"""Python processes of tune look for no module in the current folder; those of a person's code may."""

from __future__ import annotations

import os
from collections.abc import Mapping

SAFE_PATH = "PYTHONSAFEPATH"
"""Environment variable of Python's own."""

SET_BY_TUNE = "TUNE_SET_SAFE_PATH"
"""Environment variable beside it, where `set_safe_path` has set it."""


def set_safe_path() -> None:
    """For the processes that this one starts: worker processes would look for Python's own modules in the
    current folder first, and a socket.py there ended each of them."""
    if SAFE_PATH not in os.environ:
        os.environ.update({SAFE_PATH: "1", SET_BY_TUNE: "1"})


def without_safe_path(environment: Mapping[str, str]) -> dict[str, str]:
    """An environment for processes that are not tune's: programs that training code starts import the files
    beside them. What the person has set stays."""
    ours = (SAFE_PATH, SET_BY_TUNE) if SET_BY_TUNE in environment else ()
    return {name: value for name, value in environment.items() if name not in ours}
