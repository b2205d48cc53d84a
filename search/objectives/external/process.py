"""The process that training code runs in: started with its pipes, spoken to in messages, and ended with all
that it has started.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from search.import_path import without_safe_path
from search.objectives.base import TrialError
from search.objectives.external.messages import (
    Hello,
    Message,
    ProtocolError,
    failed_from,
    hello_from,
    message_of,
    readable,
)
from search.redaction import STORAGE_VARIABLE
from tune.protocol import MOST_BYTES

GUARD = Path(__file__).with_name("guard.py")

LOG_BYTES = 1_000_000
"""Of a trial's output that are kept, half of them from its beginning and half from its end."""

CHECK_S = 0.25
"""Time between two calls of `check` while an answer is waited for."""

HELLO_S = 300.0
"""Time that a process has to import its code and to say what it is."""

QUIT_S = 2.0
"""Time that a process which waits for a trial has to exit when it is asked to."""

GUARD_S = 15.0
"""Time that the guard has to end everything; more than its own limit."""

LAST_WORDS = 2_000
"""Bytes of a log that are recorded with an exit."""

ONE_THREAD_POOLS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
"""Variables by which PyTorch, NumPy and others are told how many threads they may use."""

Check = Callable[[], None]
"""Called while something is waited for; raises to end the wait."""


class Exited(TrialError):
    """The process ended by itself or was killed; the message says how."""


class Unstarted(TrialError):
    """The process did not say hello."""


class Process:
    """A running process with training code. One that has raised anything but what `check` raises has to be
    killed; so has one whose answer is no longer waited for."""

    def __init__(
        self, command: Sequence[str], folder: Path, log: Path, *, log_bytes: int = LOG_BYTES, threads: int = 1
    ) -> None:
        """folder: where it runs. log: file that its output is appended to, at most `log_bytes` of it in all.
        threads: that it may use, where its libraries ask for that.

        Raises OSError where the system cannot start one more process.
        """
        self.log = log
        self._buffer = b""
        self._ended: str | None = None
        """how it ended, once that is known"""
        self._logs = 0
        """times that the guard has changed the log"""
        (
            (requests_read, self._requests),
            (self._answers, answers_write),
            (control_read, self._control),
            (self._status, status_write),
        ) = _pipes(4)
        environment = without_safe_path(os.environ)
        environment.pop(STORAGE_VARIABLE, None)
        for name in ONE_THREAD_POOLS:
            environment.setdefault(name, str(threads))
        environment |= {"TUNE_REQUESTS": str(requests_read), "TUNE_ANSWERS": str(answers_write)}
        theirs = (requests_read, answers_write, control_read, status_write)
        ours = (self._requests, self._answers, self._control, self._status)
        try:
            guard = [
                sys.executable, "-I", "-S", str(GUARD), str(control_read), str(status_write), str(log_bytes)
            ]  # fmt: skip
            self._guard = subprocess.Popen(
                [*guard, str(log), *command],
                cwd=folder,
                env=environment,
                pass_fds=theirs,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        except BaseException:
            _close(ours)
            raise
        finally:
            _close(theirs)
        for end in ours:
            os.set_blocking(end, False)
        self._end = weakref.finalize(self, _end, self._guard, ours)

    def send(self, message: Mapping[str, Any], check: Check) -> None:
        """Writes a request. Raises Exited, ProtocolError where its pipe is closed, and as `check`."""
        line = json.dumps(message).encode() + b"\n"
        while line:
            try:
                line = line[os.write(self._requests, line) :]
            except BlockingIOError:  # it does not read
                check()
                self._wait(self._requests, select.POLLOUT)
            except BrokenPipeError:
                self._raise_closed()

    def receive(self, check: Check, *, until: float | None = None) -> Message | None:
        """The next message. until: moment of the monotonic clock after which None is returned.

        Raises Exited, ProtocolError, and what `check` raises.
        """
        while True:
            check()
            line, found, rest = self._buffer.partition(b"\n")
            if len(line) >= MOST_BYTES:
                raise ProtocolError(f"it wrote a line of more than {MOST_BYTES:,} bytes")
            if found:
                self._buffer = rest
                return message_of(line)
            if until is not None and time.monotonic() > until:
                return None
            self._wait(self._answers, select.POLLIN)
            ended = self._look_at_status()  # before the last answers are read, so that none is missed
            try:
                piece = os.read(self._answers, MOST_BYTES)
            except BlockingIOError:
                piece = None
            if piece:
                self._buffer += piece
            elif ended is not None:
                raise Exited(ended, self._with_last_words(ended))
            elif piece is not None:
                self._raise_closed()

    def use_log(self, log: Path, note: str, check: Check) -> None:
        """From now on its output is appended to this file, after a line of tune's own. What it has printed
        until now is in the former one. note: that line; empty: none.

        Raises Exited, and what `check` raises.
        """
        wish = json.dumps({"log": str(log), "note": note}).encode() + b"\n"
        with contextlib.suppress(BrokenPipeError):
            os.write(self._control, wish)  # an empty pipe takes a line
        self.log = log
        done = self._logs + 1
        while self._logs < done:
            check()
            self._wait(self._status, select.POLLIN)
            if (ended := self._look_at_status()) is not None:
                raise Exited(ended, self._with_last_words(ended))

    def kill(self) -> None:
        """Ends it and all that it has started, at once."""
        self._end()

    def quit(self) -> None:
        """Asks it to exit, and ends it if it has not done so soon. For a process that waits for a trial."""
        until = time.monotonic() + QUIT_S
        with contextlib.suppress(TrialError):
            self.send({"quit": {}}, lambda: None)
            while self.receive(lambda: None, until=until) is not None:
                pass
        self.kill()

    def _wait(self, descriptor: int, event: int) -> None:
        """Until something may be read or written, or the process has ended, or it is time to check."""
        poll = select.poll()
        poll.register(descriptor, event)
        if descriptor != self._status and self._ended is None:
            poll.register(self._status, select.POLLIN)
        poll.poll(CHECK_S * 1000)

    def _look_at_status(self) -> str | None:
        """How it ended; None while it works."""
        if self._ended is None:
            try:
                piece = os.read(self._status, MOST_BYTES)
            except BlockingIOError:
                return None
            for line in piece.splitlines():  # a line is written whole: it is shorter than a pipe's buffer
                told = json.loads(line)
                if "log" in told:
                    self._logs += 1
                else:
                    self._ended = _how(told)
            if not piece:
                self._ended = "was killed together with the process that guards it"
        return self._ended

    def _raise_closed(self) -> None:
        """It has closed a pipe: it is about to end, or will never answer."""
        until = time.monotonic() + QUIT_S
        while (ended := self._look_at_status()) is None and time.monotonic() < until:
            self._wait(self._status, select.POLLIN)
        if ended is None:
            raise ProtocolError("it closed its pipe to tune and works on")
        raise Exited(ended, self._with_last_words(ended))

    def _with_last_words(self, ended: str) -> str:
        words = last_words(self.log)
        return f"{ended}. Its output ends with:\n{words}" if words else ended


def last_words(log: Path, most: int = LAST_WORDS) -> str:
    """The end of a log; empty where it cannot be read."""
    try:
        with log.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - most))
            return readable(file.read().decode(errors="replace")).strip()
    except OSError:
        return ""


