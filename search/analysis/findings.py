"""All that is worked out from one study's trials, as values, once; search/report writes it down."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from search.analysis.basis import Basis, Curves, common
from search.analysis.effects import FAMILY, Effect, Setting, effects
from search.analysis.extra_training import Training, chosen_among, courses, training
from search.records import NetworkSpec, StudySpec, TrialRecord


@dataclass(frozen=True, kw_only=True, slots=True)
class Findings:
    """All that is worked out from a study's trials."""

    basis: Basis | None
    """where settings are compared; None: no finished trial of the search was measured, or a confirmation,
    whose settings were given: five settings on five seeds are not 25 experiments"""
    effects: Sequence[Effect]
    training: Training
    """of networks; of any other objective nothing is said of it, and no trial is in it"""
    schedules: Mapping[str, int]
    """learning-rate schedules of the networks that were trained to the end, and how many have each"""

    @property
    def generalization(self) -> bool:
        """Whether the effects are on what whole trainings came to. If not, they are on the speed of learning,
        and what helps to generalize cannot be told: survivors of pruning are selected."""
        return self.basis is not None and self.basis.to_the_end


def work_out(
    spec: StudySpec,
    trials: Sequence[TrialRecord],
    curves: Curves,
    *,
    settings: Sequence[Setting],
    exploration_trials: Collection[int],
    budget: int,
) -> Findings:
    """The findings.

    settings: those that the study searched. exploration_trials: their numbers. budget: steps of a trial that
    is not stopped early.
    """
    networks = isinstance(spec, NetworkSpec)
    basis = common(trials, curves, budget=budget) if spec.searches else None
    found: Sequence[Effect] = ()
    if basis is not None:
        family = FAMILY if networks else None
        found = effects(settings, basis.trials, basis.scores, exploration_trials, family=family)
    ended = courses(trials, curves) if networks else []
    return Findings(
        basis=basis,
        effects=found,
        training=training(
            ended,
            images=spec.validation_pictures if isinstance(spec, NetworkSpec) else 0,
            among=chosen_among(trials, curves) if networks else None,
        ),
        schedules=Counter(str(course.trial.settings.get("schedule", "constant")) for course in ended),
    )
