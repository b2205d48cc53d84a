"""What a run shows while it works, in a terminal and in a log."""

from __future__ import annotations

import datetime
import io
import json
import sys
from collections.abc import Callable
from dataclasses import replace

import pytest
from made_study import SPEC as MADE
from rich.console import Console
from snapshots import Snapshots, lines_with

from search.analysis.pace import Running, Snapshot, full_length_s
from search.analysis.ranking import Gain
from search.cli.phrases import gained, settings
from search.cli.progress import Estimate, Lines, Status, fetching, panel, starting, watching
from search.cli.run import _tell
from search.errors import Interrupted
from search.heads import head_report
from search.records import Counts, Failure, HeadScore, Scores, State, TrialRecord, Value
from search.report.words import duration, number, percent, roughly
from search.service.watched import RunResult

Terminal = Callable[..., tuple[int, str]]
"""Of the fixture `in_a_terminal`: exit code and output of a command."""

SENTENCES = Snapshots(__file__, "run")

NOW = datetime.datetime.now(datetime.UTC)
SCORES = Scores(
    heads={
        "first_digit": HeadScore(loss=0.1, accuracy=0.99),
        "second_digit": HeadScore(loss=0.1, accuracy=0.97),
    },
    joint=0.965,
)
SPEC = replace(MADE, epoch_images=36_000)
REPORT = head_report(step=36_000, seconds=9.0, learning_rate=0.001, train=SCORES, validation=SCORES)
DONE = TrialRecord(
    trial_id=1,
    number=0,
    state=State.COMPLETE,
    score=0.98,
    params={"model": "conv", "optimizer": "adamw", "lr": 0.00213, "batch_norm": True, "channels": 16},
    steps={180_000: 0.98},
    started=NOW,
    finished=NOW,
)
BUSY = replace(
    DONE, trial_id=2, number=1, state=State.RUNNING, score=None, finished=None, reference="course-conv"
)
SEEN = Snapshot(
    study="twodigit",
    spec=SPEC,
    target_trials=100,
    trials=(DONE, BUSY),
    counts=Counts(complete=1, running=1),
    running=(Running(trial=BUSY, worker="host:4711", latest=REPORT),),
    waiting=2,
    best=DONE,
    best_report=REPORT,
    reference=BUSY,
    steps_per_s=4000.0,
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
        SEEN,
        trials=(),
        counts=Counts(),
        running=(),
        best=None,
        best_report=None,
        reference=None,
        remaining_s=None,
    )
    assert "– left" in drawn(empty, 100)


def test_the_panel_names_the_best_reference_apart_the_better_one_first() -> None:
    behind = drawn(replace(SEEN, reference=replace(BUSY, score=0.95)), 118)
    ahead = drawn(replace(SEEN, reference=replace(BUSY, score=0.99)), 118)
    assert "reference  course-conv  95.00 %" in behind
    assert "best       trial 0  98.00 %" in behind
    assert behind.index("best  ") < behind.index("reference  ")
    assert ahead.index("reference  course-conv  99.00 %") < ahead.index("best  ")


def test_what_was_stopped_or_is_not_continued_is_not_called_failed() -> None:
    stopped = replace(SEEN, counts=Counts(complete=5, pruned=1, failed=4, interrupted=3))
    told = lines_with(drawn(stopped, 118), "interrupted")
    SENTENCES.check("interrupted trials in the panel", map(str.strip, told))
    counts = Counts(complete=5, pruned=1, failed=4, interrupted=2, outside_space=1)
    told = lines_with(drawn(replace(SEEN, counts=counts), 118), "interrupted")
    assert "2 interrupted · 1 not continued · 1 failed" in told[0]


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_the_panel_breaks_no_word(width: int) -> None:
    """A name that is too long for its column ends with an ellipsis; everything else breaks between words."""
    seen = replace(SEEN, counts=Counts(complete=31, pruned=57, failed=4, interrupted=3), stopping=True)
    words = set(drawn(seen, 400).split())
    for word in drawn(seen, width).split():
        assert word in words or word.endswith("…") or not word.strip("━╸╺"), word


def test_the_panel_leaves_the_last_column_of_its_last_line_free() -> None:
    """Else the ^C that a terminal echoes there wraps, and a line of the panel stays on the screen."""
    for width in (60, 80):
        assert drawn(SEEN, width).endswith("\n\n")


