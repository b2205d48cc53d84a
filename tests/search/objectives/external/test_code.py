"""Training code that is searched by a real worker in this process, on SQLite: programs that speak the
protocol by hand (tests/support/spoken.py)."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import functools
import hashlib
import io
import json
import os
import re
import shutil
import signal
import tarfile
import textwrap
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from snapshots import Snapshots
from spoken import BUDGET, TRAIN, heard, program, spoken_spec

from search.errors import AbsentHere, ConfigError
from search.objectives.external import archive, session
from search.objectives.external import work as work_module
from search.objectives.external.declared import checksums, hello_of, spec_now
from search.objectives.external.kind import CODE, CODE_OBJECTIVE
from search.objectives.external.messages import hello_from
from search.objectives.external.trial_files import log_path
from search.objectives.registry import objective_named
from search.optuna_db.deletion import delete_study
from search.optuna_db.storage import Storage, open_storage
from search.records import Direction, Failure, Metric, State, TrialRecord
from search.space.spec import declared_entries
from search.study.study import Study, StudyDeleted
from search.worker import trial_runner, worker_loop
from search.worker.context import WorkerContext, prepare
from search.worker.options import WorkerOptions
from search.worker.removal import delete_folder
from search.worker.trial_runner import TrialRunner
from search.worker.worker_loop import GivenUp, work
from tune.space import Float, Space

SENTENCES = Snapshots(__file__, "code")
Search = Callable[..., WorkerContext]


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[Storage]:
    with open_storage(f"sqlite:///{tmp_path}/s.db") as opened:
        yield opened


@pytest.fixture
def search(storage: Storage, tmp_path: Path) -> Iterator[Search]:
    """search(train, trials=…): a worker's context on a new study of this program; no train: another worker on
    the study that there is."""
    made: list[WorkerContext] = []

    def make(train: str | None = None, *, trials: int = 3, **changed: Any) -> WorkerContext:
        options = changed.pop("worker", WorkerOptions())
        if train is not None:
            written = {key: changed.pop(key) for key in ("checkpoints", "before") if key in changed}
            path = program(tmp_path / "code", textwrap.dedent(train), **written)
            Study.create(storage, "s", spoken_spec(path, **changed), trials)
        made.append(prepare(storage, "s", None, tmp_path / "files", threads=1, options=options))
        return made[-1]

    yield make
    for context in made:
        context.objective.close()


def forever() -> bool:
    return False


def curve(context: WorkerContext, trial: TrialRecord) -> list[dict[str, float]]:
    """The metrics of each report, with its step."""
    found = context.storage.store.curve(trial.trial_id, context.record.spec.metric)
    return [{"step": report.step, **report.metrics} for report in found]


def failures(context: WorkerContext) -> list[tuple[Failure | None, str]]:
    return [
        (trial.failure, trial.failure_detail or "")
        for trial in context.study.trials()
        if trial.state is State.FAILED
    ]


def first_failure(context: WorkerContext, *, in_a_row: int = 1) -> tuple[Failure | None, str]:
    """Of a study whose every trial fails. in_a_row: how many until the worker gives up, each a process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(worker_loop, "FAILURES_IN_A_ROW", in_a_row)
        with pytest.raises(GivenUp):
            work(context, stop=forever)
    found = failures(context)
    assert len(found) == in_a_row
    return found[0]


def asked_for(tmp_path: Path, number: int) -> list[dict[str, Any]]:
    """The requests for one trial."""
    return [body for _, body in heard(tmp_path / "code", "trial") if body["number"] == number]


# A search


@pytest.mark.parametrize("checkpoints", [True, False])
@pytest.mark.parametrize("pruner", ["none", "median", "percentile", "hyperband", "asha"])
def test_every_pruner_finishes_exactly_what_was_asked_for(
    pruner: str, checkpoints: bool, search: Search, tmp_path: Path
) -> None:
    here = search(TRAIN, trials=12, pruner=pruner, checkpoints=checkpoints)
    assert work(here, stop=forever) == 12
    trials = here.study.trials()
    assert {trial.state for trial in trials} <= {State.COMPLETE, State.PRUNED}
    assert len(trials) == 12
    complete = [trial for trial in trials if trial.state is State.COMPLETE]
    assert (len(complete) < 12) == (pruner != "none")
    for trial in complete:
        found = curve(here, trial)
        assert [each["step"] for each in found] == list(range(1, BUDGET + 1)), (
            "each step once, also if paused"
        )
        x, y = trial.params["x"], trial.params["y"]
        assert isinstance(x, float)
        assert [each["loss"] for each in found] == [
            pytest.approx((x - 0.3) ** 2 + (y == "a") + 1 / step) for step in range(1, BUDGET + 1)
        ]
    asked = [body for _, body in heard(tmp_path / "code", "trial")]
    assert {body["number"] for body in asked} == set(range(12))
    for body in asked:
        trial = trials[body["number"]]
        assert (body["params"], body["budget"]) == (trial.params, BUDGET)
    assert len({body["seed"] for body in asked}) == 12
    resumed = [body for body in asked if body["resumed"]]
    assert bool(resumed) == (checkpoints and pruner == "asha")
    if pruner == "asha":
        assert len(asked) > 12, "trials were paused"
    if resumed:  # the first report after it says where it began
        trial = next(each for each in complete if len(asked_for(tmp_path, each.number)) > 1)
        begun = [each["first"] for each in curve(here, trial)]
        assert begun == sorted(begun)
        assert len(set(begun)) == len(asked_for(tmp_path, trial.number)), "each time from where it stood"
        assert len({body["directory"] for body in asked_for(tmp_path, trial.number)}) == 1
    left = [path for path in here.artifacts.folder.rglob("*") if path.is_file()]
    assert left == [], "no directory, no checkpoint, no empty log"


