"""What tasks of reading digits that overlap in one image have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from data.datasets.base import OpenDataset, Split
from data.tasks.base import Augmentation, Task

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

    from data.tasks.stream import EndlessStream, FiniteSet


class OverlappingDigits(Task):
    """A canvas as wide as a digit, one digit from each of `digit_rows` on, the maximum where they overlap.

    One head for each digit, from the top. Which digits share a canvas is fixed by the task's name: a task
    that is renamed is another one.
    """

    examples_are = "digits"
    references_are = "published networks"
    examples: Mapping[Split, int]
    """Canvases in each split; at most as many as the split has digits."""

    @property
    def image_shape(self) -> tuple[int, int, int]:
        channels, height, width = self.source.image_shape
        return channels, self.digit_rows[-1] + height, width

    @property
    def epoch_examples(self) -> int:
        return self.examples[Split.TRAIN]

    def training(
        self, data: OpenDataset, *, augmentation: Augmentation, seed: int, device: torch.device | str = "cpu"
    ) -> EndlessStream:
        from data.tasks.overlapping_batches import training

        return training(self, data, augmentation=augmentation, seed=seed, device=device)

    def validation(
        self, data: OpenDataset, *, device: torch.device | str = "cpu", compositions: int = 0
    ) -> FiniteSet:
        from data.tasks.overlapping_batches import evaluation

        places = self.validation_digits(compositions=compositions)
        return evaluation(self, data, Split.VALIDATION, places, device)

    def validation_digits(self, *, compositions: int = 0) -> NDArray[np.int64]:
        return self._every_digit(compositions) if compositions else self.fixed_places(Split.VALIDATION)

    def test(self, data: OpenDataset, *, device: torch.device | str = "cpu") -> FiniteSet:
        from data.tasks.overlapping_batches import evaluation

        return evaluation(self, data, Split.TEST, self.test_digits(), device)

    def test_digits(self) -> NDArray[np.int64]:
        return self.fixed_places(Split.TEST)

    def caption(self, targets: Sequence[int], number: int | None) -> str:
        return " · ".join(self.source.classes[target] for target in targets)

    def fixed_places(self, split: Split) -> NDArray[np.int64]:
        """int64 (examples, places): the digits of each canvas of `split`, the same in every study.

        Each column is without repetition, which shows more different digits than independent draws do. A
        test pins the checksum of its bytes.
        """
        from data.tasks.permutations import columns

        size, places = self.source.sizes[split], len(self.digit_rows)
        return columns(size, places, self.name, "composition", split.value)[: self.examples[split]]

    def _every_digit(self, times: int) -> NDArray[np.int64]:
        """int64 (times · digits, places): every validation digit `times` times in each place.

        The same in every confirmation; a test pins the checksum of its bytes.
        """
        import numpy as np

        from data.tasks.permutations import columns

        size, places = self.source.sizes[Split.VALIDATION], len(self.digit_rows)
        return np.concatenate([columns(size, places, self.name, "every digit", n) for n in range(times)])
