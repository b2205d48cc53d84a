"""Toy data that a network can learn, and the signatures that the tests share."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from models.device import prepare_process
from models.network import Signature

Batch = tuple[Tensor, Tensor | None, Tensor]


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    prepare_process(threads=1)


@dataclass(frozen=True, kw_only=True, slots=True)
class Toy:
    """Images of noise with one bright bar: its row is the first head, and row + number the second."""

    signature: Signature
    examples: int = 256
    seed: int = 0

    def everything(self) -> Batch:
        draw = torch.Generator().manual_seed(self.seed)
        _, height, _ = self.signature.image
        image = torch.randint(0, 60, (self.examples, *self.signature.image), generator=draw)
        row = torch.randint(0, 4, (self.examples,), generator=draw)
        image[torch.arange(self.examples), :, row * (height // 4) + 1] = 255
        number = torch.randint(0, max(1, self.signature.numbers), (self.examples,), generator=draw)
        targets = torch.stack([row, row + number], dim=1)
        return image.to(torch.uint8), number if self.signature.numbers else None, targets


class ToyTraining(Toy):
    """The same images over and over, in order."""

    def batches(self, batch_size: int, *, start: int = 0) -> Iterator[Batch]:
        image, number, targets = self.everything()
        while True:
            rows = torch.arange(start, start + batch_size) % self.examples
            start += batch_size
            yield image[rows], None if number is None else number[rows], targets[rows]


class ToyEvaluation(Toy):
    """Each image once; with a number input: each image with all numbers."""

    def batches(self, batch_size: int) -> Iterator[Batch]:
        image, number, targets = self.everything()
        each = max(1, self.signature.numbers)
        for some in torch.arange(self.examples).split(max(1, batch_size // each)):
            if number is None:
                yield image[some], None, targets[some]
                continue
            every = torch.arange(self.signature.numbers).expand(len(some), -1)
            row = targets[some, :1].expand_as(every)
            yield image[some], every, torch.stack([row.flatten(), (row + every).flatten()], dim=1)


@pytest.fixture
def image_only() -> Signature:
    """Images alone, two heads of one size."""
    return Signature(image=(1, 20, 12), heads=(("row", 4), ("again", 4)))


@pytest.fixture
def numbered() -> Signature:
    """An image and a number, two heads of different sizes."""
    return Signature(image=(1, 16, 16), numbers=3, heads=(("row", 4), ("sum", 6)))


@pytest.fixture
def training_on() -> type[ToyTraining]:
    return ToyTraining


@pytest.fixture
def evaluation_on() -> type[ToyEvaluation]:
    return ToyEvaluation
