"""Workers as processes of this machine.
Processes are spawned, never forked: torch and SQLite forbid it.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from multiprocessing.connection import wait
from multiprocessing.queues import SimpleQueue
from types import MappingProxyType

from search.errors import TryAgain
from search.launchers.base import Place, WorkerHandle
from search.redaction import redact_output, storage_out_of_environment, traceback_text
from search.worker.options import DeviceName
from search.worker.process import WorkerConfig, WorkerExit, run_worker

EXIT_CODES: Mapping[str, int] = MappingProxyType({"well": 0, "gave up": 3, "worn out": 4})
"""Of a worker's process, by how it ended. Nothing is decided by them: the process sends a WorkerExit before
it exits, and one that sends none has died."""

WORKERS_PER_GPU = 4
"""Workers that keep one GPU busy; more of them only take more of its memory (docs/decisions/008)."""


class LocalLauncher(AbstractContextManager["LocalLauncher"]):
    """Starts worker processes here."""

    def __init__(self, device: DeviceName = "auto") -> None:
        self._device = device

    def default_workers(self, threads: int) -> int:
        """One worker a core, also where each has several threads: --threads counts threads per worker.
        With GPUs at most WORKERS_PER_GPU for each of them. Raises DeviceUnavailable."""
        from models.gpus import count_gpus

        # macOS and Windows do not say which cores a process may use.
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        gpus = count_gpus(self._device)
        return min(cores, WORKERS_PER_GPU * gpus) if gpus else cores

    def starter(self, size: int) -> Callable[[WorkerConfig], WorkerHandle]:
        """What starts a process at each call. With several GPUs, each process is given one of them."""
        from models.gpus import count_gpus

        gpus = count_gpus(self._device)
        return _SpreadOverGPUs(gpus, LocalWorker) if gpus > 1 else LocalWorker

    def __exit__(self, *_error: object) -> None:
        """Nothing is left to be closed: the pool ends its workers."""


class _SpreadOverGPUs:
    """Starts each worker on the GPU with the fewest living workers, so that they are spread evenly and a
    replacement is on the GPU of the worker that it replaces."""

    def __init__(self, gpus: int, start: Callable[[WorkerConfig], WorkerHandle]) -> None:
        self._start = start
        self._workers: list[list[WorkerHandle]] = [[] for _ in range(gpus)]
        """the living workers of each GPU"""

    def __call__(self, config: WorkerConfig) -> WorkerHandle:
        self._workers = [[each for each in workers if each.end is None] for workers in self._workers]
        gpu = min(range(len(self._workers)), key=lambda index: len(self._workers[index]))
        worker = self._start(replace(config, gpu=gpu))
        self._workers[gpu].append(worker)
        return worker


class LocalWorker:
    """A worker process."""

    def __init__(self, config: WorkerConfig) -> None:
        context = multiprocessing.get_context("spawn")
        # The config travels through a pipe, so that no password is in the arguments of the process.
        with storage_out_of_environment():
            self._exits: SimpleQueue[WorkerExit] = context.SimpleQueue()
            """at most one: how the process says that it ended"""
            self._process = context.Process(target=_main, args=(config, self._exits), daemon=True)
            self._process.start()
        assert self._process.pid is not None
        self.place = Place(socket.gethostname(), self._process.pid)
        self._end: WorkerExit | None = None

    @property
    def end(self) -> WorkerExit | None:
        """As the process said; one that was killed or crashed died, with its exit code for words."""
        code = self._process.exitcode
        if self._end is None and code is not None:
            # A process that a signal ended may have written half of what it meant to say.
            told = code >= 0 and not self._exits.empty()
            self._end = self._exits.get() if told else WorkerExit(how="died", words=f"exit code {code}")
        return self._end

    def stop(self) -> None:
        """Asks for a clean end with SIGTERM."""
        if self._process.is_alive():
            self._process.terminate()

    def wait(self, timeout_s: float) -> None:
        """Until the process has ended, or time is up."""
        self._process.join(timeout_s)

    def kill(self) -> None:
        """Ends the process at once."""
        if self._process.is_alive():
            self._process.kill()
        self._process.join()


def _main(config: WorkerConfig, exits: SimpleQueue[WorkerExit]) -> None:
    """A worker process, which says in `exits` how it ended."""
    stopping = threading.Event()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent, which decides for all
    signal.signal(signal.SIGTERM, lambda _number, _frame: stopping.set())
    _stop_with_parent(stopping.set)
    redact_output()
    try:
        end = run_worker(config, stopping.is_set)
    except Exception as error:  # multiprocessing would print it as it is
        sys.stderr.write(traceback_text(error))
        sys.stderr.flush()
        os._exit(1)
    exits.put(end)
    # All is written. To take an interpreter down that has torch loaded costs 1.3 to 2.2 s of a busy machine
    # (n = 3), and a parent that was stopped gives 5 s to all its workers together.
    os._exit(EXIT_CODES.get(end.how, TryAgain.exit_code))


def _stop_with_parent(stop: Callable[[], None]) -> None:
    """Ends this process soon after its parent, also after one that was killed."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        wait([parent.sentinel])
        stop()
        time.sleep(1.5)  # enough to fail the trial cleanly; after that the parent does not wait
        os._exit(1)

    threading.Thread(target=watch, name="parent", daemon=True).start()
