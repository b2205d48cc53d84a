"""Prints tables and sentences so that they fit the terminal, with line breaks between words only."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Collection, Sequence
from typing import TextIO

import typer

from search.redaction import redacted

_WORD = re.compile(r"(?:`[^`]*`|\S)+(?: %\S*)?")
"""A command in backticks is one word, so that it can be copied, and so is `98.53 %.`"""

_FIGURE = re.compile(r"\[[^]]*\]|[−\d.]+ to [−\d.]+(?: %)?|\S+ %|\S+")
"""What stays together in a cell: `98.53 %`, `[98.10, 98.86]`, `98.10 to 98.86`, a word."""

_GAP = 2
"""Spaces between two columns."""

_READABLE = 20
"""A column of words is not made narrower than this: a block for each row is easier to read."""


def columns(stream: TextIO) -> int | None:
    """Width of the terminal behind the stream; None for a pipe or a file, where lines are never broken."""
    if not stream.isatty():
        return None
    told = os.environ.get("COLUMNS", "")
    if told.isdigit() and int(told) > 0:
        return int(told)
    try:
        return os.get_terminal_size(stream.fileno()).columns or 80
    except (OSError, ValueError):
        return 80


def say(text: str, *, err: bool = False) -> None:
    """Prints sentences, on stdout or stderr; secrets that they quote from elsewhere are hidden."""
    text = redacted(text, ours=True)
    width = columns(sys.stderr if err else sys.stdout)
    typer.echo("\n".join(line for each in text.split("\n") for line in wrapped(each, width)), err=err)


def print_facts(rows: Sequence[tuple[str, str]], *, indent: str = "") -> None:
    """Prints a line for each (name, words), on stdout; long words continue below their beginning."""
    room = max((len(name) for name, _ in rows), default=0)
    width = columns(sys.stdout)
    for name, words in rows:
        start = f"{indent}{name:<{room}}  "
        left = None if width is None else max(_READABLE, width - len(start))
        first, *rest = wrapped(words, left) or [""]
        typer.echo((start + first).rstrip())
        for line in rest:
            typer.echo(" " * len(start) + line)


def print_table(
    header: Sequence[str], rows: Sequence[Sequence[str]], *, words: Collection[int] = (0,), err: bool = False
) -> None:
    """Prints a table. Columns in `words` are set flush left, the others are numbers. err: on stderr."""
    width = columns(sys.stderr if err else sys.stdout)
    typer.echo("\n".join(table(header, rows, words=words, width=width)), err=err)


def wrapped(text: str, width: int | None) -> list[str]:
    """The lines of a paragraph. A word that is longer than a line is left whole."""
    if width is None or len(text) <= width:
        return [text]
    return _filled(_WORD.findall(text), width)


def table(
    header: Sequence[str], rows: Sequence[Sequence[str]], *, words: Collection[int], width: int | None
) -> list[str]:
    """The lines of a table: a line for each row where the width allows it, else cells of several lines, else
    a block of lines for each row."""
    widths = [max(len(row[i]) for row in (header, *rows)) for i in range(len(header))]
    if width is not None and _total(widths) > width:
        longest = [max(_longest(row[i]) for row in (header, *rows)) for i in range(len(header))]
        least = [
            min(size, max(_READABLE, longest[i])) if i in words else longest[i]
            for i, size in enumerate(widths)
        ]
        while _total(widths) > width:
            spare = [i for i, size in enumerate(widths) if size > least[i]]
            if not spare:
                return _blocks(header, rows, width)
            widths[max(spare, key=lambda i: widths[i])] -= 1
    grid = [
        [
            [cell] if len(cell) <= size else _filled(_FIGURE.findall(cell), size)
            for cell, size in zip(row, widths, strict=True)
        ]
        for row in (header, *rows)
    ]
    widths = [max(len(line) for cells in grid for line in cells[i]) for i in range(len(header))]
    lines = []
    for cells in grid:
        for depth in range(max(map(len, cells))):
            parts = []
            for i, (cell, size) in enumerate(zip(cells, widths, strict=True)):
                part = cell[depth] if depth < len(cell) else ""
                parts.append(part.ljust(size) if i in words else part.rjust(size))
            lines.append((" " * _GAP).join(parts).rstrip())
    return lines


def _blocks(header: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> list[str]:
    """Each row as its first cell, and below it a line for each other cell that is not empty."""
    room = max(map(len, header[1:]), default=0)
    lines = []
    for first, *rest in rows:
        lines += wrapped(f"{header[0]} {first}".strip(), width)
        for name, cell in zip(header[1:], rest, strict=True):
            start = f"  {name:<{room}}  "
            for line in wrapped(cell, max(_READABLE, width - len(start))) if cell else []:
                lines.append(start + line)
                start = " " * len(start)
    return lines


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + _GAP * (len(widths) - 1)


def _longest(cell: str) -> int:
    return max(map(len, _FIGURE.findall(cell)), default=0)


def _filled(words: Sequence[str], width: int) -> list[str]:
    """The words on as few lines as they need."""
    lines: list[str] = []
    for word in words:
        if lines and len(lines[-1]) + 1 + len(word) <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines
