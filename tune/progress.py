"""Shows how far a search is: a bar in a terminal and in a notebook, lines of text elsewhere."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping
from typing import Any, TextIO

BAR = 24
"""Characters."""

WIDTH = 100
"""Characters of a line in a notebook, which has no terminal's width."""


class Progress:
    """One line that is written over and over, on a stream that understands a carriage return."""

    def __init__(self, stream: TextIO, width: int) -> None:
        self._stream = stream
        self._width = width
        self._shown = 0
        """characters of the line that is there"""

    @classmethod
    def for_this_session(cls) -> Progress | None:
        """None where neither a terminal nor a notebook shows stderr: the command then writes plain lines."""
        if type(sys.stdout).__module__.startswith("ipykernel"):
            return cls(sys.stdout, WIDTH)  # a notebook paints stderr in the color of errors
        if sys.stderr is not None and sys.stderr.isatty():
            return cls(sys.stderr, shutil.get_terminal_size().columns - 1)
        return None

    def show(self, found: Mapping[str, Any]) -> None:
        """Draws the line. found: what the command tells of its progress."""
        self._draw(line(found)[: self._width])

    def say(self, words: str) -> None:
        """Writes a line that stays, above the bar."""
        self._draw("")
        self._stream.write(f"{words}\n")
        self._stream.flush()

    def close(self) -> None:
        """Leaves the last line where it is."""
        if self._shown:
            self._stream.write("\n")
            self._stream.flush()
        self._shown = 0

    def _draw(self, text: str) -> None:
        blank = " " * max(0, self._shown - len(text))
        self._stream.write(f"\r{text}{blank}" + ("" if text else "\r"))
        self._stream.flush()
        self._shown = len(text)


def line(found: Mapping[str, Any]) -> str:
    """`train  [######------]  12 of 24 trials  best: loss 0.0123 (trial 7)  1 min left`; empty where nothing
    is known."""
    if not found:
        return ""
    finished, target = int(found["finished"]), max(1, int(found["target_trials"]))
    full = min(BAR, BAR * finished // target)
    parts = [
        str(found["study"]),
        f"[{'#' * full}{'-' * (BAR - full)}]",
        f"{finished} of {target} trials",
    ]
    if found.get("stopping"):
        parts.append("stopping: the workers save their trials")
    if found.get("failed"):
        parts.append(f"{found['failed']} failed")
    if found.get("best_trial") is not None:
        parts.append(f"best: {found['metric']} {found['best_value']:.6g} (trial {found['best_trial']})")
    if found.get("left") and finished < target and not found.get("stopping"):
        parts.append(f"{found['left']} left")
    return "  ".join(parts)


def say(words: str) -> None:
    """Writes a line on stderr."""
    if sys.stderr is not None:
        sys.stderr.write(f"{words}\n")
        sys.stderr.flush()
