"""`tune run` and `tune worker` as processes: a whole run, several together, and what survives a signal, a
killed worker and a killed parent.

A worker that trains networks imports torch, which costs most of what such a test costs. So the trials are
those of tests/support/valley.py or of a user's function where any trial will do, and they wait.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import sqlite3
import subprocess
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, inspect, text
from sqlalchemy.engine import make_url
from valley import VALLEY, valley_spec

from search.objectives.registry import OBJECTIVES
from search.optuna_db.storage import open_storage
from search.records import Value
from search.study.study import Study

Command = Callable[..., Any]
"""Of the fixtures `here` and `tune`: how a command ended; of `start`: the process."""
STUDY = ("run", "--task", "twodigit", "--model", "mlp", "--pruner", "none", "--workers", "1")
SMALL = ("--trials", "4", "--epochs", "0.02", "--model", "mlp")
REFERENCES: dict[str, dict[str, Value]] = {
    "easy": {"start": 2.0, "friction": 0.5, "push": "left", "bounces": 0},
    "steep": {"start": -3.0, "friction": 0.1, "push": "none", "bounces": 3},
}
SLOW = {"VALLEY_WAIT": "0.15"}
"""Environment in which each of the nine steps of a trial takes this many seconds."""


@pytest.fixture
def valleys(
    site: Path, tmp_path: Path, worker_threads: None, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str, int], None]:
    """valleys("v", 3): a study of the valley with two references. Commands and workers know the objective."""
    monkeypatch.setenv("PYTHONPATH", str(site))
    monkeypatch.setitem(OBJECTIVES, "valley", VALLEY)

    def create(name: str, trials: int) -> None:
        spec = valley_spec(references=tuple(REFERENCES))
        with open_storage(f"sqlite:///{tmp_path / 'studies.db'}") as storage:
            assert Study.create(storage, name, spec, trials, references=REFERENCES) is not None

    return create


@pytest.mark.usefixtures("worker_threads")
def test_a_run_from_beginning_to_end(tmp_path: Path, tune: Command, here: Command) -> None:
    done = tune("run", "--task", "twodigit", *SMALL, "--workers", "1", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "4 of 4 trials finished" in done.stdout
    assert "Best of the search is trial" in done.stdout
    assert "course-mlp (" in done.stdout, "and what it gained"
    assert "Next: tune report twodigit\n      tune confirm twodigit\n" in done.stdout
    assert "4/4" in done.stderr, "plain lines where there is no terminal"
    assert "Warning" not in done.stderr
    again = here("run", "--task", "twodigit", "--trials", "4", cwd=tmp_path)
    assert again.returncode == 0
    assert "nothing is left to do" in again.stdout
    more = here("run", "--task", "twodigit", "--trials", "5", "--workers", "1", "--json", cwd=tmp_path).parsed
    assert more["complete"] + more["pruned"] == 5


@pytest.mark.usefixtures("worker_threads")
def test_a_target_and_a_time_limit_end_a_search_with_its_leader_trained(
    tmp_path: Path, here: Command, valleys: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What comes before the end of a time limit waits: each trial of the valley takes a second."""
    valleys("late", 5000)
    monkeypatch.setenv("VALLEY_WAIT", "0.1")
    networks = ("--task", "twodigit", "--model", "mlp", "--epochs", "0.12", "--trials", "5000")
    for study, asked, reason in (
        ("good", (*networks, "--target", "0.5"), "target"),
        ("late", ("--timeout", "8"), "timeout"),
    ):
        ended = here("run", "--study", study, *asked, "--workers", "1", "--json", cwd=tmp_path).parsed
        assert (ended["reason"], ended["target_trials"]) == (reason, 5000)
        assert ended["complete"] >= 1
        assert ended["best_trial"] is not None or ended["better_reference"] is not None
        rows = here("trials", study, "--json", cwd=tmp_path).parsed
        assert len(rows) < 5000
        assert not any(row["state"] == "running" for row in rows)


