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
from multiprocessing.queues import SimpleQueue
from pathlib import Path
from typing import Literal

from search.errors import TryAgain, TuneError

GAVE_UP = 3
"""Exit code of a worker whose trials failed one after the other; starting it again would not help."""

AFRESH = 100
"""Exit code, less the number of trials that failed in a row, of a worker for which memory ended: its trials
are in order, it did not die, and a new process takes its place and its count."""

RESTARTS, WITHIN_S = 8, 120.0
"""So often workers that died are replaced within so long; one more is a crash loop, and the crew stops.
Settings that take every worker down are left alone after four (search.study.study.DEATHS and the first): two
such trials do not end a run."""

KERNELS_KEPT = "64"
"""Compiled kernels that torch's CPU library may keep; a network needs some thirty. Every trial has other
shapes: with the libraries' own limit of 1,024 a worker grew by 6 MB with each trial and past 800 MB after a
hundred; with this one, and free memory given back, it stayed at 400 (docs/decisions/007)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Order:
    """What a worker process is told. Travels through a pipe, so that no password is in its arguments."""

    storage_url: str
    study: str
    artifact_root: Path
    device: Literal["auto", "cpu", "cuda"]
    threads: int
    trial_timeout_s: float


class Crew:
    """A fixed number of worker processes for one study."""

    def __init__(self, order: Order, size: int) -> None:
        self._order = order
        self._context = multiprocessing.get_context("spawn")
        self._last_words: SimpleQueue[str] = self._context.SimpleQueue()
        self._processes = [self._start(failures_in_a_row=0) for _ in range(size)]
        self._deaths: list[float] = []
        self.gave_up: str | None = None
        """why some worker stopped, for a reason that a new one would meet again"""

    @property
    def ended(self) -> bool:
        """Whether every worker has ended well; one that died waits for `tend`."""
        return all(process.exitcode == 0 for process in self._processes)

    def tend(self) -> list[int]:
        """Replaces workers that died or are worn out; returns the process ids of these."""
        dead: list[int] = []
        for index, process in enumerate(self._processes):
            if process.exitcode in (None, 0) or process.pid is None:
                continue
            if process.exitcode == GAVE_UP:
                self.gave_up = self.gave_up or self._last_words.get()
            elif process.exitcode > AFRESH:
                dead.append(process.pid)
                self._processes[index] = self._start(failures_in_a_row=process.exitcode - AFRESH)
            elif sum(time.monotonic() - death < WITHIN_S for death in self._deaths) >= RESTARTS:
                self.gave_up = (
                    f"Workers died again and again, the last one with exit code {process.exitcode}; "
                    "`tune doctor` may know why."
                )
            elif self.gave_up is None:
                dead.append(process.pid)
                self._deaths.append(time.monotonic())
                self._processes[index] = self._start(failures_in_a_row=0)
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

    def replace(self, pid: int) -> None:
        """Ends one worker at once, and starts another in its place."""
        for index, process in enumerate(self._processes):
            if process.pid == pid:
                process.kill()
                process.join()
                self._processes[index] = self._start(failures_in_a_row=0)

    @property
    def pids(self) -> list[int]:
        """Process ids of all current workers, dead or alive."""
        return [process.pid for process in self._processes if process.pid is not None]

    def _start(self, *, failures_in_a_row: int) -> SpawnProcess:
        arguments = (self._order, self._last_words, failures_in_a_row)
        process = self._context.Process(target=_main, args=arguments, daemon=True)
        process.start()
        return process


def _main(order: Order, last_words: SimpleQueue[str], failures_in_a_row: int) -> None:
    """A worker process. What it finds out is in the database; `last_words` say why it gave up."""
    for variable in ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY"):
        os.environ.setdefault(variable, KERNELS_KEPT)  # read when torch is loaded, which is later
    stopping = threading.Event()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent, which decides for all
    signal.signal(signal.SIGTERM, lambda _number, _frame: stopping.set())
    _stop_with_parent(stopping.set)
    warnings.simplefilter("ignore")  # they would tear the parent's display; failures are recorded
    logging.basicConfig(level=logging.ERROR)
    try:
        _work(order, stopping.is_set, failures_in_a_row)
    except TryAgain:
        raise SystemExit(TryAgain.exit_code) from None  # a new worker may have better luck
    except TuneError as error:
        last_words.put(str(error))
        raise SystemExit(GAVE_UP) from None


def _work(order: Order, stop: Callable[[], bool], failures_in_a_row: int) -> None:
    # Imported here: torch and optuna take seconds, and the parent starts all workers at once.
    from data.mnist import load
    from models.device import choose_device, prepare_process
    from search.store.database import PATIENCE_S
    from search.study.storage import open_storage
    from search.study.study import Study
    from search.work.artifacts import Artifacts
    from search.work.ground import prepare
    from search.work.worker import WornOut, work

    prepare_process(order.threads)
    with open_storage(order.storage_url, create=False, patience_s=PATIENCE_S) as storage:
        storage.heed(stop)
        study = Study.find(storage, order.study)
        assert study is not None, "the parent made or found it"
        artifacts = Artifacts(root=order.artifact_root, study_id=study.study_id, name=study.name)
        device = choose_device(order.device)
        ground = prepare(
            storage,
            order.study,
            load(),
            artifacts,
            device=device,
            threads=order.threads,
            trial_timeout_s=order.trial_timeout_s,
        )
        try:
            work(ground, stop=stop, failures_in_a_row=failures_in_a_row)
        except WornOut as end:
            raise SystemExit(AFRESH + end.failures_in_a_row) from None


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
