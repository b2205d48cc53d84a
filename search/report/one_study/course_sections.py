"""The course of the search: best so far, learning curves, sizes against the metric, where the time went."""

from __future__ import annotations

from collections.abc import Sequence

from search.analysis.intervals import mean_of_heads_interval
from search.analysis.outcomes import best_so_far, front, leaders, spending
from search.analysis.ranking import best_report, score_of
from search.analysis.statistics import Estimate, difference
from search.heads import validation_of
from search.records import Direction, Examples, Failure, NetworkSpec, State, StudySpec, TrialRecord
from search.report.html import Html, fold, paragraph, table
from search.report.one_study import study_figures
from search.report.one_study.material import LEADERS, Material
from search.report.one_study.study_sentences import spent_in_words
from search.report.page import Chart, Fold, Grid, Section
from search.report.words import duration, label, percent, plural, share, value


def course(material: Material) -> Section:
    """The best so far."""
    references = [
        t for t in material.trials if t.reference and t.state is State.COMPLETE and t.score is not None
    ]
    spec = material.study.spec
    caption = (
        "Each dot is a finished trial, at the best value that it reached; pruned ones (gray) ended early. "
        f"{_lines(references, spec, material.examples)}{_scale(spec)}"
    )
    return Section(
        heading="The course of the search",
        body=(
            Chart(
                figure=study_figures.progress(best_so_far(material.trials), references, spec.metric),
                caption=caption,
                height=380,
            ),
        ),
    )


def _lines(references: Sequence[TrialRecord], spec: StudySpec, examples: Examples) -> str:
    """What the dotted lines are."""
    if isinstance(spec, NetworkSpec):
        return f"Dotted: the {examples.references_are}, trained in this study. "
    return "Dotted: the references. " if references else ""


def _scale(spec: StudySpec) -> str:
    """How the axis of the metric is to be read."""
    metric = spec.metric
    if spec.scored_by_answers:
        return "Equal steps upward are equal shares of errors gone."
    if metric.direction is Direction.MINIMIZE:
        return f"Lower is better: the search minimizes the {metric.title}."
    told = f"Higher is better: the search maximizes the {metric.title}."
    if metric.is_fraction:
        told += " Equal steps upward are equal shares of what is missing to 100 %."
    return told


_LAST_AND_BEST = (
    "Each curve shows every report of its trial, and its name the last value; the score of a trial is its "
    "best value. "
)


def curves(material: Material) -> Section:
    """Learning curves of the leaders and the references, and their settings."""
    shown = [t for t in leaders(material.trials, LEADERS) if material.curves.get(t.trial_id)]
    spec = material.study.spec
    names = [setting.name for setting in material.settings]
    networks = isinstance(spec, NetworkSpec)
    sized = networks or any(trial.parameters is not None for trial in shown)
    rows = [
        (
            trial.reference or f"trial {trial.number}",
            value(trial.score, spec.metric),
            _amount(max(p.step for p in material.curves[trial.trial_id]), spec),
            *(["–" if trial.parameters is None else f"{trial.parameters:,}"] if sized else []),
            ", ".join(f"{name} {label(trial.settings[name])}" for name in names if name in trial.settings),
        )
        for trial in shown
    ]
    score = "validation" if spec.scored_by_answers else spec.metric.title
    measured = (f"best {score}", "epochs" if networks else plural(spec.unit))
    header = ("trial", *measured, *(["parameters"] if sized else []), "settings")
    return Section(
        heading="Learning curves" if networks else "Curves of the leaders",
        body=(
            Chart(
                figure=study_figures.learning_curves(shown, material.curves, spec),
                caption=f"{_which(shown, spec, material.examples)}{_LAST_AND_BEST}A click on a name hides "
                "its curve.",
                height=470,
            ),
            fold("Their settings", table(header, rows, words=(0, len(header) - 1))),
        ),
    )


def _amount(step: int, spec: StudySpec) -> str:
    """In a column of epochs, or of steps."""
    return f"{step / spec.epoch_images:.3g}" if isinstance(spec, NetworkSpec) else f"{step:,}"


def _which(shown: Sequence[TrialRecord], spec: StudySpec, examples: Examples) -> str:
    """Which trials are shown; what was pruned is not ranked against what was trained to the end."""
    networks = isinstance(spec, NetworkSpec)
    mine = [trial for trial in shown if trial.reference is None]
    complete = sum(trial.state is State.COMPLETE for trial in mine)
    to_the_end = "were trained to the end" if networks else "came to the end of their budget"
    told = f"The best {complete} of those that {to_the_end}" if complete else "No trial is complete"
    if len(mine) > complete:
        told += f", then {len(mine) - complete} of those that were pruned last"
    if networks:
        return f"{told}; dotted, the {examples.references_are}. Epochs double from line to line. "
    return f"{told}; dotted, the references. " if len(mine) < len(shown) else f"{told}. "


