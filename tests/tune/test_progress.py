"""The bar of a search that was started from Python."""

from __future__ import annotations

import io
import sys
from typing import Any

import pytest

from tune.progress import BAR, Progress, line

SEEN = {
    "study": "train",
    "target_trials": 8,
    "finished": 2,
    "failed": 0,
    "metric": "loss",
    "best_trial": 1,
    "best_value": 0.5,
    "left": "3 s",
    "stopping": False,
}


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, f"train  [######{'-' * 18}]  2 of 8 trials  best: loss 0.5 (trial 1)  3 s left"),
        (
            {"failed": 3},
            f"train  [######{'-' * 18}]  2 of 8 trials  3 failed  best: loss 0.5 (trial 1)  3 s left",
        ),
        ({"best_trial": None, "left": None, "finished": 0}, f"train  [{'-' * BAR}]  0 of 8 trials"),
        ({"finished": 9}, f"train  [{'#' * BAR}]  9 of 8 trials  best: loss 0.5 (trial 1)"),
        (
            {"stopping": True},
            f"train  [######{'-' * 18}]  2 of 8 trials  stopping: the workers save their trials  "
            "best: loss 0.5 (trial 1)",
        ),
    ],
)
def test_a_line(changed: dict[str, Any], expected: str) -> None:
    assert line({**SEEN, **changed}) == expected


def test_a_line_that_was_cut_short_shows_nothing() -> None:
    assert line({}) == ""


def screen(text: str) -> list[str]:
    """What a terminal shows."""
    shown = []
    for row in text.split("\n"):
        cells: list[str] = []
        for part in row.split("\r"):
            cells[: len(part)] = part
        shown.append("".join(cells).rstrip())
    return shown


def test_the_bar_is_written_over_and_words_stay_above_it() -> None:
    stream = io.StringIO()
    shown = Progress(stream, width=60)
    shown.show({**SEEN, "study": "a study with a long name"})
    shown.show(SEEN)
    shown.say("The code has changed.")
    shown.show({**SEEN, "finished": 8})
    shown.close()
    assert screen(stream.getvalue()) == [
        "The code has changed.",
        f"train  [{'#' * BAR}]  8 of 8 trials  best: loss 0.5 (trial 1)"[:60],
        "",
    ]


class Terminal(io.StringIO):
    """A stream that says that it is one."""

    def isatty(self) -> bool:
        return True


class OutStream(io.StringIO):
    """What sys.stdout is in a notebook."""

    __module__ = "ipykernel.iostream"


def test_there_is_a_bar_in_a_terminal_and_in_a_notebook(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert Progress.for_this_session() is None
    monkeypatch.setattr(sys, "stderr", Terminal())
    in_a_terminal = Progress.for_this_session()
    assert in_a_terminal is not None
    monkeypatch.setattr(sys, "stdout", OutStream())
    in_a_notebook = Progress.for_this_session()
    assert in_a_notebook is not None
    for shown, stream in ((in_a_terminal, sys.stderr), (in_a_notebook, sys.stdout)):
        shown.show(SEEN)
        assert "2 of 8 trials" in stream.getvalue()  # type: ignore[attr-defined]  # it is a StringIO
