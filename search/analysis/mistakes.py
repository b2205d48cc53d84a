"""What a network got wrong, as records: confusions of each head, the worst single mistakes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassScore:
    """One class of one head."""

    name: str
    examples: int
    right: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Confusion:
    """The answers of one head on a whole split."""

    head: str
    counts: tuple[tuple[int, ...], ...]
    """rows: what it is; columns: what the network said; examples"""
    labels: tuple[str, ...] = ()
    """names of the classes; empty: they are the numbers from 0"""

    @property
    def names(self) -> tuple[str, ...]:
        """Of all classes."""
        return self.labels or tuple(map(str, range(len(self.counts))))

    @property
    def by_class(self) -> tuple[ClassScore, ...]:
        """How often each class is right, in the order of the classes."""
        return tuple(
            ClassScore(name=name, examples=sum(row), right=row[place])
            for place, (name, row) in enumerate(zip(self.names, self.counts, strict=True))
        )

    @property
    def examples(self) -> int:
        """All of them."""
        return sum(map(sum, self.counts))

    @property
    def wrong(self) -> int:
        """Examples off the diagonal."""
        return self.examples - sum(row[place] for place, row in enumerate(self.counts))

    def pairs(self) -> list[tuple[int, int, int]]:
        """(what it is, what was said, how often) of all mistakes, the most frequent first."""
        found = [
            (truth, said, n)
            for truth, row in enumerate(self.counts)
            for said, n in enumerate(row)
            if n and truth != said
        ]
        return sorted(found, key=lambda pair: (-pair[2], pair[0], pair[1]))


@dataclass(frozen=True, kw_only=True, slots=True)
class Mistake:
    """One example that was not understood."""

    png: bytes
    """the image, as the network saw it; ink on paper where it is of ink"""
    truth: str
    """the answer, in the task's words"""
    said: str
    """the network's, in the same words"""
    belief: float
    """probability that the network gave to the right answer of the head where it was least"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Mistakes:
    """What one trial's kept weights get wrong on validation."""

    trial: int
    """its number"""
    accuracy: float
    """of these weights now: mean of the heads"""
    recorded: float | None
    """the same as it was recorded when they were kept; None: another score was recorded"""
    confusions: tuple[Confusion, ...]
    worst: tuple[Mistake, ...]
    """the mistakes that the network was surest of, first the surest"""


def surest_first(mistakes: Sequence[Mistake]) -> tuple[Mistake, ...]:
    """The mistakes in which the right answer was believed least come first."""
    return tuple(sorted(mistakes, key=lambda mistake: mistake.belief))