class TestEstimate:
    """SEEN: 99 trials are left, one worker; a trial is 36,000 images in 9 s."""

    LATE = replace(SEEN, elapsed_s=31.0, spec=replace(SPEC, epochs=10.0))

    def test_it_is_said_once_when_it_can_be_known(self) -> None:
        estimate = Estimate()
        assert estimate.of(replace(self.LATE, elapsed_s=29.0)) is None
        unheard = replace(self.LATE.running[0], latest=None)
        assert estimate.of(replace(self.LATE, running=(unheard,))) is None
        SENTENCES.check("a rough estimate", [estimate.of(self.LATE) or ""])
        assert estimate.of(self.LATE) is None

    def test_workers_share_the_trials_and_the_mean_rate_counts(self) -> None:
        slower = replace(self.LATE.running[0], latest=replace(REPORT, seconds=27.0))
        alone = full_length_s(self.LATE)
        assert alone == pytest.approx(99 * 90)
        both = replace(self.LATE, running=(*self.LATE.running, slower))
        assert full_length_s(both) == pytest.approx(99 * 180 / 2)

    def test_a_short_search_has_none(self) -> None:
        estimate = Estimate()
        assert estimate.of(replace(self.LATE, target_trials=3)) is None
        assert estimate.of(self.LATE) is None

    def test_nothing_is_said_of_pruning_where_no_trial_is_pruned(self) -> None:
        unpruned = replace(self.LATE, spec=replace(self.LATE.spec, pruner="none"))
        assert "pruned" not in (Estimate().of(unpruned) or "pruned")

    @pytest.mark.parametrize("asked", [True, False])
    def test_a_run_says_it_in_a_log_where_it_is_asked_for(
        self, asked: bool, capfd: pytest.CaptureFixture[str]
    ) -> None:
        with watching(Status(), estimate=asked) as watch:
            watch(self.LATE)
        assert ("Rough estimate" in capfd.readouterr().err) is asked

    @pytest.mark.parametrize(
        ("seconds", "words"),
        [(301, "5 minutes"), (5_300, "88 minutes"), (8_910, "2 hours"), (300_000, "3 days")],
    )
    def test_it_has_one_unit(self, seconds: float, words: str) -> None:
        assert roughly(seconds) == words


def test_a_worker_of_a_study_that_is_finished_is_told_what_to_do(
    capsys: pytest.CaptureFixture[str],
) -> None:
    idle = RunResult(
        snapshot=replace(SEEN, target_trials=1, trials=(DONE,), counts=Counts(complete=1)),
        gains=(),
        reason="nothing to do",
        trial=None,
        report=None,
        better_reference=None,
        based_on=None,
    )
    _tell(idle, json=False, storage="sqlite:///all.db", joined=True)
    SENTENCES.check("a worker without work", capsys.readouterr().out.splitlines())
    _tell(replace(idle, based_on=("confirm", "mine")), json=False, joined=True)
    SENTENCES.check("a worker without work in a confirmation", capsys.readouterr().out.splitlines())


class TestStatus:
    def test_it_is_silent_without_a_terminal(self, capfd: pytest.CaptureFixture[str]) -> None:
        with starting() as status:
            status.say("checking MNIST")
        assert capfd.readouterr() == ("", "")

    def test_it_stands_there_before_anything_slow_is_imported(self, in_a_terminal: Terminal) -> None:
        code = (
            "import sys, time\n"
            "from search.cli.progress import starting\n"
            "with starting() as status:\n"
            "    time.sleep(0.5)\n"
            "    status.say('checking MNIST')\n"
            "    time.sleep(0.5)\n"
            "    assert not {'torch', 'optuna', 'sqlalchemy'} & set(sys.modules)\n"
        )
        ended, shown = in_a_terminal([sys.executable, "-c", code], columns=80)
        assert ended == 0, shown
        assert "loading Optuna …" in shown
        assert "checking MNIST …" in shown

    def test_the_first_snapshot_ends_it(self, capfd: pytest.CaptureFixture[str]) -> None:
        status = Ended()
        with watching(status) as watch:
            assert not status.ended
            watch(replace(SEEN, elapsed_s=1e6))  # else its trial may have finished before this run
        assert status.ended
        assert "best so far" in capfd.readouterr().err, "no terminal: lines"


class Ended(Status):
    ended = False

    def clear(self) -> None:
        self.ended = True


def test_lines_tell_each_end_once(capsys: pytest.CaptureFixture[str]) -> None:
    lines = Lines()
    lines(replace(SEEN, trials=(BUSY,)))
    lines(SEEN)
    lines(SEEN)
    failed = replace(BUSY, state=State.FAILED, failure=Failure.DIVERGED, finished=NOW)
    lines(replace(SEEN, trials=(DONE, failed)))
    printed = capsys.readouterr()
    assert printed.out == "", "stdout is for results"
    SENTENCES.check("lines without a terminal", printed.err.splitlines())


def test_what_is_not_continued_in_a_changed_space_is_not_called_queued_again(
    capsys: pytest.CaptureFixture[str],
) -> None:
    stopped = replace(
        BUSY, number=1, reference=None, state=State.FAILED, failure=Failure.INTERRUPTED, finished=NOW
    )
    other = replace(stopped, trial_id=3, number=2)
    ended = replace(stopped, trial_id=4, number=3, failure=Failure.OUTSIDE_SPACE, retry_of=1)
    trials = (DONE, stopped, other, ended)
    seen = replace(SEEN, trials=trials, counts=Counts(complete=1, failed=3, interrupted=2, outside_space=1))
    result = RunResult(
        snapshot=seen,
        gains=(),
        reason="timeout",
        trial=None,
        report=None,
        better_reference=None,
        based_on=None,
    )
    _tell(result, json=False)
    found = lines_with(capsys.readouterr().out, "complete")
    lines = Lines()
    lines(replace(SEEN, trials=(BUSY,)))
    capsys.readouterr()
    lines(replace(SEEN, trials=(BUSY, ended)))
    SENTENCES.check("not continued in a changed space", [*found, *capsys.readouterr().err.splitlines()])


