"""Turns index tables into batches, hundreds of examples at a time: nothing is done per example in Python."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import repeat

import torch
from torch import Tensor

from data.tasks.base import Batch
from data.tasks.permutations import seed_of

CHUNK = 512
"""Examples composed at once on a CPU: 512 to 4096 cost the same; one chunk of 42x28 images is 0.6 MB."""

CHUNK_ON_GPU = 8192
"""The same on a GPU, where a chunk costs some thirty launches whatever its size."""

Rows = tuple[Tensor, ...]
"""Index tables of equal length on the CPU; row i of each together says what example i is."""


def generator_of(*key: str | int) -> torch.Generator:
    """A CPU generator whose seed is made of all of `key`."""
    return torch.Generator().manual_seed(seed_of(*key))


def chunk_on(device: torch.device | str) -> int:
    """How many examples to compose at once there."""
    return CHUNK if torch.device(device).type == "cpu" else CHUNK_ON_GPU


@dataclass(frozen=True, kw_only=True, slots=True)
class EndlessStream:
    """Training examples without end: epoch follows epoch without a break, each in another order.

    What the p-th example of the stream is depends only on the task, the augmentation, the seed and p,
    so that a resumed run sees what an uninterrupted one would have seen.
    """

    examples: int
    """In one epoch."""
    plan: Callable[[int], Rows]
    """Epoch number → its `examples` rows, in order. Depends on nothing else."""
    compose: Callable[..., Batch]
    """The tensors of some Rows → those examples; numbers (N,)."""
    chunk: int = CHUNK
    """Examples composed at once."""

    def batches(self, batch_size: int, *, start: int = 0) -> Iterator[Batch]:
        """Full batches for ever, the first one beginning at the `start`-th example; they may straddle epochs.

        Chunks hold whole batches, so that each batch is a view.

        Raises:
            ValueError: batch_size is below 1 or start below 0.
        """
        if batch_size < 1 or start < 0:
            raise ValueError(f"need batch_size >= 1 and start >= 0, not {batch_size} and {start}")
        return self._batches(batch_size, start)

    def _batches(self, batch_size: int, start: int) -> Iterator[Batch]:
        chunk = max(1, self.chunk // batch_size) * batch_size
        epoch, offset = divmod(start, self.examples)
        rows = self.plan(epoch)
        while True:
            pieces: list[Rows] = []
            missing = chunk
            while missing:
                pieces.append(tuple(table[offset : offset + missing] for table in rows))
                taken = len(pieces[-1][0])
                missing -= taken
                offset += taken
                if offset == self.examples:
                    epoch, offset = epoch + 1, 0
                    rows = self.plan(epoch)
            yield from _split(self.compose(*map(torch.cat, zip(*pieces, strict=True))), batch_size)


@dataclass(frozen=True, kw_only=True, slots=True)
class FiniteSet:
    """A finite set in a fixed, shuffled order, so that every beginning of it is a fair sample.

    One table of rows, `scored` examples made of each.
    """

    rows: Rows
    """In the fixed order, shuffled once by their maker."""
    compose: Callable[..., Batch]
    """The tensors of some Rows → those images; numbers (N, scored) if the task has numbers."""
    scored: int = 1
    """Examples for each row: how many numbers each image is asked with."""
    chunk: int = CHUNK
    """Examples composed at once."""

    @property
    def examples(self) -> int:
        """Number of scored examples; with K numbers for each image, images · K."""
        return len(self.rows[0]) * self.scored

    def batches(self, batch_size: int) -> Iterator[Batch]:
        """Every example once; batch_size counts scored examples.

        An image travels with all its K numbers, so batch_size is rounded down to a multiple of K, but K
        at least. The last batch can be smaller.

        Raises:
            ValueError: batch_size is below 1.
        """
        if batch_size < 1:
            raise ValueError(f"need batch_size >= 1, not {batch_size}")
        return self._batches(max(1, batch_size // self.scored))

    def _batches(self, images: int) -> Iterator[Batch]:
        chunk = max(1, self.chunk // (images * self.scored)) * images
        for begin in range(0, len(self.rows[0]), chunk):
            composed = self.compose(*(table[begin : begin + chunk] for table in self.rows))
            yield from _split(composed, images, self.scored)


def _split(examples: Batch, images: int, scored: int = 1) -> Iterator[Batch]:
    numbers = repeat(None) if examples.number is None else torch.split(examples.number, images)
    targets = torch.split(examples.targets, images * scored)
    return map(Batch, torch.split(examples.image, images), numbers, targets)
