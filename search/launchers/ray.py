"""Workers on a Ray cluster: Ray finds a machine for each and tells when one is lost."""

from __future__ import annotations

import importlib.util
import math
import multiprocessing
import os
import socket
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

from search.errors import ConfigError, TryAgain
from search.launchers.base import Place, WorkerHandle
from search.launchers.ray_cluster import Cluster, Unreachable
from search.redaction import storage_out_of_environment
from search.store.location import locate
from search.worker.options import WorkerOptions
from search.worker.process import WorkerConfig, WorkerExit

CONNECTED_S = 60.0
"""Seconds that it may take to connect to a cluster whose head answers."""

ANSWERED_S = 90.0
"""Seconds that a call may take. Ray gives a head that is away a minute."""


class RayLauncher(AbstractContextManager["RayLauncher"]):
    """Starts workers on a cluster that is there already."""

    def __init__(self, options: WorkerOptions, storage_url: str) -> None:
        self._address = cluster_address(options.address)
        self._options = options
        self._storage_url = storage_url
        self._lost: str | None = None
        """why the driver process is gone"""

    def __enter__(self) -> RayLauncher:
        """Connects. Raises ConfigError where the cluster cannot do what is needed, TryAgain where there is
        none."""
        if importlib.util.find_spec("ray") is None:
            raise ConfigError(
                "--engine ray needs Ray, which is not installed: `pip install -e '.[ray]'`, and after it "
                "`pip install --force-reinstall --no-deps -e .`, because Ray has a script named tune too."
            )
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        with storage_out_of_environment():
            self._process = context.Process(target=_drive, args=(theirs,), name="ray driver")
            self._process.start()
        theirs.close()  # the driver has its own; now its end is seen as the end of the pipe
        try:
            self._join()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _join(self) -> None:
        found = self._call("connect", self._address, timeout_s=CONNECTED_S)
        if found is None or isinstance(found, Unreachable):
            raise TryAgain(
                f"The Ray cluster at {self._address} is out of reach: {found.why if found else self._lost}. "
                "`ray status` there shows whether it is up; this machine must be one of its nodes."
            )
        if refusal := refused(found, self._options, self._storage_url):
            raise ConfigError(refusal)
        self._cluster = found

    def __exit__(self, *_error: object) -> None:
        """Parts from the cluster, which ends what is left of our workers."""
        self._pipe.close()
        self._process.join(5.0)
        self._process.kill()
        self._process.join()

    def default_workers(self, threads: int) -> int:
        """One worker for each GPU where those are used, else as many as the CPUs have room for."""
        if uses_gpus(self._cluster, self._options):
            return max(1, int(self._cluster.gpus))
        return sum(int(cpus // threads) for cpus in self._cluster.cpus)

    def starter(self, size: int) -> Callable[[WorkerConfig], WorkerHandle]:
        """What has Ray start one of `size` workers at each call; they wait where there is no room yet."""
        gpus = gpu_share(self._cluster.gpus, size) if uses_gpus(self._cluster, self._options) else 0.0

        def start(config: WorkerConfig) -> WorkerHandle:
            options = replace(config.options, device="cuda" if gpus else "cpu")
            config = replace(config, options=options)
            return RayWorker(self._call, config, gpus, lost=lambda: self._lost)

        return start

    def _call(self, name: str, *arguments: Any, timeout_s: float = ANSWERED_S) -> Any:
        """What the driver answers; None once it is lost."""
        if self._lost is None:
            try:
                self._pipe.send((name, arguments))
                if self._pipe.poll(timeout_s):
                    return self._pipe.recv()
                self._lost = f"no answer for {timeout_s:g} s"
                self._process.kill()  # with it Ray ends our workers, which are waited for
            except (EOFError, OSError):
                self._lost = "Ray ended the connection"
        return None


def _drive(pipe: Any) -> None:
    from search.launchers.ray_driver import serve

    serve(pipe)


class RayWorker:
    """One worker, somewhere on the cluster."""

    def __init__(
        self, call: Callable[..., Any], config: WorkerConfig, gpus: float, lost: Callable[[], str | None]
    ) -> None:
        self._call = call
        self._lost = lost
        self._number = call("start", config, gpus)
        self._place: Place | None = None
        self._end: WorkerExit | None = None

    @property
    def place(self) -> Place | None:
        """None until the worker has been heard of."""
        self._look()
        return self._place

    @property
    def end(self) -> WorkerExit | None:
        """As its process told, or Ray in its place."""
        self._look()
        return self._end

    def stop(self) -> None:
        """Asks for a clean end."""
        self._call("stop", self._number)

    def wait(self, timeout_s: float) -> None:
        """Until it has ended, or time is up."""
        deadline = time.monotonic() + timeout_s
        while self.end is None and time.monotonic() < deadline:
            time.sleep(0.05)

    def kill(self) -> None:
        """Ends it at once."""
        self._call("kill", self._number)

    def _look(self) -> None:
        if self._end is not None:
            return
        seen = self._call("look", self._number)
        if seen is None:
            words = f"The Ray cluster is lost: {self._lost()}."
            self._end = WorkerExit(how="gave up", words=words, unreachable=True)
        else:
            self._place, self._end = seen


def cluster_address(given: str | None) -> str:
    """Where the cluster's head is: as given, else RAY_ADDRESS; empty where neither says."""
    return given or os.environ.get("RAY_ADDRESS", "")


def refused(cluster: Cluster, options: WorkerOptions, storage_url: str) -> str | None:
    """Why this cluster cannot do it, as a sentence; None where it can."""
    strangers = sorted(set(cluster.hosts) - {socket.gethostname()})
    if locate(storage_url).database is not None and strangers:
        return (
            f"An SQLite file cannot be shared with {', '.join(strangers[:3])}, machines of the Ray cluster: "
            "its locks do not hold across a network. Use a server: --storage postgresql://…"
        )
    if options.device == "cuda" and not cluster.gpus:
        return "--device cuda: the Ray cluster has no GPU; leave it out."
    if options.threads > max(cluster.cpus, default=0):
        return (
            f"--threads {options.threads}: no machine of the Ray cluster has as many CPUs; the largest has "
            f"{max(cluster.cpus, default=0):g}."
        )
    return None


def uses_gpus(cluster: Cluster, options: WorkerOptions) -> bool:
    """Whether workers are to train on GPUs: all of them, or none."""
    return options.device != "cpu" and cluster.gpus > 0


def gpu_share(gpus: float, size: int) -> float:
    """What each of `size` workers asks of a GPU, so that all find room: 1, 1/2, 1/3, …"""
    return 1.0 / max(1, math.ceil(size / gpus))