EVERY_THIRD = TRAIN.replace("whole(trial)", "whole(trial, report_every=3)")
"""Reports at 3, 6 and 9: of ASHA's rungs for this budget, 1, 2, 4 and 9, they meet the last one only."""


@pytest.mark.parametrize("pruner", ["median", "percentile", "halving", "hyperband", "asha"])
def test_every_pruner_ends_trials_early_where_reports_meet_no_rung(
    pruner: str, search: Search, tmp_path: Path
) -> None:
    here = search(EVERY_THIRD, trials=20, pruner=pruner)
    assert work(here, stop=forever) == 20
    trials = here.study.trials()
    steps = [[int(each["step"]) for each in curve(here, trial)] for trial in trials]
    assert all(each == [3, 6, 9][: len(each)] for each in steps)
    assert {len(each) for each in steps} > {3}, "some ended early, and some did not"
    if pruner == "asha":
        assert here.pruning.rungs == (1, 2, 4, 9)
        assert sum(len(each) == 3 for each in steps) <= 5, "few are trained to the end"
        assert any(body["resumed"] for _, body in heard(tmp_path / "code", "trial")), "some were paused"
        best = max(trials, key=lambda trial: trial.score or -9.0)
        assert best.state is State.COMPLETE


def test_a_trial_that_waits_beyond_a_rung_is_judged_there_before_it_continues(search: Search) -> None:
    """After a stop, and in another worker: it had not been promoted, and neither promotes it."""
    here = search(EVERY_THIRD, trials=2, pruner="asha")
    stopped, offered = begun(here, until=2), begun(here, until=2)
    assert (stopped.step, stopped.candidate.rung) == (3, 2)
    stopped.write_checkpoint()
    here.study.fail(stopped.active.trial_id, Failure.INTERRUPTED, "stopped")
    here.storage.store.release(stopped.claim)
    there = search()
    claim = there.storage.store.claim(there.study.study_id, there.worker.worker_id, lease_s=60)
    assert claim is not None
    again = TrialRunner(there, claim, there.study.ask(claim), check=lambda: None)
    again.recover()
    assert (again.step, again.candidate.rung) == (3, 2)
    offered.park()
    taken = TrialRunner(there, offered.claim, there.study.rejoin(offered.active.trial_id), check=lambda: None)
    for _ in range(2):  # once more after its claim was taken over
        assert taken.rejoin(here.storage.store.curve(offered.active.trial_id, here.study.metric))
        assert (taken.step, taken.candidate.rung) == (3, 2)
    assert not taken.advance(4)
    assert (taken.step, taken.candidate.rung) == (6, 4)
    assert {number for number, _ in there.study.scores_at(2)} == {offered.active.number, again.active.number}
    for runner in (stopped, taken, again):
        runner.let_go()


def test_one_process_serves_the_trials_and_is_asked_to_exit(search: Search, tmp_path: Path) -> None:
    train = """
        def train(trial):
            print("pid", os.getpid(), "trial", trial["number"], flush=True)
            whole(trial)
    """
    here = search(train, trials=3)
    work(here, stop=forever)
    logs = [log_path(here.artifacts.folder, number).read_text() for number in range(3)]
    pids = {re.fullmatch(rf"pid (\d+) trial {number}\n", log)[1] for number, log in enumerate(logs)}  # type: ignore[index]
    assert len(pids) == 1
    assert not Path("/proc", pids.pop()).exists()
    assert heard(tmp_path / "code")[-1] == ("quit", {})


def test_a_context_can_work_once_more_after_it_has_ended(search: Search) -> None:
    here = search(TRAIN, trials=2)
    asked = count()
    work(here, stop=lambda: next(asked) > 8)
    assert work(here, stop=forever) >= 1
    assert sum(trial.state is State.COMPLETE for trial in here.study.trials()) == 2


def test_the_record_says_with_what_it_was_done(search: Search, tmp_path: Path) -> None:
    here = search(TRAIN, trials=1)
    environment = here.worker.environment
    spec = here.record.spec
    assert environment["code train.py"] == spec.options["code"]["train.py"]  # type: ignore[union-attr,index]
    assert environment["interpreter"] == spec.options["command"][0]  # type: ignore[union-attr,index]
    assert environment["cpu"]
    assert here.objective.device == "cpu"


