"""The moments at which a trial is judged, counted in training images seen."""

from __future__ import annotations

from dataclasses import dataclass

from search.records import StudySpec
from search.space.defaults import EARLY_LOOKS

SHORT = 4
"""Reports within the first epoch, from 1/16 of it on, where a trial is shorter: there are no others."""


def halvings_of(task: str, epochs: float) -> int:
    """Reports within the first epoch of a new study of this task whose trials have so many epochs.

    Earlier ones than the task's first look decide nothing that would be fair (docs/decisions/005), and each
    costs as much as training on 900 to 1,400 pictures (017).
    """
    return EARLY_LOOKS[task] if epochs >= 1 else SHORT


@dataclass(frozen=True, kw_only=True, slots=True)
class Ladder:
    """Doubling steps up to one epoch, then every epoch to the end of the budget."""

    epoch_images: int
    """training images in one epoch of the task"""
    epochs: float
    """budget of one trial"""
    halvings: int = SHORT
    """reports within the first epoch: after 1/2, 1/4, … of it"""

    def __post_init__(self) -> None:
        if self.epochs <= 0:
            raise ValueError(f"epochs must be above 0, not {self.epochs}")
        if self.total < 1:
            raise ValueError(f"{self.epochs} epochs of {self.epoch_images} images are less than one image")

    @classmethod
    def of(cls, spec: StudySpec) -> Ladder:
        """That of a study."""
        return cls(epoch_images=spec.epoch_images, epochs=spec.epochs, halvings=spec.halvings)

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
        early = {self.epoch_images >> halving for halving in range(1, self.halvings + 1)}
        whole = {self.epoch_images * epoch for epoch in range(1, int(self.epochs) + 1)}
        return (*sorted(rung for rung in early | whole if 0 < rung < self.total), self.total)
