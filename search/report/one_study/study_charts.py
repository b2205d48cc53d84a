"""The charts of a report by name, as plain data of Plotly, for programs that show them elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from search.analysis.effects import Verdict
from search.report.html import Html
from search.report.one_study import course_sections, question_sections
from search.report.one_study.material import Material
from search.report.one_study.study_sentences import in_short, untested
from search.report.page import Chart, Fold, Grid, Section, plain_figure

SMALL_PX = 400
"""Height of a chart that is one of many on the page, and alone elsewhere."""


def charts(material: Material) -> dict[str, dict[str, Any]]:
    """Data and layout of `history`, `curves`, `effects`, `effect NAME` for each setting that can be compared,
    `sizes` where models have one, and `time`. At least one trial must have come to a report."""
    found = {"history": _main(course_sections.course(material))}
    found["curves"] = _main(course_sections.curves(material))
    if material.study.spec.searches:
        found |= _effects(material)
    if course_sections.has_sizes(material):
        found["sizes"] = _main(course_sections.sizes(material))
    found["time"] = _main(course_sections.time(material))
    return found


def lacking(material: Material, name: str) -> str:
    """Why there is no chart of this name, in a sentence, the one of the page where it has one."""
    asked, _, setting = name.partition(" ")
    if asked in ("effect", "effects") and material.study.spec.searches:
        found = material.findings().effects
        if name == "effects":
            return in_short(found, material.study.spec)
        if mine := untested([each for each in found if each.setting.name == setting]):
            return mine
    return f"The study {material.study.name} has no figure {name!r}; it has: {', '.join(charts(material))}."


def _effects(material: Material) -> dict[str, dict[str, Any]]:
    """How settings compare; empty where too few trials are finished."""
    findings = material.findings()
    section = question_sections.settings(material, findings)
    tested = [each.setting.name for each in findings.effects if each.verdict is not Verdict.TOO_FEW]
    if not tested:
        return {}
    _, *each = _of(section)
    single = {
        f"effect {name}": _titled(chart, chart.caption) for name, chart in zip(tested, each, strict=True)
    }
    return {"effects": _main(section), **single}


def _main(section: Section) -> dict[str, Any]:
    """The first chart of a section, under the section's heading."""
    return _titled(next(_of(section)), section.heading)


def _titled(chart: Chart, title: str) -> dict[str, Any]:
    figure = plain_figure(chart.figure)
    height = SMALL_PX if chart.small else chart.height
    return {**figure, "layout": {**figure["layout"], "title": {"text": title}, "height": height}}


def _of(section: Section) -> Iterator[Chart]:
    """The charts of a section, in their order."""
    for part in section.body:
        yield from _in(part)


def _in(part: Html | Chart | Grid | Fold) -> Iterator[Chart]:
    match part:
        case Chart():
            yield part
        case Grid():
            yield from part.charts
        case Fold():
            for each in part.body:
                yield from _in(each)
