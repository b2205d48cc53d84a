"""Figures from numbers: thin, one function each, nothing is computed here but where to put a dot. Fonts and
the colors of text and background are the page's."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from plotly.graph_objects import Bar, Figure, Heatmap, Scatter

from search.analysis.basis import Curves
from search.analysis.effects import Effect, Verdict
from search.analysis.mistakes import Confusion
from search.analysis.outcomes import Reached, Spent
from search.analysis.ranking import score_of
from search.analysis.statistics import quartiles
from search.records import ACCURACY, Direction, Metric, NetworkSpec, Report, StudySpec, TrialRecord, Value
from search.report.scale import COLORS, FIRST, SECOND, THIRD, number_axis, place, score_axis
from search.report.words import amount, label, p_value, plural, value

T = TypeVar("T")

GRAY = "#7d8794"
FAINT = "rgba(128,136,148,0.45)"

DOTS = 1_000
"""Dots in one figure; of more trials, evenly chosen ones are shown, and the best."""

MARGIN = 0.06
"""What an axis shows beyond the values that it is made for, as a share of their range."""


def progress(
    reached: Sequence[Reached], references: Sequence[TrialRecord], metric: Metric = ACCURACY
) -> Figure:
    """Every finished trial, the best so far, and the references as lines."""
    shown = thinned(reached, keep=lambda each: each.trial.score == each.best)
    # The upper nine tenths fill the figure: what never learned would squeeze all others into its top.
    scores = sorted(score_of(each.trial) for each in reached)
    axis = _axis([*scores[len(scores) // 10 :], *map(score_of, references)], metric)
    figure = Figure()
    for state, color in (("pruned", FAINT), ("complete", FIRST)):
        some = [each for each in shown if each.trial.state == state]
        figure.add_trace(
            Scatter(
                x=[each.finished for each in some],
                y=[place(score_of(each.trial), metric) for each in some],
                text=[f"trial {each.trial.number}, {value(each.trial.score, metric)}" for each in some],
                hovertemplate="%{text}<extra></extra>",
                mode="markers",
                marker={"color": color, "size": 7 if state == "complete" else 5},
                name=state,
            )
        )
    steps = [
        (each.finished, each.best)
        for number, each in enumerate(reached)
        if each.best is not None and (not number or each.best != reached[number - 1].best)
    ]
    if steps:
        steps.append((reached[-1].finished, steps[-1][1]))
    figure.add_trace(
        Scatter(
            x=[finished for finished, _ in steps],
            y=[place(best, metric) for _, best in steps],
            text=[value(best, metric) for _, best in steps],
            hovertemplate="best complete one of %{x}: %{text}<extra></extra>",
            mode="lines",
            line={"shape": "hv", "color": SECOND, "width": 2.5},
            name="best complete one so far",
        )
    )
    for trial in references:
        at = place(score_of(trial), metric)
        figure.add_hline(y=at, line={"dash": "dot", "width": 1.2, "color": GRAY})
        figure.add_annotation(
            x=0,
            xref="paper",
            xanchor="left",
            y=math.log10(at) if axis.get("type") == "log" else at,
            yanchor="bottom",
            text=f"{trial.reference} {value(trial.score, metric)}",
            font={"size": 11},
            showarrow=False,
        )
    figure.update_layout(xaxis={"title": {"text": "trials finished"}}, yaxis=axis)
    return figure


def _axis(scores: Sequence[float], metric: Metric, title: str | None = None) -> dict[str, Any]:
    """The axis of these scores, which shows little more than them."""
    axis = score_axis(scores, metric, title)
    if not scores or "range" in axis:
        return axis
    places = [place(score, metric) for score in scores]
    if axis.get("type") == "log":
        places = [math.log10(each) for each in places]
    low, high = min(places), max(places)
    margin = MARGIN * (high - low or abs(high) or 1.0)
    return {**axis, "range": [low - margin, high + margin]}


def _no_worse_than_edge(score: float, metric: Metric, axis: Mapping[str, Any]) -> float:
    """The place of a score; of one beyond the axis that may be arbitrarily bad, the edge. That of a diverged
    trial is below all others, and how far below means nothing."""
    if math.isfinite(metric.worst) or "range" not in axis:
        return place(score, metric)
    low, high = (float(10**end if axis.get("type") == "log" else end) for end in axis["range"])
    at = place(score, metric)
    return max(low, at) if metric.direction is Direction.MAXIMIZE else min(high, at)


MARKS = ("circle", "square", "diamond", "cross", "x", "triangle-up", "star", "hexagon2", "pentagon", "bowtie")
"""With the color: ten curves can be told apart in gray, too."""


LONGEST = 18
"""Characters of the name of a class that an axis has room for."""


def learning_curves(trials: Sequence[TrialRecord], curves: Curves, spec: StudySpec) -> Figure:
    """The metric against the steps, of networks against epochs: a line for each trial, the references in
    gray."""
    figure, metric = Figure(), spec.metric
    per, hover = 1, "%{text}<extra></extra>"
    if isinstance(spec, NetworkSpec):
        per, hover = spec.epoch_images, "%{text} after %{x:.3g} epochs<extra></extra>"
    seen: list[float] = []
    for number, trial in enumerate(trials):
        curve = _with_the_last(curves.get(trial.trial_id, ()))
        name = trial.reference or f"trial {trial.number}"
        scores = [report.score for report in curve]
        seen += scores
        figure.add_trace(
            Scatter(
                x=[report.step / per for report in curve],
                y=[place(score, metric) for score in scores],
                text=[f"{name}: {value(report.score, metric)}{_after(report, spec)}" for report in curve],
                hovertemplate=hover,
                mode="lines+markers",
                marker={"symbol": MARKS[number % len(MARKS)], "size": 7},
                line={
                    "dash": "dot" if trial.reference else "solid",
                    "width": 1.8,
                    "color": GRAY if trial.reference else COLORS[number % len(COLORS)],
                },
                name=f"{name} {value(scores[-1], metric)}" if scores else name,
            )
        )
    figure.update_layout(xaxis=_axis_of_steps(trials, curves, spec), yaxis=score_axis(seen, metric))
    return figure


def _after(report: Report, spec: StudySpec) -> str:
    """When it was; of networks the figure itself says it."""
    return "" if isinstance(spec, NetworkSpec) else f" after {amount(report.step, spec)}"


def _axis_of_steps(trials: Sequence[TrialRecord], curves: Curves, spec: StudySpec) -> dict[str, Any]:
    if not isinstance(spec, NetworkSpec):
        return {"title": {"text": plural(spec.unit)}, "rangemode": "tozero"}
    ticks = _epochs(trials, curves, spec.epoch_images)
    return {"title": {"text": "epochs"}, "type": "log", "tickvals": ticks}


def _with_the_last(curve: Sequence[Report]) -> list[Report]:
    return thinned(curve, keep=lambda report: report is curve[-1])


def _epochs(trials: Sequence[TrialRecord], curves: Curves, epoch_images: int) -> list[float]:
    """Powers of two, as the rungs of the evaluation schedule."""
    last = max((p.step for t in trials for p in curves.get(t.trial_id, ())), default=epoch_images)
    return [2.0**power for power in range(-6, 12) if 2.0**power <= 1.01 * last / epoch_images]


def importance(effects: Sequence[Effect]) -> Figure:
    """What goes with each tested setting, the largest on top; gray where chance explains it."""
    tested = [each for each in effects if each.rank_test is not None][::-1]
    figure = Figure()
    for name, color, verdict in (
        ("it matters", FIRST, Verdict.MATTERS),
        ("unclear", FAINT, Verdict.UNCLEAR),
    ):
        some = [each for each in tested if each.verdict is verdict]
        figure.add_trace(
            Bar(
                x=[each.share * 100 for each in some],
                y=[each.setting.name for each in some],
                orientation="h",
                marker={"color": color},
                text=[p_value(each.p) for each in some],
                customdata=[each.n for each in some],
                textposition="outside",
                cliponaxis=False,
                hovertemplate="%{y}: %{x:.0f} %, n = %{customdata}<extra></extra>",
                name=name,
            )
        )
    top = max((each.share for each in tested), default=0.0)
    figure.update_layout(
        xaxis={
            "title": {"text": "share of the differences in rank, %"},
            "range": [0, max(10, top * 135)],
        },
        yaxis={"categoryorder": "array", "categoryarray": [each.setting.name for each in tested]},
        bargap=0.35,
    )
    return figure


def effect(found: Effect, metric: Metric = ACCURACY) -> Figure:
    """The metric against one setting: a dot for each trial, a line through the medians of the groups."""
    setting, tested = found.setting, frozenset(found.tested)
    pairs = thinned(found.points)
    seen = sorted(score for _, score, trial in found.points if trial not in found.diverged)
    title = "accuracy" if metric == ACCURACY else None
    scores = _axis(seen[len(seen) // 20 :], metric, title)
    figure = Figure()
    for explored, color, name in ((False, FAINT, "proposed"), (True, FIRST, "exploration")):
        some = [pair for pair in pairs if (pair[2] in tested) is explored]
        figure.add_trace(
            Scatter(
                x=[_place(chosen, setting.ordered) for chosen, _, _ in some],
                y=[
                    _no_worse_than_edge(score, metric, scores)
                    if trial in found.diverged
                    else place(score, metric)
                    for _, score, trial in some
                ],
                text=[
                    f"trial {trial}: {label(chosen)}, "
                    f"{'diverged' if trial in found.diverged else value(score, metric)}"
                    for chosen, score, trial in some
                ],
                hovertemplate="%{text}<extra></extra>",
                mode="markers",
                marker={"color": color, "size": 5},
                name=name,
                showlegend=False,
            )
        )
    middles = _middles(found) if setting.ordered else [(label(g.low), g.median) for g in found.groups]
    figure.add_trace(
        Scatter(
            x=[x for x, _ in middles],
            y=[_no_worse_than_edge(y, metric, scores) for _, y in middles],
            mode="lines+markers" if setting.ordered else "markers",
            line={"color": SECOND, "width": 2},
            marker={"size": 8, "color": SECOND}
            if setting.ordered
            else {"symbol": "line-ew", "size": 28, "line": {"color": SECOND, "width": 3}},
            hoverinfo="skip",
            showlegend=False,
        )
    )
    figure.update_layout(xaxis=_axis_of_setting(found), yaxis=scores)
    return figure


def _axis_of_setting(found: Effect) -> dict[str, Any]:
    setting = found.setting
    axis: dict[str, Any] = {"title": {"text": setting.name}}
    if setting.ordered:
        return axis | number_axis([float(chosen) for chosen, _, _ in found.points], log=setting.log)
    labels = sorted(map(label, {chosen for chosen, _, _ in found.points}))
    return axis | {"type": "category", "categoryorder": "array", "categoryarray": labels}


def _place(chosen: Value, ordered: bool) -> float | str:
    return float(chosen) if ordered else label(chosen)


def _middles(found: Effect) -> list[tuple[float, float]]:
    """(median of the setting, median of the score) of each group, which split the tested trials in turn."""
    tested = frozenset(found.tested)
    ranked = sorted(float(chosen) for chosen, _, number in found.points if number in tested)
    middles, start = [], 0
    for group in found.groups:
        some = ranked[start : start + group.n]
        middles.append((quartiles(some)[1], group.median))
        start += group.n
    return middles


def sizes(
    trials: Sequence[TrialRecord],
    front: Sequence[TrialRecord],
    metric: Metric = ACCURACY,
    *,
    less: str = "on less training",
) -> Figure:
    """Parameters against the metric, and the front. less: what the pruned ones were measured on."""
    sized = [
        trial for trial in trials if trial.parameters and trial.score is not None and trial.state.is_finished
    ]
    best = {trial.number for trial in front}
    figure = Figure()
    for name, color, size, some in (
        (f"pruned, {less}", FAINT, 5, [t for t in sized if t.state == "pruned"]),
        ("complete", FIRST, 8, [t for t in sized if t.state == "complete" and t.reference is None]),
        ("references", GRAY, 9, [t for t in sized if t.state == "complete" and t.reference]),
    ):
        shown = thinned(some, keep=lambda trial: trial.number in best)
        figure.add_trace(
            Scatter(
                x=[trial.parameters for trial in shown],
                y=[place(score_of(trial), metric) for trial in shown],
                text=[
                    f"{trial.reference or f'trial {trial.number}'}, {value(trial.score, metric)}, "
                    f"{trial.parameters:,} parameters"
                    for trial in shown
                ],
                hovertemplate="%{text}<extra></extra>",
                mode="markers",
                marker={
                    "color": color,
                    "size": size,
                    "symbol": "diamond" if name == "references" else "circle",
                },
                name=name,
            )
        )
    figure.add_trace(
        Scatter(
            x=[trial.parameters for trial in front],
            y=[place(score_of(trial), metric) for trial in front],
            mode="lines",
            line={"shape": "hv", "color": SECOND, "width": 2},
            hoverinfo="skip",
            name="front",
        )
    )
    seen = sorted(map(score_of, sized))
    figure.update_layout(
        xaxis={"title": {"text": "parameters"}}
        | number_axis([float(trial.parameters or 1) for trial in sized], log=True),
        yaxis=_axis(seen[len(seen) // 10 :], metric),
    )
    return figure


def spending(spent: Sequence[Spent], *, doing: str = "training") -> Figure:
    """Hours of training, say, by what became of the trial. doing: what the trials did."""
    minutes = sum(each.seconds for each in spent) < 3 * 3600
    unit = 60 if minutes else 3600
    colors: Mapping[str, str] = {"complete": FIRST, "pruned": THIRD, "running": "#b59a00"}
    figure = Figure(
        Bar(
            x=[each.seconds / unit for each in spent][::-1],
            y=[each.kind for each in spent][::-1],
            orientation="h",
            marker={"color": [colors.get(each.kind, SECOND) for each in spent][::-1]},
            text=[f"{each.trials:,}" for each in spent][::-1],
            textposition="outside",
            cliponaxis=False,
            hovertemplate="%{y}: %{x:.1f}<extra></extra>",
        )
    )
    top = max((each.seconds / unit for each in spent), default=1.0)
    figure.update_layout(
        xaxis={
            "title": {"text": f"{'minutes' if minutes else 'hours'} of {doing}; the number of trials beside"},
            "range": [0, 1.12 * top or 1],
        },
        bargap=0.35,
    )
    return figure


def short(name: str) -> str:
    """The name of a class on an axis: no markup, and its beginning where it is long."""
    plain = name.replace("<", "&lt;")
    return plain if len(plain) <= LONGEST else f"{plain[: LONGEST - 1]}…"


def confusion(found: Confusion) -> Figure:
    """What is taken for what; the right answers, which would outshine everything, are left blank."""
    classes, names = list(range(len(found.counts))), [short(name) for name in found.names]
    wrong = [
        [n if n and truth != said else None for said, n in enumerate(row)]
        for truth, row in enumerate(found.counts)
    ]
    figure = Figure(
        Heatmap(
            z=wrong,
            x=classes,
            y=classes,
            colorscale=[[0, "#f3d9c2"], [1, "#b8480a"]],
            text=[["" if n is None else str(n) for n in row] for row in wrong],
            texttemplate="%{text}" if len(classes) <= 12 else None,
            customdata=[[f"{truth} taken for {said}" for said in names] for truth in names],
            hovertemplate="%{customdata}: %{z}×<extra></extra>",
            hoverongaps=False,
            showscale=False,
            xgap=1,
            ygap=1,
        )
    )
    figure.update_layout(
        xaxis={
            "title": {"text": "the network said"},
            "tickvals": classes,
            "ticktext": names,
            "zeroline": False,
            "showgrid": False,
            "constrain": "domain",
        },
        yaxis={
            "title": {"text": "it is"},
            "tickvals": classes,
            "ticktext": names,
            "zeroline": False,
            "autorange": "reversed",
            "scaleanchor": "x",
            "showgrid": False,
            "constrain": "domain",
        },
    )
    return figure


def thinned(some: Sequence[T], *, keep: Callable[[T], bool] = lambda _: False) -> list[T]:
    """At most DOTS of them, evenly chosen, and all that must be kept; in their order."""
    if len(some) <= DOTS:
        return list(some)
    chosen = {place * len(some) // DOTS for place in range(DOTS)}
    return [each for place, each in enumerate(some) if place in chosen or keep(each)]
