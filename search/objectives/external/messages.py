"""The lines that a process with training code writes, checked (docs/protocol.md)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from reprlib import repr as short
from typing import Any

from search.objectives.base import Job, TrialError
from tune.objectives import MOST_BUDGET
from tune.protocol import VERSION
from tune.trial import MOST_NAME, is_name, is_text

LONGEST_TRACEBACK = 20_000
"""Characters that are recorded of one; the middle of a longer one is left out."""

Message = tuple[str, Mapping[str, Any]]
"""What a line says: its key, and what is under it."""


class ProtocolError(TrialError):
    """The process wrote something that the protocol does not allow. One sentence; the process is replaced."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Hello:
    """What training code declares."""

    name: str
    space: Mapping[str, Any]
    """one entry a setting, as in search.space.spec.declared_entries; not checked yet"""
    score: str
    direction: str
    """maximize or minimize"""
    budget: int
    """steps of one trial"""
    unit: str
    """of a step"""
    checkpoints: bool
    """whether a trial can continue from files that an earlier call left in its directory"""
    test: bool
    """whether there is a test function"""
    code: Mapping[str, str]
    """SHA-256 by file"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Reported:
    """A report of a trial."""

    step: int
    metrics: Mapping[str, float]
    correct: str | None = None
    """for each validation example 1 or 0; None: not said"""


def message_of(line: bytes) -> Message:
    """What a line says. Raises ProtocolError where it is not a message."""
    try:
        found = json.loads(line.decode())
    except (ValueError, RecursionError) as error:
        raise ProtocolError(f"it wrote a line that is not JSON: {_quoted(line)}") from error
    if not isinstance(found, dict) or len(found) != 1:
        raise ProtocolError(f"it wrote a line that is not an object with one key: {_quoted(line)}")
    [(key, body)] = found.items()
    if not isinstance(body, dict):
        raise ProtocolError(f"it wrote {_quoted(line)}, where an object must be under the key")
    return key, body


def request_of(job: Job, directory: Path, *, resumed: bool) -> dict[str, Any]:
    """What is asked of training code, for a trial or for its test function."""
    return {
        "number": job.number,
        "params": dict(job.settings),
        "seed": job.seed,
        "budget": job.budget,
        "directory": str(directory),
        "resumed": resumed,
    }


def hello_from(body: Mapping[str, Any]) -> Hello:
    """Raises ProtocolError for what is missing or of the wrong kind."""
    if (version := body.get("protocol")) != VERSION:
        raise ProtocolError(f"it speaks version {short(version)} of the protocol, and this tune {VERSION}")
    code = _of(body, "code", dict, {})
    if not all(isinstance(each, str) for each in code.values()):
        raise ProtocolError("its hello has a code that is not a SHA-256 for each file")
    budget = _of(body, "budget", int)
    if not 1 <= budget <= MOST_BUDGET:
        raise ProtocolError(f"its hello has a budget of {short(budget)}; it must be 1 to {MOST_BUDGET}")
    direction = _of(body, "direction", str)
    if direction not in ("maximize", "minimize"):
        raise ProtocolError(f"its hello has the direction {short(direction)}, not maximize or minimize")
    return Hello(
        name=_of(body, "name", str),
        space=_of(body, "space", dict),
        score=_name(_of(body, "score", str)),
        direction=direction,
        budget=budget,
        unit=_name(_of(body, "unit", str, "step")),
        checkpoints=_of(body, "checkpoints", bool, False),
        test=_of(body, "test", bool, False),
        code=code,
    )


def reported_from(body: Mapping[str, Any]) -> Reported:
    """Raises ProtocolError for a step or a metric that is not a number."""
    step, metrics = _of(body, "step", int), _of(body, "metrics", dict)
    return Reported(step=step, metrics=metrics_from(metrics), correct=_correct(body.get("correct")))


def metrics_from(found: Mapping[str, Any]) -> dict[str, float]:
    """Metrics by name. Raises ProtocolError for one that is not a number."""
    metrics = {}
    for name, value in found.items():
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ProtocolError(f"the metric {short(name)} is {short(value)}, not a number")
        try:
            metrics[_name(name)] = float(value)
        except OverflowError:
            metrics[name] = float("inf") if value > 0 else float("-inf")
    return metrics


def kept_from(body: Mapping[str, Any]) -> tuple[str, ...]:
    """Files that are kept, relative to the directory. Raises ProtocolError for one outside of it."""
    files = _of(body, "files", list)
    for file in files:
        path = PurePosixPath(file) if isinstance(file, str) else None
        wrong = path is None or path.is_absolute() or ".." in path.parts or not path.name or "\0" in file
        if wrong or not is_text(file):
            raise ProtocolError(f"it keeps {short(file)}, which is not a file below its directory")
    return tuple(str(PurePosixPath(file)) for file in files)


def failed_from(body: Mapping[str, Any]) -> TrialError:
    """The error that training code reports, with its traceback as the detail."""
    message = readable(_of(body, "message", str, "it failed"))
    traceback = readable(_of(body, "traceback", str, ""))
    if len(traceback) > LONGEST_TRACEBACK:
        half = LONGEST_TRACEBACK // 2
        traceback = f"{traceback[:half]}\n…\n{traceback[-half:]}"
    return TrialError(message[:1000].strip() or "it failed", traceback.strip())


def readable(text: str) -> str:
    """The text as every database takes it: without zero bytes and half surrogate pairs."""
    return text.encode(errors="replace").decode().replace("\0", "�")


def _of(body: Mapping[str, Any], key: str, kind: type, usual: Any = None) -> Any:
    value = body.get(key, usual)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        said = "has no" if value is None else f"has {short(value)} as its"
        raise ProtocolError(f"a message of its {said} {key}")
    return value


def _name(text: str) -> str:
    if not is_name(text):
        raise ProtocolError(f"{short(text)} is not a name: printable, at most {MOST_NAME} characters")
    return text


def _correct(found: object) -> str | None:
    if found is None or (isinstance(found, str) and set(found) <= {"0", "1"}):
        return found
    raise ProtocolError(f"correct is {short(found)}, not a text of the characters 0 and 1")


def _quoted(line: bytes) -> str:
    text = readable(line[:120].decode(errors="replace").rstrip())
    return f"{text} …" if len(line) > 120 else text
