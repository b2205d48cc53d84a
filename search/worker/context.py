"""What a worker is built from: the study, the data, the device. The same for all its trials."""

from __future__ import annotations

import math
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from data.datasets.base import DatasetError, OpenDataset
from data.tasks.base import Task
from models.device import describe
from search.errors import ConfigError
from search.machine import new_worker_id
from search.optuna_db.storage import Storage
from search.records import StudyRecord, Worker
from search.study.evaluation_schedule import EvaluationSchedule
from search.study.pruners import Pruning
from search.study.study import Study
from search.tasks import same_data, task_named
from search.worker.artifacts import Artifacts
from search.worker.best_weights import BestWeights, KeptIn, place_for_new_weights
from search.worker.leases import LEASE_S
from search.worker.options import DEFAULT_OPTIONS, WorkerOptions
from search.worker.precision import Precisions, decided
from search.worker.stop_policy import StopPolicy


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkerContext:
    """Everything that a worker needs and that no trial changes."""

    storage: Storage
    study: Study
    record: StudyRecord
    evaluations: EvaluationSchedule
    pruning: Pruning
    task: Task
    dataset: OpenDataset
    artifacts: Artifacts
    weights: BestWeights
    device: torch.device
    precision: Precisions
    """the study's, on this kind of processor"""
    worker: Worker
    lease_s: float
    """seconds for which a claim holds without being renewed"""
    options: WorkerOptions
    """what the run's user asks of its workers"""
    stop_policy: StopPolicy
    """when no more trials begin, although the study wants more"""


def opened(task: Task) -> OpenDataset:
    """The dataset of the task. Raises ConfigError where it is missing or damaged on this machine."""
    try:
        return task.source.load()
    except DatasetError as error:
        raise ConfigError(str(error)) from error


def _noted(folder: Path) -> str:
    """A path as the database keeps it: every database takes it, whatever bytes are in it."""
    return os.fsencode(folder.absolute()).decode(errors="backslashreplace")


def prepare(
    storage: Storage,
    name: str,
    dataset: OpenDataset | None,
    artifact_root: Path,
    *,
    device: torch.device,
    threads: int,
    options: WorkerOptions = DEFAULT_OPTIONS,
    left_s: float | None = None,
    new_weights_in: KeptIn | None = None,
    lease_s: float = LEASE_S,
) -> WorkerContext:
    """Joins a study: reads its spec, sets up sampler and pruner, signs the list of workers.

    dataset: the images of the study's task; None: they are opened here. Files of all studies of this storage
    are below `artifact_root`. device, threads: what this process has. left_s: until the run is ended; None:
    no limit. new_weights_in: where the best weights go; None: see `place_for_new_weights`.

    Raises ConfigError where there is no such study, or where this machine's data are not the study's.
    """
    study, record = _find(storage, name)
    spec = record.spec
    task = task_named(spec.task)
    dataset = opened(task) if dataset is None else dataset
    same_data(record, dataset)
    evaluations = EvaluationSchedule.of(spec)
    pruning = study.prepare(sampler=spec.sampler, pruner=spec.pruner, seed=spec.seed, evaluations=evaluations)
    environment = describe(device)
    precision = decided(storage, record, device, environment)
    artifacts = Artifacts.of(artifact_root, record)
    stop_policy = StopPolicy(
        study,
        storage.store,
        images=evaluations.total,
        finalists=pruning.promotion.finalists,
        left_s=math.inf if left_s is None else left_s,
        target=math.inf if options.target is None else options.target,
    )
    worker = _signed(storage, study, device, threads, environment, precision, artifact_root)
    return WorkerContext(
        storage=storage,
        study=study,
        record=record,
        evaluations=evaluations,
        pruning=pruning,
        task=task,
        dataset=dataset,
        artifacts=artifacts,
        weights=_best_weights(storage, artifacts, new_weights_in),
        device=device,
        precision=precision,
        worker=worker,
        lease_s=lease_s,
        options=options,
        stop_policy=stop_policy,
    )


def _find(storage: Storage, name: str) -> tuple[Study, StudyRecord]:
    study = Study.find(storage, name)
    record = None if study is None else storage.store.study(study.study_id)
    if study is None or record is None:
        raise ConfigError(f"There is no study {name} in {storage.name}; `tune studies` lists what is there.")
    return study, replace(record, name=name)


def _signed(
    storage: Storage,
    study: Study,
    device: torch.device,
    threads: int,
    environment: Mapping[str, str | int],
    precision: Precisions,
    artifact_root: Path,
) -> Worker:
    """This process as a worker, now in the study's list of workers."""
    worker = Worker(
        worker_id=new_worker_id(),
        host=socket.gethostname(),
        pid=os.getpid(),
        device=device.type,
        threads=threads,
        environment={**environment, **{f"precision_{k}": v for k, v in precision.items()}},
        artifacts=_noted(artifact_root),
    )
    storage.store.add_worker(study.study_id, worker)
    return worker


def _best_weights(storage: Storage, artifacts: Artifacts, new_in: KeptIn | None) -> BestWeights:
    return BestWeights(
        artifacts=artifacts,
        store=storage.store,
        new_in=new_in or place_for_new_weights(storage.location),
        earlier=storage.location.earlier,
    )
