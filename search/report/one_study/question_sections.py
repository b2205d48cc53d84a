"""The two questions that a report answers by tests: which settings helped, and whether extra training did."""

from __future__ import annotations

from collections.abc import Sequence

from search.analysis.effects import Effect, Verdict
from search.analysis.extra_training import Course
from search.analysis.findings import Findings
from search.records import NetworkSpec, StudySpec
from search.report.html import Html, bullets, fold, paragraph, table
from search.report.one_study import study_figures
from search.report.one_study.material import Material
from search.report.one_study.study_sentences import (
    compared,
    extra_training,
    schedule,
    sentence,
    tested_trials,
    title,
    untested,
)
from search.report.page import Chart, Fold, Grid, Section
from search.report.words import percent, points

GENERALIZATION = "Generalization: which settings helped"
SPEED = "Speed of learning: which settings learn fast"
HELPED, HELPED_EARLY = "Which settings helped", "Which settings helped early"
"""Of other objectives than networks."""

ROWS = 40
"""Networks that are listed; of more, the best, the references and those that gained or lost clearly."""


def settings(material: Material, found: Findings) -> Section:
    """Importance, and every setting against the metric."""
    spec = material.study.spec
    whole, early = (GENERALIZATION, SPEED) if isinstance(spec, NetworkSpec) else (HELPED, HELPED_EARLY)
    heading = whole if found.generalization else early
    basis = found.basis
    if basis is None:
        return Section(heading=heading, body=(paragraph("No trial of the search is finished yet."),))
    drawn = sum(trial.number in material.exploration_trials for trial in basis.trials)
    tested = [each for each in found.effects if each.verdict is not Verdict.TOO_FEW]
    body: list[Html | Chart | Grid | Fold] = []
    if tested:
        body.append(
            Chart(
                figure=study_figures.importance(found.effects),
                caption="How much of the differences in rank goes with each setting, one at a time, less "
                "what chance explains. Blue: it matters; gray: it cannot be told from chance.",
                height=130 + 21 * len(tested),
            )
        )
    body.append(paragraph(compared(basis, spec), kind="note"))
    if tested:
        body.append(paragraph(tested_trials(found, drawn, spec), kind="note"))
    body.append(
        Fold(
            summary="Every setting: the verdict, and the trials",
            body=(
                bullets(filter(None, (*map(sentence, tested), untested(found.effects)))),
                Grid(
                    charts=tuple(
                        Chart(
                            figure=study_figures.effect(each, spec.metric),
                            caption=title(each.setting),
                            small=True,
                            height=210,
                        )
                        for each in tested
                    )
                ),
                paragraph(
                    "Dots: trials; the blue ones, exploration trials, are tested. Orange: medians of the "
                    f"groups that are tested. {_beyond(tested, spec)}",
                    kind="note",
                ),
            ),
        )
    )
    return Section(heading=heading, body=tuple(body))


def _beyond(tested: Sequence[Effect], spec: StudySpec) -> str:
    """What the figures do not show where it is."""
    if isinstance(spec, NetworkSpec):
        return "The worst twentieth may lie below the edge."
    told = "The worst twentieth may lie beyond the edge."
    if any(each.diverged for each in tested):
        told += " Trials that diverged are drawn as the worst."
    return told


def extra(found: Findings, spec: NetworkSpec) -> Section:
    """Did extra training always help?"""
    training = found.training
    body: list[Html] = [paragraph(extra_training(training))]
    falling = schedule(found.schedules)
    if training.courses:
        note = (
            "Compared are the end and half of the training, moments that were fixed beforehand: the best of "
            "many measurements would lie above the last one even where nothing was lost. The loss decides "
            "nothing: where training smooths the labels, right answers become less sure while fewer are "
            "wrong."
        )
        shown = _shown(found)
        body += [
            paragraph(f"{note} {falling}".strip(), kind="note"),
            fold(
                f"The networks that were trained to the end ({len(shown)} of {len(training.courses):,})",
                _courses(shown, spec.epoch_images),
            ),
        ]
    return Section(heading="Did extra training always help?", body=tuple(body))


def _shown(found: Findings) -> list[Course]:
    training = found.training
    ranked = sorted(training.courses, key=lambda course: -course.last)
    if len(ranked) <= ROWS:
        return ranked
    clear = {course.trial.number for some in (training.gained, training.lost) for course in some[: ROWS // 4]}
    return [
        course
        for place, course in enumerate(ranked)
        if place < ROWS // 2 or course.trial.reference or course.trial.number in clear
    ]


def _courses(some: Sequence[Course], epoch_images: int) -> Html:
    rows = [
        (
            course.trial.reference or f"trial {course.trial.number}",
            percent(course.last),
            "–" if course.gain is None else points(course.gain),
            f"{percent(course.best)} at {course.best_step / epoch_images:.3g}",
            points(course.gap),
            "–" if course.loss_ratio is None else f"{course.loss_ratio:.2f}",
        )
        for course in some
    ]
    header = (
        "network",
        "at the end",
        "second half, points",
        "best, at epoch",
        "train − validation, points",
        "loss over its lowest",
    )
    return table(header, rows)
