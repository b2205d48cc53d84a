"""What a run shows while it works, in a terminal and in a log."""

from __future__ import annotations

import datetime
import io
from dataclasses import replace

import pytest
from rich.console import Console

from search.cli.progress import Lines, panel
from search.cli.run import _tell
from search.cli.words import duration, number, percent, settings
from search.records import (
    Counts,
    Failure,
    HeadScore,
    Point,
    Running,
    Scores,
    Snapshot,
    State,
    TrialRecord,
)
from search.service.watched import RunResult

NOW = datetime.datetime.now(datetime.UTC)
SCORES = Scores(
    heads={
        "first_digit": HeadScore(loss=0.1, accuracy=0.99),
        "second_digit": HeadScore(loss=0.1, accuracy=0.97),
    },
    joint=0.965,
)
POINT = Point(images=36_000, seconds=9.0, learning_rate=0.001, train=SCORES, validation=SCORES)
DONE = TrialRecord(
    trial_id=1,
    number=0,
    state=State.COMPLETE,
    value=0.98,
    params={"model": "conv", "optimizer": "adamw", "lr": 0.00213, "batch_norm": True, "channels": 16},
    steps={180_000: 0.98},
    started=NOW,
    finished=NOW,
)
BUSY = replace(
    DONE, trial_id=2, number=1, state=State.RUNNING, value=None, finished=None, reference="course-conv"
)
SEEN = Snapshot(
    study="twodigit",
    target_trials=100,
    trials=(DONE, BUSY),
    counts=Counts(complete=1, running=1),
    running=(Running(trial=BUSY, worker="host:4711", latest=POINT, epoch=1.0),),
    waiting=2,
    best=DONE,
    best_point=POINT,
    images_per_s=4000.0,
    elapsed_s=75.0,
    remaining_s=3 * 3600 + 4 * 60,
)


def drawn(seen: Snapshot, width: int) -> str:
    console = Console(width=width, file=io.StringIO())
    with console.capture() as capture:
        console.print(panel(seen))
    return capture.get()


@pytest.mark.parametrize("width", [80, 118, 200])
def test_the_panel_tells_who_does_what_at_any_width(width: int) -> None:
    text = " ".join(drawn(SEEN, width).split())
    for words in (
        "1 of 100",
        "1 complete · 0 pruned · 0 failed",
        "1 min 15 s elapsed",
        "3 h 04 min left",
        "4,000 images/s",
        "host:4711",
        "98.00 %",
        "course-conv",
        "first_digit 99.00 %, second_digit 97.00 %, joint 96.50 %",
        "conv, adamw, lr 0.00213, channels 16, batch_norm yes",
    ):
        assert words in text


def test_the_panel_before_anything_is_known() -> None:
    empty = replace(
        SEEN, trials=(), counts=Counts(), running=(), best=None, best_point=None, remaining_s=None
    )
    assert "– left" in drawn(empty, 100)


def test_lines_tell_each_end_once(capsys: pytest.CaptureFixture[str]) -> None:
    lines = Lines()
    lines(replace(SEEN, trials=(BUSY,)))
    lines(SEEN)
    lines(SEEN)
    failed = replace(BUSY, state=State.FAILED, failure=Failure.DIVERGED, finished=NOW)
    lines(replace(SEEN, trials=(DONE, failed)))
    printed = capsys.readouterr()
    assert printed.out == "", "stdout is for results"
    first, second = printed.err.splitlines()
    assert first.startswith("1/100  trial 0  complete  98.00 %  180,000 images  conv, adamw")
    assert first.endswith("best so far")
    assert second == "1/100  trial 1  failed (diverged)"


def test_a_stop_says_what_is_waited_for(capsys: pytest.CaptureFixture[str]) -> None:
    stopping = replace(SEEN, stopping=True)
    Lines()(stopping)
    for text in (drawn(stopping, 118), capsys.readouterr().err):
        assert "Stopping: the workers save their trials" in text
        assert "Ctrl-C once more ends at once" in text
    assert "Stopping" not in drawn(SEEN, 118)


def test_lines_do_not_repeat_what_an_earlier_run_told(capsys: pytest.CaptureFixture[str]) -> None:
    long_ago = replace(DONE, finished=NOW - datetime.timedelta(hours=1))
    Lines()(replace(SEEN, trials=(long_ago,)))
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(None, "–"), (4.24, "4.2 s"), (9.96, "10 s"), (59.4, "59 s"), (200, "3 min 20 s"), (7500, "2 h 05 min")],
)
def test_durations(seconds: float | None, words: str) -> None:
    assert duration(seconds) == words


def test_words_for_numbers_and_settings() -> None:
    assert (percent(0.98526), percent(None), number(12_345), number(0.00213)) == (
        "98.53 %",
        "–",
        "12,345",
        "0.00213",
    )
    assert settings({"channels": 8, "model": "conv", "lr": 0.1, "batch_norm": False}) == (
        "conv, lr 0.1, channels 8, batch_norm no"
    )
    assert settings({"model": "mlp", "lr": 0.1, "depth": 2}, limit=2) == "mlp, lr 0.1 …"


# The end of a run

LEADER = replace(BUSY, value=0.999)
BETTER = replace(POINT, validation=replace(POINT.validation, heads={}))


def test_the_accuracies_are_those_of_the_best_complete_trial(capsys: pytest.CaptureFixture[str]) -> None:
    """A trial that was not finished may lead; it is not what the run hands over."""
    seen = replace(SEEN, best=LEADER, best_point=BETTER)
    _tell(
        RunResult(snapshot=seen, gains=(), reason="timeout", trial=DONE, point=POINT, confirms=None),
        json=False,
    )
    said = capsys.readouterr().out
    assert f"Best is trial {DONE.number} " in said
    assert all(name in said for name in POINT.validation.heads)


def test_without_a_complete_trial_it_says_who_leads(capsys: pytest.CaptureFixture[str]) -> None:
    seen = replace(SEEN, best=LEADER, best_point=POINT)
    _tell(
        RunResult(snapshot=seen, gains=(), reason="timeout", trial=None, point=None, confirms=None),
        json=False,
    )
    assert f"Trial {LEADER.number} leads with 99.90 %" in capsys.readouterr().out
