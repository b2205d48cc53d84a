"""Did extra training always help?
Knows nothing of how the answer is worked out.
"""

from __future__ import annotations

from collections.abc import Sequence

from search.report.html import Html, fold, paragraph, subheading, table
from search.report.one_study import figures
from search.report.one_study.findings import Findings
from search.report.one_study.material import Material
from search.report.one_study.training import Course, Doubling
from search.report.page import Chart, Grid, Section
from search.report.statistics import quartiles
from search.report.words import count, epochs, percent, points, share

ROWS = 40
"""Curves that are listed; of more, the best, the references and the counterexamples."""


def extra_training(material: Material, found: Findings) -> Section:
    """Did extra training always help?"""
    spec = material.study.spec
    body: list[Html | Chart | Grid] = [
        paragraph(found.verdict.answer, kind="answer"),
        *[paragraph(each) for each in found.verdict.reasons],
    ]
    steps = [each for each in found.doublings if len(each.gains) > 1]
    if steps:
        body += [
            subheading("What each doubling brought"),
            paragraph(_doublings_in_words(steps, spec.epoch_images)),
            Chart(
                figure=figures.doublings(steps, epoch_images=spec.epoch_images),
                caption="Share of its errors that a network lost by doubling the images, a dot for each "
                "trial that went on, pruned ones too. Boxes hold the middle half. Whoever went on had been "
                "doing well.",
                height=360,
            ),
        ]
    if found.courses:
        shown = _shown(found)
        caption = f"Every curve that ran to the end ({len(found.courses):,})"
        if len(shown) < len(found.courses):
            caption = (
                f"{len(shown)} of {len(found.courses):,} curves that ran to the end: the best, the "
                "references, counterexamples"
            )
        body.append(fold(caption, _courses(shown, spec.epoch_images)))
    if len(found.courses) < 10:
        body.append(
            paragraph(
                f"Only {count(len(found.courses), 'curve')} ran to the end here. A study with --pruner none "
                "trains every trial for the whole budget and answers more firmly.",
                kind="note",
            )
        )
    return Section(heading="Did extra training always help?", body=tuple(body))


def _doublings_in_words(steps: Sequence[Doubling], epoch_images: int) -> str:
    first, last = steps[0], steps[-1]

    def told(step: Doubling) -> str:
        return (
            f"from {step.images / epoch_images:.3g} to {epochs(2 * step.images, epoch_images)} "
            f"{points(quartiles(step.gains)[1])} points in the median of {count(len(step.gains), 'trial')} "
            f"({step.helped} gained)"
        )

    if first is last:
        return f"Doubling the training brought {told(first)}."
    fades = quartiles(last.gains)[1] < quartiles(first.gains)[1]
    lead = "What a doubling brings fades" if fades else "Doubling the training brought"
    return f"{lead}: {told(first)}, {told(last)}."


def _shown(found: Findings) -> list[Course]:
    if len(found.courses) <= ROWS:
        return sorted(found.courses, key=lambda course: -course.best)
    against = {course.trial.number for course in found.verdict.counterexamples[: ROWS // 3]}
    ranked = sorted(found.courses, key=lambda course: -course.best)
    return [
        course
        for place, course in enumerate(ranked)
        if place < ROWS // 2 or course.trial.reference or course.trial.number in against
    ]


def _courses(some: Sequence[Course], epoch_images: int) -> Html:
    rows = [
        (
            course.trial.reference or f"trial {course.trial.number}",
            percent(course.best),
            f"{course.best_images / epoch_images:.3g} of {course.images / epoch_images:.3g}",
            points(course.drift),
            f"{course.plateau_images / epoch_images:.3g}",
            "–" if course.since_half is None else points(course.since_half),
            points(course.gap),
            f"+{share(course.loss_ratio - 1)}",
        )
        for course in some
    ]
    header = (
        "curve",
        "best",
        "at epoch",
        "drift after",
        "plateau from",
        "second half",
        "train − validation",
        "loss over its lowest",
    )
    return table(header, rows)
