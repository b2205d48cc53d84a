"""Trains a finished trial once more, as a worker would have trained it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

from data.datasets.base import OpenDataset
from models.device import describe, prepare_process
from search.objectives.base import job_of
from search.objectives.network.decoding import decode
from search.objectives.network.learning import Step, learn
from search.records import NetworkSpec, StudyRecord, TrialRecord, Worker
from search.study.evaluation_schedule import EvaluationSchedule
from search.tasks import same_data, task_named

_DEVICE = torch.device("cpu")


def retrain(
    record: StudyRecord,
    trial: TrialRecord,
    *,
    origin: int,
    worker: Worker | None,
    precision: str,
    rungs: Sequence[int],
    dataset: OpenDataset,
) -> Iterator[Step]:
    """The trial at these rungs, on the CPU, in this precision and with the threads of `worker`.

    `origin`: number of the trial that the settings were first given to. Raises ConfigError for other data
    than the study's, and Diverged.
    """
    same_data(record, dataset)
    prepare_process(threads=1 if worker is None else worker.threads)
    spec = record.spec
    assert isinstance(spec, NetworkSpec), "the study trains networks"
    job = job_of(
        spec,
        trial.settings,
        EvaluationSchedule.of_trial(spec, trial.ablation),
        origin=origin,
        confirming=trial.confirming,
        ablation=trial.ablation,
    )
    decoded = decode(
        job.settings,
        images=job.budget,
        seed=job.seed,
        precision=precision,  # type: ignore[arg-type]  # as a worker noted it
        norm_images=spec.norm_images,
    )
    return learn(
        decoded,
        task_named(spec.task),
        dataset if job.fold is None else dataset.fold(job.fold),
        rungs=rungs,
        device=_DEVICE,
        compositions=spec.compositions,
        evaluates_training=job.evaluates_training,
        metric=spec.metric,
    ).steps


def machine() -> dict[str, str | int]:
    """This process's hardware and software, in the words of a worker's environment."""
    return describe(_DEVICE)
