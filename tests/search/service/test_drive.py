"""What a run sees of its study, and a worker of all. Whole runs are in test_processes.py."""

from __future__ import annotations

import dataclasses
import datetime
import os
import signal
import socket
import subprocess
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from snapshots import Snapshots

from data.datasets.mnist import Mnist
from search.analysis.pace import snapshot
from search.errors import ConfigError, Interrupted, TryAgain
from search.heads import head_report
from search.launchers.base import Place
from search.optuna_db.orphans import delete_orphaned_rows
from search.optuna_db.storage import Storage, open_storage
from search.records import (
    Claim,
    Counts,
    Failure,
    HeadScore,
    NetworkSpec,
    Scores,
    State,
    StudyRecord,
    TrialRecord,
)
from search.service.create import RunRequest, create_or_resume
from search.service.drive import JOIN_S, STALLS, End, _Run, _so_far, wait_for_unreachable, why_it_ended
from search.service.look import StudyView, studies
from search.service.other_hosts import OtherHosts
from search.service.run import serve
from search.service.signals import Signals
from search.service.watched import GAP_S, PATIENCE, Watched
from search.study.active_trial import ActiveTrial
from search.study.evaluation_schedule import EvaluationSchedule
from search.study.study import Study, StudyDeleted
from search.worker.context import prepare
from search.worker.options import WorkerOptions
from search.worker.recovery import Reaper
from search.worker.worker_loop import work

SENTENCES = Snapshots(__file__, "drive")
STALL_S = 60
NOW = datetime.datetime(2026, 11, 28, tzinfo=datetime.UTC)


def test_a_run_that_is_stopped_says_what_was_best_so_far(plain_spec: NetworkSpec) -> None:
    def trial(number: int, score: float, reference: str | None = None) -> TrialRecord:
        return TrialRecord(
            trial_id=number, number=number, state=State.RUNNING, score=score, params={}, reference=reference
        )

    def told(*trials: TrialRecord, interrupted: int = 0, paused: int = 0, searches: bool = True) -> str:
        record = StudyRecord(study_id=1, name="s", spec=plain_spec, target_trials=9, created=NOW)
        seen = snapshot(record, trials, [], {}, moved={}, elapsed_s=1.0, finished_before=0)
        return _so_far(seen, {False: interrupted, True: paused}, searches)

    best, reference = trial(2, 0.9123), trial(1, 0.95, "course-conv")
    assert told() == ""
    stopped = [told(best, interrupted=1), told(best, reference, interrupted=2)]
    stopped.append(told(interrupted=1, paused=3))
    assert [each[0] for each in stopped] == [" "] * 3, "it follows another sentence"
    SENTENCES.check("a run that is stopped", [each[1:] for each in stopped])
    assert "reference" not in told(best, trial(1, 0.8, "course-conv"))
    assert told(best, searches=False) == "", "one selected seed of a confirmation says nothing"