class TestInterruption:
    """Of a study of three trials. Those of a network are long, for none of them has to end."""

    LONG = (*STUDY, "--trials", "3", "--epochs", "20")
    VALLEY = ("run", "--study", "v", "--workers", "1")

    @pytest.mark.parametrize(
        ("study", "number", "code"), [("twodigit", signal.SIGINT, 130), ("v", signal.SIGTERM, 143)]
    )
    def test_signals_leave_the_study_in_order_and_the_same_command_continues(
        self,
        tmp_path: Path,
        here: Command,
        start: Command,
        valleys: Command,
        study: str,
        number: signal.Signals,
        code: int,
    ) -> None:
        if study == "v":
            valleys("v", 3)
        command = self.VALLEY if study == "v" else self.LONG
        running = start(*command, cwd=tmp_path, **SLOW)
        caught_in_training(running, tmp_path, number)
        _, words = running.communicate(timeout=30)
        assert running.returncode == code, words
        assert words.index("Stopping: the workers save") < words.index("the same command continues")
        assert "1 trial was interrupted and is queued again." in words
        assert "Traceback" not in words
        rows = here("trials", study, "--json", cwd=tmp_path).parsed
        [row] = [row for row in rows if row["state"] == "failed"]
        assert row["failure"] == "interrupted"
        assert len(rows) == 3, "two references, and the one that was begun waits for another try"
        [again] = [r for r in rows if r["reference"] == row["reference"] and r["state"] == "waiting"]
        assert again["params"].items() <= row["params"].items()
        if study == "v":
            assert here(*command, cwd=tmp_path).returncode == 0
            exactly_three(tmp_path, here)

    def test_a_killed_worker_is_replaced_and_nothing_is_lost(
        self, tmp_path: Path, here: Command, start: Command, valleys: Command
    ) -> None:
        valleys("v", 3)
        running = start(*self.VALLEY, cwd=tmp_path, **SLOW)
        caught_in_training(running, tmp_path, signal.SIGKILL, only=workers_of)
        _, words = running.communicate(timeout=100)
        assert running.returncode == 0, words
        rows = exactly_three(tmp_path, here)
        assert any(row["failure"] == "worker_died" for row in rows)

    def test_a_worker_that_hangs_is_replaced_and_its_trial_fails(
        self, tmp_path: Path, here: Command, start: Command, valleys: Command
    ) -> None:
        valleys("v", 3)
        running = start(*self.VALLEY, "--stall-timeout", "4", cwd=tmp_path, **SLOW)
        caught_in_training(running, tmp_path, signal.SIGSTOP, only=workers_of, thaw_workers=False)
        _, words = running.communicate(timeout=100)
        assert running.returncode == 0, words
        [study] = here("studies", "--json", cwd=tmp_path).parsed
        assert (study["complete"], study["running"], study["waiting"]) == (3, 0, 0)
        rows = here("trials", "v", "--json", cwd=tmp_path).parsed
        assert [row["failure"] for row in rows if row["state"] == "failed"] == ["timeout"]

    def test_workers_do_not_outlive_a_killed_parent(
        self, tmp_path: Path, here: Command, start: Command, valleys: Command
    ) -> None:
        valleys("v", 3)  # which would take its workers a minute
        running = start(*self.VALLEY, cwd=tmp_path, VALLEY_WAIT="2")
        workers = caught_in_training(running, tmp_path, signal.SIGKILL, only=lambda parent: [parent])
        running.communicate(timeout=10)
        wait_until(lambda: not any(alive(worker) for worker in workers), timeout_s=10)
        done = here(*self.VALLEY, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        exactly_three(tmp_path, here)


def caught_in_training(
    running: subprocess.Popen[str],
    folder: Path,
    number: signal.Signals,
    *,
    only: Callable[[int], list[int]] | None = None,
    thaw_workers: bool = True,
) -> list[int]:
    """Sends the signal while a trial is certainly between its first and its last report; returns the
    workers. To `only` these processes, else to the whole group, as Ctrl-C does.

    Everything is frozen first and looked at then, for a trial on a fast machine ends while one is looking.
    """
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if is_training(folder):
            os.killpg(running.pid, signal.SIGSTOP)
            if is_training(folder):
                workers, everybody = workers_of(running.pid), [running.pid, *children_of(running.pid)]
                for process in only(running.pid) if only else []:
                    os.kill(process, number)
                if only is None:
                    os.killpg(running.pid, number)
                for process in everybody:
                    if thaw_workers or process not in workers:
                        with contextlib.suppress(ProcessLookupError):
                            os.kill(process, signal.SIGCONT)
                return workers
            os.killpg(running.pid, signal.SIGCONT)
        time.sleep(0.02)
    raise AssertionError("no trial was running after a minute")


def is_training(folder: Path) -> bool:
    """Whether some trial that runs has reported a point, by a look at the file itself."""
    with contextlib.suppress(sqlite3.OperationalError):  # no file yet, no table yet
        connection = sqlite3.connect(f"file:{folder / 'studies.db'}?mode=ro", uri=True, timeout=1)
        with contextlib.closing(connection):
            [(running,)] = connection.execute(
                "SELECT count(*) FROM trials JOIN tune_reports USING (trial_id) WHERE state = 'RUNNING'"
            )
            return bool(running)
    return False


def completed_in(folder: Path) -> int:
    """Trials of all studies that are complete, by a look at the file itself."""
    connection = sqlite3.connect(f"file:{folder / 'studies.db'}?mode=ro", uri=True, timeout=1)
    with contextlib.closing(connection):
        [(complete,)] = connection.execute("SELECT count(*) FROM trials WHERE state = 'COMPLETE'")
        return int(complete)


def workers_of(parent: int) -> list[int]:
    """Process ids of the worker processes (not of multiprocessing's own helper)."""
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return [int(c) for c in children if b"spawn_main" in Path(f"/proc/{c}/cmdline").read_bytes()]


def exactly_three(folder: Path, here: Command) -> list[dict[str, Any]]:
    """All trials of a study that must have ended with exactly three finished ones."""
    [study] = here("studies", "--json", cwd=folder).parsed
    assert (study["complete"], study["pruned"], study["running"], study["waiting"]) == (3, 0, 0, 0)
    rows: list[dict[str, Any]] = here("trials", "v", "--json", cwd=folder).parsed
    references = [row["reference"] for row in rows if row["state"] == "complete" and row["reference"]]
    assert sorted(references) == ["easy", "steep"], "each reference once"
    return rows


def alive(pid: int) -> bool:
    """Whether that process exists and is more than a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().split(") ")[1][0] != "Z"
    except OSError:
        return False


def wait_until(true: Callable[[], bool], *, timeout_s: float) -> None:
    """Raises AssertionError where it never becomes true."""
    deadline = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < deadline, f"not within {timeout_s} s"
        time.sleep(0.05)


TRAINING = """
import time

import tune

@tune.objective(space=tune.Space(x=tune.Float(-1, 1)), score="loss", direction="minimize", budget=2)
def train(trial):
    for step in range(1, trial.budget + 1):
        time.sleep(0.3)
        trial.report(step, loss=trial.params["x"] ** 2)
"""


class TestTogether:
    def test_a_detached_study_is_done_by_a_worker_beside_the_dashboard(
        self, tmp_path: Path, here: Command, start: Command, valleys: Command
    ) -> None:
        valleys("v", 3)
        done = here("run", "--study", "v", "--trials", "4", "--detach", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert "Next: tune worker v\n" in done.stdout
        [study] = here("studies", "--json", cwd=tmp_path).parsed
        assert (study["waiting"], study["complete"], study["target_trials"]) == (2, 0, 4)

        port = _free_port()
        dashboard = start("dashboard", "--port", str(port), cwd=tmp_path)
        working = start("worker", "v", "--workers", "1", cwd=tmp_path, **SLOW)
        seen = _ask_until_it_answers(f"http://127.0.0.1:{port}/api/studies")
        assert [each["study_name"] for each in seen["study_summaries"]] == ["v"]
        while working.poll() is None:  # looked at all the while, figures and notes too
            detail = _ask_until_it_answers(f"http://127.0.0.1:{port}/api/studies/1?after=0")
            assert detail["note"]["body"]
            time.sleep(0.25)  # the dashboard writes a line for each request, into a pipe that nobody reads
        out, words = working.communicate(timeout=60)
        assert working.returncode == 0, words
        assert "4 of 4 trials finished" in out
        [study] = here("studies", "--json", cwd=tmp_path).parsed
        assert (study["complete"], study["pruned"], study["failed"], study["running"]) == (4, 0, 0, 0)

        def winner() -> bool:
            detail = _ask_until_it_answers(f"http://127.0.0.1:{port}/api/studies/1?after=0")
            states = [trial["state"] for trial in detail["trials"]]
            return states == ["Complete"] * 4 and "4 of 4 trials finished" in detail["note"]["body"]

        wait_until(winner, timeout_s=30)  # what is shown may be some seconds old
        with contextlib.ExitStack() as idle:
            for _ in range(50):
                idle.enter_context(socket.create_connection(("127.0.0.1", port)))
            assert winner(), "idle connections do not freeze it"
            dashboard.send_signal(signal.SIGTERM)
            _, words = dashboard.communicate(timeout=20)
        assert dashboard.returncode == 143, words
        assert words.endswith("tune: Stopped by SIGTERM.\n")

    def test_a_worker_for_ever_takes_every_study_until_a_signal(
        self, tmp_path: Path, here: Command, start: Command, valleys: Command
    ) -> None:
        for name in ("one", "two"):
            valleys(name, 4)
        serving = start("worker", "--forever", "--workers", "1", cwd=tmp_path)
        wait_until(lambda: completed_in(tmp_path) == 8, timeout_s=90)
        listed = here("studies", "--json", cwd=tmp_path).parsed
        assert [(row["study"], row["complete"]) for row in listed] == [("one", 4), ("two", 4)]
        time.sleep(1)
        assert serving.poll() is None, "it waits for more"
        serving.send_signal(signal.SIGTERM)
        _, words = serving.communicate(timeout=20)
        assert serving.returncode == 143, words
        assert "one is done." in words
        assert "Traceback" not in words

    def test_two_runs_on_one_study_make_no_more_than_was_asked_for(
        self, tmp_path: Path, here: Command, start: Command
    ) -> None:
        """The study is made by one of them, and its trials last long enough for both to take some."""
        (tmp_path / "train.py").write_text(TRAINING)
        run = ("run", "--objective", "train.py:train", "--trials", "4", "--workers", "1")
        both = [start(*run, cwd=tmp_path) for _ in range(2)]
        for each in both:
            _, words = each.communicate(timeout=100)
            assert each.returncode == 0, words
        [study] = here("studies", "--json", cwd=tmp_path).parsed
        assert study["complete"] + study["pruned"] == 4
        assert (study["failed"], study["running"], study["waiting"]) == (0, 0, 0)

    @pytest.mark.usefixtures("worker_threads")
    def test_time_is_up(self, tmp_path: Path, here: Command) -> None:
        done = here(*TestInterruption.LONG, "--timeout", "1", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert "time is up" in done.stdout
        [study] = here("studies", "--json", cwd=tmp_path).parsed
        assert study["running"] == 0

    def test_a_port_that_is_taken(self, finished: Path, here: Command) -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            done = here("dashboard", "--port", str(taken.getsockname()[1]), cwd=finished)
        assert done.returncode == 2
        assert "choose another --port" in done.stderr


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _ask_until_it_answers(url: str, *, timeout_s: float = 30) -> Any:
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                return json.load(answer)
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


@pytest.mark.timeout(300)
def test_a_password_is_found_nowhere(
    tmp_path: Path,
    start: Command,
    tune: Command,
    here: Command,
    postgresql_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Not in a process list, the environment of a child, what is printed, the database, nor in any file."""
    canary = "canary-4711"
    secret = (
        make_url(postgresql_url)
        .set(password=f"{canary}@/:% é'", query={"sslpassword": canary, "options": f"-c tune.x={canary}"})
        .render_as_string(hide_password=False)
    )
    running = start("run", "--task", "twodigit", *SMALL, "--workers", "1", cwd=tmp_path, TUNE_STORAGE=secret)
    seen: set[str] = set()
    while running.poll() is None:
        for process in [running.pid, *children_of(running.pid)]:
            with contextlib.suppress(OSError):
                environment = Path(f"/proc/{process}/environ").read_bytes().decode("latin-1")
                command = Path(f"/proc/{process}/cmdline").read_text()
                seen.add(command)
                own = Path(f"/proc/{running.pid}/cmdline").read_text()
                if command != own:  # one that was forked and runs nothing yet is a copy of its parent
                    seen.add(environment)
        time.sleep(0.1)
    out, words = running.communicate()
    assert running.returncode == 0, words
    assert any("spawn_main" in line for line in seen), "workers were among those looked at"
    assert any("PATH=" in line for line in seen), "and their environments"
    monkeypatch.setenv("TUNE_STORAGE", secret)
    told = [here(*words, cwd=tmp_path) for words in AFTERWARDS]
    assert [done.returncode for done in told] == [0] * len(AFTERWARDS), [done.stderr for done in told]
    wrong = make_url(secret).set(port=1).render_as_string(hide_password=False)
    refused = tune("--debug", "studies", cwd=tmp_path, TUNE_STORAGE=wrong)
    assert "Traceback" in refused.stderr
    everything = [*seen, out, words, refused.stderr, *rows_of(postgresql_url)]
    everything += [text for done in told for text in (done.stdout, done.stderr)]
    everything += [path.read_bytes().decode("latin-1") for path in tmp_path.rglob("*") if path.is_file()]
    assert len(everything) > 100
    assert [each for each in everything if canary in each] == []


AFTERWARDS = (
    ("studies", "--json"),
    ("trials", "twodigit", "--json"),
    ("best", "twodigit", "--json"),
    ("report", "twodigit"),
    ("export", "twodigit", "--out", "exported"),
    ("doctor",),
)
"""What writes pages, models and notes about a study, and what shows them."""


def children_of(parent: int) -> list[int]:
    with contextlib.suppress(OSError):
        return [int(c) for c in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]
    return []


def rows_of(url: str) -> list[str]:
    """Every row of every table, as text."""
    engine = create_engine(url)
    with engine.connect() as connection:
        found = [
            str(tuple(row))
            for name in inspect(connection).get_table_names()
            for row in connection.execute(text(f'SELECT * FROM "{name}"'))
        ]
    engine.dispose()
    return found
