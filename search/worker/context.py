"""What a worker is built from: the study, the data, the device. The same for all its trials."""

from __future__ import annotations

import math
import os
import socket
from dataclasses import dataclass
from pathlib import Path

from search.errors import ConfigError
from search.machine import new_worker_id
from search.objectives.base import Joining, OpenObjective
from search.objectives.registry import objective_named
from search.optuna_db.storage import Storage
from search.records import StudyRecord, Worker
from search.study.evaluation_schedule import EvaluationSchedule
from search.study.pruners import Pruning
from search.study.study import Study
from search.worker.artifacts import Artifacts
from search.worker.best_weights import BestWeights, KeptIn, place_for_new_weights
from search.worker.leases import LEASE_S
from search.worker.options import DEFAULT_OPTIONS, WorkerOptions
from search.worker.stop_policy import StopPolicy


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkerContext:
    """Everything that a worker needs and that no trial changes."""

    storage: Storage
    study: Study
    record: StudyRecord
    evaluations: EvaluationSchedule
    pruning: Pruning
    objective: OpenObjective
    artifacts: Artifacts
    weights: BestWeights
    worker: Worker
    lease_s: float
    """seconds for which a claim holds without being renewed"""
    options: WorkerOptions
    """what the run's user asks of its workers"""
    stop_policy: StopPolicy
    """when no more trials begin, although the study wants more"""


def _noted(folder: Path) -> str:
    """A path as the database keeps it: every database takes it, whatever bytes are in it."""
    return os.fsencode(folder.absolute()).decode(errors="backslashreplace")


def prepare(
    storage: Storage,
    name: str,
    opened: object,
    artifact_root: Path,
    *,
    device: str | None = None,
    threads: int,
    options: WorkerOptions = DEFAULT_OPTIONS,
    left_s: float | None = None,
    new_weights_in: KeptIn | None = None,
    lease_s: float = LEASE_S,
) -> WorkerContext:
    """Joins a study: reads its spec, sets up sampler and pruner, signs the list of workers.

    opened: what this process has open already of what the objective needs, such as a dataset; None: nothing.
    Files of all studies of this storage are below `artifact_root`. device: cpu or cuda; None: the objective
    chooses and sets up the process. threads: what this process has. left_s: until the run is ended; None: no
    limit. new_weights_in: where the best weights go; None: see `place_for_new_weights`.

    Raises ConfigError where there is no such study, or where this machine cannot do its work.
    """
    study, record = _find(storage, name)
    spec, evaluations = record.spec, EvaluationSchedule.of(record.spec)
    pruning = study.prepare(sampler=spec.sampler, pruner=spec.pruner, seed=spec.seed, evaluations=evaluations)
    artifacts = Artifacts.of(artifact_root, record)
    objective = objective_named(spec.objective).open(
        Joining(
            storage=storage,
            record=record,
            folder=artifacts.folder,
            device=device,
            device_wanted=options.device,
            threads=threads,
            opened=opened,
        )
    )
    try:
        stop_policy = _stop_policy(storage, study, evaluations, pruning, options, left_s)
        worker = _signed(storage, study, objective, threads, artifact_root)
        return WorkerContext(
            storage=storage,
            study=study,
            record=record,
            evaluations=evaluations,
            pruning=pruning,
            objective=objective,
            artifacts=artifacts,
            weights=_best_weights(storage, study, artifacts, new_weights_in),
            worker=worker,
            lease_s=lease_s,
            options=options,
            stop_policy=stop_policy,
        )
    except BaseException:
        objective.close()
        raise


def _find(storage: Storage, name: str) -> tuple[Study, StudyRecord]:
    study = Study.find(storage, name)
    if study is None or study.record is None:
        raise ConfigError(f"There is no study {name} in {storage.name}; `tune studies` lists what is there.")
    return study, study.record


def _stop_policy(
    storage: Storage,
    study: Study,
    evaluations: EvaluationSchedule,
    pruning: Pruning,
    options: WorkerOptions,
    left_s: float | None,
) -> StopPolicy:
    return StopPolicy(
        study,
        storage.store,
        budget=evaluations.total,
        finalists=pruning.promotion.finalists,
        left_s=math.inf if left_s is None else left_s,
        target=math.inf if options.target is None else study.metric.score_of(options.target),
    )


def _signed(
    storage: Storage, study: Study, objective: OpenObjective, threads: int, artifact_root: Path
) -> Worker:
    """This process as a worker, now in the study's list of workers."""
    worker = Worker(
        worker_id=new_worker_id(),
        host=socket.gethostname(),
        pid=os.getpid(),
        device=objective.device,
        threads=threads,
        environment=objective.environment,
        artifacts=_noted(artifact_root),
    )
    storage.store.add_worker(study.study_id, worker)
    return worker


def _best_weights(storage: Storage, study: Study, artifacts: Artifacts, new_in: KeptIn | None) -> BestWeights:
    return BestWeights(
        artifacts=artifacts,
        store=storage.store,
        new_in=new_in or place_for_new_weights(storage.location),
        earlier=storage.location.earlier,
        beside=study.set_aside_ids(),
    )
