"""Keeps what a benchmark makes with its own files, whatever the user's shell says of storages."""

import os
import sys

TUNE = (sys.executable, "-P", "-m", "search")
"""The command. Not the script `tune`: another package may have put its own in that place."""

_WHERE = ("TUNE_STORAGE", "TUNE_ARTIFACTS")


def apart(url: str | None = None) -> dict[str, str]:
    """The environment for a command: it works in its folder, or on that database, and nowhere else."""
    environment = {name: value for name, value in os.environ.items() if name not in _WHERE}
    return environment if url is None else {**environment, "TUNE_STORAGE": url}
