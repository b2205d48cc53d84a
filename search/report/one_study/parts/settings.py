"""What each setting did, and the questions of the exercise.
Knows nothing of how the sentences are worked out.
"""

from __future__ import annotations

from search.report.html import Html, bullets, paragraph, subheading
from search.report.one_study import figures
from search.report.one_study.basis import Basis
from search.report.one_study.effects import sentence
from search.report.one_study.findings import Findings
from search.report.one_study.material import Material
from search.report.page import Chart, Grid, Section
from search.report.words import count, epochs

QUESTIONS = "SGD or Adam, depth, width, dropout"


def settings(material: Material, found: Findings) -> Section:
    """Importance, and every setting against the accuracy."""
    heading = "What each setting did"
    basis = found.basis
    if basis is None:
        return Section(heading=heading, body=(paragraph("No trial of the search has come to a report yet."),))
    chance = sum(trial.number in material.at_random for trial in basis.trials)
    body: list[Html | Chart | Grid] = [
        paragraph(_basis(material, basis)),
        paragraph(_sampling(material, chance, len(basis.trials))),
    ]
    tested = [each for each in found.effects if each.tested is not None]
    if tested:
        within = (
            f" Settings that every family has are looked at among {material.family} networks."
            if material.family
            else ""
        )
        body += [
            Chart(
                figure=figures.importance(found.effects),
                caption="How much of the differences in rank goes with each setting, one at a time "
                "(Kruskal–Wallis, less what chance explains). In blue what is clear even though "
                f"{count(len(tested), 'setting')} were asked (Holm's correction, 5 %): dark where the "
                f"trials drawn at random show it as well.{within}",
                height=120 + 26 * len(tested),
            ),
            Grid(
                charts=tuple(
                    Chart(
                        figure=figures.effect(each, material.at_random),
                        caption=sentence(each),
                        small=True,
                        height=270,
                    )
                    for each in tested
                )
            ),
            paragraph(
                "Dots: trials; blue ones were drawn at random. Orange: medians of groups of trials, by "
                "value or by quarters. The worst twentieth may lie below the edge.",
                kind="note",
            ),
        ]
    untested = [each for each in found.effects if each.tested is None]
    if untested:
        body.append(bullets(sentence(each) for each in untested))
    return Section(heading=heading, body=tuple(body))


def _basis(material: Material, basis: Basis) -> str:
    """On what basis trials are compared, and what that cannot show."""
    epoch = material.study.spec.epoch_images
    whole = basis.images == material.budget
    told = (
        f"Compared is the validation accuracy after {epochs(basis.images, epoch)}, on "
        f"{count(len(basis.trials), 'trial')}: "
        + (
            "the end of the training. "
            if whole
            else "the latest moment at which at least nine in ten were measured. Later ones know only the "
            "trials that were let on, and recorded values come from trainings of different lengths. "
        )
    )
    if basis.missing:
        told += f"{count(basis.missing, 'trial')} ended before that moment and {_is(basis.missing)} missing. "
    told += "Failed trials and the published networks are left out."
    if not whole:
        told += " What a setting gives only late in a training cannot show here"
        told += (
            "; and before an epoch is over no example is seen twice, so that nothing against learning by "
            "heart (fresh pairs, dropout, weight decay) can have paid yet."
            if basis.images <= epoch
            else "."
        )
    return told


def _is(n: int) -> str:
    return "is" if n == 1 else "are"


def _sampling(material: Material, chance: int, n: int) -> str:
    if chance == n:
        return (
            "Every trial was drawn at random, so that settings do not keep company: what is seen here is an "
            "effect of the setting, within the space that was searched."
        )
    return (
        "The sampler tries more of what did well, so settings keep company: a setting may look good because "
        f"of what it came with. {chance} of the {n} trials were drawn at random all the same; they are an "
        "experiment, and what they show too can be trusted more. What only the others show may be the "
        "sampler's doing."
    )


def questions(found: Findings) -> Section:
    """The questions of the exercise, each with its answer."""
    body: list[Html | Chart | Grid] = []
    for answer in found.answers:
        body += [subheading(answer.title), *[paragraph(each, kind="answer") for each in answer.sentences]]
    if not body:
        return Section(
            heading=QUESTIONS, body=(paragraph("No trial of the search has come to a report yet."),)
        )
    asked = paragraph(
        "On the same basis as the settings below, at equal training. Corrected for the number of "
        "questions: an effect that passes only by itself is called a hint.",
        kind="note",
    )
    return Section(heading=QUESTIONS, body=(asked, *body))
