"""Objectives of a notebook or an interactive session, which are in no file: written to one that other
processes of this machine load.

The file is a line of JSON and what cloudpickle makes of the function. Loading a pickle runs what is in it:
this is done only with a file of this user, made on this machine by this version of Python, that still has
its SHA-256.
"""

from __future__ import annotations

import hashlib
import inspect
import io
import json
import os
import pickle
import platform
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Callable

from tune.objectives import Objective
from tune.space import Space

SUFFIX = ".pickle"

ANY_STUDY = "*"
"""Name of a folder that stands for the folder of any study."""

EXTRA = "`pip install -e '.[notebook]'` in tune's folder brings it"
"""of libraries that notebooks need. PyPI has another project of the name tune."""

AGAIN = "call tune.search again in the notebook"


class UnusableFunction(Exception):
    """A pickled function that cannot be used here. Says why, and what to do."""


@dataclass(frozen=True)
class Header:
    """What the first line of the file says."""

    name: str
    """of the function"""
    sha256: str
    """of the bytes that follow the line"""
    source: str
    """SHA-256 of the function's source code where Python knows it, else of the bytes"""
    host: str
    """the machine on which it was made"""
    python: str
    """version of the interpreter: 3.11"""
    import_path: tuple[str, ...]
    """absolute folders in which the session found its modules"""


def write_function(objective: Objective, path: Path) -> None:
    """Writes an objective to a new file that only this user may read.

    Raises ModuleNotFoundError where cloudpickle is not installed, UnusableFunction for a function that
    refers to something which cannot be pickled.
    """
    payload = _pickled(objective)
    header = Header(
        name=objective.name,
        sha256=hashlib.sha256(payload).hexdigest(),
        source=_source_checksum(objective) or hashlib.sha256(payload).hexdigest(),
        host=platform.node(),
        python=_version(),
        import_path=tuple(each for each in sys.path if Path(each).is_absolute()),
    )
    line = json.dumps(asdict(header)).encode() + b"\n"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(line + payload)


def find_function(path: Path) -> Path:
    """The file that a path names; a folder called `*` in it is that of any study.

    Raises UnusableFunction where there is none.
    """
    folder = path.parent
    found = folder.parent.glob(f"*/{path.name}") if folder.name == ANY_STUDY else iter([path])
    file = next((each for each in found if each.is_file()), None)
    if file is None:
        raise UnusableFunction(
            f"the function was defined in a notebook or an interactive session and is not on this machine "
            f"({platform.node()}), where {path} has it: work on the study there, or put the function into a "
            "file, which other machines can have too"
        )
    return file


def read_header(path: Path) -> Header:
    """What the file says of its function, once it is known to be whole and of this user, machine and Python.

    Raises UnusableFunction.
    """
    return _checked(path)[0]


def load_function(path: Path) -> Objective:
    """The objective in a file. Raises UnusableFunction; exceptions of its modules pass through."""
    header, payload = _checked(path)
    objective = pickle.loads(payload)
    if not isinstance(objective, Objective):
        raise UnusableFunction(f"the file of {header.name}, {path}, has no objective; {AGAIN}")
    return objective


def _checked(path: Path) -> tuple[Header, bytes]:
    """The header and the pickle of a file. Raises UnusableFunction."""
    try:
        content = path.read_bytes()
        owner = path.stat().st_uid
    except OSError as error:
        raise UnusableFunction(f"{path} cannot be read: {error.strerror}; {AGAIN}") from error
    line, _, payload = content.partition(b"\n")
    try:
        header = Header(**json.loads(line))
        intact = hashlib.sha256(payload).hexdigest() == header.sha256
    except (ValueError, TypeError):
        intact = False
    if not intact:
        raise UnusableFunction(
            f"the SHA-256 of {path} is not the one that was recorded with it: the file is damaged or was "
            f"changed, and is not used; {AGAIN}"
        )
    if header.host != platform.node():
        raise UnusableFunction(
            f"{header.name} was defined in a notebook or an interactive session on {header.host}, and this "
            f"is {platform.node()}: put the function into a file, which other machines can have too"
        )
    if owner != os.geteuid():
        raise UnusableFunction(f"{path} belongs to another user, whose pickled function is not run; {AGAIN}")
    if header.python != _version():
        raise UnusableFunction(
            f"{header.name} was pickled by Python {header.python}, and this is {_version()}; {AGAIN}"
        )
    return header, payload


def _pickled(objective: Objective) -> bytes:
    try:
        cloudpickle: Any = import_module("cloudpickle")
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            f"{objective.name} is in no file that other processes could import, and cloudpickle, which sends "
            f"them the function itself, is not installed: {EXTRA}",
            name="cloudpickle",
        ) from None

    class Pickler(cloudpickle.Pickler):  # type: ignore[misc]  # cloudpickle has no types
        def reducer_override(self, value: Any) -> Any:
            return _parts(value) if isinstance(value, Objective) else super().reducer_override(value)

    content = io.BytesIO()
    try:
        Pickler(content).dump(objective)
    except Exception as error:  # of any object that the function refers to
        raise UnusableFunction(
            f"{objective.name} cannot be sent to another process: {type(error).__name__}: {error}. Make what "
            "it refers to inside the function, or put the function into a file."
        ) from error
    return content.getvalue()


def _parts(objective: Objective) -> tuple[Callable[..., Objective], tuple[Any, ...]]:
    """An objective by value: pickled by its name, it would be looked for in a module that does not exist."""
    declared = {
        name: getattr(objective, name)
        for name in ("space", "score", "direction", "budget", "unit", "checkpoints")
    }
    return _restored, (objective.function, objective.test_function, declared)


def _restored(
    function: Callable[..., object], test: Callable[..., Mapping[str, Any]] | None, declared: dict[str, Any]
) -> Objective:
    assert isinstance(declared["space"], Space)
    objective = Objective(function, **declared)
    objective.test_function = test
    return objective


def _source_checksum(objective: Objective) -> str | None:
    try:
        return hashlib.sha256(inspect.getsource(inspect.unwrap(objective.function)).encode()).hexdigest()
    except (OSError, TypeError):
        return None


def _version() -> str:
    return f"{sys.version_info.major}.{sys.version_info.minor}"
