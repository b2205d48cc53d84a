"""Serves trials of one objective, one after the other, until tune has no more."""

from __future__ import annotations

import contextlib
import faulthandler
import os
import signal
import sys
import traceback
from pathlib import Path
from typing import Any, Callable, NoReturn, TextIO, TypeVar

from tune.loading import LoadError, code_checksums, find_code, load, prepare
from tune.objectives import Objective
from tune.protocol import Channel, Closed, ProtocolError, failure, hello
from tune.trial import StopTrial, Trial

Result = TypeVar("Result")


def main(arguments: list[str]) -> NoReturn:
    """Imports the objective, says hello and serves. Exits without waiting for threads of the user."""
    channel = Channel.from_environment()
    if channel is None or not arguments:
        sys.stderr.write("tune starts this program; to debug training code, see train.run(...)\n")
        sys.exit(2)
    _prepare_streams()
    try:
        _serve(channel, _import(channel, arguments))
    except Closed:
        _leave_with_children()
    except KeyboardInterrupt:
        _leave(130)
    except ProtocolError as error:
        _leave_protocol(error)
    _leave(0)


def _import(channel: Channel, arguments: list[str]) -> Objective:
    try:
        code = find_code(arguments[0])
        prepare(code)
        sys.argv[:] = [code.file or code.module, *arguments[1:]]
        objective, name = load(code)
        _leave_a_fork(channel, None)
        channel.send("hello", hello(objective, name, code_checksums(code)))
        return objective
    except LoadError as error:
        told = {"message": str(error), "traceback": ""}
    except Closed:
        raise
    except BaseException as error:
        _leave_a_fork(channel, error)
        told = failure(error, message=_import_message(error))
    channel.send("failed", told)
    _leave(1)


def _serve(channel: Channel, objective: Objective) -> None:
    home, handlers = Path.cwd(), _signal_handlers()
    while True:
        key, content = channel.receive()
        if key == "quit":
            return
        if key in ("go", "stop"):
            continue  # the answer to a report during which the trial failed
        if key not in ("trial", "test"):
            channel.send("failed", {"message": f"unknown request: {key[:100]}", "traceback": ""})
            continue
        # A trial begins where the first one began, whatever that changed.
        with contextlib.suppress(OSError):
            os.chdir(home)
        answer, told = (_trial if key == "trial" else _test)(channel, objective, content)
        _restore(handlers)
        _flush()
        channel.send(answer, told)


