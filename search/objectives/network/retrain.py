"""Trains a finished trial once more, as a worker would have trained it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

from data.datasets.base import OpenDataset
from models.device import describe, prepare_process
from search.objectives.network.decoding import decode
from search.objectives.network.learning import Step, learn
from search.records import NetworkSpec, StudyRecord, TrialRecord, Worker
from search.seeds import training_seed
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
    budget: int | None = None,
    fold: int | None = None,
    evaluates_training: bool = False,
) -> Iterator[Step]:
    """The trial at these rungs, on the CPU, in this precision and with the threads of `worker`.

    `origin`: number of the trial that the settings were first given to. budget, fold, evaluates_training: of
    the trial's job; a budget of None is the study's. Raises ConfigError for other data than the study's,
    ValueError for a fold that does not exist, and Diverged.
    """
    same_data(record, dataset)
    prepare_process(threads=1 if worker is None else worker.threads)
    spec = record.spec
    assert isinstance(spec, NetworkSpec), "the study trains networks"
    decoded = decode(
        trial.settings,
        images=spec.budget if budget is None else budget,
        seed=training_seed(spec.seed, origin=origin, confirming=trial.confirming),
        precision=precision,  # type: ignore[arg-type]  # as a worker noted it
        norm_images=spec.norm_images,
    )
    return learn(
        decoded,
        task_named(spec.task),
        dataset if fold is None else dataset.fold(fold),
        rungs=rungs,
        device=_DEVICE,
        compositions=spec.compositions,
        evaluates_training=evaluates_training,
    ).steps


def machine() -> dict[str, str | int]:
    """This process's hardware and software, in the words of a worker's environment."""
    return describe(_DEVICE)