@pytest.mark.parametrize(("end", "finished", "exhausted", "done", "reached", "options", "reason"), [
    (End.STUDY_DONE, 9, False, False, False, {}, "finished"),
    (End.WORKERS_DONE, 9, False, True, False, {}, "finished"),
    (End.WORKERS_DONE, 10, False, True, True, {"target": 0.9, "timeout_s": 60}, "finished"),
    (End.STUDY_DONE, 8, True, False, False, {}, "exhausted"),
    (End.TIMEOUT, 8, True, False, False, {"timeout_s": 60}, "exhausted"),
    (End.TIMEOUT, 8, False, False, False, {"timeout_s": 60}, "timeout"),
    (End.TIMEOUT, 9, False, True, False, {"timeout_s": 60}, "timeout"),
    (End.WORKERS_DONE, 8, False, True, False, {"timeout_s": 60}, "timeout"),  # too little is left for a trial
    (End.TARGET, 8, False, False, True, {"target": 0.9}, "target"),
    (End.WORKERS_DONE, 8, False, True, True, {"target": 0.9}, "target"),  # they saw it before the run did
    (End.WORKERS_DONE, 8, False, True, True, {"target": 0.9, "timeout_s": 60}, "target"),
    (End.WORKERS_DONE, 8, False, True, False, {"target": 0.9}, None),
    (End.WORKERS_DONE, 8, False, True, False, {}, None),
    (End.SIGNAL, 8, False, False, False, {}, None),
    (End.GAVE_UP, 8, False, False, False, {"timeout_s": 60}, None),
])  # fmt: skip
def test_why_a_run_ended(
    plain_spec: NetworkSpec,
    end: End,
    finished: int,
    exhausted: bool,
    done: bool,
    reached: bool,
    options: dict[str, float],
    reason: str | None,
) -> None:
    record = StudyRecord(study_id=1, name="s", spec=plain_spec, target_trials=9, created=NOW)
    last = dataclasses.replace(
        snapshot(record, [], [], {}, moved={}, elapsed_s=1.0, finished_before=0),
        counts=Counts(complete=finished),
        exhausted=exhausted,
    )
    given = WorkerOptions(**options)  # type: ignore[arg-type]
    assert why_it_ended(end, last, given, workers_done=done, reached=lambda: reached) == reason


@pytest.mark.parametrize(
    ("every_s", "stalled"), [(GAP_S / 2, True), (2 * STALL_S, False)], ids=["watched", "could not look"]
)
def test_a_worker_hangs_only_if_one_could_see_it(
    sqlite_url: str,
    mnist: Mnist,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    every_s: float,
    stalled: bool,
) -> None:
    with open_storage(sqlite_url) as storage:
        study, record = create_or_resume(storage, RunRequest(task="twodigit", trials=3), mnist)
        context = prepare(storage, study.name, mnist, tmp_path, device="cpu", threads=1)
        claim = storage.store.claim(study.study_id, context.worker.worker_id, lease_s=60)
        assert claim is not None
        asked = context.study.ask(claim)
        look, elapsed_s = Watched(storage, study, record), 0.0
        look.snapshot(elapsed_s)
        while elapsed_s <= STALL_S:
            elapsed_s += every_s
            look.snapshot(elapsed_s)
        here = Place(socket.gethostname(), os.getpid())
        elsewhere = Place("another-machine", os.getpid())
        assert look.stalled(elapsed_s, STALL_S, [elsewhere]) == [], "its pid may be the same by chance"
        found = look.stalled(elapsed_s, STALL_S, [elsewhere, here])
        assert [each[:2] for each in found] == ([(here, asked.trial_id)] if stalled else [])
        monkeypatch.setattr("search.machine.machine", lambda: "00000000")
        assert look.stalled(elapsed_s, STALL_S, [here]) == [], "it hangs on a clone of this machine"


