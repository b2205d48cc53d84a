"""The course of the search: best so far, learning curves, sizes against accuracy, where the time went."""

from __future__ import annotations

from collections.abc import Sequence

from search.analysis.intervals import mean_of_heads_interval
from search.analysis.outcomes import best_so_far, front, leaders, spending
from search.analysis.ranking import best_point
from search.analysis.statistics import Estimate, difference
from search.records import Failure, State, TrialRecord
from search.report.html import Html, fold, paragraph, table
from search.report.one_study import study_figures
from search.report.one_study.material import LEADERS, Material
from search.report.one_study.study_sentences import spent_in_words
from search.report.page import Chart, Fold, Grid, Section
from search.report.words import duration, label, percent, share


def course(material: Material) -> Section:
    """The best so far."""
    references = [
        t for t in material.trials if t.reference and t.state is State.COMPLETE and t.value is not None
    ]
    return Section(
        heading="The course of the search",
        body=(
            Chart(
                figure=study_figures.progress(best_so_far(material.trials), references),
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
                figure=study_figures.learning_curves(shown, material.curves, epoch_images=spec.epoch_images),
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


def sizes(material: Material) -> Section:
    """Parameters against accuracy."""
    best, n = front(material.trials), material.study.spec.validation_pictures
    top = material.winner
    body: list[Html | Chart | Grid | Fold] = []
    smaller = None
    if top is not None and top.parameters:
        smaller = next(
            (t for t in best if (t.parameters or 0) < top.parameters and _alike(material, top, t)), None
        )
    if smaller is not None and top is not None and top.parameters:
        higher = (smaller.value or 0.0) > (top.value or 0.0)  # a reference, which is named first on the page
        told = "" if higher else f", which {n:,} images cannot tell apart"
        body.append(
            paragraph(
                f"{smaller.reference or f'Trial {smaller.number}'} does with {smaller.parameters or 0:,} "
                f"parameters, {share((smaller.parameters or 0) / top.parameters)} of the winner's "
                f"{top.parameters:,}: {percent(smaller.value)} against {percent(top.value)}{told}."
            )
        )
    body.append(
        Chart(
            figure=study_figures.sizes(material.trials, best),
            caption="Complete trials had the same training; pruned ones had less, and the front passes "
            "them by.",
        )
    )
    rows = [
        (
            trial.reference or f"trial {trial.number}",
            f"{trial.parameters:,}",
            percent(trial.value),
            str(trial.settings.get("model")),
        )
        for trial in best
    ]
    body.append(table(("on the front", "parameters", "validation", "family"), rows, words=(0, 3)))
    return Section(heading="Size and accuracy", folded=True, body=tuple(body))


def _alike(material: Material, top: TrialRecord, other: TrialRecord) -> bool:
    """Whether the validation pictures cannot tell the other one from the top."""
    low = difference(_accuracy(material, top), _accuracy(material, other)).low
    return low is not None and low <= 0


def _accuracy(material: Material, trial: TrialRecord) -> Estimate:
    """Mean of the heads' accuracies at the trial's best point, with its interval."""
    point = best_point(material.curves.get(trial.trial_id, ()))
    if point is None:
        return Estimate(value=trial.value or 0.0, low=0.0, high=1.0)
    scores = point.validation
    low, high = mean_of_heads_interval(
        [head.accuracy for head in scores.heads.values()],
        scores.joint,
        material.study.spec.validation_pictures,
    )
    return Estimate(value=scores.accuracy, low=low, high=high)


def time(material: Material) -> Section:
    """Where the time went, and what failed."""
    spec = material.study.spec
    spent = spending(material.trials, material.curves, material.seconds)
    failed = [
        trial
        for trial in material.trials
        if trial.state is State.FAILED and trial.failure is not Failure.INTERRUPTED
    ]
    body: list[Html | Chart | Grid | Fold] = [
        paragraph(spent_in_words(spent, total_images=material.budget, epoch_images=spec.epoch_images)),
        Chart(
            figure=study_figures.spending(spent),
            caption="Time that trials were trained, evaluations included; what they waited for a verdict "
            "is not in it.",
            height=110 + 42 * len(spent),
        ),
        table(
            ("trials", "number", "time", "per trial", "epochs"),
            [
                (
                    each.kind,
                    f"{each.trials:,}",
                    duration(each.seconds),
                    duration(each.seconds / each.trials),
                    f"{each.images / spec.epoch_images:,.1f}",
                )
                for each in spent
            ],
        ),
    ]
    if failed:
        rows = [
            (
                str(t.number),
                (t.failure.value if t.failure else "unknown").replace("_", " "),
                (t.failure_detail or "–")[:200],
            )
            for t in failed[:30]
        ]
        body.append(
            fold(
                f"Trials that failed ({len(failed)})",
                table(("trial", "why", "detail"), rows, words=(0, 1, 2)),
            )
        )
    return Section(heading="Where the time went", folded=True, body=tuple(body))
