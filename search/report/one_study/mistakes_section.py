"""What the winner gets wrong: confusions, and the worst mistakes as images."""

from __future__ import annotations

from collections.abc import Iterator
from shlex import quote

from search.analysis.intervals import wilson
from search.analysis.mistakes import Confusion, Mistakes
from search.report.html import Html, code, gallery, image, paragraph, table
from search.report.one_study import study_figures
from search.report.one_study.study_sentences import confusion_in_words
from search.report.page import Chart, Grid, Section
from search.report.words import percent

DRAWN = 20
"""Classes of which a figure shows what is taken for what."""

ROWS = 20
"""Of a table of confusions, or of classes."""


def mistakes(found: Mistakes | str, *, study: str, trial: int) -> Section:
    """Confusions and the worst mistakes, or why they cannot be shown."""
    heading = "What the winner gets wrong"
    if isinstance(found, str):
        return Section(
            heading=heading,
            folded=True,
            body=(
                paragraph(found),
                paragraph(
                    code(f"tune repeat {quote(study)} --trial {trial}"),
                    " retrains the trial from the database and says whether its curve is the same.",
                ),
            ),
        )
    same = found.recorded is None or percent(found.accuracy) == percent(found.recorded)
    body: list[Html | Chart | Grid] = [paragraph(confusion_in_words(each)) for each in found.confusions]
    body.append(
        paragraph(
            f"The kept weights of trial {found.trial} on the validation set, examined for this page: "
            f"{percent(found.accuracy)}, "
            + (
                ("as recorded." if found.recorded is not None else "which was not recorded.")
                if same
                else f"recorded were {percent(found.recorded)} (another machine rounds otherwise)."
            ),
            kind="note",
        )
    )
    drawn = [each for each in found.confusions if len(each.counts) <= DRAWN]
    if drawn:
        body.append(Grid(charts=tuple(map(_chart, drawn))))
    for each in found.confusions:
        body += [*_pairs(each)] if each not in drawn else []
        body += [*_by_class(each)] if each.labels else []
    if found.worst:
        body.append(
            paragraph(
                "The worst: mistakes in which the right answer was believed least. Above what it is, below "
                "what the network said, and how probable it held the right answer."
            )
        )
        body.append(
            gallery(
                (
                    image(each.png, described=f"{each.truth}, taken for {each.said}"),
                    f"{each.truth}\n→ {each.said}\n{_belief(each.belief)}",
                )
                for each in found.worst
            )
        )
    return Section(heading=heading, folded=True, body=tuple(body))


def _chart(found: Confusion) -> Chart:
    return Chart(
        figure=study_figures.confusion(found),
        caption=f"{_title(found)}: what is taken for what. Right answers are left blank.",
        height=340,
    )


def _title(found: Confusion) -> str:
    return found.head.replace("_", " ").capitalize()


def _pairs(found: Confusion) -> Iterator[Html]:
    """The most frequent confusions, where a figure of all classes would be unreadable."""
    rows = [(found.names[truth], found.names[said], f"{n:,}") for truth, said, n in found.pairs()[:ROWS]]
    if rows:
        yield paragraph(f"{_title(found)}: the most frequent confusions.", kind="note")
        yield table(("it is", "the network said", "examples"), rows, words=(0, 1))


def _by_class(found: Confusion) -> Iterator[Html]:
    """The accuracy of each class; of many classes those with the most mistakes."""
    classes = sorted(found.by_class, key=lambda each: each.right - each.examples)
    some = classes[:ROWS] if len(classes) > ROWS else found.by_class
    which = f" of the {ROWS} of {len(classes)} classes with the most mistakes" if len(classes) > ROWS else ""
    yield paragraph(
        f"{_title(found)}: the accuracy of each class on validation{which}, with 95 % intervals (Wilson). "
        "What has few examples has a wide interval, and little follows from it.",
        kind="note",
    )
    rows = []
    for each in some:
        low, high = wilson(each.right, each.examples) if each.examples else (0.0, 1.0)
        accuracy = percent(each.right / each.examples) if each.examples else "–"
        interval = f"{low * 100:.2f} to {percent(high)}" if each.examples else "–"
        rows.append((each.name, f"{each.examples:,}", f"{each.right:,}", accuracy, interval))
    yield table(("class", "examples", "right", "accuracy", "95 % interval"), rows)


def _belief(belief: float) -> str:
    return percent(belief, 1) if belief >= 0.001 else "below 0.1 %"
