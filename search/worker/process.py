"""The entry point of a worker process: its config, how it runs, and how it exits. Every launcher uses it."""

from __future__ import annotations

import json
import logging
import os
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from search.errors import TryAgain, TuneError
from search.redaction import RedactingFormatter
from search.worker.options import WorkerOptions

KERNEL_CACHES = ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY")
"""Variables by which torch's CPU library is told how many compiled kernels it may keep."""

KERNELS_KEPT = "64"
"""The number for networks of tune's: one needs some thirty. Every trial has other shapes: with the libraries'
own limit of 1,024 a worker grew by 6 MB with each trial and past 800 MB after a hundred; with this one, and
free memory given back, it stayed at 400 (docs/decisions/007). A user's network may need hundreds."""


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkerConfig:
    """What is sent to a worker process, as one JSON document: pickling a config makes that of it. Never as an
    argument of the process: the URL may hold a password."""

    storage_url: str = field(repr=False)
    study: str
    artifact_root: Path
    options: WorkerOptions
    dataset: str | None = "mnist"
    """name of the dataset that the worker's machine must have; None: the objective needs none of tune's"""
    gpu: int | None = None
    """index of the GPU to train on, among those that the process sees; None: the first of them"""
    left_s: float | None = None
    """until the run is ended, counted from when the config is sent; None: no limit"""
    storage_file: tuple[int, int] | None = None
    """device and inode of the SQLite file that the run has opened: no other one is written to"""
    new_weights_in: Literal["database", "folder"] | None = None
    """where the best weights go; None: as the storage and this process's TUNE_ARTIFACTS say"""
    failures_in_a_row: int = 0
    """trials that had failed one after the other when the worker before this one was worn out"""

    def to_json(self) -> str:
        """All of it, the password in the URL too."""
        return json.dumps({**asdict(self), "artifact_root": str(self.artifact_root)})

    @classmethod
    def from_json(cls, document: str) -> WorkerConfig:
        """What `to_json` has made its document of."""
        told = json.loads(document)
        file = told["storage_file"]
        return cls(
            **{
                **told,
                "artifact_root": Path(told["artifact_root"]),
                "options": WorkerOptions(**told["options"]),
                "storage_file": None if file is None else tuple(file),
            }
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return WorkerConfig.from_json, (self.to_json(),)


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkerExit:
    """How a worker process ended."""

    how: Literal["well", "worn out", "gave up", "died"]
    """worn out: its trials are in order, and a new process should continue. Gave up: for a reason that a new
    process would meet again. Died: a new process may succeed"""
    words: str = ""
    """a whole sentence where it gave up; where it died, what is known, such as its exit code"""
    failures_in_a_row: int = 0
    """to be passed to the process that replaces one that is worn out"""
    with_machine: bool = False
    """it died because its machine is gone"""
    unreachable: bool = False
    """it may still be at work where nothing of this run can end it"""


def only_gpu(gpu: int, visible: str | None) -> str:
    """The value of CUDA_VISIBLE_DEVICES that leaves a process one GPU: number `gpu` of those it sees now.

    visible: the variable's present value, a list of indices or UUIDs; None: not set, so all GPUs are seen.
    With one GPU to be seen, no part of torch can use another one by mistake.
    """
    return str(gpu) if visible is None else visible.split(",")[gpu].strip()


def run_worker(config: WorkerConfig, stop: Callable[[], bool]) -> WorkerExit:
    """Works until the study is done or `stop` says so. What it finds out is in the database.

    The first to import torch in its process.
    """
    began = time.monotonic()
    if config.dataset is not None:  # it trains tune's networks, and starts no training code of a user's
        for variable in KERNEL_CACHES:
            os.environ.setdefault(variable, KERNELS_KEPT)  # read when torch is loaded
    if config.gpu is not None:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        os.environ["CUDA_VISIBLE_DEVICES"] = only_gpu(config.gpu, visible)  # read when torch is loaded
    warnings.simplefilter("ignore")  # they would tear the parent's display; failures are recorded
    log = logging.StreamHandler()
    log.setFormatter(RedactingFormatter(logging.BASIC_FORMAT))
    logging.basicConfig(level=logging.ERROR, handlers=[log])

    # Imported here: torch and optuna take seconds, and all workers are started at once.
    from search.worker.worker_loop import WornOut

    try:
        _work(config, stop, began)
    except WornOut as end:
        return WorkerExit(how="worn out", failures_in_a_row=end.failures_in_a_row)
    except TryAgain as error:
        return WorkerExit(how="died", words=str(error))
    except TuneError as error:
        return WorkerExit(how="gave up", words=str(error))
    return WorkerExit(how="well")


def _work(config: WorkerConfig, stop: Callable[[], bool], began: float) -> None:
    from search.optuna_db.storage import open_storage
    from search.store.database import RETRY_S
    from search.worker.context import prepare
    from search.worker.worker_loop import work

    options, left_s = config.options, config.left_s
    with open_storage(
        config.storage_url, create=False, retry_s=RETRY_S, file_id=config.storage_file
    ) as storage:
        storage.give_up_when(stop)
        context = prepare(
            storage,
            config.study,
            None,  # the objective opens what it needs
            config.artifact_root,
            new_weights_in=config.new_weights_in,
            threads=options.threads,
            options=options,
            left_s=None if left_s is None else left_s - (time.monotonic() - began),
        )
        work(context, stop=stop, failures_in_a_row=config.failures_in_a_row)
