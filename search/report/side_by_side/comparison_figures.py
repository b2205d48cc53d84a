"""Figures of studies side by side: thin, nothing is computed here but where to put a dot."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence

from plotly.graph_objects import Box, Figure, Scatter

from search.analysis.comparison import LEVELS, MEAN, Side
from search.analysis.timeline import Mark, Timeline
from search.records import NetworkSpec, Report, StudySpec
from search.report.scale import COLORS, accuracy_axis, error, place, score_axis
from search.report.words import percent, titled, value


def best_by_time(timelines: Sequence[tuple[str, Timeline]], spec: StudySpec) -> Figure:
    """The best score so far against wall time, a line for each (name, study). spec: of any of the studies."""
    longest = max((line.seconds for _, line in timelines), default=0.0)
    unit, divisor = ("minutes", 60.0) if longest < 3 * 3600 else ("hours", 3600.0)
    return _best_so_far(
        timelines,
        lambda mark: mark.seconds / divisor,
        lambda line: line.seconds / divisor,
        f"wall time in {unit}, pauses left out",
        spec,
    )


def best_by_steps(timelines: Sequence[tuple[str, Timeline]], spec: StudySpec) -> Figure:
    """The best score so far against the steps of all trials, a line for each (name, study)."""
    if isinstance(spec, NetworkSpec):
        title, divisor = "training images seen by all trials, in millions", 1e6
    else:
        title, divisor = f"{_plain(spec.unit)}s of all trials together", 1.0
    return _best_so_far(
        timelines, lambda mark: mark.steps / divisor, lambda line: line.steps / divisor, title, spec
    )


def _best_so_far(
    timelines: Sequence[tuple[str, Timeline]],
    at: Callable[[Mark], float],
    end: Callable[[Timeline], float],
    title: str,
    spec: StudySpec,
) -> Figure:
    figure, metric = Figure(), spec.metric
    digits = ".3g" if isinstance(spec, NetworkSpec) else ",.4~g"
    for number, (name, line) in enumerate(timelines):
        if not line.mean:
            continue
        marks = [*line.mean, line.mean[-1]]
        figure.add_trace(
            Scatter(
                name=name,
                x=[*map(at, line.mean), end(line)],
                y=[place(mark.score, metric) for mark in marks],
                text=[f"trial {mark.trial}: {value(mark.score, metric)}" for mark in marks],
                hovertemplate=f"%{{text}}, at %{{x:{digits}}}<extra>" + _plain(name) + "</extra>",
                mode="lines",
                line={"shape": "hv", "color": COLORS[number % len(COLORS)], "width": 2},
            )
        )
    scores = [mark.score for _, line in timelines for mark in line.mean]
    what = "best so far on validation" if spec.scored_by_answers else f"best {_plain(titled(metric))}"
    figure.update_layout(
        xaxis={"title": {"text": title}, "rangemode": "tozero"},
        yaxis=score_axis(scores, metric, what),
        showlegend=len(timelines) > 1,
    )
    for level in LEVELS if spec.scored_by_answers else ():
        if min(scores, default=1.0) < level < max(scores, default=0.0):
            figure.add_hline(
                y=error(level), line={"dash": "dot", "width": 1, "color": "rgba(128,136,148,0.6)"}
            )
    return figure


def curves(named: Mapping[str, Sequence[Report]], spec: StudySpec) -> Figure:
    """The score against steps, a line for each trial of a study."""
    if isinstance(spec, NetworkSpec):
        title, after, divisor = "training images, in millions", "%{x:.3g} M", 1e6
    else:
        title, after, divisor = f"{_plain(spec.unit)}s", f"%{{x:,.4~g}} {_plain(spec.unit)}s", 1.0
    figure, metric = Figure(), spec.metric
    for number, (name, reports) in enumerate(named.items()):
        figure.add_trace(
            Scatter(
                name=name,
                x=[report.step / divisor for report in reports],
                y=[place(report.score, metric) for report in reports],
                text=[value(report.score, metric) for report in reports],
                hovertemplate="%{text} after " + after + "<extra>" + _plain(name) + "</extra>",
                mode="lines+markers",
                marker={"size": 5},
                line={"color": COLORS[number % len(COLORS)], "width": 1.5},
            )
        )
    scores = [report.score for reports in named.values() for report in reports]
    figure.update_layout(
        xaxis={"title": {"text": title}, "rangemode": "tozero"},
        yaxis=score_axis(scores, metric, _plain(titled(metric))),
    )
    return figure


def alone(figure: Figure, name: str) -> str:
    """A figure as JSON, with its name for a title, for a place that has no captions."""
    plain = figure.to_plotly_json()
    layout = {key: value for key, value in plain["layout"].items() if key != "template"}
    layout["title"] = {"text": name.replace("-", " ").capitalize()}
    return json.dumps({"data": plain["data"], "layout": layout})


def distributions(sides: Sequence[Side]) -> Figure:
    """What the complete trials that the search proposed came to: a box and its dots for each study."""
    figure, metric = Figure(), sides[0].studied.record.spec.metric
    for number, side in enumerate(sides):
        figure.add_trace(
            Box(
                name=side.name,
                y=[place(score, metric) for score in side.scores],
                text=[value(score, metric) for score in side.scores],
                hovertemplate="%{text}<extra></extra>",
                boxpoints="all" if len(side.scores) <= 200 else "outliers",
                jitter=0.4,
                pointpos=0,
                marker={"size": 4, "opacity": 0.6, "color": COLORS[number % len(COLORS)]},
            )
        )
    figure.update_layout(
        yaxis=score_axis([score for side in sides for score in side.scores], metric, _plain(titled(metric))),
        showlegend=False,
    )
    return figure


def heads(sides: Sequence[Side]) -> Figure:
    """Accuracies of the best network of each study with intervals: mean, heads, all of them at once, as far
    as these differ."""
    figure = Figure()
    scored = sides[0].studied.record.spec.scored_by_answers
    names = [
        name
        for name in sides[0].told
        if (scored or name != MEAN) and all(name in side.best for side in sides)
    ]
    spread = min(0.12, 0.7 / len(sides))
    for number, side in enumerate(sides):
        found = [side.best[name] for name in names]
        errors = [error(each.value) for each in found]
        offset = (number - (len(sides) - 1) / 2) * spread
        figure.add_trace(
            Scatter(
                name=side.name,
                x=[column + offset for column in range(len(names))],
                y=errors,
                error_y={
                    "type": "data",
                    "symmetric": False,
                    "array": [error(each.low or 0.0) - at for each, at in zip(found, errors, strict=True)],
                    "arrayminus": [
                        at - error(each.high or 1.0) for each, at in zip(found, errors, strict=True)
                    ],
                },
                text=[f"{percent(each.value)} [{percent(each.low)}, {percent(each.high)}]" for each in found],
                hovertemplate="%{text}<extra>" + _plain(side.name) + "</extra>",
                mode="markers",
                marker={"size": 9, "color": COLORS[number % len(COLORS)]},
            )
        )
    shown = [side.best[name] for side in sides for name in names]
    every = [bound for each in shown for bound in (each.low, each.high)]
    figure.update_layout(
        xaxis={"tickvals": list(range(len(names))), "ticktext": names, "range": [-0.6, len(names) - 0.4]},
        yaxis=accuracy_axis([bound for bound in every if bound is not None], "accuracy on validation"),
    )
    return figure


def _plain(name: str) -> str:
    """A name inside a hover template: braces would be taken for a placeholder, and < for markup."""
    return name.replace("<", "&lt;").replace("{", "(").replace("}", ")")
