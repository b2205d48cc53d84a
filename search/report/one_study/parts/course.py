"""The course of the search, and the learning curves of its leaders."""

from __future__ import annotations

from collections.abc import Sequence

from search.analysis.outcomes import best_so_far, leaders
from search.records import State, TrialRecord
from search.report.html import fold, table
from search.report.one_study import figures
from search.report.one_study.material import LEADERS, Material
from search.report.page import Chart, Section
from search.report.words import label, percent


def course(material: Material) -> Section:
    """The best so far."""
    references = [
        t for t in material.trials if t.reference and t.state is State.COMPLETE and t.value is not None
    ]
    return Section(
        heading="The course of the search",
        body=(
            Chart(
                figure=figures.progress(best_so_far(material.trials), references),
                caption="Each dot is a finished trial; pruned ones (gray) were ended early, at what they had "
                "reached. Dotted: the published networks, trained in this study. Equal steps upward are "
                "equal shares of errors gone.",
                height=380,
            ),
        ),
    )


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
                caption=f"{_which(shown)}; dotted, the published networks. Epochs double from line to line. "
                "A click on a name hides its curve.",
                height=470,
            ),
            fold(
                "Their settings",
                table(("trial", "validation", "epochs", "parameters", "settings"), rows, words=(0, 4)),
            ),
        ),
    )


def _which(shown: Sequence[TrialRecord]) -> str:
    """Which trials are shown; what was pruned is not ranked against what was trained to the end."""
    mine = [trial for trial in shown if trial.reference is None]
    complete = sum(trial.state is State.COMPLETE for trial in mine)
    told = (
        f"The best {complete} of those that were trained to the end" if complete else "No trial is complete"
    )
    if len(mine) > complete:
        told += f", then {len(mine) - complete} of those that were pruned last"
    return told
