"""Workers of `tune run` and its like as threads of this process. One that is a process imports torch anew,
which costs more than the training of most tests."""

from __future__ import annotations

import os
import socket
import threading

import pytest

from search.launchers import local
from search.launchers.base import Place
from search.worker.process import KERNEL_CACHES, KERNELS_KEPT, WorkerConfig, WorkerExit, run_worker


def run_workers_as_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """For the rest of the test, the local launcher starts threads."""
    for name in KERNEL_CACHES:
        monkeypatch.setenv(name, KERNELS_KEPT)  # which run_worker would leave behind
    monkeypatch.setattr(local, "LocalWorker", WorkerThread)


class WorkerThread:
    """One worker."""

    def __init__(self, config: WorkerConfig) -> None:
        self.place = Place(socket.gethostname(), os.getpid())
        self.end: WorkerExit | None = None
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._work, args=(config,), daemon=True)
        self._thread.start()

    def _work(self, config: WorkerConfig) -> None:
        end = WorkerExit(how="gave up", words="The worker raised an error.")
        try:
            end = run_worker(config, self._stopping.is_set)
        finally:
            self.end = end

    def stop(self) -> None:
        self._stopping.set()

    def wait(self, timeout_s: float) -> None:
        self._thread.join(timeout_s)

    kill = stop
