"""The process that talks to Ray for a run: connects, starts workers on the cluster, tells how they are.

The only module that imports Ray, and in a separate process: Ray prints on the standard output of its
driver whatever happens to the cluster, takes over its signals, waits minutes for an address that does not
answer, and exits silently when the cluster's head is lost.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path

import ray
from ray.exceptions import ActorUnavailableError, RayError

from search.launchers.base import Place
from search.launchers.ray_cluster import Cluster, Unreachable
from search.redaction import redact_output, redacted
from search.store.location import ARTIFACTS_VARIABLE
from search.worker.process import WorkerConfig, WorkerExit, run_worker

CONNECT_S = 5.0
"""Seconds that the head may take to accept a connection."""

FAREWELL_S = 1.5
"""Seconds after a parent that was killed: enough to write the resume checkpoints."""


def serve(pipe: Connection) -> None:
    """The driver's process: answers one call (name, arguments) after the other until the pipe is closed."""
    _be_silent()
    driver = _Driver()
    calls: Mapping[str, Callable[..., object]] = {
        each.__name__: each for each in (driver.connect, driver.start, driver.look, driver.stop, driver.kill)
    }
    try:
        while True:
            name, arguments = pipe.recv()
            pipe.send(calls[name](*arguments))
            _ignore_signals()  # Ray sets its own when it connects
    except EOFError:
        driver.part()


def _be_silent() -> None:
    """Whatever Ray prints is in its own logs too."""
    _ignore_signals()
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)


def _ignore_signals() -> None:
    """They reach the parent, which decides for all."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


class _Driver:
    """Keeps the workers of one run."""

    def __init__(self) -> None:
        self._actors: dict[int, _Actor] = {}

    def connect(self, address: str) -> Cluster | Unreachable:
        """Joins the cluster as a driver."""
        try:
            host, colon, port = address.rpartition(":")
            if colon:  # Ray itself would knock for minutes
                socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_S).close()
            ray.init(address=address, log_to_driver=False, logging_level=logging.CRITICAL)
        except (OSError, ValueError, RuntimeError) as error:
            return Unreachable(why=" ".join(str(error).split()).rstrip("."))
        nodes = [node for node in ray.nodes() if node["Alive"]]
        return Cluster(
            hosts=tuple(node["NodeManagerHostname"] for node in nodes),
            cpus=tuple(node["Resources"].get("CPU", 0.0) for node in nodes),
            gpus=sum(node["Resources"].get("GPU", 0.0) for node in nodes),
        )

    def start(self, config: WorkerConfig, gpus: float) -> int:
        """Has one worker started wherever there is room, now or later; returns its number."""
        number = len(self._actors)
        self._actors[number] = _Actor(config, gpus)
        return number

    def look(self, number: int) -> tuple[Place | None, WorkerExit | None]:
        """Where a worker is and how it ended, as far as is known. Does not wait."""
        return self._actors[number].look()

    def stop(self, number: int) -> None:
        """Asks a worker to end its trials cleanly. Does not wait."""
        self._actors[number].stop()

    def kill(self, number: int) -> None:
        """Ends a worker at once."""
        self._actors[number].kill()

    def part(self) -> None:
        """Ends all workers, cleanly where that is quick."""
        for actor in self._actors.values():
            actor.stop()
        deadline = time.monotonic() + FAREWELL_S
        while time.monotonic() < deadline and any(actor.look()[1] is None for actor in self._actors.values()):
            time.sleep(0.05)
        ray.shutdown()  # ends what is left of this driver's actors


class _Actor:
    """One worker as seen from here."""

    def __init__(self, config: WorkerConfig, gpus: float) -> None:
        self._config = config
        self._place: Place | None = None
        self._end: WorkerExit | None = None
        self._nodes = _living_nodes()
        # Spread, so that the loss of one machine costs few. Ray shall not restart it: the run must know
        # that it died, to queue its trials again and to see a crash loop.
        self._actor = (
            ray.remote(_Worker)
            .options(
                num_cpus=config.options.threads, num_gpus=gpus, max_restarts=0, scheduling_strategy="SPREAD"
            )
            .remote()
        )
        # The config is an argument of a call, which goes to the worker itself. Ray's head would keep those of
        # the constructor.
        self._answer = self._actor.begin.remote(config)

    def look(self) -> tuple[Place | None, WorkerExit | None]:
        """Takes the answer to the last question, if it has come, and asks the next one."""
        if self._end is None and ray.wait([self._answer], timeout=0)[0]:
            try:
                self._place, self._end = ray.get(self._answer)
            except ActorUnavailableError:
                pass  # it does not answer for now; when its machine is gone, Ray will say that it died
            except RayError as error:
                self._end = WorkerExit(
                    how="died", words=_first_line(error), with_machine=bool(self._nodes - _living_nodes())
                )
            if self._end is not None:
                pass
            elif self._place is None:
                self._answer = self._actor.begin.remote(self._config)
            else:
                self._answer = self._actor.look.remote()
        return self._place, self._end

    def stop(self) -> None:
        """Asks for a clean end; a worker that was not seen yet has nothing to end."""
        self.look()
        if self._place is None:
            self.kill()
        elif self._end is None:
            self._actor.stop.remote()

    def kill(self) -> None:
        """Ends it at once."""
        ray.kill(self._actor)
        self._end = self._end or WorkerExit(how="died", words="it was ended")


class _Worker:
    """One worker, in the process that Ray started for it. Every call returns at once."""

    def __init__(self) -> None:
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._end: WorkerExit | None = None

    def begin(self, config: WorkerConfig) -> tuple[Place, WorkerExit | None]:
        """Starts the work; a second call changes nothing."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, args=(config,), name="worker", daemon=True)
            self._thread.start()
        return self.look()

    def look(self) -> tuple[Place, WorkerExit | None]:
        """Where this process is, and how the work ended."""
        return Place(socket.gethostname(), os.getpid()), self._end

    def stop(self) -> None:
        """Asks for a clean end."""
        self._stopping.set()

    def _work(self, config: WorkerConfig) -> None:
        from data.datasets.base import DatasetError
        from data.datasets.registry import get_dataset

        redact_output()  # Ray keeps what its workers print
        here = f"On {socket.gethostname()}"
        if chosen := os.environ.get(ARTIFACTS_VARIABLE):  # this machine may have mounted the folder elsewhere
            config = replace(config, artifact_root=Path(chosen).absolute(), new_weights_in="folder")
        try:
            config.artifact_root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            self._end = WorkerExit(
                how="gave up",
                words=f"{here} the folder {config.artifact_root} cannot be used ({error.strerror}); set "
                "TUNE_ARTIFACTS to one that all machines reach.",
            )
            return
        try:
            if config.dataset is not None:
                get_dataset(config.dataset).fetch()
            end = run_worker(config, self._stopping.is_set)
            self._end = replace(end, words=f"{here}: {end.words}") if end.how == "gave up" else end
        except DatasetError as error:
            self._end = WorkerExit(how="gave up", words=f"{here}: {error}")
        except Exception as error:  # the end of this process's work, whatever it was: it must be told
            self._end = WorkerExit(how="died", words=redacted(f"{type(error).__name__}: {error}"))
            raise  # Ray's log of the worker keeps the traceback


def _living_nodes() -> set[str]:
    return {node["NodeID"] for node in ray.nodes() if node["Alive"]}


def _first_line(error: RayError) -> str:
    """What Ray has to say, without the lists that it adds."""
    return str(error).strip().partition("\n")[0].rstrip(".")
