"""Tasks of few of their images, for tests of what happens around a training and not of what it learns."""

from __future__ import annotations

from types import MappingProxyType

import numpy as np
import pytest
from numpy.typing import NDArray

from data.datasets.base import Split
from data.tasks.digitsum import DigitSum
from data.tasks.permutations import columns
from data.tasks.twodigit import TwoDigit


def take_few_images(monkeypatch: pytest.MonkeyPatch, *, share: int = 10) -> None:
    """While the patch lasts, in this process, an epoch and every evaluation have 1/share of their images.

    The composition of each image and the number of reports stay as they are. Where a trial has a hundredth of
    an epoch, an evaluation of 4,000 images costs more than the training before it.
    """
    evaluate_on_few_images(monkeypatch, share=share)
    few = {**TwoDigit.examples, Split.TRAIN: TwoDigit.examples[Split.TRAIN] // share}
    monkeypatch.setattr(TwoDigit, "examples", MappingProxyType(few))
    monkeypatch.setattr(DigitSum, "epoch_examples", DigitSum.epoch_examples // share)


def evaluate_on_few_images(monkeypatch: pytest.MonkeyPatch, *, share: int = 10) -> None:
    """Of that only this: validation, also of a confirmation, and test have 1/share of their digits."""
    whole = TwoDigit.examples
    few = {split: images if split is Split.TRAIN else images // share for split, images in whole.items()}
    monkeypatch.setattr(TwoDigit, "examples", MappingProxyType(few))
    order = DigitSum.order
    monkeypatch.setattr(
        DigitSum, "order", lambda task, split: order(task, split)[: task.source.sizes[split] // share]
    )

    def every_digit(task: TwoDigit, times: int) -> NDArray[np.int64]:
        size, places = task.source.sizes[Split.VALIDATION] // share, len(task.digit_rows)
        return np.concatenate([columns(size, places, task.name, "every digit", n) for n in range(times)])

    monkeypatch.setattr(TwoDigit, "_every_digit", every_digit)