def test_the_study_is_not_another_one(tmp_path: Path) -> None:
    """What the creator of a study puts into its spec is what `hello_of` gives."""
    path = program(tmp_path)
    hello = hello_of("train.py:train", spoken_spec(path).options["command"], tmp_path)  # type: ignore[arg-type]
    spec = spoken_spec(path)
    assert spec_now(spec, hello) == spec
    assert objective_named(CODE) is CODE_OBJECTIVE


def test_the_code_of_a_program_is_the_files_that_its_command_names(tmp_path: Path) -> None:
    """Others are left alone: to open a FIFO would wait for ever."""
    (tmp_path / "train.sh").write_text("echo")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    declared = {"name": "x", "space": {}, "score": "loss", "direction": "minimize", "budget": 1}
    hello = hello_from({"protocol": 1, **declared})
    command = ["sh", "train.sh", "folder", "pipe", "absent", "--flag"]
    assert checksums(hello, command, tmp_path) == {"train.sh": hashlib.sha256(b"echo").hexdigest()}


# What it makes


KEEPING = """
    def train(trial):
        place = pathlib.Path(trial["directory"])
        for step in range(1, trial["budget"] + 1):
            (place / "model.onnx").write_text(f"model {step}")
            (place / "unwanted").touch()
            if step == 2:
                say("keep", files=["model.onnx"])
            report(step, loss=abs(step - 5) + trial["params"]["x"])
        (place / "later.txt").write_text("of the end")
        say("keep", files=["later.txt"])
"""


def kept(context: WorkerContext, trial: TrialRecord) -> tuple[dict[str, str], dict[str, str]]:
    """(files, about) of what is kept of a trial."""
    [record] = [
        each
        for each in context.storage.store.checkpoints(context.study.study_id)
        if each.trial_id == trial.trial_id
    ]
    with tarfile.open(fileobj=io.BytesIO(context.weights.read(record))) as tar:
        found = {name: tar.extractfile(name).read().decode() for name in tar.getnames()}  # type: ignore[union-attr]
        return found, json.loads(tar.pax_headers["comment"])


def test_kept_files_are_those_of_the_best_report(search: Search, tmp_path: Path) -> None:
    here = search(KEEPING, trials=3)
    work(here, stop=forever)
    for trial in here.study.trials():
        files, about = kept(here, trial)
        assert files == {"model.onnx": "model 5"}
        assert about["study"] == "s"
        assert (about["trial"], about["images"]) == (str(trial.number), "5")
        assert about["objective"] == "train.py:train"
        assert about["code train.py"] == here.worker.environment["code train.py"]


def keeps_at(step: int, *, examples: bool) -> str:
    """A trial whose first report is its best, and which keeps a file after `step`."""
    return f"""
        def train(trial):
            for step in range(1, trial["budget"] + 1):
                right = ("11" if step == 1 else "01") if {examples} else None
                say("report", step=step, metrics={{"loss": step}}, correct=right)
                if hear()[0] == "stop":
                    raise Stopped
                if step == {step}:
                    pathlib.Path(trial["directory"], "model.onnx").write_text("the last")
                    say("keep", files=["model.onnx"])
    """


@pytest.mark.parametrize("examples", [False, True])
def test_a_file_that_is_kept_at_the_end_is_kept(examples: bool, search: Search) -> None:
    here = search(keeps_at(BUDGET, examples=examples), trials=1)
    work(here, stop=forever)
    [trial] = here.study.trials()
    files, about = kept(here, trial)
    assert (files, about["images"]) == ({"model.onnx": "the last"}, "1")
    answers = here.storage.store.answers([trial.trial_id], "validation").get(trial.trial_id)
    assert (None if answers is None else answers.heads) == ({"correct": b"\xc0"} if examples else None)


@pytest.mark.parametrize("examples", [False, True])
def test_a_file_that_a_pruned_trial_kept_after_its_best_report_is_kept(
    examples: bool, search: Search
) -> None:
    here = search(keeps_at(3, examples=examples), trials=1)
    runner = begun(here, until=2)
    assert not runner.advance(5)
    runner.prune()
    runner.let_go()
    [trial] = here.study.trials()
    assert trial.state is State.PRUNED
    assert kept(here, trial)[0] == {"model.onnx": "the last"}


def test_nothing_is_kept_of_what_keeps_nothing(search: Search) -> None:
    here = search(TRAIN, trials=2)
    work(here, stop=forever)
    assert here.storage.store.checkpoints(here.study.study_id) == []


# How trials fail


