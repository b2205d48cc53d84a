"""A labeled dataset in memory: images of any size and number of channels, drawn by a formula."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from data.datasets.base import (
    Dataset,
    Fetched,
    FileCheck,
    LabelColumn,
    LabeledImages,
    OpenDataset,
    Split,
)
from data.datasets.source import Progress

SIZES = {Split.TRAIN: 300, Split.VALIDATION: 60, Split.TEST: 40}
SHADES = LabelColumn(name="shade", classes=("dark", "gray", "bright"))
SIDES = LabelColumn(name="side", classes=("left", "right"))


@dataclass(frozen=True, eq=False)
class Opened:
    """See OpenDataset."""

    parts: Mapping[Split, LabeledImages]
    checksums: Mapping[str, str] = field(default_factory=lambda: {"content": "0" * 64})

    def split(self, split: Split) -> LabeledImages:
        return self.parts[split]

    def fold(self, number: int) -> OpenDataset:
        raise NotImplementedError


class MadeImages(Dataset):
    """Noise whose brightness tells the shade, with a bright left or right half: two label columns, or one."""

    title = "Made images"
    scope = "It knows noise and nothing else."

    def __init__(
        self,
        shape: tuple[int, int, int] = (3, 12, 10),
        *,
        columns: tuple[LabelColumn, ...] = (SHADES, SIDES),
        sizes: Mapping[Split, int] = SIZES,
        name: str = "made@0123456789ab",
        counts: tuple[tuple[int, ...], ...] | None = None,
    ) -> None:
        """counts: what is said of the classes in validation; the images are made regardless of it."""
        self.name, self.image_shape, self.sizes = name, shape, sizes
        self.classes = columns[0].classes
        self.mean, self.deviation = (0.4,) * shape[0], (0.25,) * shape[0]
        self._columns, self._counts = columns, counts

    def class_counts(self, split: Split) -> tuple[tuple[int, ...], ...] | None:
        return self._counts if split is Split.VALIDATION else None

    @property
    def label_columns(self) -> tuple[LabelColumn, ...]:
        return self._columns

    def fetch(self, *, source: Path | None = None, progress: Progress | None = None) -> Fetched:
        return Fetched(folder=Path(), origins={}, checksums={})

    def verify(self) -> Mapping[str, FileCheck]:
        return {}

    def load(self) -> Opened:
        return Opened({split: self._examples(split, size) for split, size in self.sizes.items()})

    def _examples(self, split: Split, size: int) -> LabeledImages:
        generator = torch.Generator().manual_seed(list(Split).index(split))
        place = torch.arange(size)
        every = {"shade": place % 3, "side": place // 3 % 2}
        shade, side = every["shade"].view(-1, 1, 1, 1), every["side"].view(-1, 1, 1, 1)
        half = torch.arange(self.image_shape[2]) * 2 // self.image_shape[2]
        noise = torch.randint(0, 40, (size, *self.image_shape), generator=generator)
        images: Tensor = noise + 60 * shade + 80 * (half == side)
        labels = torch.stack([every[column.name] for column in self._columns], dim=1)
        return LabeledImages(images.to(torch.uint8), labels)
