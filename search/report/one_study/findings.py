"""All that a report works out from a study's trials, once, for the parts that tell it.
Knows nothing of sentences' places and of figures.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from search.report.one_study import generalisation
from search.report.one_study.basis import Basis
from search.report.one_study.effects import Effect, effects
from search.report.one_study.material import Material
from search.report.one_study.questions import Answer, answers
from search.report.one_study.training import Course, Doubling, Verdict, courses, doublings, verdict


@dataclass(frozen=True, kw_only=True, slots=True)
class Findings:
    """All that is worked out from a study's trials, once."""

    basis: Basis | None
    """the fair one; None: no trial of the search was measured"""
    effects: Sequence[Effect]
    answers: Sequence[Answer]
    late: Basis | None
    late_accuracy: Sequence[Effect]
    """of the regularisers, late in training"""
    late_gap: Sequence[Effect]
    courses: Sequence[Course]
    doublings: Sequence[Doubling]
    verdict: Verdict


def work_out(material: Material) -> Findings:
    """The findings."""
    spec, family = material.study.spec, material.family
    basis, late = material.early, material.late
    found: list[Effect] = []
    replies: list[Answer] = []
    if basis is not None:
        scores = basis.scores()
        found = effects(material.settings, basis.trials, scores, material.at_random, family=family)
        replies = answers(material.settings, basis.trials, scores, material.at_random, family=family)
    accuracy: list[Effect] = []
    gaps: list[Effect] = []
    if late is not None:
        asked = [each for each in material.settings if each.name in generalisation.REGULARISERS]
        accuracy = effects(asked, late.trials, late.scores(), material.at_random, family=family)
        gaps = effects(asked, late.trials, late.gaps(), material.at_random, family=family)
    ended = courses(material.trials, material.curves, pictures=spec.validation_pictures)
    schedules = Counter(str(course.trial.settings.get("schedule", "constant")) for course in ended)
    return Findings(
        basis=basis,
        effects=found,
        answers=replies,
        late=late,
        late_accuracy=accuracy,
        late_gap=gaps,
        courses=ended,
        doublings=doublings(material.trials, material.curves),
        verdict=verdict(ended, epoch_images=spec.epoch_images, schedules=schedules),
    )
