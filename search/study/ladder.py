"""The moments at which a trial is judged, counted in training images seen.
Knows nothing of how it is judged (search.study.pruners) or trained.
"""

from __future__ import annotations

from dataclasses import dataclass

HALVINGS = 4
"""Judgements within the first epoch: after 1/16, 1/8, 1/4 and 1/2 of it. A learning rate that learns
nothing shows after 2,250 images, about half a second of a small network."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Ladder:
    """Doubling steps up to one epoch, then every epoch to the end of the budget."""

    epoch_images: int
    """training images in one epoch of the task"""
    epochs: float
    """budget of one trial"""

    def __post_init__(self) -> None:
        if self.epochs <= 0:
            raise ValueError(f"epochs must be above 0, not {self.epochs}")
        if self.total < 1:
            raise ValueError(f"{self.epochs} epochs of {self.epoch_images} images are less than one image")

    @property
    def total(self) -> int:
        """Images that a trial sees if nobody ends it."""
        return round(self.epoch_images * self.epochs)

    @property
    def first(self) -> int:
        """Images at the first judgement."""
        return self.rungs[0]

    @property
    def rungs(self) -> tuple[int, ...]:
        """Images seen at every judgement, rising; the last is the whole budget."""
        early = {self.epoch_images >> halving for halving in range(1, HALVINGS + 1)}
        whole = {self.epoch_images * epoch for epoch in range(1, int(self.epochs) + 1)}
        return (*sorted(rung for rung in early | whole if 0 < rung < self.total), self.total)