def trains(body: str) -> str:
    return "def train(trial):\n" + textwrap.indent(textwrap.dedent(body), "    ")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("sys.exit(3)", "exited with code 3"),
        ("report(1, loss=1); os._exit(4)", "exited with code 4"),
        ("os._exit(0)", "exited with code 0 and without an answer"),
        ("report(1, loss=1); os.kill(os.getpid(), signal.SIGKILL)", "killed by SIGKILL: "),
        ("os.kill(os.getpid(), signal.SIGSEGV)", "killed by SIGSEGV: a segmentation fault"),
        (
            "report(1, accuracy=1)",
            "its report of step 1 has no loss, which the study optimizes; it has accuracy",
        ),
        ("report(1)", "its report of step 1 has no loss, which the study optimizes; it has no metrics"),
        ("report(2, loss=1); report(2, loss=1)", "it reported step 2 after step 2: steps must rise"),
        ("report(2, loss=1); report(1, loss=1)", "it reported step 1 after step 2: steps must rise"),
        ("report(0, loss=1)", "it reported step 0; the first is 1"),
        ("report(10, loss=1)", "it reported step 10, and its budget is 9"),
        ("report(1.5, loss=1)", "a message of its has 1.5 as its step"),
        ("report(9, loss=1); report(10, loss=1)", "it reported step 10 after its budget of 9"),
        (
            "report(1, loss=1); report(2, loss=1, more=2)",
            "its report of step 2 has the metrics loss, more, and the first one had loss",
        ),
        ("report(1, loss='low')", "the metric 'loss' is 'low', not a number"),
        ("say('report', step=1, metrics={'loss': 1}, correct='01x')", "correct is '01x', not a text"),
        ("say('tested', metrics={})", "it wrote tested during a trial"),
        ("report(9, loss=1); say('hello')", "it wrote hello after its last report"),
        ("say('keep', files=['../x'])", "it keeps '../x', which is not a file below its directory"),
        ("say('keep', files=['/etc/passwd'])", "it keeps '/etc/passwd', which is not a file below"),
        ("say('keep', files=['model'])", "it keeps model, which is not a file in its directory"),
        ("report(9, loss=1); say('keep', files=['model'])", "it keeps model, which is not a file"),
        (
            "os.mkdir(trial['directory'] + '/model'); say('keep', files=['model'])",
            "it keeps model, which is not a file in its directory",
        ),
        ("say('keep', files='model')", "a message of its has 'model' as its files"),
        (
            "answers.write('what?' + chr(10)); answers.flush(); hear()",
            "it wrote a line that is not JSON: what?",
        ),
        (
            "os.mkfifo(trial['directory'] + '/all'); checkpoint()",
            "its checkpoint has all, which is not a regular file, a folder or a link",
        ),
        (
            "os.symlink('/etc', trial['directory'] + '/all'); say('keep', files=['all/passwd'])",
            "it keeps all/passwd, which is not a file in its directory",
        ),
        ("report(3, loss=1)", "it ended at step 3 of 9"),
        ("pass", "it ended at step 0 of 9"),
        (
            "say('failed', message='ValueError: no such layer', traceback='File train.py, line 3'); hear()",
            "File train.py, line 3",
        ),
        ("report(9, loss=1); say('failed', message='too late'); hear()", "too late"),
        ("say('failed'); hear()", "it failed"),
        ("say('failed', message='zero \\0 and \\ud800'); hear()", "zero � and ?"),
    ],
)
def test_a_mistake_is_a_failure_in_a_sentence(body: str, words: str, search: Search) -> None:
    here = search(trains(body), trials=3)
    failure, detail = first_failure(here)
    assert failure is Failure.ERROR
    assert words in detail
    if "ended at step" not in words:
        assert "search/" not in detail, "tune's own traceback explains nothing"
        assert "\n" not in detail
    assert sum(trial.state.is_finished for trial in here.study.trials()) == 0


def test_an_end_is_told_with_the_last_words(search: Search) -> None:
    _, detail = first_failure(search(trains("print('I was loading'); sys.stdout.flush(); os._exit(7)")))
    assert detail == "exited with code 7. Its output ends with:\nI was loading"


def test_a_score_that_is_no_number_is_a_diverged_trial(search: Search) -> None:
    here = search(
        trains("report(1, loss=float('nan') if trial['number'] < 2 else 1); whole(trial)"), trials=2
    )
    with pytest.raises(GivenUp):  # the others repeat a step
        work(here, stop=forever)
    found = failures(here)
    assert [failure for failure, _ in found[:2]] == [Failure.DIVERGED] * 2
    assert found[0][1] == "the loss was nan at step 1"


def test_other_metrics_may_be_nan_and_infinite(search: Search) -> None:
    here = search(
        trains("for step in range(1, 10): report(step, loss=1, a=float('nan'), b=10**400)"), trials=1
    )
    work(here, stop=forever)
    assert [trial.state for trial in here.study.trials()] == [State.COMPLETE]


def test_after_a_failure_there_is_a_new_process_and_after_none_the_same(
    search: Search, tmp_path: Path
) -> None:
    body = """
        with (here / "pids").open("a") as file:
            file.write(f"{os.getpid()}\\n")
        if trial["number"] == 1:
            say("failed", message="ValueError: bad layer", traceback="")
            hear()
        if trial["number"] == 3:
            report(1, loss=float("nan"), first=1.0)
        whole(trial)
    """
    here = search(trains(body), trials=6)
    assert work(here, stop=forever) == 6
    pids = (tmp_path / "code" / "pids").read_text().split()
    assert pids == [pids[0]] * 2 + [pids[2]] * (len(pids) - 2)
    assert pids[0] != pids[2]
    assert failures(here)[0] == (Failure.ERROR, "ValueError: bad layer")


