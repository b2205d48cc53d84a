"""Figures of studies side by side: thin, nothing is computed here but where to put a dot."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence

from plotly.graph_objects import Box, Figure, Scatter

from search.analysis.comparison import LEVELS, Side
from search.analysis.timeline import Mark, Timeline
from search.records import Point
from search.report.scale import COLORS, accuracy_axis, error
from search.report.words import percent


def best_by_time(timelines: Sequence[tuple[str, Timeline]]) -> Figure:
    """The best validation accuracy so far against wall time, a line for each (name, study)."""
    longest = max((line.seconds for _, line in timelines), default=0.0)
    unit, divisor = ("minutes", 60.0) if longest < 3 * 3600 else ("hours", 3600.0)
    return _best_so_far(
        timelines,
        lambda mark: mark.seconds / divisor,
        lambda line: line.seconds / divisor,
        f"wall time in {unit}, pauses left out",
    )


def best_by_images(timelines: Sequence[tuple[str, Timeline]]) -> Figure:
    """The best validation accuracy so far against training images, a line for each (name, study)."""
    return _best_so_far(
        timelines,
        lambda mark: mark.images / 1e6,
        lambda line: line.images / 1e6,
        "training images seen by all trials, in millions",
    )


def _best_so_far(
    timelines: Sequence[tuple[str, Timeline]],
    at: Callable[[Mark], float],
    end: Callable[[Timeline], float],
    title: str,
) -> Figure:
    figure = Figure()
    for place, (name, line) in enumerate(timelines):
        if not line.mean:
            continue
        marks = [*line.mean, line.mean[-1]]
        figure.add_trace(
            Scatter(
                name=name,
                x=[*map(at, line.mean), end(line)],
                y=[error(mark.value) for mark in marks],
                text=[f"trial {mark.trial}: {percent(mark.value)}" for mark in marks],
                hovertemplate="%{text}, at %{x:.3g}<extra>" + _plain(name) + "</extra>",
                mode="lines",
                line={"shape": "hv", "color": COLORS[place % len(COLORS)], "width": 2},
            )
        )
    values = [mark.value for _, line in timelines for mark in line.mean]
    figure.update_layout(
        xaxis={"title": {"text": title}, "rangemode": "tozero"},
        yaxis=accuracy_axis(values, "best so far on validation"),
        showlegend=len(timelines) > 1,
    )
    for level in LEVELS:
        if min(values, default=1.0) < level < max(values, default=0.0):
            figure.add_hline(
                y=error(level), line={"dash": "dot", "width": 1, "color": "rgba(128,136,148,0.6)"}
            )
    return figure


def curves(named: Mapping[str, Sequence[Point]]) -> Figure:
    """Validation accuracy against training images, a line for each trial."""
    figure = Figure()
    for place, (name, points) in enumerate(named.items()):
        figure.add_trace(
            Scatter(
                name=name,
                x=[point.images / 1e6 for point in points],
                y=[error(point.validation.accuracy) for point in points],
                text=[percent(point.validation.accuracy) for point in points],
                hovertemplate="%{text} after %{x:.3g} M<extra>" + _plain(name) + "</extra>",
                mode="lines+markers",
                marker={"size": 5},
                line={"color": COLORS[place % len(COLORS)], "width": 1.5},
            )
        )
    values = [point.validation.accuracy for points in named.values() for point in points]
    figure.update_layout(
        xaxis={"title": {"text": "training images, in millions"}, "rangemode": "tozero"},
        yaxis=accuracy_axis(values, "validation accuracy"),
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
    figure = Figure()
    for place, side in enumerate(sides):
        figure.add_trace(
            Box(
                name=side.name,
                y=[error(score) for score in side.scores],
                text=[percent(score) for score in side.scores],
                hovertemplate="%{text}<extra></extra>",
                boxpoints="all" if len(side.scores) <= 200 else "outliers",
                jitter=0.4,
                pointpos=0,
                marker={"size": 4, "opacity": 0.6, "color": COLORS[place % len(COLORS)]},
            )
        )
    figure.update_layout(
        yaxis=accuracy_axis([score for side in sides for score in side.scores], "validation accuracy"),
        showlegend=False,
    )
    return figure


def heads(sides: Sequence[Side]) -> Figure:
    """The best trial of each study: mean, heads and all of them at once, with their intervals."""
    figure = Figure()
    names = [name for name in sides[0].best if all(name in side.best for side in sides)]
    spread = min(0.12, 0.7 / len(sides))
    for place, side in enumerate(sides):
        found = [side.best[name] for name in names]
        errors = [error(each.value) for each in found]
        offset = (place - (len(sides) - 1) / 2) * spread
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
                marker={"size": 9, "color": COLORS[place % len(COLORS)]},
            )
        )
    every = [bound for side in sides for each in side.best.values() for bound in (each.low, each.high)]
    figure.update_layout(
        xaxis={"tickvals": list(range(len(names))), "ticktext": names, "range": [-0.6, len(names) - 0.4]},
        yaxis=accuracy_axis([bound for bound in every if bound is not None], "accuracy on validation"),
    )
    return figure


def _plain(name: str) -> str:
    """A name inside a hover template: braces would be taken for a placeholder, and < for markup."""
    return name.replace("<", "&lt;").replace("{", "(").replace("}", ")")
