"""From the settings of a trial to the typed configs of data and models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from data.tasks.base import Augmentation, Pairing, Task
from models.network import FAMILIES, ModelConfig, Signature
from models.optimizer import OptimizerConfig
from models.training import Precision, TrainingConfig
from search.records import Value
from search.space.defaults import in_effect


@dataclass(frozen=True, kw_only=True, slots=True)
class TrialSpec:
    """All that decides how a trial is trained: on one kind of machine, the same spec gives the same curve."""

    model: ModelConfig
    training: TrainingConfig
    augmentation: Augmentation
    seed: int
    """of initialization, order of examples, augmentation and dropout"""


def signature_of(task: Task) -> Signature:
    """The inputs and outputs that a network for this task has."""
    source = task.source
    return Signature(
        image=task.image_shape,
        numbers=task.numbers,
        heads=tuple((head.name, head.classes) for head in task.heads),
        mean=source.mean,
        deviation=source.deviation,
    )


def decode(
    settings: Mapping[str, Value], *, images: int, seed: int, precision: Precision, norm_images: int = 0
) -> TrialSpec:
    """The typed configs of a trial's settings; inactive ones have the values that hold without them. `images`
    is its budget in training images, `norm_images` its study's.

    Raises KeyError for a setting that is missing and InvalidConfig for one that cannot be.
    """
    settings = in_effect(settings)
    family = FAMILIES[str(settings["model"])].config
    return TrialSpec(
        model=family(**_subset(settings, family)),
        training=TrainingConfig(
            images=images,
            optimizer=OptimizerConfig(
                **_subset(settings, OptimizerConfig, exclude="name"),
                name=settings["optimizer"],  # type: ignore[arg-type]  # checked at construction
            ),
            batch_size=int(settings["batch_size"]),
            schedule=settings["schedule"],  # type: ignore[arg-type]  # checked at construction
            label_smoothing=float(settings["label_smoothing"]),
            averaging=float(settings["averaging"]),
            precision=precision,
            norm_images=norm_images,
        ),
        augmentation=Augmentation(
            pairing=Pairing(str(settings["pairing"])),
            shift=int(settings["shift"]),
            affine=float(settings["affine"]),
            flip=bool(settings["flip"]),
        ),
        seed=seed,
    )


def _subset(settings: Mapping[str, Value], config: type, *, exclude: str = "") -> dict[str, Any]:
    """The settings that are fields of a config: both go by the same names."""
    return {field.name: settings[field.name] for field in fields(config) if field.name != exclude}
