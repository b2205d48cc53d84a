"""What each setting did: one figure of all, and one for each, folded."""

from __future__ import annotations

from search.analysis.effects import Verdict
from search.analysis.findings import Findings
from search.report.html import Html, bullets, paragraph
from search.report.one_study import figures
from search.report.one_study.material import Material
from search.report.one_study.sentences import at_random, compared, sentence, untested
from search.report.page import Chart, Fold, Grid, Section

GENERALIZATION = "Generalization: which settings helped"
SPEED = "Speed of learning: which settings learn fast"


def settings(material: Material, found: Findings) -> Section:
    """Importance, and every setting against the accuracy."""
    heading = GENERALIZATION if found.generalization else SPEED
    basis = found.basis
    if basis is None:
        return Section(heading=heading, body=(paragraph("No trial of the search is finished yet."),))
    drawn = sum(trial.number in material.at_random for trial in basis.trials)
    tested = [each for each in found.effects if each.verdict is not Verdict.TOO_FEW]
    body: list[Html | Chart | Grid | Fold] = []
    if tested:
        body.append(
            Chart(
                figure=figures.importance(found.effects),
                caption="How much of the differences in rank goes with each setting, one at a time, less "
                "what chance explains. Blue: it matters; gray: it cannot be told from chance.",
                height=130 + 21 * len(tested),
            )
        )
    body.append(paragraph(compared(basis, epoch_images=material.study.spec.epoch_images), kind="note"))
    if tested:
        body.append(paragraph(at_random(found, drawn), kind="note"))
    body.append(
        Fold(
            summary="Every setting: the verdict, and the trials",
            body=(
                bullets(filter(None, (*map(sentence, tested), untested(found.effects)))),
                Grid(
                    charts=tuple(
                        Chart(
                            figure=figures.effect(each),
                            caption=f"{each.setting.name}: {each.setting.meaning}",
                            small=True,
                            height=210,
                        )
                        for each in tested
                    )
                ),
                paragraph(
                    "Dots: trials; the blue ones were drawn at random and are tested. Orange: medians of the "
                    "groups that are tested. The worst twentieth may lie below the edge.",
                    kind="note",
                ),
            ),
        )
    )
    return Section(heading=heading, body=tuple(body))
