"""The page of a comparison: what it says, four figures, one table."""

from __future__ import annotations

from collections.abc import Sequence

from search.analysis.comparison import MEAN, Comparison, Side
from search.report.html import bullets, paragraph, table, with_commands
from search.report.page import Chart, Section, page
from search.report.side_by_side import comparison_figures
from search.report.side_by_side.comparison_sentences import words
from search.report.side_by_side.comparison_table import estimated, rows
from search.report.words import listed


def comparison_page(comparison: Comparison, *, footer: str) -> str:
    """The whole file."""
    sides = comparison.sides
    names = [side.name for side in sides]
    sections = [
        Section(heading="What can be said", body=(bullets(map(with_commands, words(comparison))),)),
        *_figures(sides),
        Section(
            heading="In numbers",
            body=tuple(
                part
                for group, some in rows(comparison).items()
                for part in (
                    paragraph(group.capitalize(), kind="note"),
                    table(("", *names), [(label, *cells) for label, cells in some]),
                )
            ),
        ),
    ]
    lead = paragraph(
        "Best on validation: ",
        listed([f"{side.name} {estimated(side.best[MEAN])}" for side in sides]),
        ".",
        kind="lead",
    )
    task = sides[0].studied.record.spec.task
    return page(f"{task}: {listed(names)}", sections, lead=lead, footer=footer)


def _figures(sides: Sequence[Side]) -> list[Section]:
    timelines = [(side.name, side.timeline) for side in sides]
    return [
        Section(
            heading="Best so far",
            body=(
                Chart(
                    figure=comparison_figures.best_by_time(timelines),
                    caption="The best accuracy on validation that any trial had shown, pruned ones too, "
                    "against wall time since the study's first trial began. Reports are drawn at the latest "
                    "moment at which they can have been written. Dotted: 95, 98 and 99 %.",
                ),
                Chart(
                    figure=comparison_figures.best_by_images(timelines),
                    caption="The same against the training images that all trials had seen together: free of "
                    "the machine and of the number of workers.",
                ),
            ),
        ),
        Section(
            heading="The best of each",
            body=(
                Chart(
                    figure=comparison_figures.heads(sides),
                    caption="The best trial of each study with 95 % intervals over the validation images (of "
                    "the mean with the covariance of the heads), with room for the choice of the best. They "
                    "hold for that network.",
                ),
            ),
        ),
        Section(
            heading="What is typical",
            body=(
                Chart(
                    figure=comparison_figures.distributions(sides),
                    caption="Every complete trial that the search proposed; references and pruned trials are "
                    "left out. What is complete the pruner let through: this is typical of that, not of the "
                    "search space.",
                ),
            ),
        ),
    ]
