"""The few HTML elements that a page is made of. Every plain string that goes in is escaped here."""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Collection, Iterable, Sequence


class Html(str):
    """Markup that is safe to show: whatever a user could have written in it is escaped."""

    __slots__ = ()


_LOOSE = re.compile(r"(?<=\d) (?=%|s\b|min\b|h\b)|(?<=\b[np]) (?=[=<])|(?<=[=<]) (?=\d)")
"""Spaces at which no line shall end: 98.5 %, 12 s, n = 40."""


def safe(*parts: str) -> Html:
    """The parts one after the other, plain strings escaped; numbers stay on a line with their units."""
    return Html("".join(part if isinstance(part, Html) else _escaped(part) for part in parts))


def _escaped(text: str) -> str:
    return html.escape(_LOOSE.sub("\u00a0", text))


def _element(tag: str, *parts: str, **attributes: str) -> Html:
    given = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{html.escape(value)}"' for name, value in attributes.items()
    )
    return Html(f"<{tag}{given}>{safe(*parts)}</{tag}>")


def paragraph(*parts: str, kind: str = "") -> Html:
    """A paragraph. kind: "lead", "answer" or "note", which the page's style knows."""
    return _element("p", *parts, class_=kind) if kind else _element("p", *parts)


def subheading(text: str) -> Html:
    """A heading within a section."""
    return _element("h3", text)


def strong(text: str) -> Html:
    """What the eye shall find first."""
    return _element("strong", text)


def code(text: str) -> Html:
    """A command or a name within a sentence."""
    return Html(f"<code>{html.escape(text)}</code>")


def with_commands(sentence: str) -> Html:
    """A sentence in which what stands between backticks is a command."""
    return safe(*(code(part) if place % 2 else part for place, part in enumerate(sentence.split("`"))))


def listing(text: str) -> Html:
    """Lines to copy, as they are."""
    return Html(f"<pre><code>{html.escape(text)}</code></pre>")


def answer_list(answers: Iterable[tuple[str, Html]]) -> Html:
    """Questions, each with its answer: what a reader came for."""
    parts = [part for question, told in answers for part in (_element("dt", question), _element("dd", told))]
    return _element("dl", *parts, class_="answers")


def bullets(items: Iterable[str]) -> Html:
    """A list without order."""
    return _element("ul", *(_element("li", item) for item in items))


def table(header: Sequence[str], rows: Sequence[Sequence[str]], *, words: Collection[int] = (0,)) -> Html:
    """A table that fits a phone: there the rows of one with more than three columns become blocks, each cell
    beside its column's name. Columns in `words` are flush left, the others are numbers."""
    kinds = ["words" if place in words else "number" for place in range(len(header))]
    head = _element(
        "tr", *(_element("th", cell, class_=kind) for cell, kind in zip(header, kinds, strict=True))
    )
    body = [
        _element(
            "tr",
            *(
                _element("td", cell, class_=kind, data_label=name)
                for cell, kind, name in zip(cells, kinds, header, strict=True)
            ),
        )
        for cells in rows
    ]
    wide = " wide" if len(header) > 3 else ""
    whole = _element("table", _element("thead", head), _element("tbody", *body))
    return _element("div", whole, class_=f"table{wide}")


def fold(summary: str, *parts: str) -> Html:
    """What only some want to read: closed on the screen, open in print."""
    return _element("details", _element("summary", summary), *parts)


def image(png: bytes, *, described: str) -> Html:
    """A PNG inside the page. `described`: what it shows, for those who cannot see it."""
    data = base64.b64encode(png).decode()
    return Html(f'<img src="data:image/png;base64,{data}" alt="{html.escape(described)}">')


def gallery(images: Iterable[tuple[Html, str]]) -> Html:
    """Small images side by side, each with a caption; line breaks in a caption are kept."""
    cells = (_element("figure", image, _element("figcaption", caption)) for image, caption in images)
    return _element("div", *cells, class_="gallery")