def test_a_trial_has_its_own_directory_and_it_is_empty_and_deleted(search: Search, tmp_path: Path) -> None:
    body = """
        place = pathlib.Path(trial["directory"])
        assert list(place.iterdir()) == []
        if trial["number"] == 1:
            (place / "x").touch()
            os._exit(2)
        whole(trial)
        (place / "later").touch()
    """
    here = search(trains(body), trials=3)
    work(here, stop=forever)
    places = [Path(body["directory"]) for _, body in heard(tmp_path / "code", "trial")]
    assert len(set(places)) == 4
    assert all(place.is_relative_to(here.artifacts.folder) for place in places)
    assert not any(place.exists() for place in places)


def test_training_code_that_does_not_end_when_it_is_stopped_is_killed(
    search: Search, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "STOP_S", 0.5)
    body = """
        try:
            report(1, loss=float("nan") if trial["number"] == 0 else 1, first=1.0)
        except Stopped:
            time.sleep(1000)
        for step in range(2, 10):
            report(step, loss=1, first=1.0)
    """
    here = search(trains(body), trials=2)
    began = time.monotonic()
    assert work(here, stop=forever) == 2
    assert time.monotonic() - began < 30
    assert [failure for failure, _ in failures(here)] == [Failure.DIVERGED]


@pytest.mark.parametrize(
    "body", ["time.sleep(1000)", "os.kill(os.getpid(), signal.SIGSTOP)", "while True: pass"]
)
def test_a_trial_that_takes_too_long_is_killed(body: str, search: Search, tmp_path: Path) -> None:
    train = trains(f"(here / 'pid').write_text(str(os.getpid()))\nreport(1, loss=1)\n{body}")
    here = search(train, trials=1, worker=WorkerOptions(trial_timeout_s=0.5))
    failure, detail = first_failure(here)
    assert (failure, detail) == (Failure.TIMEOUT, "it had 0.5 s")
    assert not Path("/proc", (tmp_path / "code" / "pid").read_text()).exists()


def test_a_signal_ends_it_in_the_middle_of_a_step(search: Search, tmp_path: Path) -> None:
    train = trains("(here / 'pid').write_text(str(os.getpid()))\nreport(1, loss=1)\ntime.sleep(1000)")
    here = search(train, trials=1)
    until = time.monotonic() + 1.5
    work(here, stop=lambda: time.monotonic() > until)
    assert time.monotonic() - until < 5
    assert failures(here) == [(Failure.INTERRUPTED, "stopped by a signal")]
    assert not Path("/proc", (tmp_path / "code" / "pid").read_text()).exists()


# Pausing and resuming


def test_a_trial_without_checkpoints_that_is_paused_begins_again_and_repeats_its_reports_silently(
    search: Search, tmp_path: Path
) -> None:
    here = search(TRAIN, trials=12, pruner="asha", checkpoints=False)
    assert work(here, stop=forever) == 12
    paused = [number for number in range(12) if len(asked_for(tmp_path, number)) > 1]
    assert paused
    trials = here.study.trials()
    for number in paused:
        assert not any(body["resumed"] for body in asked_for(tmp_path, number))
        steps = [each["step"] for each in curve(here, trials[number])]
        assert steps == list(range(1, len(steps) + 1))


def test_one_that_cannot_repeat_them_fails_in_a_sentence(search: Search, tmp_path: Path) -> None:
    train = trains("""
        again = pathlib.Path(here / f"{trial['number']}")
        if again.exists():
            return
        again.touch()
        whole(trial)
    """)
    here = search(train, trials=12, pruner="asha", checkpoints=False)
    assert work(here, stop=forever) == 12
    found = failures(here)
    assert found
    assert all("EndedEarly: it ended at step" in detail for _, detail in found)


def test_between_its_checkpoints_a_paused_trial_repeats_its_reports_silently(
    search: Search, tmp_path: Path
) -> None:
    here = search(TRAIN.replace("whole(trial)", "whole(trial, every=2)"), trials=12, pruner="asha", seed=2)
    assert work(here, stop=forever) == 12
    complete = [trial for trial in here.study.trials() if trial.state is State.COMPLETE]
    assert complete
    for trial in complete:
        assert [each["step"] for each in curve(here, trial)] == list(range(1, BUDGET + 1))
    assert any(body["resumed"] for _, body in heard(tmp_path / "code", "trial"))


def begun(here: WorkerContext, *, until: int) -> TrialRunner:
    """The next trial of the study, worked on so far."""
    claim = here.storage.store.claim(here.study.study_id, here.worker.worker_id, lease_s=60)
    assert claim is not None
    asked = here.study.ask(claim)
    claim = dataclasses.replace(claim, trial_id=asked.trial_id)
    runner = TrialRunner(here, claim, asked, check=lambda: None)
    assert not runner.advance(until)
    return runner


