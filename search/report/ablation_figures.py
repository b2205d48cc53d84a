"""Figures of an ablation: thin, nothing is computed here but where to put a dot."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

from plotly.graph_objects import Bar, Figure, Scatter

from search.analysis.ablation import BASELINE, UNREGULARIZED, Ablation, Contrast, Path
from search.analysis.ablation_arms import Arm
from search.analysis.paired_arms import Verdict
from search.analysis.statistics import in_values
from search.records import ACCURACY, Direction, Metric, NetworkSpec
from search.report.ablation_words import about, besides, change, mean, most_of_path, training
from search.report.scale import FIRST, SECOND, THIRD, place, score_axis
from search.report.words import amount, difference, interval, plural, titled, value, without_unit

GRAY = "#7d8794"
FAINT = "rgba(128,136,148,0.55)"

COLORS = {Verdict.BETTER: THIRD, Verdict.WORSE: SECOND, Verdict.NOT_TOLD_APART: GRAY, None: FIRST}
NAMES = {
    Verdict.BETTER: "better",
    Verdict.WORSE: "worse",
    Verdict.NOT_TOLD_APART: "not told apart",
    None: "without a verdict",
}

GAP = 0.6
"""Between two settings, in rows."""

FAR = 3.0
"""Variants this many times farther from the baseline than three quarters of them are drawn at the edge."""

LABEL = 24
"""Characters of a label on one line."""


def forest(found: Ablation) -> Figure:
    """A dot for each variant with its pointwise (thick) and family-wise (thin) interval, grouped by setting,
    around the baseline."""
    rows = list(_rows(found.settings))
    scale = 100 if found.metric.is_fraction else 1
    low, high = _range(found.settings, found.metric)
    figure = Figure()
    for verdict, color in COLORS.items():
        some = [(at, each) for at, each in rows if each.found.verdict is verdict]
        if not some:
            continue
        family = [each.found.family for _, each in some]
        pointwise = [each.found.pointwise for _, each in some]
        for thick, estimates in ((1.4, family), (5.0, pointwise)):
            ends = [in_values(estimate, found.metric) for estimate in estimates]
            figure.add_trace(
                Scatter(
                    x=[x for end in ends for x in (*_scaled((end.low, end.high), scale), None)],
                    y=[y for at, _ in some for y in (at, at, None)],
                    mode="lines",
                    line={"color": color, "width": thick},
                    hoverinfo="skip",
                    showlegend=False,
                )
            )
        _add_dots(figure, found.metric, some, verdict, color, (low, high))
    margin = 0.04 * (high - low)
    figure.add_vline(x=0, line={"width": 1.2, "dash": "dot", "color": GRAY})
    figure.update_layout(
        xaxis={
            "title": {"text": _title(found.metric)},
            "range": [low - margin, high + margin],
            "zeroline": False,
        },
        yaxis={
            "tickvals": [at for at, _ in rows],
            "ticktext": [_label(each) for _, each in rows],
            "range": [max((at for at, _ in rows), default=0) + 0.7, -0.7],
            "showgrid": False,
            "zeroline": False,
        },
    )
    return figure


def _add_dots(
    figure: Figure,
    metric: Metric,
    some: Sequence[tuple[float, Contrast]],
    verdict: Verdict | None,
    color: str,
    within: tuple[float, float],
) -> None:
    """The dots of one verdict; those beyond the figure as triangles at its edge, with their number."""
    (low, high), scale = within, 100 if metric.is_fraction else 1
    values = [scale * metric.value_of(each.found.difference) for _, each in some]
    for symbol, is_there in (("circle", 0), ("triangle-left", -1), ("triangle-right", 1)):
        shown = [
            (x, at, each)
            for x, (at, each) in zip(values, some, strict=True)
            if (x > high) - (x < low) == is_there
        ]
        inside: list[float | None] = [max(low, min(x, high)) for x, _, _ in shown]
        rows_of: list[float | None] = [at for _, at, _ in shown]
        if not shown and symbol != "circle":
            continue
        figure.add_trace(
            Scatter(
                x=inside or [None],  # an empty trace has no place in the legend
                y=rows_of or [None],
                text=[_plain(_told(each, metric)) for _, _, each in shown],
                hovertemplate="%{text}<extra></extra>",
                mode="markers",
                marker={"color": color, "size": 10, "symbol": symbol},
                name=NAMES[verdict],
                showlegend=symbol == "circle",
            )
        )
        for x, at, each in shown if is_there else ():
            figure.add_annotation(
                x=max(low, min(x, high)),
                y=at,
                text=without_unit(each.found.difference, metric),
                xanchor="left" if x < low else "right",
                xshift=10 if x < low else -10,
                yshift=9,
                showarrow=False,
                font={"size": 11},
            )


def forest_height(found: Ablation) -> int:
    """In pixels, for its rows."""
    rows = list(_rows(found.settings))
    return round(150 + 38 * max((at for at, _ in rows), default=0))


def _rows(contrasts: Sequence[Contrast]) -> list[tuple[float, Contrast]]:
    """(place, contrast): the setting with the largest difference on top, its variants together."""
    groups: dict[str, list[Contrast]] = {}
    for each in sorted(contrasts, key=lambda each: -abs(each.found.difference)):
        groups.setdefault(about(each), []).append(each)
    placed, at = [], 0.0
    for group in groups.values():
        for each in group:
            placed.append((at, each))
            at += 1
        at += GAP
    return placed


def _range(contrasts: Sequence[Contrast], metric: Metric) -> tuple[float, float]:
    """Ends of the axis of differences: those far beyond the others do not decide it."""
    scale = 100 if metric.is_fraction else 1
    typical = sorted(max(map(abs, _ends(each))) for each in contrasts)
    if not typical:
        return -1.0, 1.0
    most = scale * FAR * typical[3 * (len(typical) - 1) // 4]
    ends = [scale * metric.value_of(end) for each in contrasts for end in _ends(each)]
    low, high = max(-most, min(0.0, *ends)), min(most, max(0.0, *ends))
    return (low, high) if low < high else (-1.0, 1.0)


def _ends(contrast: Contrast) -> tuple[float, ...]:
    """The difference and the ends of its widest interval, in units of the score."""
    family = contrast.found.family
    return tuple(each for each in (family.low, family.value, family.high) if each is not None)


def _scaled(ends: tuple[float | None, float | None], scale: float) -> tuple[float | None, float | None]:
    low, high = ends
    return (None, None) if low is None or high is None else (scale * low, scale * high)


def _label(contrast: Contrast) -> str:
    """Of a row, on two lines where it is long."""
    told = change(contrast)
    if len(told) <= LABEL:
        return _plain(told)
    name, _, values = told.partition(" ")
    return f"{_plain(name)}<br>{_plain(values)}"


def _told(contrast: Contrast, metric: Metric) -> str:
    found = contrast.found
    told = f"{change(contrast)}{besides(contrast)}: {difference(found.difference, metric)}"
    if ends := interval(found.family, metric):
        told += f", family-wise {ends}, pointwise {interval(found.pointwise, metric)}"
    return told


def _title(metric: Metric) -> str:
    better = "right" if metric.direction is Direction.MAXIMIZE else "left"
    points = "in points, " if metric.is_fraction else ""
    return f"change of {_plain(metric.title)}<br>({points}{better} is better)"  # two lines: a phone is narrow


def lengths(found: Ablation) -> Figure:
    """The score against the length of the training, on training examples too, with and without regularization
    and augmentation. Small dots: single seeds."""
    spec, metric = found.record.spec, found.metric
    per = spec.epoch_images if isinstance(spec, NetworkSpec) else 1
    on = "validation" if spec.scored_by_answers else titled(metric)
    figure = Figure()
    seen: list[float] = []
    budgets: set[int] = set()
    for name, words, color in ((BASELINE, "", FIRST), (UNREGULARIZED, f", {UNREGULARIZED}", SECOND)):
        arms = _by_length(found, name)
        if not arms or (name == BASELINE and len(arms) < 2 and not found.unregularized):
            continue
        budgets |= {arm.budget for arm in arms}
        lines = [(on, "solid", "circle", [mean(arm, list(arm.scores)) for arm in arms])]
        fitted = [each for arm in arms if (each := training(arm, list(arm.scores))) is not None]
        if len(fitted) == len(arms):
            lines.append(("training", "dash", "square", fitted))
        for what, dash, symbol, scores in lines:
            seen += scores
            figure.add_trace(
                Scatter(
                    x=[arm.budget / per for arm in arms],
                    y=[place(score, metric) for score in scores],
                    text=[
                        _plain(f"{amount(arm.budget, spec)}: {value(score, metric)}, {what}{words}")
                        for arm, score in zip(arms, scores, strict=True)
                    ],
                    hovertemplate="%{text}<extra></extra>",
                    mode="lines+markers",
                    line={"color": color, "width": 2, "dash": dash},
                    marker={"size": 8, "symbol": symbol},
                    name=_plain(f"{what}{words}"),
                )
            )
        dots = [(arm.budget / per, run.score) for arm in arms for run in arm.runs]
        seen += [score for _, score in dots]
        figure.add_trace(
            Scatter(
                x=[x for x, _ in dots],
                y=[place(score, metric) for _, score in dots],
                mode="markers",
                marker={"size": 5, "color": color, "opacity": 0.5},
                hoverinfo="skip",
                showlegend=False,
            )
        )
    ticks = [budget / per for budget in sorted(budgets)]
    title = "epochs, each length a separate training" if isinstance(spec, NetworkSpec) else plural(spec.unit)
    figure.update_layout(
        xaxis={
            "title": {"text": _plain(title)},
            "type": "log",
            "tickvals": ticks,
            "ticktext": [f"{tick:g}" for tick in ticks],
        },
        yaxis=_axis(seen, metric),
        showlegend=sum(bool(trace.name) for trace in figure.data) > 1,
    )
    return figure


def _by_length(found: Ablation, name: str) -> list[Arm]:
    return sorted((arm for arm in found.measured if arm.name == name), key=lambda arm: arm.budget)


def _axis(scores: Sequence[float], metric: Metric) -> dict[str, Any]:
    title = "accuracy" if metric == ACCURACY else _plain(titled(metric))
    return score_axis(scores, metric, title)


def waterfall(path: Path, found: Ablation) -> Figure:
    """What each change from a reference to the baseline adds; strong: the shortest prefix that gives most of
    it."""
    metric, steps = found.metric, path.steps
    scale = 100 if metric.is_fraction else 1
    most = most_of_path(path)
    strong = len(steps) if most is None else most[0]
    means = [mean(steps[0].reference, steps[0].found.seeds)]
    means += [mean(each.arm, each.found.seeds) for each in steps]
    at = [scale * metric.value_of(each) for each in means]
    names = [path.reference, *(f"+ {about(each)}" for each in steps)]
    names[-1] += f" = trial {found.baseline.number}"
    rows = list(range(len(names)))
    figure = Figure()
    _add_bars(figure, metric, list(zip(at, at[1:], steps, rows[1:], strict=False)), strong)
    figure.add_trace(
        Scatter(
            x=at,
            y=rows,
            mode="markers",
            marker={"symbol": "line-ns", "size": 16, "line": {"color": GRAY, "width": 2}},
            text=[_plain(f"{name}: {value(each, metric)}") for name, each in zip(names, means, strict=True)],
            hovertemplate="%{text}<extra></extra>",
            showlegend=False,
        )
    )
    margin = 0.14 * (max(at) - min(at) or 1.0)
    figure.update_layout(
        xaxis={
            "title": {"text": _plain(titled(metric))},
            "range": [min(at) - margin, max(at) + margin],
            **({"ticksuffix": " %"} if metric.is_fraction else {}),
        },
        yaxis={
            "tickvals": rows,
            "ticktext": [_plain(name) for name in names],
            "range": [len(rows) - 0.4, -0.6],
            "showgrid": False,
            "zeroline": False,
        },
        bargap=0.3,
    )
    return figure


def _add_bars(
    figure: Figure, metric: Metric, steps: Sequence[tuple[float, float, Contrast, int]], strong: int
) -> None:
    """(value before, value after, step, row) as bars; those up to row `strong` are."""
    for shown, opacity, name in ((True, 1.0, "gives most of it"), (False, 0.45, "the rest")):
        some = [each for each in steps if (each[3] <= strong) is shown]
        if not some:
            continue
        figure.add_trace(
            Bar(
                x=[after - before for before, after, _, _ in some],
                base=[before for before, _, _, _ in some],
                y=[row for _, _, _, row in some],
                orientation="h",
                marker={
                    "color": [THIRD if each.found.difference >= 0 else SECOND for _, _, each, _ in some],
                    "opacity": opacity,
                },
                text=[without_unit(each.found.difference, metric) for _, _, each, _ in some],
                textposition="outside",
                cliponaxis=False,
                hovertemplate="%{text}<extra></extra>",
                width=0.62,
                name=name,
                showlegend=False,
            )
        )


def _plain(text: str) -> str:
    """Text that a person may have chosen, so that plotly makes no markup and no placeholder of it."""
    return html.escape(text, quote=False).replace("{", "(").replace("}", ")")
