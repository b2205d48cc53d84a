"""When a trial is evaluated, and from where on it may be pruned, in steps of its study's unit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from search.records import AblationRun, NetworkSpec, StudySpec

SHORT_TRIAL_EVALUATIONS = 4
"""Evaluations within the first epoch of a trial that is shorter than an epoch, from 1/16 of an epoch on."""

SMALLEST_SHARE = 16
"""Of its budget a trial of an unknown objective has had at least this part before it may be pruned."""


def early_evaluations_of(early_evaluations: int, epochs: float) -> int:
    """Evaluations within the first epoch of a trial in a new study. epochs: the budget of one trial.

    early_evaluations: the task's number. Pruning earlier would be unfair (docs/decisions/005), and each
    evaluation costs as much as training on 900 to 1,400 images (docs/decisions/017).
    """
    return early_evaluations if epochs >= 1 else SHORT_TRIAL_EVALUATIONS


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluationSchedule:
    """The steps at which a trial reports."""

    rungs: Sequence[int]
    """rising; the last is the whole budget. A range where they are all steps, which may be millions"""
    asha_from: int
    """the first rung of asynchronous halving"""
    halving_from: int
    """the first rung of successive halving"""

    def __post_init__(self) -> None:
        if not self.rungs or self.rungs[0] < 1:
            raise ValueError(f"a trial that is evaluated at {self.rungs} never reports")

    @classmethod
    def of(cls, spec: StudySpec) -> EvaluationSchedule:
        """The schedule of a study."""
        if isinstance(spec, NetworkSpec):
            return cls.doubling(
                epoch_images=spec.epoch_images,
                epochs=spec.epochs,
                early_evaluations=spec.halvings,
                every=spec.evaluate_every,
            )
        first = -(-spec.budget // SMALLEST_SHARE)
        return cls(rungs=range(1, spec.budget + 1), asha_from=first, halving_from=first)

    @classmethod
    def doubling(
        cls,
        *,
        epoch_images: int,
        epochs: float,
        early_evaluations: int = SHORT_TRIAL_EVALUATIONS,
        every: int = 1,
    ) -> EvaluationSchedule:
        """Of a network: doubling steps up to one epoch, then every epoch to the end of the budget.

        epoch_images: training images in one epoch of the task. epochs: budget of one trial.
        early_evaluations: those within the first epoch, after 1/2, 1/4, … of it. every: epochs from one
        evaluation to the next; where they are more than one, the first comes after as many.
        """
        if epochs <= 0:
            raise ValueError(f"epochs must be above 0, not {epochs}")
        total = round(epoch_images * epochs)
        if total < 1:
            raise ValueError(f"{epochs} epochs of {epoch_images} images are less than one image")
        early = {epoch_images >> halving for halving in range(1, early_evaluations + 1)}
        whole = {epoch_images * epoch for epoch in range(every, int(epochs) + 1, every)}
        rungs = (*sorted(step for step in early | whole if 0 < step < total), total)
        # The first rung is the first evaluation (docs/decisions/020 and 024): earlier, MLPs score better than
        # the convolutions that will beat them, and a sampler that learns from that proposes no more of these.
        # In a short trial, and in studies of before, a quarter of an epoch comes first.
        parts = 4 if early_evaluations == SHORT_TRIAL_EVALUATIONS else 2**early_evaluations
        return cls(
            rungs=rungs,
            asha_from=min(max(epoch_images * every // parts, rungs[0]), total),
            halving_from=max(rungs[0], epoch_images // 4),
        )

    @classmethod
    def of_trial(cls, spec: StudySpec, ablation: AblationRun | None) -> EvaluationSchedule:
        """The schedule of one trial: its study's, but in an ablation, where budgets differ.

        ablation: what the trial is for there; None outside of ablations.
        """
        return cls.of(spec) if ablation is None else cls.with_budget(spec, ablation.budget)

    @classmethod
    def with_budget(cls, spec: StudySpec, budget: int) -> EvaluationSchedule:
        """Of a trial that has a budget other than its study gives: at the budget and its halves, quarters …
        that are no less than an epoch of a network, or a step of another objective.

        A shorter budget is evaluated at its end alone. Trials of several budgets thus report at the same
        steps, as far as each comes. Raises ValueError for a budget below one step.
        """
        if budget < 1:
            raise ValueError(f"the budget must be 1 step or more, not {budget}")
        smallest = spec.epoch_images if isinstance(spec, NetworkSpec) else 1
        rungs = [budget]
        while rungs[0] // 2 >= smallest:
            rungs.insert(0, rungs[0] // 2)
        return cls(rungs=tuple(rungs), asha_from=rungs[0], halving_from=rungs[0])

    @property
    def total(self) -> int:
        """Steps of a trial unless it is stopped early: its whole budget."""
        return self.rungs[-1]

    @property
    def first(self) -> int:
        """Step of the first evaluation."""
        return self.rungs[0]