def test_a_worker_that_takes_up_what_waited_for_long_does_not_hang(
    sqlite_url: str, mnist: Mnist, tmp_path: Path
) -> None:
    """A reference waits until all others are done: the end of the last of them is a sign of life."""
    with open_storage(sqlite_url) as storage:
        study, record = create_or_resume(storage, RunRequest(task="twodigit", trials=3), mnist)
        context = prepare(storage, study.name, mnist, tmp_path, device="cpu", threads=1)

        def begin() -> tuple[Claim, ActiveTrial]:
            claim = storage.store.claim(study.study_id, context.worker.worker_id, lease_s=60)
            assert claim is not None
            return claim, context.study.ask(claim)

        (_, waiting), (claim, working) = begin(), begin()
        look, here = Watched(storage, study, record), [Place(socket.gethostname(), os.getpid())]
        for elapsed_s in range(0, 10 * STALL_S, int(GAP_S) - 1):
            working.report(elapsed_s + 1, 0.5)
            look.snapshot(elapsed_s)
        working.complete(0.5)
        storage.store.settle(claim)
        for _ in range(STALL_S // (int(GAP_S) - 1)):
            elapsed_s += int(GAP_S) - 1
            look.snapshot(elapsed_s)
            assert look.stalled(elapsed_s, STALL_S, here) == []
        for _ in range(3):
            elapsed_s += int(GAP_S) - 1
            look.snapshot(elapsed_s)
        (found,) = look.stalled(elapsed_s, STALL_S, here)
        assert found[:2] == (here[0], waiting.trial_id), "now it does"


def test_a_trial_whose_next_report_takes_long_may_be_silent_for_longer(
    sqlite_url: str, mnist: Mnist, tmp_path: Path
) -> None:
    """The last report of a long run of an ablation comes half of the run after the one before."""
    with open_storage(sqlite_url) as storage:
        study, record = create_or_resume(storage, RunRequest(task="twodigit", trials=3), mnist)
        first, second, *_ = EvaluationSchedule.of(record.spec).rungs
        context = prepare(storage, study.name, mnist, tmp_path, device="cpu", threads=1)
        claim = storage.store.claim(study.study_id, context.worker.worker_id, lease_s=60)
        assert claim is not None
        asked = context.study.ask(claim)
        accuracy = HeadScore(loss=0.1, accuracy=0.5)
        scores = Scores(heads={"first_digit": accuracy, "second_digit": accuracy}, joint=0.5)
        rate = STALL_S / (second - first)  # seconds an image: the next report takes as long as the timeout
        told = head_report(
            step=first, seconds=first * rate, learning_rate=0.1, train=scores, validation=scores
        )
        asked.suggest()
        asked.report(first, 0.5, told)
        look, here = Watched(storage, study, record), [Place(socket.gethostname(), os.getpid())]
        ended = []
        for elapsed_s in range(0, 5 * STALL_S, int(GAP_S) - 1):
            look.snapshot(elapsed_s)
            ended += [(elapsed_s, limit_s) for _, _, limit_s in look.stalled(elapsed_s, STALL_S, here)]
        (when, limit_s), *_ = ended
        assert limit_s == pytest.approx(PATIENCE * STALL_S)
        assert limit_s <= when < limit_s + GAP_S


def test_a_run_gives_up_after_as_many_of_the_longer_limits(
    sqlite_url: str, mnist: Mnist, tmp_path: Path
) -> None:
    """One trial that hangs is replaced, also where it was allowed three times the stall timeout."""
    with open_storage(sqlite_url) as storage:
        study, record = create_or_resume(storage, RunRequest(task="twodigit", trials=3), mnist)
        run = run_of(storage, study, record, WorkerOptions(stall_timeout_s=STALL_S), clock=lambda: 0.0)
        limit_s, silent_s = PATIENCE * STALL_S, 0.0
        failed: list[str] = []
        stalled = [(Place("elsewhere", 1), 7, float(limit_s))]
        run.look = cast(
            Watched,
            SimpleNamespace(
                stalled=lambda *_: stalled, unjoined=lambda *_: [], silent_s=lambda _elapsed_s: silent_s
            ),
        )
        run.study = cast(Study, SimpleNamespace(fail=lambda *told: failed.append(told[2]), study_id=1))
        pool = SimpleNamespace(places=[], replace=lambda _: None, gave_up=None)
        for rounds in (1, 2):
            silent_s = rounds * limit_s
            run._end_stalled(cast(Any, pool), silent_s)
            assert pool.gave_up is None
        silent_s = 3 * limit_s
        run._end_stalled(cast(Any, pool), silent_s)
        assert "reported nothing for 180 s" in str(pool.gave_up)
        assert failed == ["no report for 180 s"] * 3


def test_a_worker_that_nothing_can_end_keeps_its_trial_until_it_has_ended(
    sqlite_url: str, mnist: Mnist, tmp_path: Path
) -> None:
    """Another trial would begin in its place, and be left open."""
    with open_storage(sqlite_url) as storage, subprocess.Popen(["sleep", "100"]) as process:
        study, _ = create_or_resume(storage, RunRequest(task="twodigit", trials=3), mnist)
        worker = prepare(storage, study.name, mnist, tmp_path, device="cpu", threads=1).worker
        worker = replace(worker, worker_id=f"{worker.worker_id}0", pid=process.pid)
        storage.store.add_worker(study.study_id, worker)
        claim = storage.store.claim(study.study_id, worker.worker_id, lease_s=60)
        assert claim is not None
        context = prepare(storage, study.name, mnist, tmp_path, device="cpu", threads=1)
        asked = context.study.ask(claim)
        running: list[set[int]] = []

        def stop() -> bool:
            running.append(study.running())
            if len(running) == 5:
                process.kill()
                process.wait()
            return False

        place = Place(socket.gethostname(), process.pid)
        reaper = Reaper(study, storage.store, "parent")
        wait_for_unreachable(storage, study, reaper, [place], stop)
        assert running[:5] == [{asked.trial_id}] * 5
        assert (study.running(), storage.store.open_claims(study.study_id)) == (set(), [])


def run_of(
    storage: Storage,
    study: Study,
    record: StudyRecord,
    options: WorkerOptions,
    *,
    clock: Callable[[], float],
) -> _Run:
    """A run that begins at second zero and has started no worker."""
    look = Watched(storage, study, record)
    return _Run(
        storage=storage,
        study=study,
        record=record,
        options=options,
        look=look,
        others=OtherHosts(storage),
        reaper=Reaper(study, storage.store, "parent", clock=clock),
        signals=Signals(),
        watch=lambda seen: None,
        began=0.0,
        first=look.snapshot(0.0),
        seen=look.snapshot(0.0),
    )


@pytest.mark.parametrize(
    ("reports", "away_s", "ends"),
    [
        (False, 0, 3),
        (True, 0, 5),  # the third trial reports before it stalls
        (False, 9 * STALL_S, 3),  # time in which nothing could be seen does not count
    ],
    ids=["silent", "one reports", "database away"],
)
def test_a_run_gives_up_where_trial_after_trial_reports_nothing(
    sqlite_url: str,
    mnist: Mnist,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    reports: bool,
    away_s: int,
    ends: int,
) -> None:
    """One step takes longer than the stall timeout, with any settings: each new trial ends the same way."""
    seconds = 0.0
    monkeypatch.setattr("search.service.drive.time", SimpleNamespace(monotonic=lambda: seconds))
    options = WorkerOptions(stall_timeout_s=STALL_S)
    with open_storage(sqlite_url) as storage:
        study, record = create_or_resume(storage, RunRequest(task="twodigit", trials=30), mnist)
        context = prepare(storage, study.name, mnist, tmp_path, device="cpu", threads=1)
        run = run_of(storage, study, record, options, clock=lambda: 0.0)  # no lease expires
        replaced: list[Place] = []
        pool = SimpleNamespace(
            supervise=list,
            places=[Place(socket.gethostname(), os.getpid())],
            replace=replaced.append,
            gave_up=None,
        )
        while pool.gave_up is None and seconds < 50 * STALL_S:
            if not study.running():
                claim = storage.store.claim(study.study_id, context.worker.worker_id, lease_s=60)
                assert claim is not None
                trial = context.study.ask(claim)
                trial.suggest()
                if reports and len(replaced) == 2:
                    trial.report(1, 0.5)
            seconds += GAP_S - 1
            if len(replaced) == 1 and away_s:
                seconds, away_s = seconds + away_s, 0
            run._look_once(cast(Any, pool))
        failures = [trial.failure for trial in study.trials() if trial.failure is not None]
        assert failures == [Failure.TIMEOUT] * len(replaced)
        assert len(replaced) == ends
        SENTENCES.check("trial after trial reports nothing", [str(pool.gave_up)])


def test_workers_that_never_join_the_study_are_replaced_until_the_run_gives_up(
    sqlite_url: str, mnist: Mnist, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What they import hangs, say: they hold no trial by which one would see it."""
    seconds = 0.0
    monkeypatch.setattr("search.service.drive.time", SimpleNamespace(monotonic=lambda: seconds))
    with open_storage(sqlite_url) as storage:
        study, record = create_or_resume(storage, RunRequest(task="twodigit", trials=3), mnist)
        prepare(storage, study.name, mnist, tmp_path, device="cpu", threads=1)  # joins
        run = run_of(storage, study, record, WorkerOptions(stall_timeout_s=STALL_S), clock=lambda: 0.0)
        here = socket.gethostname()
        joined, hangs = Place(here, os.getpid()), [Place(here, 0)]
        replaced: list[float] = []

        def replace_worker(place: Place) -> None:
            assert place == hangs[0]
            replaced.append(seconds)
            hangs[0] = Place(here, -len(replaced))

        pool = SimpleNamespace(supervise=list, places=[], replace=replace_worker, gave_up=None)
        while pool.gave_up is None and seconds < 10 * JOIN_S:
            seconds += GAP_S - 1
            pool.places = [joined, *hangs]
            run._look_once(cast(Any, pool))
        assert len(replaced) == STALLS
        assert all(JOIN_S <= gap <= JOIN_S + 3 * GAP_S for gap in np.diff([0.0, *replaced]))
        SENTENCES.check("worker after worker does not join", [str(pool.gave_up)])


def test_a_worker_that_dies_after_the_run_began_is_noticed_before_its_lease_is_over(
    sqlite_url: str, mnist: Mnist, tmp_path: Path
) -> None:
    """Workers outlive a run that was killed by two seconds, and the same command may be quicker."""
    with open_storage(sqlite_url) as storage, subprocess.Popen(["sleep", "100"]) as process:
        study, record = create_or_resume(storage, RunRequest(task="twodigit", trials=3), mnist)
        context = prepare(storage, study.name, mnist, tmp_path, device="cpu", threads=1)
        worker = replace(context.worker, worker_id=f"{context.worker.worker_id}0", pid=process.pid)
        storage.store.add_worker(study.study_id, worker)
        claim = storage.store.claim(study.study_id, worker.worker_id, lease_s=60)
        assert claim is not None
        asked = context.study.ask(claim)
        seconds = 0.0
        run = run_of(storage, study, record, WorkerOptions(), clock=lambda: seconds)
        pool = cast(Any, SimpleNamespace(supervise=list, places=()))  # it has started no worker
        run._look_once(pool)
        assert storage.trials.in_state(study.study_id, State.RUNNING) == [asked.trial_id]
        process.kill()
        process.wait()
        for second in range(1, 12):  # less than a lease of thirty seconds
            seconds = float(second)
            run._look_once(pool)
        [ended] = [trial for trial in study.trials() if trial.trial_id == asked.trial_id]
        assert ended.failure is Failure.WORKER_DIED


@pytest.mark.parametrize(
    ("there", "only", "words"),
    [
        (
            ["twodigit", "sum"],
            "twodigti",
            "There is no study twodigti yet (did you mean twodigit?); waiting for it.",
        ),
        ([], "later", "There is no study later yet; waiting for it."),
        (["done"], "done", "Waiting for a study with trials left to do."),
        ([], None, "Waiting for a study with trials left to do."),
    ],
)
def test_a_worker_for_ever_says_what_it_waits_for(
    sqlite_url: str,
    plain_spec: NetworkSpec,
    monkeypatch: pytest.MonkeyPatch,
    there: list[str],
    only: str | None,
    words: str,
) -> None:
    monkeypatch.setattr("search.service.run.LOOK_S", 0.01)
    with open_storage(sqlite_url) as storage:
        for name in there:
            Study.create(storage, name, plain_spec, 0)
    said: list[str] = []
    looks = iter(range(3))
    look = studies

    def counted(storage_url: str) -> list[StudyView]:
        if next(looks, None) is None:
            os.kill(os.getpid(), signal.SIGTERM)
        return look(storage_url)

    monkeypatch.setattr("search.service.run.studies", counted)
    with pytest.raises(Interrupted):
        serve(sqlite_url, WorkerOptions(), only=only, watching=nullcontext, tell=said.append)
    assert said == [words], "once, however often it looks"


def test_a_worker_for_ever_waits_for_a_storage_before_it_says_that_a_study_is_missing(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("search.service.run.LOOK_S", 0.01)
    looks = iter(range(3))

    def away_at_first(storage_url: str) -> list[StudyView]:
        match next(looks, None):
            case 0:
                raise TryAgain("The storage does not answer.")
            case None:
                os.kill(os.getpid(), signal.SIGTERM)
        return []

    said: list[str] = []
    monkeypatch.setattr("search.service.run.studies", away_at_first)
    with pytest.raises(Interrupted):
        serve(sqlite_url, WorkerOptions(), only="later", watching=nullcontext, tell=said.append)
    assert said == [
        "The storage does not answer.",
        "Waiting for a study with trials left to do.",
        "There is no study later yet; waiting for it.",
    ]


def test_a_study_that_cannot_be_worked_on_as_it_is_keeps_no_other_waiting(
    sqlite_url: str, plain_spec: NetworkSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as one whose training code declares another budget since."""
    monkeypatch.setattr("search.service.run.LOOK_S", 0.01)
    with open_storage(sqlite_url) as storage:
        for name in ("older", "newer"):
            Study.create(storage, name, plain_spec, 1)
    begun: list[str] = []

    def joined(name: str, *_args: object, **_more: object) -> None:
        begun.append(name)
        if name == "older":
            raise ConfigError("The code declares a budget of 30, the study has 20.")
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr("search.service.run.join", joined)
    said: list[str] = []
    with pytest.raises(Interrupted):
        serve(sqlite_url, WorkerOptions(), only=None, watching=nullcontext, tell=said.append)
    assert begun == ["older", "newer"]
    assert said[0] == "older: The code declares a budget of 30, the study has 20."
    with pytest.raises(ConfigError, match="declares a budget"):
        serve(sqlite_url, WorkerOptions(), only="older", watching=nullcontext, tell=said.append)


@pytest.mark.parametrize("by", ["optuna-dashboard", "tune delete"])
def test_a_study_that_is_deleted_ends_its_run_with_a_sentence(
    sqlite_url: str, mnist: Mnist, tmp_path: Path, by: str
) -> None:
    with open_storage(sqlite_url) as storage:
        study, record = create_or_resume(storage, RunRequest(task="twodigit", trials=3), mnist)
        context = prepare(storage, study.name, mnist, tmp_path, device="cpu", threads=1)
        look = Watched(storage, study, record)
        look.snapshot(0.0)
        storage.optuna.delete_study(study.study_id)
        if by == "tune delete":
            assert delete_orphaned_rows(storage.trials.database) == [study.study_id]
        with pytest.raises(StudyDeleted, match="twodigit was deleted"):
            work(context, stop=lambda: False)
        with pytest.raises(StudyDeleted, match="twodigit was deleted"):
            look.snapshot(1.0)


def test_a_worker_for_ever_passes_over_a_study_whose_task_is_not_installed_here(
    sqlite_url: str, plain_spec: NetworkSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("search.service.run.LOOK_S", 0.01)
    with open_storage(sqlite_url) as storage:
        Study.create(storage, "theirs", replace(plain_spec, task="absent"), 1)
    looks, look = iter(range(3)), studies

    def counted(storage_url: str) -> list[StudyView]:
        if next(looks, None) is None:
            os.kill(os.getpid(), signal.SIGTERM)
        return look(storage_url)

    said: list[str] = []
    monkeypatch.setattr("search.service.run.studies", counted)
    with pytest.raises(Interrupted):
        serve(sqlite_url, WorkerOptions(), only=None, watching=nullcontext, tell=said.append)
    refused, waiting = said
    assert refused.startswith("theirs: there is no task 'absent'")
    assert waiting == "Waiting for a study with trials left to do."
