"""A report on one study: the parts in their order, on one page.
Knows nothing of where the study came from.
"""

from __future__ import annotations

from search.report.html import Html, bullets, paragraph, safe, strong
from search.report.one_study.findings import Findings, work_out
from search.report.one_study.material import Material
from search.report.one_study.parts import (
    again,
    confirmed,
    cost,
    course,
    extra,
    generalised,
    settings,
    winner,
    wrong,
)
from search.report.page import page


def study_page(material: Material) -> str:
    """The whole page. At least one trial must have come to a report."""
    best = material.winner
    assert best is not None, "a report is made of a study with a report"
    name, found = material.study.name, work_out(material)
    searched = material.study.spec.confirms is None  # a confirmation's settings were given: it compares none
    lead = safe(
        paragraph(winner.standing(material), kind="note"),
        paragraph(winner.in_words(material), kind="lead"),
        _in_short(material, found),
    )
    sections = [
        winner.winner(material),
        confirmed.confirmed(material.confirmation, study=material.study, trials=material.counted.finished),
        course.course(material),
        course.curves(material),
        *([generalised.generalised(material, found)] if searched else []),
        extra.extra_training(material, found),
        *([settings.questions(found), settings.settings(material, found)] if searched else []),
        cost.sizes(material),
        cost.time(material),
        wrong.mistakes(material.mistakes, study=name, trial=best.number),
        again.repeat(material),
    ]
    footer = (
        f"Made by tune {material.version} from the study {name}, read {material.moment:%Y-%m-%d %H:%M} UTC."
    )
    return page(f"{name}: what the search found", sections, lead=lead, footer=footer)


def _in_short(material: Material, found: Findings) -> Html:
    """The answers that a reader came for."""
    tried = material.counted.finished
    sure = confirmed.in_short(material.confirmation, study=material.study, trials=tried)
    helped = generalised.in_words(material, found)
    firm = any(each.shown for each in found.effects)
    which = safe(strong("Which settings helped to generalise? "), " ".join(helped[: 1 if firm else 2]))
    return bullets(
        [
            *([which] if material.study.spec.confirms is None else []),
            safe(strong("Did extra training always help? "), found.verdict.answer),
            safe(strong("Is the winner confirmed? "), sure),
        ]
    )