def start(
    command: Sequence[str],
    folder: Path,
    log: Path,
    check: Check = lambda: None,
    *,
    log_bytes: int = LOG_BYTES,
    threads: int = 1,
    hello_s: float = HELLO_S,
) -> tuple[Process, Hello]:
    """A process that has said hello. hello_s: time that it has for that.

    Raises Unstarted, whose detail has the traceback of training code that cannot be imported, or its last
    output; OSError where the system cannot start a process; and what `check` raises.
    """
    process = Process(command, folder, log, log_bytes=log_bytes, threads=threads)
    try:
        message = process.receive(check, until=time.monotonic() + hello_s)
        if message is None:
            raise Unstarted(f"it did not say hello within {hello_s:g} s")
        if message[0] == "failed":
            raise failed_from(message[1])
        if message[0] != "hello":
            raise ProtocolError(f"it wrote {message[0]} in place of hello")
        return process, hello_from(message[1])
    except TrialError as error:
        process.kill()
        raise Unstarted(str(error), error.detail) from error
    except BaseException:
        process.kill()
        raise


def _how(told: Mapping[str, int]) -> str:
    """The end of a process, as its guard has told it, in words."""
    if "code" in told:
        code = told["code"]
        return f"exited with code {code}" if code else "exited with code 0 and without an answer"
    number = told["signal"]
    try:
        name = signal.Signals(number).name
    except ValueError:
        name = f"signal {number}"
    return f"killed by {name}: {_REASONS.get(name, 'no other reason is known')}"


_REASONS = {
    "SIGKILL": "by a person, or by the system because memory ran out",
    "SIGSEGV": "a segmentation fault, in a library as a rule",
    "SIGABRT": "it aborted, in a library as a rule",
    "SIGBUS": "a bus error: memory, or a disk that is full",
    "SIGTERM": "it was asked to end",
}


def _end(guard: subprocess.Popen[bytes], ours: Sequence[int]) -> None:
    """Ends a process with its guard: the end of the pipe from here is what the guard waits for."""
    _close(ours)
    try:
        guard.wait(GUARD_S)
    except subprocess.TimeoutExpired:
        guard.kill()
        guard.wait()


def _pipes(count: int) -> list[tuple[int, int]]:
    """Pipes as (read, write). Raises OSError where the process has too many files open; then none is left."""
    found: list[tuple[int, int]] = []
    try:
        for _ in range(count):
            found.append(os.pipe())
    except OSError:
        _close([end for pipe in found for end in pipe])
        raise
    return found


def _close(descriptors: Sequence[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
