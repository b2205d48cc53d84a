"""What starts workers, as processes of this machine (local) or somewhere on a Ray cluster (ray).
No launcher is trusted with more than starting: what is done once and what is done
again, the claims decide (docs/decisions/002).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

from search.worker.process import WorkerConfig, WorkerExit


class Place(NamedTuple):
    """A worker's process, as the list of workers in the database names it too."""

    host: str
    pid: int


class WorkerHandle(Protocol):
    """One worker that was started."""

    @property
    def place(self) -> Place | None:
        """Where it is; None as long as it is unknown."""
        ...

    @property
    def end(self) -> WorkerExit | None:
        """How it ended; None as long as it has not."""
        ...

    def stop(self) -> None:
        """Asks it to end its trials cleanly. Returns at once."""
        ...

    def wait(self, timeout_s: float) -> None:
        """Until it has ended, or time is up."""
        ...

    def kill(self) -> None:
        """Ends it at once."""
        ...


class Launcher(Protocol):
    """A way to start workers."""

    def default_workers(self, threads: int) -> int:
        """The default number of workers."""
        ...

    def starter(self, size: int) -> Callable[[WorkerConfig], WorkerHandle]:
        """What starts one of `size` workers at each call."""
        ...