def _trial(channel: Channel, objective: Objective, content: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    trial = _made(objective, content, _Connected(channel))

    def call() -> tuple[str, dict[str, Any]]:
        try:
            returned = objective.function(trial)
        except StopTrial as stop:
            if not trial.stopped:
                return "failed", failure(stop, message="tune.StopTrial was raised, but trial.report did not")
            returned = None
        if not trial.stopped and (problem := objective.unfinished(trial, returned)):
            return "failed", {"message": problem, "traceback": ""}
        return "ended", {}

    try:
        return _protected(channel, call)
    finally:
        trial.end()


def _test(channel: Channel, objective: Objective, content: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    if objective.test_function is None:
        return "failed", {"message": f"{objective.name} has no test function", "traceback": ""}
    trial = _made(objective, content, None)
    return _protected(channel, lambda: ("tested", {"metrics": objective.tested(trial)}))


def _protected(
    channel: Channel, call: Callable[[], tuple[str, dict[str, Any]]]
) -> tuple[str, dict[str, Any]]:
    """What the call returns, or how the user's code failed."""
    try:
        answer = call()
    except BaseException as error:
        _leave_a_fork(channel, error)
        return "failed", failure(error, message=_exit_message(error, "during the trial"))
    _leave_a_fork(channel, None)
    return answer


def _made(objective: Objective, content: dict[str, Any], listener: _Connected | None) -> Trial:
    try:
        return Trial(
            params=content["params"],
            seed=content["seed"],
            number=content["number"],
            budget=content["budget"],
            directory=Path(content["directory"]),
            resumed=content.get("resumed", False),
            score=objective.score,
            checkpoints=objective.checkpoints,
            listener=listener,
        )
    except KeyError as error:
        raise ProtocolError(f"a trial without {error}") from None


class _Connected:
    """Sends what a trial says to tune and waits for the answers."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._unanswered = 0

    def report(self, content: dict[str, Any]) -> bool:
        return _or_leave(lambda: self._ask("report", content))

    def checkpoint(self) -> bool:
        return _or_leave(lambda: self._ask("checkpoint", {}))

    def keep(self, files: list[str]) -> None:
        _or_leave(lambda: self._channel.send("keep", {"files": files}))

    def _ask(self, key: str, content: dict[str, Any]) -> bool:
        # An earlier call that a signal handler interrupted may have left its answer unread.
        if not self._answered():
            return False
        _flush()
        line = self._channel.line(key, content)
        self._unanswered += 1
        self._channel.write(line)
        return self._answered()

    def _answered(self) -> bool:
        continues = True
        while self._unanswered:
            key, _ = self._channel.receive()
            self._unanswered -= 1
            if key == "quit":
                _leave(0)
            continues = continues and key != "stop"
        return continues


def _or_leave(call: Callable[[], Result]) -> Result:
    """Exits where the channel is of no use any more: training code could catch an exception and continue."""
    try:
        return call()
    except Closed:
        _leave_with_children()
    except ProtocolError as error:
        _leave_protocol(error)


def _leave_protocol(error: ProtocolError) -> NoReturn:
    if sys.stderr is not None:
        sys.stderr.write(f"protocol: {error}\n")
    _leave(1)


def _import_message(error: BaseException) -> str | None:
    """What is said where the import ends with this. Code that reads the command line finds no arguments."""
    exited = _exit_message(error, "while it was imported")
    line = traceback.extract_tb(error.__traceback__)[-1:]
    if exited is None and not (line and "sys.argv" in (line[0].line or "")):
        return None
    said = exited or f"{type(error).__name__}: {error}"
    return f'{said}; what reads the command line belongs below `if __name__ == "__main__":`'


def _exit_message(error: BaseException, when: str) -> str | None:
    if not isinstance(error, SystemExit):
        return None
    return f"the code called sys.exit({'' if error.code is None else repr(error.code)}) {when}"


def _leave_a_fork(channel: Channel, error: BaseException | None) -> None:
    """Ends a child that the user's code forked and that left the user's function, as Python would."""
    if channel.is_own:
        return
    code: object = 0
    if isinstance(error, SystemExit):
        code = error.code or 0
    elif error is not None:
        sys.excepthook(type(error), error, error.__traceback__)
        code = 1
    _flush()
    os._exit(code & 255 if isinstance(code, int) else 1)


def _prepare_streams() -> None:
    """Standard input is empty. Output reaches the log line by line, also that of a process that is killed."""
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    if null != 0:
        os.close(null)
    if sys.stdin is None:
        sys.stdin = open(0, closefd=False)  # noqa: SIM115 - a descriptor, for as long as the process
    streams: tuple[Any, Any] = (sys.stdout, sys.stderr)
    for stream in streams:
        with contextlib.suppress(AttributeError, OSError, ValueError):
            stream.reconfigure(line_buffering=True, errors="backslashreplace")
    with contextlib.suppress(AttributeError, OSError, RuntimeError, ValueError):
        faulthandler.enable()


def _signal_handlers() -> dict[int, Any]:
    return {number: signal.getsignal(number) for number in signal.valid_signals()}


def _restore(handlers: dict[int, Any]) -> None:
    """Puts signal handlers back, and stops timers: a trial leaves none to the next one."""
    for timer in (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF):
        signal.setitimer(timer, 0)
    for number, handler in handlers.items():
        if handler is not None and signal.getsignal(number) is not handler:
            with contextlib.suppress(OSError, ValueError):
                signal.signal(number, handler)


def _flush() -> None:
    streams: tuple[TextIO | None, ...] = (sys.stdout, sys.stderr)
    for stream in streams:
        with contextlib.suppress(Exception):  # closed or replaced by the user's code
            stream.flush()  # type: ignore[union-attr]


def _leave_with_children() -> NoReturn:
    """Exits because tune has ended, with what the user's code started if tune made a process group for it."""
    _flush()
    if os.getpgrp() == os.getpid():
        os.killpg(os.getpid(), signal.SIGKILL)
    os._exit(1)


def _leave(code: int) -> NoReturn:
    """Exits at once: threads of the user may never end. Children of multiprocessing end first."""
    _flush()
    if multiprocessing := sys.modules.get("multiprocessing"):
        with contextlib.suppress(Exception):
            for child in multiprocessing.active_children():
                child.kill()
    os._exit(code)
