"""The page of a comparison: what it says, its figures, one table."""

from __future__ import annotations

from collections.abc import Sequence

from search.analysis.comparison import JOINT, LEVELS, MEAN, Comparison, Side
from search.analysis.two_ablations import TwoAblations
from search.records import NetworkSpec, StudySpec
from search.report.html import Html, bullets, paragraph, table, with_commands
from search.report.page import Chart, Section, page
from search.report.side_by_side import comparison_figures
from search.report.side_by_side.comparison_sentences import words
from search.report.side_by_side.comparison_table import estimated, rows
from search.report.words import count, listed, plural, titled


def comparison_page(comparison: Comparison, *, footer: str) -> str:
    """The whole file."""
    sides, spec = comparison.sides, comparison.spec
    names = [side.name for side in sides]
    sections = [
        Section(heading="What can be said", body=(bullets(map(with_commands, words(comparison))),)),
        *([] if comparison.ablations else _figures(sides, spec)),
        Section(
            heading="In numbers",
            body=tuple(
                part
                for group, some in rows(comparison).items()
                for part in (
                    paragraph(group[:1].upper() + group[1:], kind="note"),
                    table(("", *names), [(label, *cells) for label, cells in some]),
                )
            ),
        ),
    ]
    if comparison.ablations:
        lead = paragraph(listed([_in_common(pair) for pair in comparison.ablations]), ".", kind="lead")
    else:
        lead = _bests(sides, spec)
    what = spec.task if isinstance(spec, NetworkSpec) else spec.objective
    return page(f"{what}: {listed(names)}", sections, lead=lead, footer=footer)


def _in_common(pair: TwoAblations) -> str:
    """5 changes in common with second.ablate, of which 1 is told to have another effect"""
    told = f"{count(len(pair.shared), 'change')} in common with {pair.other.record.name}"
    differing = sum(each.differs is True for each in pair.shared)
    if any(each.differs is not None for each in pair.shared):
        which = f"{differing or 'none'} {'are' if differing > 1 else 'is'}"
        told += f", of which {which} told to have another effect"
    return told


def _bests(sides: Sequence[Side], spec: StudySpec) -> Html:
    return paragraph(
        "Best on validation: " if spec.scored_by_answers else f"Best {titled(spec.metric)}: ",
        listed([f"{side.name} {estimated(side.best[MEAN], spec.metric)}" for side in sides]),
        ".",
        kind="lead",
    )


def _figures(sides: Sequence[Side], spec: StudySpec) -> list[Section]:
    """Of another objective than networks the best of each has no interval to draw. spec: of any study."""
    timelines = [(side.name, side.timeline) for side in sides]
    of_networks, accuracy = isinstance(spec, NetworkSpec), spec.scored_by_answers
    best = "accuracy on validation" if accuracy else spec.metric.title
    levels = f" Dotted: {listed([f'{level * 100:g}' for level in LEVELS])} %." if accuracy else ""
    steps = (
        "training images that all trials had seen" if of_networks else f"{plural(spec.unit)} of all trials"
    )
    figures = [
        Section(
            heading="Best so far",
            body=(
                Chart(
                    figure=comparison_figures.best_by_time(timelines, spec),
                    caption=f"The best {best} that any trial had shown, pruned ones too, against wall time "
                    "since the study's first trial began. Reports are drawn at the latest moment at which "
                    f"they can have been written.{levels}",
                ),
                Chart(
                    figure=comparison_figures.best_by_steps(timelines, spec),
                    caption=f"The same against the {steps} together: free of the machine and of the number "
                    "of workers.",
                ),
            ),
        )
    ]
    if of_networks:
        figures.append(
            Section(
                heading="The best of each",
                body=(
                    Chart(
                        figure=comparison_figures.heads(sides),
                        caption="The accuracies of the best trial of each study with 95 % intervals over the "
                        f"validation images{_covariance(sides[0])}, adjusted for choosing the best. "
                        "They hold for that network.",
                    ),
                ),
            )
        )
    return [*figures, _typical(sides)]


def _covariance(side: Side) -> str:
    return " (of the mean with the covariance of the heads)" if {MEAN, JOINT} <= {*side.told} else ""


def _typical(sides: Sequence[Side]) -> Section:
    return Section(
        heading="What is typical",
        body=(
            Chart(
                figure=comparison_figures.distributions(sides),
                caption="Every complete trial that the search proposed; references and pruned trials are "
                "left out. What is complete the pruner let through: this is typical of that, not of the "
                "search space.",
            ),
        ),
    )
