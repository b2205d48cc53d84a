"""Parts of a page in Markdown: a table, and a curve in one line of text.
Knows nothing of what they say.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

BARS = "▁▂▃▄▅▆▇█"


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
        f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in (header, rule, *rows)
    ]
