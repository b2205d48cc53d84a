"""An exported model on the data of its task: made smaller with training images, scored on validation."""

from __future__ import annotations

from pathlib import Path

import torch

from data.datasets.base import OpenDataset
from data.tasks.base import Augmentation, Task
from models.export import onnx_answer
from models.metrics import Tally
from models.quantize import CALIBRATION, quantize
from search.objectives.network.decoding import signature_of
from search.objectives.network.learning import scores_of
from search.records import Scores

_BATCH = 1000
"""Scored examples in one pass: whatever fits into the cache."""


def smaller(task: Task, dataset: OpenDataset, model: Path, out: Path) -> None:
    """Writes the int8 twin of the ONNX file `model`, calibrated on the task's first training images."""
    batch = next(task.training(dataset, augmentation=Augmentation(), seed=0).batches(CALIBRATION))
    quantize(model, out, image=batch.image, number=batch.number)


def validate(task: Task, dataset: OpenDataset, model: Path) -> Scores:
    """What an ONNX file scores on the whole validation set, by ONNX Runtime."""
    answer = onnx_answer(model)
    tally = Tally(signature_of(task), torch.device("cpu"))
    for batch in task.validation(dataset).batches(_BATCH):
        image, number = batch.image.float() / 255, batch.number
        if number is not None:  # the file takes one number with each image, the set has several
            image = image.repeat_interleave(number.shape[1], dim=0)
            number = number.flatten()
        found = answer(image, number)
        tally.add(torch.cat([found[head.name] for head in task.heads], dim=1), batch.targets)
    return scores_of(tally.metrics())
