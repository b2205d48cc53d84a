"""Figures from numbers: thin, one function each, nothing is computed here but where to put a dot. Fonts and
the colors of ink and ground are the page's."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from plotly.graph_objects import Bar, Figure, Heatmap, Scatter

from search.analysis.basis import DIVERGED, Curves
from search.analysis.effects import Effect, Verdict
from search.analysis.mistakes import Confusion
from search.analysis.outcomes import Reached, Spent
from search.analysis.statistics import quartiles
from search.records import TrialRecord, Value
from search.report.scale import COLORS, FIRST, SECOND, THIRD, accuracy_axis, error, number_axis
from search.report.words import label, p_value, percent

T = TypeVar("T")

GRAY = "#7d8794"
FAINT = "rgba(128,136,148,0.45)"

DOTS = 1_000
"""Dots in one figure; of more trials, evenly chosen ones are shown, and the best."""


def progress(reached: Sequence[Reached], references: Sequence[TrialRecord]) -> Figure:
    """Every finished trial, the best so far, and the references as lines."""
    shown = thinned(reached, keep=lambda each: each.trial.value == each.best)
    figure = Figure()
    for state, color in (("pruned", FAINT), ("complete", FIRST)):
        some = [each for each in shown if each.trial.state == state]
        figure.add_trace(
            Scatter(
                x=[each.finished for each in some],
                y=[error(each.trial.value or 0.0) for each in some],
                text=[f"trial {each.trial.number}, {percent(each.trial.value)}" for each in some],
                hovertemplate="%{text}<extra></extra>",
                mode="markers",
                marker={"color": color, "size": 7 if state == "complete" else 5},
                name=state,
            )
        )
    steps = [
        each
        for place, each in enumerate(reached)
        if each.best is not None and (not place or each.best != reached[place - 1].best)
    ]
    if steps:
        steps = [*steps, reached[-1]]
    figure.add_trace(
        Scatter(
            x=[each.finished for each in steps],
            y=[error(each.best or 0.0) for each in steps],
            text=[percent(each.best) for each in steps],
            hovertemplate="best complete one of %{x}: %{text}<extra></extra>",
            mode="lines",
            line={"shape": "hv", "color": SECOND, "width": 2.5},
            name="best complete one so far",
        )
    )
    for trial in references:
        figure.add_hline(y=error(trial.value or 0.0), line={"dash": "dot", "width": 1.2, "color": GRAY})
        figure.add_annotation(
            x=0,
            xref="paper",
            xanchor="left",
            y=math.log10(error(trial.value or 0.0)),
            yanchor="bottom",
            text=f"{trial.reference} {percent(trial.value)}",
            font={"size": 11},
            showarrow=False,
        )
    # The upper nine tenths fill the figure: what never learned would squeeze all others into its top.
    values = sorted(each.trial.value or 0.0 for each in reached)
    seen = [*values[len(values) // 10 :], *(trial.value or 0.0 for trial in references)]
    figure.update_layout(xaxis={"title": {"text": "trials finished"}}, yaxis=accuracy_axis(seen))
    return figure


MARKS = ("circle", "square", "diamond", "cross", "x", "triangle-up", "star", "hexagon2", "pentagon", "bowtie")
"""With the color: ten curves can be told apart in gray, too."""


def learning_curves(trials: Sequence[TrialRecord], curves: Curves, *, epoch_images: int) -> Figure:
    """Validation accuracy against epochs, a line for each trial, the references in gray."""
    figure = Figure()
    seen: list[float] = []
    for place, trial in enumerate(trials):
        curve = curves.get(trial.trial_id, ())
        name = trial.reference or f"trial {trial.number}"
        accuracies = [point.validation.accuracy for point in curve]
        seen += accuracies
        figure.add_trace(
            Scatter(
                x=[point.images / epoch_images for point in curve],
                y=[error(accuracy) for accuracy in accuracies],
                text=[f"{name}: {percent(accuracy)}" for accuracy in accuracies],
                hovertemplate="%{text} after %{x:.3g} epochs<extra></extra>",
                mode="lines+markers",
                marker={"symbol": MARKS[place % len(MARKS)], "size": 7},
                line={
                    "dash": "dot" if trial.reference else "solid",
                    "width": 1.8,
                    "color": GRAY if trial.reference else COLORS[place % len(COLORS)],
                },
                name=f"{name} {percent(accuracies[-1])}" if accuracies else name,
            )
        )
    figure.update_layout(
        xaxis={"title": {"text": "epochs"}, "type": "log", "tickvals": _epochs(trials, curves, epoch_images)},
        yaxis=accuracy_axis(seen, "validation accuracy"),
    )
    return figure


def _epochs(trials: Sequence[TrialRecord], curves: Curves, epoch_images: int) -> list[float]:
    """Powers of two, as the rungs of the evaluation schedule."""
    last = max((p.images for t in trials for p in curves.get(t.trial_id, ())), default=epoch_images)
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


def effect(found: Effect) -> Figure:
    """Accuracy against one setting: a dot for each trial, a line through the medians of the groups."""
    setting, tested = found.setting, frozenset(found.tested)
    pairs = thinned(found.points)
    seen = sorted(score for _, score, _ in found.points if score != DIVERGED)
    figure = Figure()
    for explored, color, name in ((False, FAINT, "proposed"), (True, FIRST, "exploration")):
        some = [pair for pair in pairs if (pair[2] in tested) is explored]
        figure.add_trace(
            Scatter(
                x=[_place(value, setting.ordered) for value, _, _ in some],
                y=[error(score) for _, score, _ in some],
                text=[
                    f"trial {trial}: {label(value)}, {percent(score) if score != DIVERGED else 'diverged'}"
                    for value, score, trial in some
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
            y=[error(y) for _, y in middles],
            mode="lines+markers" if setting.ordered else "markers",
            line={"color": SECOND, "width": 2},
            marker={"size": 8, "color": SECOND}
            if setting.ordered
            else {"symbol": "line-ew", "size": 28, "line": {"color": SECOND, "width": 3}},
            hoverinfo="skip",
            showlegend=False,
        )
    )
    axis: dict[str, Any] = {"title": {"text": setting.name}}
    if setting.ordered:
        axis |= number_axis([float(value) for value, _, _ in found.points], log=setting.log)
    else:
        values = {value for value, _, _ in found.points}
        axis |= {
            "type": "category",
            "categoryorder": "array",
            "categoryarray": sorted(map(label, values)),
        }
    figure.update_layout(xaxis=axis, yaxis=accuracy_axis(seen[len(seen) // 20 :], "accuracy"))
    return figure


def _place(value: Value, ordered: bool) -> float | str:
    return float(value) if ordered else label(value)


def _middles(found: Effect) -> list[tuple[float, float]]:
    """(median of the setting, median of the score) of each group, which split the tested trials in turn."""
    tested = frozenset(found.tested)
    ranked = sorted(float(value) for value, _, number in found.points if number in tested)
    middles, start = [], 0
    for group in found.groups:
        some = ranked[start : start + group.n]
        middles.append((quartiles(some)[1], group.median))
        start += group.n
    return middles


def sizes(trials: Sequence[TrialRecord], front: Sequence[TrialRecord]) -> Figure:
    """Parameters against accuracy, and the front."""
    sized = [
        trial for trial in trials if trial.parameters and trial.value is not None and trial.state.is_finished
    ]
    best = {trial.number for trial in front}
    figure = Figure()
    for name, color, size, some in (
        ("pruned, on less training", FAINT, 5, [t for t in sized if t.state == "pruned"]),
        ("complete", FIRST, 8, [t for t in sized if t.state == "complete" and t.reference is None]),
        ("references", GRAY, 9, [t for t in sized if t.state == "complete" and t.reference]),
    ):
        shown = thinned(some, keep=lambda trial: trial.number in best)
        figure.add_trace(
            Scatter(
                x=[trial.parameters for trial in shown],
                y=[error(trial.value or 0.0) for trial in shown],
                text=[
                    f"{trial.reference or f'trial {trial.number}'}, {percent(trial.value)}, "
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
            y=[error(trial.value or 0.0) for trial in front],
            mode="lines",
            line={"shape": "hv", "color": SECOND, "width": 2},
            hoverinfo="skip",
            name="front",
        )
    )
    seen = sorted(trial.value or 0.0 for trial in sized)
    figure.update_layout(
        xaxis={"title": {"text": "parameters"}}
        | number_axis([float(trial.parameters or 1) for trial in sized], log=True),
        yaxis=accuracy_axis(seen[len(seen) // 10 :]),
    )
    return figure


def spending(spent: Sequence[Spent]) -> Figure:
    """Hours of training by what became of the trial."""
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
            "title": {
                "text": f"{'minutes' if minutes else 'hours'} of training; the number of trials beside"
            },
            "range": [0, 1.12 * top or 1],
        },
        bargap=0.35,
    )
    return figure


def confusion(found: Confusion) -> Figure:
    """What is taken for what; the right answers, which would outshine everything, are left blank."""
    classes = list(range(len(found.counts)))
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
            hovertemplate="%{y} taken for %{x}: %{z}×<extra></extra>",
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
            "zeroline": False,
            "showgrid": False,
            "constrain": "domain",
        },
        yaxis={
            "title": {"text": "it is"},
            "tickvals": classes,
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