def test_what_lies_in_the_directory_counts_once_the_next_report_is_there(
    search: Search, tmp_path: Path
) -> None:
    train = trains("""
        place = pathlib.Path(trial["directory"])
        steps = [int(each.name) for each in place.iterdir()]
        assert bool(steps) == trial["resumed"]
        for step in range(max(steps, default=0) + 1, 10):
            (place / str(step)).touch()
            if step in (2, 4):
                checkpoint()
            if step == 4 and not (here / "died").exists():
                (here / "died").touch()
                os._exit(1)  # after the copy, before the report
            report(step, loss=1 / step, first=float(max(steps, default=0)))
    """)
    here = search(train, trials=1)
    first = begun(here, until=3)
    first.write_checkpoint()
    with pytest.raises(Exception, match="exited with code 1"):
        first.advance(9)
    first.write_checkpoint()
    here.study.fail(first.active.trial_id, Failure.WORKER_DIED, "gone")
    here.storage.store.release(first.claim)
    first.let_go()
    work(here, stop=forever)
    again = next(trial for trial in here.study.trials() if trial.retry_of == 0)
    assert again.state is State.COMPLETE
    found = curve(here, again)
    assert [each["step"] for each in found] == list(range(1, 10))
    assert [each["first"] for each in found] == [0] * 3 + [2] * 6, "from the copy of step 2, and 3 only once"


def interrupted(here: WorkerContext, *, questions: int) -> TrialRecord:
    asked = count()
    work(here, stop=lambda: next(asked) > questions)
    trial = here.study.trials()[0]
    assert trial.failure is Failure.INTERRUPTED
    return trial


def test_another_worker_continues_from_the_last_checkpoint(search: Search, tmp_path: Path) -> None:
    here = search(TRAIN, trials=1)
    first = interrupted(here, questions=14)
    assert 1 < first.step < BUDGET
    there = search()
    work(there, stop=forever)
    again = next(trial for trial in there.study.trials() if trial.retry_of == 0)
    assert again.state is State.COMPLETE
    found = curve(there, again)
    assert [each["step"] for each in found] == list(range(1, BUDGET + 1))
    assert {each["first"] for each in found} == {1.0, first.step + 1.0}
    assert [body["resumed"] for _, body in heard(tmp_path / "code", "trial")] == [False, True]
    assert len({body["seed"] for _, body in heard(tmp_path / "code", "trial")}) == 1


@pytest.mark.parametrize("damage", ["cut short", "flipped"])
def test_a_checkpoint_that_is_damaged_is_not_used_and_an_earlier_one_is(
    damage: str, search: Search, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial_runner, "CHECKPOINT_EVERY_S", 0.0)
    here = search(TRAIN, trials=1)
    first = interrupted(here, questions=22)
    files = sorted(here.artifacts.folder.glob("*.at-*"))
    assert len(files) == 2
    content = files[-1].read_bytes()
    if damage == "cut short":
        files[-1].write_bytes(content[:-700])
    else:
        files[-1].write_bytes(content[:-700] + bytes([content[-700] ^ 1]) + content[-699:])
    there = search()
    work(there, stop=forever)
    again = next(trial for trial in there.study.trials() if trial.retry_of == 0)
    assert again.state is State.COMPLETE
    found = curve(there, again)
    assert [each["step"] for each in found] == list(range(1, BUDGET + 1))
    assert found[-1]["first"] == first.step, "the one before the last has the step before the last"


def test_a_checkpoint_of_other_code_is_used_and_noted(search: Search, tmp_path: Path) -> None:
    here = search(TRAIN, trials=1)
    first = interrupted(here, questions=14)
    path = tmp_path / "code" / "train.py"
    path.write_text(path.read_text() + "\n# an afterthought\n")
    there = search()
    assert there.worker.environment["code train.py"] != here.worker.environment["code train.py"]
    work(there, stop=forever)
    again = next(trial for trial in there.study.trials() if trial.retry_of == 0)
    assert again.state is State.COMPLETE
    log = log_path(there.artifacts.folder, again.number).read_text()
    assert f"step {first.step}," in log
    SENTENCES.check(
        "a checkpoint of other code", log.replace(f"step {first.step},", "step STEP,").splitlines()
    )


