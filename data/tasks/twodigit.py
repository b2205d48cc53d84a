"""The task of reading two overlapping digits (MITx 6.86x, project 3)."""

from __future__ import annotations

from types import MappingProxyType

from data.datasets.base import Split
from data.tasks.base import Head, plain_training
from data.tasks.overlapping import OverlappingDigits

COURSE_TRAINING = plain_training(optimizer="sgd", lr=0.01, momentum=0.9, batch_size=64)


class TwoDigit(OverlappingDigits):
    """A canvas of 42×28: one digit on rows 0–27, one on rows 14–41."""

    name = "twodigit"
    title = "Two overlapping digits"
    dataset = "mnist"
    digit_rows = (0, 14)
    heads = (Head(name="first_digit", classes=10), Head(name="second_digit", classes=10))
    examples = MappingProxyType({Split.TRAIN: 36_000, Split.VALIDATION: 4_000, Split.TEST: 4_000})
    compositions = 4
    """24,000 images. With one composition, what two digits do to each other is most of the noise
    (docs/decisions/029)."""
    epochs = 8
    """docs/decisions/017"""
    early_evaluations = 3
    """The first after 1/8 of an epoch: docs/decisions/020."""
    references = MappingProxyType(
        {
            # 76,628 parameters
            "course-mlp": {
                "model": "mlp",
                **COURSE_TRAINING,
                "depth": 1,
                "width": 64,
                "taper": 1.0,
                "activation": "relu",
                "dropout": 0.0,
            },
            # 720 features, nothing between the linear 128 and the heads but dropout
            "course-conv": {
                "model": "conv",
                **COURSE_TRAINING,
                "blocks": 2,
                "stem": 1,
                "convolutions": 1,
                "channels": 8,
                "growth": 2.0,
                "divisor": 1,
                "kernel": 3,
                "padding": "valid",
                "hidden": 128,
                "hidden_layers": 1,
                "hidden_taper": 1.0,
                "hidden_activation": False,
                "batch_norm": False,
                "activation": "relu",
                "dropout": 0.5,
                "number_width": 0,
            },
        }
    )
