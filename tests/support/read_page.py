"""What a person reads on a page: its text, without tags, figures and no-break spaces."""

from __future__ import annotations

import html
import re


def plain(markup: str) -> str:
    """The text of a piece of a page, on one line."""
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", markup)).replace("\u00a0", " ").split())


def answers_of(page: str) -> list[str]:
    """The list at the top of a report, a line for each question and its answer."""
    listed = page.split('<dl class="answers">')[1].split("</dl>")[0]
    found = re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", listed, re.DOTALL)
    return [f"{plain(question)} {plain(answer)}" for question, answer in found]


def paragraphs_of(page: str, about: str) -> list[str]:
    """The paragraphs with a word or phrase, in their order."""
    # Plotly's program has 5 MB in which a `<p` is followed by no `</p>`: seconds for each.
    markup = re.sub(r"<script\b.*?</script>", "", page, flags=re.DOTALL)
    found = map(plain, re.findall(r"<p\b[^>]*>(.*?)</p>", markup, re.DOTALL))
    return [each for each in found if about in each]
