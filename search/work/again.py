"""Trains a finished trial once more, as a worker would have trained it.
Knows nothing of databases; what became of the trial then is for others to compare.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch

from data.mnist import Mnist
from data.tasks import get_task
from models.device import describe, prepare_process
from search.records import StudyRecord, TrialRecord, Value, Worker
from search.study.ladder import Ladder
from search.work.ground import same_data
from search.work.spec import decode, training_seed
from search.work.trial import Step, learn

_DEVICE = torch.device("cpu")


def again(
    record: StudyRecord,
    trial: TrialRecord,
    *,
    origin: int,
    worker: Worker | None,
    rungs: Sequence[int],
    mnist: Mnist,
) -> Iterator[Step]:
    """The trial at these rungs, on the CPU, in the precision and with the threads of `worker`.

    `origin`: number of the trial that the settings were first given to. Raises ConfigError for other data
    than the study's, and Diverged.
    """
    same_data(record, mnist)
    prepare_process(threads=1 if worker is None else worker.threads)
    spec, settings = record.spec, trial.settings
    decoded = decode(
        settings,
        images=Ladder.of(spec).total,
        seed=training_seed(spec.seed, origin=origin, confirming=trial.confirming),
        precision=precision_of(settings, worker),  # type: ignore[arg-type]  # as a worker noted it
    )
    return learn(decoded, get_task(spec.task), mnist, rungs=rungs, device=_DEVICE).steps


def precision_of(settings: Mapping[str, Value], worker: Worker | None) -> str:
    """What that worker computed such a network in; float32 where nobody knows."""
    noted = {} if worker is None else worker.environment
    return str(noted.get(f"precision_{settings['model']}", "float32"))


def machine() -> dict[str, str | int]:
    """This process's hardware and software, in the words of a worker's environment."""
    return describe(_DEVICE)
