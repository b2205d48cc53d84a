"""Parts of a page in Markdown: a table, a curve in one line of text, and words that stay what they are."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

BARS = "▁▂▃▄▅▆▇█"

_BARE_BAR, _ESCAPED_BAR = re.compile(r"(?<!\\)\|"), r"\\|"
"""A bar would end a cell; one that `plain` has escaped already does not."""


def sparkline(values: Sequence[float]) -> str:
    """One bar for each value, the lowest the smallest and the highest the tallest: ▁▄▆▇█."""
    low, high = min(values), max(values)
    if high == low:
        return BARS[-1] * len(values)
    return "".join(BARS[round((value - low) / (high - low) * (len(BARS) - 1))] for value in values)


def table(header: Sequence[str], rows: Iterable[Sequence[str]], numbers: Iterable[int] = ()) -> list[str]:
    """Lines of a Markdown table; columns in `numbers` are set flush right."""
    right = set(numbers)
    rule = ["---:" if i in right else "---" for i in range(len(header))]
    return [
        f"| {' | '.join(_BARE_BAR.sub(_ESCAPED_BAR, cell) for cell in row)} |"
        for row in (header, rule, *rows)
    ]


def plain(text: str) -> str:
    """Text that a person may have chosen, so that Markdown makes nothing of it."""
    return "".join(f"\\{letter}" if letter in r"\`*_{}[]<>()#+!|~" else letter for letter in text)
