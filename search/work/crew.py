"""The local worker processes: starts them, notices when one dies, stops them.
Knows nothing of what a worker does. Processes are spawned, never forked: torch and SQLite forbid it.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import threading
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Literal

GAVE_UP = 3
"""Exit code of a worker whose trials failed one after the other; starting it again would not help."""

RESTARTS = 3
"""How often a worker that dies is replaced before the crew stops, counted over the whole run."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Order:
    """What a worker process is told. Travels through a pipe, so that no password is in its arguments."""

    storage_url: str
    study: str
    artifact_root: Path
    device: Literal["auto", "cpu", "cuda"]
    threads: int


class Crew:
    """A fixed number of worker processes for one study."""

    def __init__(self, order: Order, size: int) -> None:
        self._order = order
        self._context = multiprocessing.get_context("spawn")
        self._processes = [self._start() for _ in range(size)]
        self._restarts = 0
        self.gave_up = False
        """some worker stopped for a reason that a new one would meet again"""

    @property
    def alive(self) -> int:
        """Workers at work."""
        return sum(process.is_alive() for process in self._processes)

    def tend(self) -> list[int]:
        """Replaces workers that died; returns the process ids of the dead."""
        dead: list[int] = []
        for index, process in enumerate(self._processes):
            if process.exitcode in (None, 0) or process.pid is None:
                continue
            if process.exitcode == GAVE_UP or self._restarts >= RESTARTS:
                self.gave_up = True
            elif not self.gave_up:
                dead.append(process.pid)
                self._restarts += 1
                self._processes[index] = self._start()
        return dead

    def stop(self, *, grace_s: float = 5.0) -> None:
        """Asks every worker to end its trial cleanly, and kills those that do not within `grace_s`."""
        for process in self._processes:
            if process.is_alive():
                process.terminate()
        deadline = time.monotonic() + grace_s
        for process in self._processes:
            process.join(max(0.0, deadline - time.monotonic()))
        self.kill()

    def kill(self) -> None:
        """Ends every worker at once."""
        for process in self._processes:
            if process.is_alive():
                process.kill()
            process.join()

    @property
    def pids(self) -> list[int]:
        """Process ids of all current workers, dead or alive."""
        return [process.pid for process in self._processes if process.pid is not None]

    def _start(self) -> SpawnProcess:
        process = self._context.Process(target=_main, args=(self._order,), daemon=True)
        process.start()
        return process


def _main(order: Order) -> None:
    """A worker process. Its parent hears of its end through the exit code; the rest is in the database."""
    stopping = threading.Event()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent, which decides for all
    signal.signal(signal.SIGTERM, lambda _number, _frame: stopping.set())
    _stop_with_parent(stopping.set)
    warnings.simplefilter("ignore")  # they would tear the parent's display; failures are recorded
    logging.basicConfig(level=logging.ERROR)

    # Imported here: torch and optuna take seconds, and the parent starts all workers at once.
    from data.mnist import load
    from models.device import choose_device, prepare_process
    from search.study.storage import open_storage
    from search.study.study import Study
    from search.work.artifacts import Artifacts
    from search.work.worker import GivenUp, prepare, work

    prepare_process(order.threads)
    storage = open_storage(order.storage_url, create=False)
    study = Study.find(storage, order.study)
    assert study is not None, "the parent made or found it"
    artifacts = Artifacts(root=order.artifact_root, study_id=study.study_id, name=study.name)
    ground = prepare(
        storage, order.study, load(), artifacts, device=choose_device(order.device), threads=order.threads
    )
    try:
        work(ground, stop=stopping.is_set)
    except GivenUp:
        raise SystemExit(GAVE_UP) from None
    finally:
        storage.close()


def _stop_with_parent(stop: Callable[[], None]) -> None:
    """Ends this process soon after its parent, also after one that was killed."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        wait([parent.sentinel])
        stop()
        time.sleep(1.5)  # enough to fail the trial cleanly; after that nobody waits for us
        os._exit(1)

    threading.Thread(target=watch, name="parent", daemon=True).start()
