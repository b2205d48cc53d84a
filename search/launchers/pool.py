"""A fixed number of worker processes for one study: replaces those that die, stops them all."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from search.launchers.base import Place, WorkerHandle
from search.worker.process import WorkerConfig

RESTARTS, WITHIN_S = 8, 120.0
"""The pool replaces this many dead workers within this many seconds; one more is a crash loop: it stops.
Settings that take every worker down are left alone after four (search.study.study.DEATHS and the first): two
such trials do not end a run. Workers that were lost with their machine do not count."""


class WorkerPool:
    """The workers of one run."""

    def __init__(
        self, start: Callable[[WorkerConfig], WorkerHandle], config: WorkerConfig, size: int
    ) -> None:
        self._start = start
        self._config = config
        self._began = time.monotonic()
        self._workers = [start(config) for _ in range(size)]
        self._deaths: list[float] = []
        self.gave_up: str | None = None
        """why some worker stopped, for a reason that a new one would meet again"""

    @property
    def ended(self) -> bool:
        """Whether every worker has ended well; one that died waits for `supervise`."""
        ends = [worker.end for worker in self._workers]
        return all(end is not None and end.how == "well" for end in ends)

    def supervise(self) -> list[Place]:
        """Replaces workers that died or are worn out; returns where these were."""
        left: list[Place] = []
        for index, worker in enumerate(self._workers):
            end = worker.end
            if self.gave_up is not None or end is None or end.how == "well":
                continue
            if end.how == "gave up":
                self.gave_up = end.words
                continue
            if end.how == "died" and not end.with_machine:
                if self._dying:
                    self.gave_up = (
                        f"Workers died repeatedly (the last one: {end.words.rstrip('.')}); "
                        "`tune doctor` may know why."
                    )
                    continue
                self._deaths.append(time.monotonic())
            if worker.place is not None:
                left.append(worker.place)
            self._replace(index, failures_in_a_row=end.failures_in_a_row)
        return left

    def stop(self, *, grace_s: float = 5.0) -> list[Place]:
        """Asks every worker to end its trials cleanly, and kills those that do not within `grace_s`; returns
        where these were."""
        for worker in self._workers:
            worker.stop()
        deadline = time.monotonic() + grace_s
        for worker in self._workers:
            worker.wait(max(0.0, deadline - time.monotonic()))
        killed = [worker.place for worker in self._workers if worker.end is None and worker.place is not None]
        self.kill()
        return killed

    def kill(self) -> None:
        """Ends every worker at once."""
        for worker in self._workers:
            worker.kill()

    def replace(self, place: Place) -> None:
        """Ends one worker at once, and starts another in its place."""
        for index, worker in enumerate(self._workers):
            if worker.place == place:
                self._replace(index, failures_in_a_row=0)

    @property
    def places(self) -> list[Place]:
        """Where all current workers are, dead or alive, as far as that is known."""
        return [worker.place for worker in self._workers if worker.place is not None]

    @property
    def unreachable(self) -> list[Place]:
        """Where current workers may be at work that nothing here can end."""
        return [
            worker.place
            for worker in self._workers
            if worker.place is not None and worker.end is not None and worker.end.unreachable
        ]

    def _replace(self, index: int, *, failures_in_a_row: int) -> None:
        self._workers[index].kill()  # also one whose work has ended: its process may still hold its room
        left_s = self._config.left_s
        if left_s is not None:
            left_s -= time.monotonic() - self._began
        self._workers[index] = self._start(
            replace(self._config, failures_in_a_row=failures_in_a_row, left_s=left_s)
        )

    @property
    def _dying(self) -> bool:
        """Whether one more death would be a crash loop."""
        return sum(time.monotonic() - death < WITHIN_S for death in self._deaths) >= RESTARTS
