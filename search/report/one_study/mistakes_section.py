"""What the winner gets wrong: confusions, and the worst mistakes as images."""

from __future__ import annotations

from shlex import quote

from search.analysis.mistakes import Mistakes
from search.report.html import Html, code, gallery, image, paragraph
from search.report.one_study import study_figures
from search.report.one_study.study_sentences import confusion_in_words
from search.report.page import Chart, Grid, Section
from search.report.words import percent


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
    same = percent(found.accuracy) == percent(found.recorded)
    body: list[Html | Chart | Grid] = [paragraph(confusion_in_words(each)) for each in found.confusions]
    body.append(
        paragraph(
            f"The kept weights of trial {found.trial} on the validation set, examined for this page: "
            f"{percent(found.accuracy)}, "
            + (
                "as recorded."
                if same
                else f"recorded were {percent(found.recorded)} (another machine rounds otherwise)."
            ),
            kind="note",
        )
    )
    body.append(
        Grid(
            charts=tuple(
                Chart(
                    figure=study_figures.confusion(each),
                    caption=f"{each.head.replace('_', ' ').capitalize()}: what is taken for what. Right "
                    "answers are left blank.",
                    height=340,
                )
                for each in found.confusions
            )
        )
    )
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


def _belief(belief: float) -> str:
    return percent(belief, 1) if belief >= 0.001 else "below 0.1 %"
