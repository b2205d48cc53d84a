"""The protocol between tune and training code (docs/protocol.md), on the side of the code."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import traceback
from types import TracebackType
from typing import Any

from tune.domains import Choice, Domain, Fixed, Int
from tune.objectives import Objective

VERSION = 1

REQUESTS, ANSWERS = "TUNE_REQUESTS", "TUNE_ANSWERS"
"""Environment variables with the numbers of the file descriptors."""

MOST_BYTES = 1_000_000
"""Of one line."""

MOST_MESSAGE, MOST_TRACEBACK = 2_000, 40_000
"""Characters; escaped, each takes up to 12 bytes."""

_FIRST_PRIVATE = 100
"""Descriptors below it are easily closed or replaced by training code."""


class Closed(Exception):
    """The other end of the channel is closed."""


class ProtocolError(Exception):
    """The other end wrote what is not of the protocol."""


class Channel:
    """Lines of JSON from and to tune, on descriptors that neither children nor programs started inherit.

    A signal handler that raises while a call waits leaves the channel intact: what was not written is written
    by the next call, and what was read waits for it. In the instant between a read or write and its record it
    can lose a line or write one twice: the trial then ends by tune's --stall-timeout.
    """

    def __init__(self, requests: int, answers: int) -> None:
        """Takes both descriptors; their numbers are free afterwards. Raises OSError if they are not open."""
        self._requests, self._answers = _private(requests), _private(answers)
        for number in {requests, answers}:
            os.close(number)
        self._process = os.getpid()
        self._received = bytearray()
        self._unsent = bytearray()
        os.register_at_fork(after_in_child=self._close)

    @classmethod
    def from_environment(cls) -> Channel | None:
        """The channel that the environment names; its variables are removed there. None: it names none."""
        told = [os.environ.pop(name, "") for name in (REQUESTS, ANSWERS)]
        try:
            return cls(int(told[0]), int(told[1]))
        except (ValueError, OSError):
            return None

    @property
    def is_own(self) -> bool:
        """Whether this is the process that made it, not a fork of it."""
        return os.getpid() == self._process

    def line(self, key: str, content: dict[str, Any]) -> bytes:
        """A line to write. Raises ValueError if it is too long."""
        line = json.dumps({key: content}).encode() + b"\n"
        if len(line) > MOST_BYTES:
            raise ValueError(f"{key}: {len(line):,} bytes exceed the {MOST_BYTES:,} of a line")
        return line

    def write(self, line: bytes) -> None:
        """Writes a line. Raises Closed."""
        self._unsent += line
        self._flush()

    def send(self, key: str, content: dict[str, Any]) -> None:
        """Makes a line and writes it. Raises ValueError if it is too long, Closed."""
        self.write(self.line(key, content))

    def receive(self) -> tuple[str, dict[str, Any]]:
        """Waits for a line. Raises Closed, and ProtocolError for one that is invalid."""
        self._flush()
        while b"\n" not in self._received:
            some = os.read(self._requests, 1 << 16)
            if not some:
                raise Closed
            self._received += some
        line, _, rest = bytes(self._received).partition(b"\n")
        self._received = bytearray(rest)
        try:
            [(key, content)] = json.loads(line).items()
        except (AttributeError, ValueError):
            raise ProtocolError(f"not an object with one key: {line[:200]!r}") from None
        if not isinstance(content, dict):
            raise ProtocolError(f"{key} must be an object: {line[:200]!r}")
        return key, content

    def _flush(self) -> None:
        try:
            while self._unsent:
                del self._unsent[: os.write(self._answers, self._unsent)]
        except BrokenPipeError:
            raise Closed from None

    def _close(self) -> None:
        for number in (self._requests, self._answers):
            with contextlib.suppress(OSError):
                os.close(number)


def _private(number: int) -> int:
    for first in (_FIRST_PRIVATE, 3):
        with contextlib.suppress(OSError, ValueError):
            return fcntl.fcntl(number, fcntl.F_DUPFD_CLOEXEC, first)
    raise OSError(f"descriptor {number} is not open")


def hello(objective: Objective, name: str, code: dict[str, str]) -> dict[str, Any]:
    """What the process says of itself. name: by which its module has the objective. code: SHA-256 by file."""
    return {
        "protocol": VERSION,
        "name": name,
        "space": {name: domain_entry(domain) for name, domain in objective.space.domains.items()},
        "score": objective.score,
        "direction": objective.direction,
        "budget": objective.budget,
        "unit": objective.unit,
        "checkpoints": objective.checkpoints,
        "test": objective.test_function is not None,
        "code": code,
    }


def domain_entry(domain: Domain) -> dict[str, Any]:
    """A domain as JSON."""
    entry: dict[str, Any]
    if isinstance(domain, Fixed):
        entry = {"kind": "fixed", "value": domain.value}
    elif isinstance(domain, Choice):
        entry = {"kind": "choice", "options": list(domain.options)}
    else:
        kind = "int" if isinstance(domain, Int) else "float"
        entry = {"kind": kind, "low": domain.low, "high": domain.high, "log": domain.log}
        if isinstance(domain, Int):
            entry["step"] = domain.step
    if domain.when:
        entry["when"] = domain.when.entries()
    if not isinstance(domain, Fixed) and domain.off is not None:
        entry["off"] = domain.off
    return entry


def failure(error: BaseException, *, message: str | None = None) -> dict[str, str]:
    """How training code failed: the message, and the traceback that begins in its own file."""
    try:
        shown = traceback.TracebackException(type(error), error, user_frames(error.__traceback__))
        text = "".join(shown.format())
    except Exception:  # such as a lack of memory
        text = ""
    if message is None:
        try:
            message = f"{type(error).__name__}: {error}".rstrip(": ")
        except Exception:  # raised by its __str__
            message = type(error).__name__
    return {"message": _clean(message)[:MOST_MESSAGE], "traceback": _clean(text)[-MOST_TRACEBACK:]}


def user_frames(trace: TracebackType | None) -> TracebackType | None:
    """Without the first frames, which are tune's and those of the import system."""
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        if not file.startswith((_HERE, "<frozen importlib")) and not file.startswith(_IMPORTLIB):
            return trace
        trace = trace.tb_next
    return None


_HERE = os.path.dirname(os.path.abspath(__file__)) + os.sep  # noqa: PTH100, PTH120 - file names as code objects have them
_IMPORTLIB = os.path.join(os.path.dirname(os.__file__), "importlib") + os.sep  # noqa: PTH118, PTH120


def _clean(text: str) -> str:
    """Text that any database takes: without NUL and half characters."""
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode()
