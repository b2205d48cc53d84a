"""When a trial is evaluated, counted in training images seen."""

from __future__ import annotations

from dataclasses import dataclass

from search.records import StudySpec

SHORT_TRIAL_EVALUATIONS = 4
"""Evaluations within the first epoch of a trial that is shorter than an epoch, from 1/16 of an epoch on."""


def early_evaluations_of(early_evaluations: int, epochs: float) -> int:
    """Evaluations within the first epoch of a trial in a new study. epochs: the budget of one trial.

    early_evaluations: the task's number. Pruning earlier would be unfair (docs/decisions/005), and each
    evaluation costs as much as training on 900 to 1,400 images (docs/decisions/017).
    """
    return early_evaluations if epochs >= 1 else SHORT_TRIAL_EVALUATIONS


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluationSchedule:
    """Doubling steps up to one epoch, then every epoch to the end of the budget."""

    epoch_images: int
    """training images in one epoch of the task"""
    epochs: float
    """budget of one trial"""
    early_evaluations: int = SHORT_TRIAL_EVALUATIONS
    """evaluations within the first epoch: after 1/2, 1/4, … of it"""

    def __post_init__(self) -> None:
        if self.epochs <= 0:
            raise ValueError(f"epochs must be above 0, not {self.epochs}")
        if self.total < 1:
            raise ValueError(f"{self.epochs} epochs of {self.epoch_images} images are less than one image")

    @classmethod
    def of(cls, spec: StudySpec) -> EvaluationSchedule:
        """The schedule of a study."""
        return cls(epoch_images=spec.epoch_images, epochs=spec.epochs, early_evaluations=spec.halvings)

    @property
    def total(self) -> int:
        """Images that a trial sees unless it is stopped early: its whole budget."""
        return round(self.epoch_images * self.epochs)

    @property
    def first(self) -> int:
        """Images seen at the first evaluation."""
        return self.rungs[0]

    @property
    def rungs(self) -> tuple[int, ...]:
        """Images seen at each evaluation, rising; the last is the whole budget."""
        early = {self.epoch_images >> halving for halving in range(1, self.early_evaluations + 1)}
        whole = {self.epoch_images * epoch for epoch in range(1, int(self.epochs) + 1)}
        return (*sorted(rung for rung in early | whole if 0 < rung < self.total), self.total)