@pytest.mark.parametrize(
    ("reads", "done", "error"),
    [(False, 3, Interrupted), (False, 9, KeyboardInterrupt), (True, 9, Interrupted)],
)
def test_who_stops_the_reading_of_images_is_told_that_it_continues(
    reads: bool, done: int, error: type[BaseException]
) -> None:
    def read() -> None:
        with fetching(reads=reads) as progress:
            progress("images", done, 9)
            raise KeyboardInterrupt

    with pytest.raises(error):
        read()


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
    assert settings({"channels": 8, "model": "conv", "lr": 0.1, "batch_norm": False}, "sum") == (
        "conv, lr 0.1, channels 8, batch_norm no"
    )
    assert settings({"model": "mlp", "lr": 0.1, "depth": 2}, "sum", limit=2) == "mlp, lr 0.1 …"


def test_a_setting_of_the_number_is_shown_where_there_is_a_number() -> None:
    values: dict[str, Value] = {"model": "conv", "number_width": 64}
    assert settings(values, "sum") == "conv, number_width 64"
    assert settings(values, "twodigit") == "conv"


# The end of a run

LEADER = replace(BUSY, score=0.999, reference=None)
BETTER = replace(REPORT, metrics={"train/joint": 0.5, "validation/joint": 0.5})
REFERENCE = replace(DONE, trial_id=3, number=2, reference="course-conv", score=0.99)
ENDED = RunResult(
    snapshot=SEEN,
    gains=(Gain(reference="course-conv", trial=2, score=0.99, gain=-0.01, errors_removed=-1.0),),
    reason="timeout",
    trial=DONE,
    report=REPORT,
    better_reference=REFERENCE,
    based_on=None,
)


def test_the_accuracies_are_those_of_the_best_complete_trial(capsys: pytest.CaptureFixture[str]) -> None:
    """A trial that was not finished may lead; it is not the result of the run."""
    seen = replace(SEEN, best=LEADER, best_report=BETTER)
    _tell(replace(ENDED, snapshot=seen, gains=(), better_reference=None), json=False)
    said = capsys.readouterr().out
    assert f"Best of the search is trial {DONE.number} " in said
    assert all(name in said for name in SCORES.heads)
    assert "reference" not in said


def test_a_better_reference_is_said_first(capsys: pytest.CaptureFixture[str]) -> None:
    _tell(ENDED, json=False)
    said = capsys.readouterr().out
    assert said.index("The reference course-conv (trial 2)") < said.index("Best of the search is trial 0")
    SENTENCES.check("a run with a better reference", said.splitlines())
    _tell(ENDED, json=True)
    told = json.loads(capsys.readouterr().out)
    assert (told["best_trial"], told["best_value"]) == (0, 0.98), "never a reference"
    assert (told["better_reference"], told["better_reference_value"]) == ("course-conv", 0.99)


def test_without_a_complete_trial_it_says_who_leads(capsys: pytest.CaptureFixture[str]) -> None:
    seen = replace(SEEN, best=LEADER, best_report=REPORT)
    _tell(replace(ENDED, snapshot=seen, trial=None, report=None, better_reference=None), json=False)
    said = capsys.readouterr().out
    assert f"Trial {LEADER.number} leads" in said
    assert "eference" not in said
    SENTENCES.check("a run without a complete trial", said.splitlines())
    _tell(replace(ENDED, snapshot=seen, trial=None, report=None), json=False)
    said = capsys.readouterr().out
    SENTENCES.check("a run without a complete searched trial", said.splitlines())


@pytest.mark.parametrize(
    ("gain", "words"),
    [
        (0.0031, "+0.31 points over r (98.00 %), 16 % of its errors gone"),
        (0.0, "none over r (98.00 %), which is as good"),
        (-0.0031, "none: r (98.00 %) is 0.31 points higher"),
    ],
)
def test_a_gain_in_words(gain: float, words: str) -> None:
    assert gained(Gain(reference="r", trial=0, score=0.98, gain=gain, errors_removed=gain / 0.02)) == words


@pytest.mark.parametrize(
    ("study", "storage", "lines"),
    [
        ("first", None, ["Next: tune report first", "      tune confirm first"]),
        (
            "it's one",
            "sqlite:///a b.db",
            [
                """Next: tune report 'it'"'"'s one' --storage 'sqlite:///a b.db'""",
                """      tune confirm 'it'"'"'s one' --storage 'sqlite:///a b.db'""",
            ],
        ),
        ("x", "postgresql://u:hush@h/d", ["Next: tune report x", "      tune confirm x"]),
    ],
)
def test_the_last_lines_are_commands_to_copy(
    capsys: pytest.CaptureFixture[str], study: str, storage: str | None, lines: list[str]
) -> None:
    _tell(replace(ENDED, snapshot=replace(SEEN, study=study)), json=False, storage=storage)
    assert capsys.readouterr().out.splitlines()[-2:] == lines
