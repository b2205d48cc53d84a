"""Runs one command, keeps its output within bounds, and ends with it all that it has started.

Started by `process.Process` as a script of the standard library alone:

    guard.py CONTROL STATUS LIMIT LOG COMMAND...

CONTROL is a pipe from which it reads lines of JSON, {"log": PATH, "note": TEXT}: output goes to that log from
now on, after the note. Its end, also by the death of the process at the other end, kills the command. STATUS
is a pipe to which it writes {"log": true} when that has happened, and {"code": N} or {"signal": N} when the
command has ended and its output is in the log. LIMIT: bytes of one log.

It stands between worker and command because only a parent that outlives neither can find all descendants: as
their subreaper it is given every process whose parent has ended, also those in other sessions.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import select
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
"""Of Linux, see prctl(2)."""

PIPES = ("TUNE_REQUESTS", "TUNE_ANSWERS")
"""Variables with the numbers of the command's pipes to the worker."""

FIRST = 3
"""Number of the first of them in the command: a POSIX shell can only name those below 10."""

PIECE = 65_536
"""Bytes that are read at once: a pipe's whole buffer."""

FLUSH_S = 1.0
"""Least time between two writes of a log's last part."""

KILL_S = 10.0
"""After this time a process that SIGKILL does not end, because the kernel holds it, is left behind."""

CUT = re.compile(rb"\n\[tune: (\d+) bytes of output are left out here\]\n")


def cut(n: int) -> bytes:
    """What stands in a log where n bytes are missing."""
    return b"\n[tune: %d bytes of output are left out here]\n" % n


class BoundedLog:
    """A log file that keeps the first and the last half of `limit` bytes of what is written to it.

    A log that exists is continued; one to which nothing is written is not made. A disk without room leaves it
    incomplete: output is no reason to fail.
    """

    def __init__(self, path: Path, limit: int) -> None:
        self._path = path
        self._half = limit // 2
        self._tail = b""
        self._missing = 0
        self._dirty = False
        self._flushed = 0.0
        self._file = -1
        with contextlib.suppress(OSError):
            self._file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        self._size = 0
        """bytes of the first part"""
        if self._file >= 0:
            self._read()

    def _read(self) -> None:
        """Takes in what the file has already."""
        found = b""
        with contextlib.suppress(OSError):
            while piece := os.pread(self._file, PIECE, len(found)):
                found += piece
        self._size = min(len(found), self._half)
        rest = found[self._size :]
        if (middle := CUT.match(rest)) is not None:
            self._missing = int(middle[1])
            rest = rest[middle.end() :]
        self._tail = rest

    def write(self, output: bytes) -> None:
        """Appends output."""
        first = output[: self._half - self._size]
        if first:
            self._write(first, self._size)
            self._size += len(first)
        rest = output[len(first) :]
        if rest:
            self._tail += rest
            surplus = len(self._tail) - self._half
            if surplus > 0:
                self._tail = self._tail[surplus:]
                self._missing += surplus
            self._dirty = True

    def flush(self, *, now: bool = False) -> None:
        """Writes the last part, unless that was done a moment ago; now: in any case."""
        if self._dirty and (now or time.monotonic() - self._flushed > FLUSH_S):
            last = (cut(self._missing) if self._missing else b"") + self._tail
            self._write(last, self._size)
            with contextlib.suppress(OSError):
                os.ftruncate(self._file, self._size + len(last))
            self._dirty, self._flushed = False, time.monotonic()

    def close(self) -> None:
        """Writes what is left."""
        self.flush(now=True)
        if self._file >= 0:
            os.close(self._file)

    def _write(self, content: bytes, at: int) -> None:
        with contextlib.suppress(OSError):
            if self._file < 0:
                self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            while content:
                written = os.pwrite(self._file, content, at)
                content, at = content[written:], at + written


