"""The images of one split, on one device: picked by index, moved if wanted. Most are digits."""

import functools
from dataclasses import dataclass

import torch
from torch import Tensor

from data.datasets.base import OpenDataset, Split
from data.tasks.augmenter import Augmenter, augmenter_of
from data.tasks.base import Augmentation


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Digits:
    """D images and their labels. On the CPU these are views of the memory map, not copies."""

    images: Tensor
    """uint8 (D, H, W), or (D, C, H, W)."""
    labels: Tensor
    """int64 (D,), or (D, label columns)."""
    augmenter: Augmenter | None = None
    """None: digits are picked as they lie."""

    def pick(self, index: Tensor, transforms: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The images and labels at `index` int64 (\\*S), whose shape takes the place of D.

        `transforms` (\\*S, …) are the augmenter's, of which there must be one. Both may lie on the CPU.
        """
        chosen = index.flatten().to(self.images.device)
        images = self.images.index_select(0, chosen)
        if transforms is not None:
            assert self.augmenter is not None
            images = self.augmenter(images, transforms.flatten(0, index.dim() - 1).to(self.images.device))
        labels = self.labels.index_select(0, chosen)
        return images.view(*index.shape, *images.shape[1:]), labels.view(*index.shape, *labels.shape[1:])


def digits_of(
    data: OpenDataset,
    split: Split,
    *,
    augmentation: Augmentation | None = None,
    device: torch.device | str = "cpu",
    edges: bool = False,
) -> Digits:
    """The images that alone may appear in `split`, ready to be moved as `augmentation` says.

    edges: see data.tasks.augmenter.augmenter_of.
    """
    images, labels = _lying_on(data, split, torch.device(device))
    height, width = images.shape[-2:]
    augmenter = None
    if augmentation is not None:
        augmenter = augmenter_of(augmentation, (height, width), device, edges=edges)
    return Digits(images=images, labels=labels, augmenter=augmenter)


@functools.lru_cache(maxsize=len(Split))
def _lying_on(data: OpenDataset, split: Split, device: torch.device) -> tuple[Tensor, Tensor]:
    """Images and labels of a split; all trials of a process share the copy on a GPU, and what a fold has
    copied. Of a process that goes from fold to fold, two training splits at most are kept."""
    images, labels = data.split(split)
    return images.to(device), labels.to(device)