def test_a_full_disk_in_a_checkpoint_ends_the_run_and_loses_nothing(
    search: Search, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = search(TRAIN, trials=2)
    real, times = archive.tempfile.TemporaryFile, count()

    def full(**more: Any) -> Any:
        if next(times) == 5:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(**more)

    monkeypatch.setattr(archive.tempfile, "TemporaryFile", full)
    with pytest.raises(GivenUp, match="The disk is full"):
        work(here, stop=forever)
    assert [failure for failure, _ in failures(here)] == [Failure.DISK_FULL]
    assert work(search(), stop=forever) == 2


def test_a_checkpoint_of_code_that_declares_none_is_ignored(search: Search, tmp_path: Path) -> None:
    here = search(trains("checkpoint()\nwhole(trial)"), trials=12, pruner="asha", checkpoints=False)
    assert work(here, stop=forever) == 12
    asked = [body for _, body in heard(tmp_path / "code", "trial")]
    assert len(asked) > 12
    assert not any(body["resumed"] for body in asked)


def test_a_waiting_trial_continues_in_another_worker(search: Search, tmp_path: Path) -> None:
    here = search(TRAIN, trials=1)
    runner = begun(here, until=4)
    runner.park()
    there = search()
    continued = TrialRunner(there, runner.claim, runner.active, check=lambda: None)
    assert continued.rejoin(here.storage.store.curve(runner.active.trial_id, here.study.metric))
    assert continued.advance(BUDGET)
    found = curve(there, here.study.trials()[0])
    assert [(each["step"], each["first"]) for each in found] == [
        (step, 1 if step <= 4 else 5) for step in range(1, BUDGET + 1)
    ]
    continued.let_go()


def test_a_study_that_is_deleted_leaves_no_file(search: Search, storage: Storage, tmp_path: Path) -> None:
    here = search(trains("print('hello', flush=True)\nwhole(trial)"), trials=3)
    asked = count()

    def stop() -> bool:
        if next(asked) == 20:
            assert delete_study(storage.trials.database, here.study.study_id, created=here.record.created)
            delete_folder(here.artifacts.folder)
        return False

    with contextlib.suppress(StudyDeleted):
        work(here, stop=stop)
    assert not here.artifacts.folder.exists()
    assert next(asked) > 20


def test_a_checkpoint_that_is_too_large_is_a_failure_in_a_sentence(
    search: Search, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work_module, "pack", functools.partial(archive.pack, most=5_000))
    _, detail = first_failure(search(TRAIN, trials=1))
    assert detail == "its checkpoint has more than 5,000 bytes"


def test_the_folder_of_a_worker_that_was_killed_is_deleted_by_the_next(
    search: Search, tmp_path: Path
) -> None:
    here = search(TRAIN, trials=1)
    left = here.artifacts.folder / "running" / "0123456789ab"
    (left / "trial-00000").mkdir(parents=True)
    left.with_suffix(".lock").touch()
    busy = begun(here, until=2)
    assert not left.exists()
    there = search()
    there.objective.close()
    assert [path.name for path in (here.artifacts.folder / "running").glob("*/*")] == ["trial-00000"], (
        "in use"
    )
    busy.let_go()


# Opening a study


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        (
            {"budget": 10, "unit": "step"},
            "train.py:train declares another unit and budget than its study has: unit epoch, not step; "
            "budget 9, not 10. Take the change back, or begin another search: `tune run` with --study NAME.",
        ),
        ({"confirms": "other", "budget": 10}, "another budget than its study has: budget 9, not 10"),
        ({"options": {"checkpoints": False}}, "another support of checkpoints than its study has"),
        (
            {"space": declared_entries(Space(x=Float(0.0, 2.0)))},
            "another space than its study has: space (x: Float(low=0.0, high=2.0) → Float(low=0.0, high=1.0);"
            " y: none → Choice(options=('a', 'b'))). Take the change back, begin another search with",
        ),
        (
            {"metric": Metric(name="accuracy", direction=Direction.MINIMIZE)},
            "another score than its study has: score loss, not accuracy",
        ),
        (
            {"metric": Metric(name="loss")},
            "another direction than its study has: direction minimize, not maximize",
        ),
    ],
)
def test_code_that_declares_another_study_is_refused(
    changed: dict[str, Any], words: str, search: Search
) -> None:
    with pytest.raises(ConfigError) as caught:
        search(TRAIN, **changed)
    assert words in str(caught.value)
    assert "--study NAME" in str(caught.value)


def test_an_ablation_may_have_another_budget(search: Search) -> None:
    search(TRAIN, budget=18, ablates="other", baseline=0)


def test_code_that_does_not_start_is_told_with_its_traceback(search: Search) -> None:
    with pytest.raises(ConfigError, match="ModuleNotFoundError: No module named 'no_such_module'"):
        search(TRAIN, before="import no_such_module\n")


def test_code_that_no_longer_starts_fails_the_trial_that_needs_a_process(
    search: Search, tmp_path: Path
) -> None:
    here = search(trains("(here / 'train.py').write_text('a = = 1'); os._exit(1)"), trials=2)
    _, detail = first_failure(here, in_a_row=2)
    assert detail == "exited with code 1"
    assert "SyntaxError" in failures(here)[1][1]


def test_code_that_is_changed_to_another_study_ends_the_worker(search: Search, tmp_path: Path) -> None:
    here = search(
        trains("""
            file = here / "train.py"
            file.write_text(file.read_text().replace("budget=9", "budget=7"))
            os._exit(1)
        """),
        trials=2,
    )
    with pytest.raises(ConfigError, match="declares another budget than its study has: budget 7, not 9"):
        work(here, stop=forever)
    assert [detail for _, detail in failures(here)] == ["exited with code 1"]


