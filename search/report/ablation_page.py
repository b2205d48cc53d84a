"""An ablation on one page: the two answers first, then figures, then tables folded."""

from __future__ import annotations

from search.analysis.ablation import Ablation, Path
from search.records import Direction
from search.report import ablation_figures
from search.report.ablation_sentences import (
    path_in_words,
    sentences,
    settings_answer,
    training_answer,
)
from search.report.ablation_state import judged
from search.report.ablation_table import ERRORS, Table, length_rows, path_rows, setting_rows
from search.report.ablation_words import most_of_path, of_networks
from search.report.html import Html, answer_list, bullets, paragraph, safe, table, with_commands
from search.report.page import Chart, Fold, Grid, Section, page
from search.report.words import amount, count

WIDEST = 6
"""Columns of a table that a page has room for."""

NOTHING_YET = "It cannot be told yet: too few runs are finished."
NO_SETTINGS = "This ablation compares no settings."
NOT_MEASURED = "This ablation has no lengths: it was asked with `--no-lengths`, or they are not measured yet."


def ablation_page(found: Ablation) -> str:
    """The whole file."""
    networks, name = of_networks(found), found.searched.name
    asked = (
        ("Which settings helped to generalize?", "Did extra training always help?")
        if networks
        else ("Which settings helped?", "Did a larger budget always help?")
    )
    answers = [
        (
            asked[0],
            with_commands(settings_answer(found) or (NO_SETTINGS if found.finished else NOTHING_YET)),
        ),
        (asked[1], with_commands(training_answer(found) or NOT_MEASURED)),
    ]
    answers += [
        (
            f"By what is trial {found.baseline.number} better than {path.reference}?",
            safe(path_in_words(path, found)),
        )
        for path in found.paths
    ]
    sections = [
        *sections_of(found),
        Section(heading="All of it in sentences", body=(bullets(map(with_commands, sentences(found))),)),
        _how_to_read(found),
    ]
    footer = (
        f"{count(found.finished_runs, 'finished run')} of {found.wanted:,}, in the study "
        f"{found.record.name}. No number on this page comes from a test set."
    )
    return page(
        f"{name}: what mattered in trial {found.baseline.number}",
        sections,
        lead=answer_list(answers),
        footer=footer,
    )


def sections_of(found: Ablation) -> list[Section]:
    """The figures with their tables: the settings, the lengths, the path; what there is of it."""
    told = (_settings(found), _lengths(found), *(_path(each, found) for each in found.paths))
    return [section for section in told if section is not None]


def _settings(found: Ablation) -> Section | None:
    rows = setting_rows(found)
    if not rows[1]:
        return None
    body: list[Html | Chart | Grid | Fold] = []
    if found.settings:
        body.append(
            Chart(
                figure=ablation_figures.forest(found),
                caption="Each dot is a variant that differs from the baseline (dotted line) in one setting. "
                f"{_intervals(found)}A triangle stands at the edge for a variant that lies beyond it.",
                height=ablation_figures.forest_height(found),
            )
        )
    body += [paragraph(judged(found), kind="note"), _folded("The settings in numbers", rows)]
    return Section(heading="Ablation: which settings helped", body=tuple(body))


def _intervals(found: Ablation) -> str:
    """What the lines through the dots are."""
    if found.half_widths is None:
        why = "one seed has none" if found.seeds < 2 else "nothing varies from seed to seed"
        return f"There are no intervals: {why}. "
    return (
        "Thick: the pointwise 95 % interval of this variant alone. Thin: the family-wise interval, which "
        "verdicts are made of. "
    )


def _lengths(found: Ablation) -> Section | None:
    rows = length_rows(found)
    if not rows[1]:
        return None
    body: list[Html | Chart | Grid | Fold] = []
    if found.lengths or found.unregularized:
        body.append(
            Chart(
                figure=ablation_figures.lengths(found),
                caption=_of_lengths(found),
                height=400,
            )
        )
    body.append(_folded("The lengths in numbers", rows))
    heading = "extra training" if of_networks(found) else "a larger budget"
    return Section(heading=f"Ablation: {heading}", body=tuple(body))


def _of_lengths(found: Ablation) -> str:
    told = "Means over the seeds, which are the small dots. "
    if any(run.training is not None for arm in found.arms for run in arm.runs):
        told += (
            "Dashed: on training examples, without augmentation and dropout; where it gets better and "
            "validation does not, the network overfits. Unregularized: without regularization and "
            "augmentation. "
        )
    if found.metric.is_fraction and found.metric.direction is Direction.MAXIMIZE:  # as its axis has it
        what = "errors gone" if found.metric.counts_errors else "what is missing to 100 %"
        told += f"Equal steps upward are equal shares of {what}."
    return told.rstrip()


def _path(path: Path, found: Ablation) -> Section | None:
    if not path.steps:
        return None
    strong = "In full color: the shortest prefix that gives most of the gain. " * bool(most_of_path(path))
    return Section(
        heading=f"Ablation: from {path.reference} to trial {found.baseline.number}",
        body=(
            Chart(
                figure=ablation_figures.waterfall(path, found),
                caption=f"Each bar is one change more, in the order of what each gave alone. {strong}It is "
                "measured, and has no verdicts.",
                height=120 + 44 * len(path.steps),
            ),
            paragraph(path_in_words(path, found)),
            _folded("The path in numbers", path_rows(path, found.metric)),
        ),
    )


def _folded(summary: str, rows: Table) -> Fold:
    """The table as two where it would be wider than the page: the differences, then what else changed."""
    header, cells = rows
    if len(header) <= WIDEST:
        return Fold(summary=summary, body=(table(header, cells),))
    verdict = header.index("verdict") + 1
    first = [place for place in range(verdict) if header[place] != ERRORS]
    second = [0, 1, *(place for place in range(len(header)) if place not in first)]
    parts = [
        table([header[place] for place in some], [[row[place] for place in some] for row in cells])
        for some in (first, second)
    ]
    return Fold(summary=summary, body=tuple(parts))


def _how_to_read(found: Ablation) -> Section:
    length = amount(found.budget, found.record.spec)
    verb = "trained" if of_networks(found) else "run"
    sides = ["training examples", "validation"]
    if found.metric.direction is Direction.MINIMIZE:
        sides.reverse()
    told = [
        f"A variant differs from the baseline in one setting, and is {verb} for {length} on the same seeds.",
        "A separate learning rate was chosen for a variant on a seed that is in no result."
        if any(each.arm.chosen for each in found.settings)
        else "",
        "What else a change brings with it (“with …”) was not tuned for it: another value may suit it better."
        if any(name != each.arm.chosen for each in found.settings for name in each.changed[1:])
        else "",
        "Differences are paired: the variant less the baseline on the same seed. Each is judged by its last "
        "report, not by its best one.",
        "Better, worse, helps and hurts are told only where the family-wise interval excludes 0. Not told "
        "apart is no proof of no difference: the interval says how large one could be.",
        "The share of errors is how many more or fewer errors than the baseline's; the baseline's are taken "
        "as given."
        if found.metric.counts_errors
        else "",
        f"The gap is the score on {' less that on '.join(sides)}. A smaller gap alone is no better "
        "generalization: a network that fits less has one too."
        if any(each.gap is not None for each in found.settings)
        else "",
        "What a change does is measured beside the other settings of this trial; beside others it may "
        "differ.",
    ]
    return Section(heading="How to read it", folded=True, body=(bullets(filter(None, told)),))
