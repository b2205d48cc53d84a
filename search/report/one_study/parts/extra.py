"""Did extra training always help?"""

from __future__ import annotations

from collections.abc import Sequence

from search.analysis.extra_training import Course
from search.analysis.findings import Findings
from search.report.html import Html, fold, paragraph, table
from search.report.one_study.material import Material
from search.report.one_study.sentences import extra_training, schedule
from search.report.page import Section
from search.report.words import percent, points

ROWS = 40
"""Networks that are listed; of more, the best, the references and those that gained or lost clearly."""


def extra(material: Material, found: Findings) -> Section:
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
                _courses(shown, material.study.spec.epoch_images),
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
            f"{percent(course.best)} at {course.best_images / epoch_images:.3g}",
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