def has_sizes(material: Material) -> bool:
    """Whether the sizes of the trials' models are worth a section."""
    return isinstance(material.study.spec, NetworkSpec) or any(t.parameters for t in material.trials)


def sizes(material: Material) -> Section:
    """Parameters against the metric."""
    best, spec = front(material.trials), material.study.spec
    body: list[Html | Chart | Grid | Fold] = []
    if isinstance(spec, NetworkSpec):
        body += _smaller(material, best, spec)
        figure = study_figures.sizes(material.trials, best, spec.metric)
        had = "Complete trials had the same training; pruned ones had less"
    else:
        figure = study_figures.sizes(material.trials, best, spec.metric, less="on less of the budget")
        had = "Complete trials had the whole budget; pruned ones had less"
    body.append(Chart(figure=figure, caption=f"{had}, and the front passes them by."))
    rows = [
        (
            trial.reference or f"trial {trial.number}",
            f"{trial.parameters:,}",
            value(trial.score, spec.metric),
            str(trial.settings.get("model")),
        )
        for trial in best
    ]
    if isinstance(spec, NetworkSpec):
        score = "validation" if spec.scored_by_answers else spec.metric.title
        body.append(table(("on the front", "parameters", score, "family"), rows, words=(0, 3)))
        heading = "Size and accuracy" if spec.scored_by_answers else f"Size and {spec.metric.title}"
        return Section(heading=heading, folded=True, body=tuple(body))
    body.append(table(("on the front", "parameters", spec.metric.title), [row[:3] for row in rows]))
    return Section(heading=f"Size and {spec.metric.title}", folded=True, body=tuple(body))


def _smaller(material: Material, best: Sequence[TrialRecord], spec: NetworkSpec) -> list[Html]:
    """The smallest network that the validation images cannot tell from the winner, by the accuracy where that
    is the score. best: the front."""
    top = material.winner
    if top is None or not top.parameters or not spec.scored_by_answers:
        return []
    smaller = next(
        (t for t in best if (t.parameters or 0) < top.parameters and _alike(material, top, t, spec)), None
    )
    if smaller is None:
        return []
    higher = score_of(smaller) > score_of(top)  # a reference, which is named first on the page
    told = "" if higher else f", which {spec.validation_pictures:,} images cannot tell apart"
    return [
        paragraph(
            f"{smaller.reference or f'Trial {smaller.number}'} does with {smaller.parameters or 0:,} "
            f"parameters, {share((smaller.parameters or 0) / top.parameters)} of the winner's "
            f"{top.parameters:,}: {percent(smaller.score)} against {percent(top.score)}{told}."
        )
    ]


def _alike(material: Material, top: TrialRecord, other: TrialRecord, spec: NetworkSpec) -> bool:
    """Whether the validation images cannot tell the other one from the top."""
    low = difference(_accuracy(material, top, spec), _accuracy(material, other, spec)).low
    return low is not None and low <= 0


def _accuracy(material: Material, trial: TrialRecord, spec: NetworkSpec) -> Estimate:
    """Mean of the heads' accuracies at the trial's best report, with its interval."""
    report = best_report(material.curves.get(trial.trial_id, ()))
    if report is None:
        return Estimate(value=0.0 if trial.score is None else trial.score, low=0.0, high=1.0)
    scores = validation_of(report)
    low, high = mean_of_heads_interval(
        [head.accuracy for head in scores.heads.values()], scores.joint, spec.validation_pictures
    )
    return Estimate(value=scores.accuracy, low=low, high=high)


def time(material: Material) -> Section:
    """Where the time went, and what failed."""
    spec = material.study.spec
    networks = isinstance(spec, NetworkSpec)
    spent = spending(material.trials, material.curves, material.seconds)
    failed = [
        trial
        for trial in material.trials
        if trial.state is State.FAILED and trial.failure is not Failure.INTERRUPTED
    ]
    body: list[Html | Chart | Grid | Fold] = [
        paragraph(spent_in_words(spent, spec)),
        Chart(
            figure=study_figures.spending(spent, doing="training" if networks else "work"),
            caption=f"Time that trials {'were trained, evaluations included' if networks else 'worked'}; "
            "what they waited for a verdict is not in it.",
            height=110 + 42 * len(spent),
        ),
        table(
            ("trials", "number", "time", "per trial", "epochs" if networks else plural(spec.unit)),
            [
                (
                    each.kind,
                    f"{each.trials:,}",
                    duration(each.seconds),
                    duration(each.seconds / each.trials),
                    f"{each.steps / spec.epoch_images:,.1f}"
                    if isinstance(spec, NetworkSpec)
                    else f"{each.steps:,}",
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
