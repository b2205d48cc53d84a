"""From a title and sections to one HTML file with style, plotly.js and figures, which needs nothing else."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from plotly.graph_objects import Figure
from plotly.offline import get_plotlyjs

from search.report.html import Html, safe

DIGITS = 5
"""Significant digits of a number in a figure: no screen shows more, and a large page stays small."""

FORBIDDEN = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data: blob:; "
    "form-action 'none'; base-uri 'none'"
)
"""Content security policy: the browser itself refuses whatever would need a network."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Chart:
    """A figure on a page. The page sets fonts, colors of text and background, and margins."""

    figure: Figure
    caption: str
    """what is to be seen, in a sentence or two; read aloud where a figure cannot be seen"""
    height: int = 400
    """in pixels of CSS; the width is the page's"""
    small: bool = False
    """one of many: without buttons for zooming"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Grid:
    """Small figures, as many abreast as there is room for."""

    charts: tuple[Chart, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Fold:
    """What only some want to read: closed on the screen, open in print."""

    summary: str
    body: tuple[Html | Chart | Grid, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Section:
    """A heading and what stands below it, in order."""

    heading: str
    body: tuple[Html | Chart | Grid | Fold, ...]
    folded: bool = False
    """closed on the screen, open in print"""


def page(title: str, sections: Sequence[Section], *, lead: Html | None = None, footer: str = "") -> str:
    """The whole file. lead: what stands between the title and the list of sections.

    The same arguments give the same bytes. Raises TypeError for a figure that holds other than plain data.
    """
    charts: list[Chart] = []
    entries = "".join(
        f'<li><a href="#{_anchor(place)}">{safe(section.heading)}</a></li>'
        for place, section in enumerate(sections)
    )
    body = "".join(_section(place, section, charts) for place, section in enumerate(sections))
    data = ",\n".join(_chart_json(chart) for chart in charts)
    script = (
        f"<script>{get_plotlyjs()}</script>\n"
        f'<script type="application/json" id="charts">[{data}]</script>\n'
        f"<script>{_asset('page.js')}</script>"
        if charts
        else ""
    )
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{FORBIDDEN}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{safe(title)}</title>
<link rel="icon" href="data:,">
<style>{_asset("page.css")}</style>
</head>
<body>
<main>
<h1>{safe(title)}</h1>
{lead or ""}
<nav aria-label="Sections"><ul>{entries}</ul></nav>
{body}
<footer>{safe(footer)}</footer>
</main>
{script}
</body>
</html>
"""


def _section(place: int, section: Section, charts: list[Chart]) -> str:
    """Its heading stays on one sheet with what follows it, up to the first figure."""
    body = [_part(part, charts) for part in section.body]
    first = next((i for i, part in enumerate(section.body[:2]) if isinstance(part, Chart)), 0) + 1
    heading = f"<h2>{safe(section.heading)}</h2>"
    if section.folded:
        parts = ["<details>", f"<summary>{heading}</summary>", *body, "</details>"]
    else:
        parts = ['<div class="together">', heading, *body[:first], "</div>", *body[first:]]
    return "\n".join([f'<section id="{_anchor(place)}">', *parts, "</section>\n"])


def _part(part: Html | Chart | Grid | Fold, charts: list[Chart]) -> str:
    """Markup; figures are added to `charts` in their order."""
    match part:
        case Chart():
            charts.append(part)
            return _figure(part)
        case Grid():
            charts.extend(part.charts)
            return f'<div class="grid">{"".join(map(_figure, part.charts))}</div>'
        case Fold():
            inside = "\n".join(_part(each, charts) for each in part.body)
            return f"<details><summary>{safe(part.summary)}</summary>\n{inside}\n</details>"
        case _:
            return part


def _figure(chart: Chart) -> str:
    caption = safe(chart.caption)
    return (
        f'<figure><div class="chart" style="height:{chart.height}px" role="img" aria-label="{caption}"></div>'
        f"<figcaption>{caption}</figcaption></figure>"
    )


def _anchor(place: int) -> str:
    return f"section-{place + 1}"


def plain_figure(figure: Figure) -> dict[str, Any]:
    """`data` and `layout` of a figure as JSON has them, without plotly's default template.

    Raises TypeError for a figure that holds other than plain data.
    """
    plain = figure.to_plotly_json()
    layout = {name: value for name, value in plain["layout"].items() if name != "template"}
    return {"data": _rounded(plain["data"]), "layout": _rounded(layout)}


def _chart_json(chart: Chart) -> str:
    """As the page's script reads it, which has templates for day and night."""
    text = json.dumps({**plain_figure(chart.figure), "small": chart.small}, separators=(",", ":"))
    return text.replace("<", "\\u003c")  # a name such as </script> must not end the script that it is in


def _rounded(value: object) -> object:
    """The same in five significant digits; what is not a finite number becomes null, as JSON asks."""
    match value:
        case bool() | int() | str() | None:
            return value
        case float():
            return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None
        case dict():
            return {key: _rounded(each) for key, each in value.items()}
        case list() | tuple():
            return [_rounded(each) for each in value]
        case _:
            raise TypeError(f"a figure holds numbers, text, lists and dicts, not {type(value).__name__}")


@cache
def _asset(name: str) -> str:
    return (files("search.report") / name).read_text(encoding="utf-8")
