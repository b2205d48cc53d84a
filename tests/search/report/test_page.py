"""The shell of a page: whole, safe and alone, whatever is written in it."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser

import pytest
from plotly.graph_objects import Figure, Scatter

from search.report.html import bullets, code, fold, gallery, image, listing, paragraph, safe, strong, table
from search.report.page import Chart, Section, page

NASTY = """</script><script>alert("1")</script><b a='&amp;'>"""
VOID = {"meta", "link", "img", "br"}


class Outline(HTMLParser):
    """What a browser would see: open tags, text, attributes that lead elsewhere."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.links: list[str] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not {"script", "style"} & set(self.open):
            self.text += data


def figure(name: str = "trace", y: tuple[float | None, ...] = (1.0, 2.0)) -> Figure:
    return Figure(Scatter(x=[1, 2], y=list(y), name=name))


@pytest.fixture(scope="module")
def made() -> str:
    body = (
        paragraph(NASTY, strong(NASTY), code(NASTY)),
        Chart(figure=figure(NASTY), caption=NASTY),
        bullets([NASTY]),
        table((NASTY, "n"), [(NASTY, "1")]),
        fold(NASTY, listing(NASTY)),
        gallery([(image(b"\x89PNG", described=NASTY), NASTY)]),
    )
    sections = (
        Section(heading=NASTY, body=body),
        Section(heading="Two", body=(Chart(figure=figure(), caption="c"),)),
    )
    return page(NASTY, sections, lead=paragraph(NASTY), footer=NASTY)


def test_what_users_wrote_is_text_and_nothing_else(made: str) -> None:
    seen = Outline(made)
    assert seen.open == [], "every tag is closed"
    assert seen.text.count(NASTY) == 16, (
        "title twice, lead, list of sections, footer, and eleven in the section"
    )
    assert seen.tags.count("script") == 3, "plotly.js, the figures, and what draws them"
    assert "b" not in seen.tags


def test_the_page_loads_nothing_from_other_hosts(made: str) -> None:
    outside = [link for link in Outline(made).links if not link.startswith(("data:", "#"))]
    assert outside == []
    assert "default-src 'none'" in made
    assert made.count("plotly.js v") == 1, "the library is in the page, once"


def test_figures_arrive_as_they_were_made(made: str) -> None:
    [text] = re.findall(r'<script type="application/json" id="charts">(.*?)</script>', made, re.DOTALL)
    charts = json.loads(text)
    assert [chart["data"][0]["name"] for chart in charts] == [NASTY, "trace"]
    assert charts[0]["data"][0]["y"] == [1.0, 2.0]
    assert all("template" not in chart["layout"] for chart in charts)
    assert made.count('class="chart"') == 2


def test_numbers_are_cut_to_what_a_screen_shows() -> None:
    chart = Chart(figure=figure(y=(0.123456789, float("nan"))), caption="")
    made = page("t", [Section(heading="h", body=(chart,))])
    assert '"y":[0.12346,null]' in made


def test_a_page_without_figures_carries_no_library() -> None:
    made = page("t", [Section(heading="h", body=(paragraph("text"),))])
    assert len(made) < 10_000
    assert "<script" not in made


def test_markup_is_not_escaped_twice() -> None:
    assert safe("a < ", strong("b")) == "a &lt; <strong>b</strong>"
