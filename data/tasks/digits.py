"""The digits of one split, on one device: picked by index, moved if wanted. Any gray images will do."""

import functools
from dataclasses import dataclass

import torch
from torch import Tensor

from data.datasets.base import OpenDataset, Split
from data.tasks.augmenter import Augmenter, augmenter_of
from data.tasks.base import Augmentation


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Digits:
    """D digits and their labels. On the CPU these are views of the memory map, not copies."""

    images: Tensor
    """uint8 (D, H, W)."""
    labels: Tensor
    """int64 (D,)."""
    augmenter: Augmenter | None = None
    """None: digits are picked as they lie."""

    def pick(self, index: Tensor, transforms: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Images uint8 (\\*S, H, W) and labels int64 (\\*S) of the digits at `index` int64 (\\*S).

        `transforms` (\\*S, …) are the augmenter's, of which there must be one. Both may lie on the CPU.
        """
        chosen = index.flatten().to(self.images.device)
        images = self.images.index_select(0, chosen)
        if transforms is not None:
            assert self.augmenter is not None
            images = self.augmenter(images, transforms.flatten(0, index.dim() - 1).to(self.images.device))
        return images.view(*index.shape, *images.shape[1:]), self.labels.index_select(0, chosen).view(
            index.shape
        )


def digits_of(
    data: OpenDataset,
    split: Split,
    *,
    augmentation: Augmentation | None = None,
    device: torch.device | str = "cpu",
) -> Digits:
    """The digits that alone may appear in `split`, ready to be moved as `augmentation` says."""
    images, labels = _lying_on(data, split, torch.device(device))
    _, height, width = images.shape
    augmenter = None if augmentation is None else augmenter_of(augmentation, (height, width), device)
    return Digits(images=images, labels=labels, augmenter=augmenter)


@functools.lru_cache(maxsize=len(Split))
def _lying_on(data: OpenDataset, split: Split, device: torch.device) -> tuple[Tensor, Tensor]:
    """Images and labels of a split; all trials of a process share the copy on a GPU, and what a fold has
    copied. Of a process that goes from fold to fold, two training splits at most are kept."""
    images, labels = data.split(split)
    return images.to(device), labels.to(device)
