"""Turns SIGINT and SIGTERM into a flag for as long as a block lasts; runs a server until one comes; sends a
SIGINT again that Python has swallowed."""

from __future__ import annotations

import os
import signal
import sys
import threading
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, NoReturn

from search.errors import Interrupted

if TYPE_CHECKING:
    from search.serve.server import Server


class Signals:
    """Remembers the first signal; the second SIGINT ends the process at once, as impatience demands.

    A block inside another one begins with what that has received, and leaves it what it has received itself.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self._previous: dict[int, object] = {}

    def stop(self) -> bool:
        """Whether a signal has asked for the end."""
        return self.received is not None

    def __enter__(self) -> Signals:
        for number in (signal.SIGINT, signal.SIGTERM):
            previous = signal.signal(number, self._note)
            self._previous[number] = previous
            around = getattr(previous, "__self__", None)
            if isinstance(around, Signals) and self.received is None:
                self.received = around.received
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for number, previous in self._previous.items():
            signal.signal(number, previous)  # type: ignore[arg-type]  # what signal() itself returned
            around = getattr(previous, "__self__", None)
            if isinstance(around, Signals) and around.received is None:
                around.received = self.received

    def _note(self, number: int, _frame: FrameType | None) -> None:
        if self.received is not None and number == signal.SIGINT:
            if sys.stderr.isatty():
                sys.stderr.write("\x1b[?25h")  # a live view hides the cursor; nothing else shows it again
                sys.stderr.flush()
            os._exit(128 + number)  # the workers notice that their parent is gone
        self.received = number


SEND_AGAIN_S = 0.01
"""After this time the callback that swallowed a SIGINT is over."""


def repeat_swallowed_interrupts() -> None:
    """From now on a SIGINT ends this process also where Python swallows its KeyboardInterrupt.

    An exception in a finalizer or in a callback of a weak reference is printed and ignored. A callback that
    runs first after SQLite has waited for a disk gets the SIGINT that came meanwhile: `tune run` continued in
    8 of 25 first starts that were signalled within 12 ms of the file's creation.
    """
    sys.unraisablehook = _send_again


def _send_again(unraisable: sys.UnraisableHookArgs) -> None:
    if not issubclass(unraisable.exc_type, KeyboardInterrupt):
        sys.__unraisablehook__(unraisable)
        return
    main = threading.main_thread().ident
    assert main is not None, "the main thread has started"
    # At once it would be raised here, to be swallowed again.
    timer = threading.Timer(SEND_AGAIN_S, signal.pthread_kill, (main, signal.SIGINT))
    timer.daemon = True
    timer.start()


def until_stopped(server: Server) -> NoReturn:
    """Answers requests until SIGINT or SIGTERM. Raises KeyboardInterrupt for the first, Interrupted for the
    second, so that the exit code is 130 or 143."""
    with Signals() as signals:
        server.run(signals.stop)
    if signals.received == signal.SIGTERM:
        raise Interrupted("Stopped by SIGTERM.", signal.SIGTERM)
    raise KeyboardInterrupt
