"""One process with training code, which serves the trials of a worker one after the other."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from pathlib import Path

from search.objectives.base import TrialError
from search.objectives.external.process import Check, Process

STOP_S = 30.0
"""Time that training code has to end a trial that it was told to stop."""

OWN_QUIT_S = 2.0
"""The same, when the worker ends."""


class Session:
    """The process, and which trial it is at. It is started when a trial needs it."""

    def __init__(self, start: Callable[[Path, Check], Process], process: Process | None = None) -> None:
        """start: a process whose output goes to this log, and which has said hello; raises TrialError,
        ConfigError and what the check raises. process: the one that is there already."""
        self._start = start
        self._process = process
        self._at: object = None
        """the trial that it waits for an answer with"""
        self._after: Callable[[], None] | None = None
        """a trial was told to stop: what is to be done once it has ended"""

    def is_at(self, trial: object) -> bool:
        """Whether the process waits after a report of this trial."""
        return self._at is trial

    def waits_at(self, trial: object) -> None:
        """From now on it waits for an answer to a report of this trial; None: for any trial."""
        self._at = trial

    def process_of(self, trial: object) -> Process:
        """The process, which is at this trial."""
        assert self._process is not None, "it is at a trial"
        self._at = None  # until the next report there is no way to leave it but to kill it
        return self._process

    def free(self, log: Path, check: Check, note: Callable[[], str]) -> Process:
        """The process, free to begin a trial whose output goes to this log. Another trial that it waits with
        is stopped. note: asked for the first line of that output, once there is a process; empty: none.

        Raises TrialError and ConfigError where it cannot be started, and what `check` raises.
        """
        if self._at is not None:
            self.stop()
        self._settle(check, time.monotonic() + STOP_S)
        if self._process is not None:
            try:
                self._process.use_log(log, note(), check)
                return self._process
            except TrialError:  # it ended between two trials: neither is at fault
                self.kill()
        self._process = self._start(log, check)
        self._process.use_log(log, note(), check)
        return self._process

    def stop(self, after: Callable[[], None] = lambda: None) -> None:
        """Tells the process to end the trial that it waits with. Does not wait for that.

        after: what to do once the trial has ended, as its files are in use until then.
        """
        assert self._process is not None, "it waits"
        self._at, self._after = None, after
        try:
            self._process.send({"stop": {}}, lambda: None)
        except TrialError:  # no more is needed of that trial
            self.kill()

    def kill(self) -> None:
        """Ends the process with all that it has started. The next trial has a new one."""
        process, self._process, self._at = self._process, None, None
        if process is not None:
            process.kill()
        self._stopped()

    def close(self) -> None:
        """Ends the process: asks it to, if it is free."""
        busy = self._at is not None
        if busy:
            self.stop()
        if self._process is not None:
            self._settle(lambda: None, time.monotonic() + OWN_QUIT_S)
        process, self._process = self._process, None
        if process is not None:
            process.quit()

    def _settle(self, check: Check, until: float) -> None:
        """Waits for the end of a trial that was told to stop. Whatever the process does in place of ending
        it, that trial is over: then it is killed."""
        if self._after is None or self._process is None:
            return
        with contextlib.suppress(TrialError):
            while (message := self._process.receive(check, until=until)) is not None:
                if message[0] == "ended":
                    self._stopped()
                    return
                if message[0] != "keep":
                    break
        self.kill()

    def _stopped(self) -> None:
        after, self._after = self._after, None
        if after is not None:
            after()