@pytest.mark.parametrize("what", ["folder", "interpreter"])
def test_what_is_missing_on_this_machine_is_told_in_a_sentence(
    what: str, search: Search, storage: Storage, tmp_path: Path
) -> None:
    here = search(TRAIN)
    here.objective.close()
    if what == "folder":
        shutil.rmtree(tmp_path / "code")
        words = f"train.py:train is in the folder {tmp_path / 'code'}, which is not on this machine"
    else:
        path = tmp_path / "code" / "train.py"
        Study.create(storage, "t", spoken_spec(path, options={"command": ["/no/python", str(path)]}), 1)
        words = "train.py:train is started with /no/python, which is not on this machine"
    with pytest.raises(AbsentHere, match=re.escape(words)):
        prepare(storage, "s" if what == "folder" else "t", None, tmp_path / "files", threads=1)


SHELL = r"""
answer() { printf '%s\n' "$1" >&"$TUNE_ANSWERS"; }
field() { printf '%s' "$line" | sed -n "s/.*\"$1\": *\"\{0,1\}\([^,\"}]*\).*/\1/p"; }
space='{"x": {"kind": "float", "low": 0.0, "high": 1.0, "log": false},'
space="$space"' "y": {"kind": "choice", "options": ["a", "b"]}}'
answer '{"hello": {"protocol": 1, "name": "shell", "space": '"$space"', "score": "loss", '\
'"direction": "minimize", "budget": 9, "unit": "epoch", "code": {}}}'
"""

SHELL_LOOP = r"""
while read -r line <&"$TUNE_REQUESTS"; do
  case $line in
    *'"quit"'*) exit 0 ;;
  esac
  x=$(field x) budget=$(field budget) step=1
  while [ "$step" -le "$budget" ]; do
    loss=$(echo "$x $step" | awk '{ print ($1 - 0.3) ^ 2 + 1 / $2 }')
    answer '{"report": {"step": '"$step"', "metrics": {"loss": '"$loss"'}}}'
    read -r line <&"$TUNE_REQUESTS"
    case $line in *'"stop"'*) break ;; esac
    step=$((step + 1))
  done
  answer '{"ended": {}}'
done
"""


@pytest.mark.parametrize("pruner", ["none", "median"])
def test_a_shell_script_is_searched(pruner: str, storage: Storage, tmp_path: Path) -> None:
    script = tmp_path / "code" / "train.sh"
    script.parent.mkdir()
    script.write_text(SHELL + SHELL_LOOP)
    command = ["/bin/sh", str(script)]
    spec = spoken_spec(script, pruner=pruner, options={"command": command, "checkpoints": False, "code": {}})
    Study.create(storage, "s", spec, 8)
    here = prepare(storage, "s", None, tmp_path / "files", threads=1)
    assert work(here, stop=forever) == 8
    for trial in here.study.trials():
        found = curve(here, trial)
        x = trial.params["x"]
        assert isinstance(x, float)
        assert found[0]["loss"] == pytest.approx((x - 0.3) ** 2 + 1, abs=1e-4)
    assert any(trial.state is State.COMPLETE for trial in here.study.trials())


def test_a_hundred_megabytes_of_output_fill_no_disk(search: Search) -> None:
    train = trains("""
        print("the beginning")
        line = "x" * 999
        for _ in range(100_000): print(line)
        print("the end", flush=True)
        whole(trial)
    """)
    here = search(train, trials=1, options={"log_bytes": 200_000})
    assert work(here, stop=forever) == 1
    log = log_path(here.artifacts.folder, 0).read_text()
    assert len(log) < 200_100
    assert log.startswith("the beginning\n")
    assert log.endswith("\nthe end\n")
    assert "[tune: 99800022 bytes of output are left out here]" in log


def test_a_process_that_ends_between_two_trials_costs_none(search: Search, tmp_path: Path) -> None:
    train = trains("""
        (here / "pid").write_text(str(os.getpid()))
        whole(trial)
        helper = "import os, sys, time; time.sleep(0.3); os.kill(int(sys.argv[1]), 9)"
        if trial["number"] == 0:
            subprocess.Popen([sys.executable, "-c", helper, str(os.getpid())])
    """)
    here = search(train, trials=2)
    pause = iter([False])

    def stop() -> bool:
        ended = here.study.trials() and here.study.trials()[0].state is State.COMPLETE
        if ended and next(pause, True) is False:
            until = time.monotonic() + 20
            while Path("/proc", (tmp_path / "code" / "pid").read_text()).exists():
                assert time.monotonic() < until
                time.sleep(0.02)
        return False

    assert work(here, stop=stop) == 2
    assert failures(here) == []


def test_a_kill_of_the_process_at_any_moment_costs_one_trial(search: Search, tmp_path: Path) -> None:
    train = trains("(here / 'pid').write_text(str(os.getpid()))\nwhole(trial)")
    here = search(train, trials=8)
    asked = count()

    def stop() -> bool:
        if next(asked) in (10, 47, 90, 131):
            os.kill(int((tmp_path / "code" / "pid").read_text()), signal.SIGKILL)
        return False

    assert work(here, stop=stop) == 8
    found = failures(here)
    assert 2 <= len(found) <= 4, "some may have hit a process between two trials, which costs none"
    assert all("killed by SIGKILL" in detail for _, detail in found)