class Guard:
    """The loop over the command's output, the worker's wishes and the deaths of processes."""

    def __init__(self, control: int, status: int, limit: int, log: str) -> None:
        self._control, self._status, self._limit = control, status, limit
        self._log = BoundedLog(Path(log), limit)
        self._asked = b""
        self._output, write = os.pipe()
        os.set_blocking(self._output, False)
        self._wake, wake_up = os.pipe()
        for end in (self._wake, wake_up):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(wake_up, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
        for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE):
            signal.signal(ignored, signal.SIG_IGN)
        self._command = self._started(write)
        # Held by the command alone, so that the worker sees when it closes them.
        for each in (write, *(int(os.environ[name]) for name in PIPES)):
            os.close(each)
        self._ended: int | None = None
        """status of the command, as of waitpid"""

    def _started(self, output: int) -> int:
        prctl = _prctl()
        prctl(PR_SET_CHILD_SUBREAPER, 1)
        guard = os.getpid()
        if (pid := os.fork()) != 0:
            return pid
        try:
            os.setsid()
            for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE, signal.SIGCHLD):
                signal.signal(each, signal.SIG_DFL)
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            os.dup2(output, 1)
            os.dup2(output, 2)
            # First away from where they belong: one may be where the other goes.
            given = [int(os.environ[name]) for name in PIPES]
            pipes = [fcntl.fcntl(pipe, fcntl.F_DUPFD, FIRST + len(PIPES)) for pipe in given]
            for pipe in given:
                os.close(pipe)
            for number, (name, pipe) in enumerate(zip(PIPES, pipes, strict=True), FIRST):
                os.dup2(pipe, number)
                os.close(pipe)
                os.environ[name] = str(number)
            prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() == guard:
                command = sys.argv[5:]
                try:
                    os.execvp(command[0], command)
                except OSError as error:
                    os.write(2, f"{command[0]} cannot be started: {error.strerror}\n".encode())
        finally:
            os._exit(127)

    def run(self) -> None:
        """Until the command has ended, or the worker has."""
        poll = select.poll()
        for descriptor in (self._control, self._output, self._wake):
            poll.register(descriptor, select.POLLIN)
        while self._ended is None:
            ready = {descriptor for descriptor, _ in poll.poll(FLUSH_S * 1000)}
            if self._wake in ready:
                os.read(self._wake, PIECE)
                self._reap()
            # Before output is read: what was written before a log was wished for belongs to the log before.
            if self._control in ready and not self._obey():
                break
            if self._output in ready and not self._read():
                poll.unregister(self._output)  # the command has closed it, and may work on
            self._log.flush()
        self._kill_all()
        self._drain()
        self._log.close()
        if self._ended is not None:
            code = os.waitstatus_to_exitcode(self._ended)
            self._tell({"code": code} if code >= 0 else {"signal": -code})

    def _obey(self) -> bool:
        """Does what the worker asks for; whether the worker is there."""
        piece = os.read(self._control, PIECE)
        self._asked += piece
        *lines, self._asked = self._asked.split(b"\n")
        for line in lines:
            wish = json.loads(line)
            self._drain()
            self._log.close()
            self._log = BoundedLog(Path(wish["log"]), self._limit)
            if wish.get("note"):
                self._log.write(f"[tune: {wish['note']}]\n".encode(errors="replace"))
            self._tell({"log": True})
        return bool(piece)

    def _tell(self, status: dict[str, object]) -> None:
        with contextlib.suppress(OSError):  # the worker is gone
            os.write(self._status, json.dumps(status).encode() + b"\n")

    def _read(self) -> bool:
        """Takes in a piece of output; whether there may be more some time."""
        try:
            piece = os.read(self._output, PIECE)
        except BlockingIOError:
            return True
        self._log.write(piece)
        return bool(piece)

    def _drain(self) -> None:
        """Takes in the output that is there. A process that prints without end may do so meanwhile."""
        most = 64
        with contextlib.suppress(BlockingIOError):
            while most and (piece := os.read(self._output, PIECE)):
                self._log.write(piece)
                most -= 1

    def _reap(self) -> bool:
        """Takes in processes that have ended; whether there are others."""
        try:
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    return True
                if pid == self._command:
                    self._ended = status
                    # For systems without /proc. While the group has members no process gets its number. That
                    # of an empty one is free since this instant; systems give numbers in turn, so that it
                    # comes up again after thousands of others.
                    _kill(pid, group=True)
        except ChildProcessError:
            return False

    def _kill_all(self) -> None:
        """Ends the command and every process that it has started, in whatever session.

        Those whose parents end become children of this process, so that killing children repeatedly comes to
        an end, also with processes that start others meanwhile.
        """
        until = time.monotonic() + KILL_S
        while time.monotonic() < until:
            if self._ended is None:
                _kill(self._command, group=True)
            for pid in _children(os.getpid()):
                _kill(pid)
            if not self._reap():
                return
            self._drain()  # a process may wait to write its last words
            time.sleep(0.002)


def _children(parent: int) -> list[int]:
    """Process ids. Empty where the system has no /proc: there the process group alone is killed."""
    found = []
    with contextlib.suppress(OSError):
        for entry in os.listdir("/proc"):  # noqa: PTH208  # a thousand processes, hundreds of times
            if entry.isdigit():
                with contextlib.suppress(OSError, IndexError, ValueError):
                    text = Path("/proc", entry, "stat").read_bytes()
                    # PID (NAME) STATE PARENT: a name may have any character.
                    if int(text.rpartition(b")")[2].split()[1]) == parent:
                        found.append(int(entry))
    return found


def _kill(pid: int, *, group: bool = False) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        (os.killpg if group else os.kill)(pid, signal.SIGKILL)


def _prctl() -> Callable[[int, int], object]:
    """The call of that name; one that does nothing where the system has none."""
    try:
        import ctypes

        call = ctypes.CDLL(None).prctl
    except (ImportError, OSError, AttributeError):
        return lambda _option, _value: None
    return lambda option, value: call(option, ctypes.c_ulong(value), 0, 0, 0)


def main() -> None:
    """Reads the arguments."""
    control, status, limit = map(int, sys.argv[1:4])
    for inherited in (control, status):
        os.set_inheritable(inherited, False)
    Guard(control, status, limit, sys.argv[4]).run()


if __name__ == "__main__":
    main()
