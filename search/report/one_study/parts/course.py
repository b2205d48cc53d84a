"""The course of the search, and the learning curves of its leaders.
Knows nothing of what follows from them.
"""

from __future__ import annotations

from search.records import State
from search.report.html import Html, fold, paragraph, table
from search.report.one_study import figures
from search.report.one_study.effects import label
from search.report.one_study.material import LEADERS, Material
from search.report.one_study.outcomes import best_so_far, leaders
from search.report.page import Chart, Grid, Section
from search.report.words import count, percent

NEAR = 0.002
"""As good as the best, for those who are in a hurry: two in a thousand."""


def course(material: Material) -> Section:
    """The best so far."""
    reached = best_so_far(material.trials)
    references = [
        t for t in material.trials if t.reference and t.state is State.COMPLETE and t.value is not None
    ]
    body: list[Html | Chart | Grid] = []
    if reached:
        first = next(each for each in reached if each.best == reached[-1].best)
        near = next(each for each in reached if each.best >= reached[-1].best - NEAR)
        told = f"The best of {count(len(reached), 'finished trial')} was number {first.finished:,} to finish"
        if near is not first:
            told += f"; within {NEAR * 100:g} points of it the search was after {near.finished:,}"
        body.append(paragraph(f"{told}."))
    body.append(
        Chart(
            figure=figures.progress(reached, references),
            caption="Each dot is a finished trial; pruned ones (grey) were ended early, at what they had "
            "reached. Dotted: the published networks, trained in this study. The scale stretches towards "
            "100 %: equal steps are equal shares of errors gone.",
            height=430,
        )
    )
    return Section(heading="The course of the search", body=tuple(body))


def curves(material: Material) -> Section:
    """Learning curves of the leaders and the references, and their settings."""
    shown = [t for t in leaders(material.trials, LEADERS) if material.curves.get(t.trial_id)]
    spec = material.study.spec
    names = [setting.name for setting in material.settings]
    rows = [
        (
            trial.reference or f"trial {trial.number}",
            percent(trial.value),
            f"{max(p.images for p in material.curves[trial.trial_id]) / spec.epoch_images:.3g}",
            "–" if trial.parameters is None else f"{trial.parameters:,}",
            ", ".join(f"{name} {label(trial.settings[name])}" for name in names if name in trial.settings),
        )
        for trial in shown
    ]
    return Section(
        heading="Learning curves",
        body=(
            Chart(
                figure=figures.learning_curves(shown, material.curves, epoch_images=spec.epoch_images),
                caption="The ten best and the published networks (grey). Solid: validation; dotted: train, "
                "measured while training with dropout and augmentation on, hence often below validation. "
                "Epochs double from line to line. A click on a name hides its curves.",
                height=560,
            ),
            fold(
                "Their settings",
                table(("trial", "validation", "epochs", "parameters", "settings"), rows, words=(0, 4)),
            ),
        ),
    )
