"""The command `tune` as a person meets it: what it prints, where, and with which exit code."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from data.mnist import Mnist
from search.cli.app import run_command
from search.service.create import RunRequest, create_or_resume
from search.study.storage import open_storage
from search.work.artifacts import Artifacts
from search.work.ground import prepare
from search.work.worker import work

TUNE = str(Path(sys.executable).parent / "tune")
SMALL = ("--trials", "4", "--epochs", "0.02", "--model", "mlp")


def tune(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs the installed command in `cwd`."""
    return subprocess.run(
        [TUNE, *arguments],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, mnist: Mnist) -> Path:
    """A folder with two finished studies of twodigit and one of sum."""
    folder = tmp_path_factory.mktemp("finished")
    storage = open_storage(f"sqlite:///{folder / 'studies.db'}")
    for task, name, seed in (("twodigit", "twodigit", 0), ("twodigit", "again", 1), ("sum", "sum", 0)):
        request = RunRequest(task=task, trials=4, study=name, epochs=0.02, model="mlp", seed=seed)
        study, _ = create_or_resume(storage, request, mnist)
        artifacts = Artifacts(root=folder / "studies.artifacts", study_id=study.study_id, name=name)
        ground = prepare(storage, name, mnist, artifacts, device=torch.device("cpu"), threads=1)
        assert work(ground, stop=lambda: False) == 4
    storage.close()
    return folder


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    returncode: int
    stdout: str
    stderr: str


Here = Callable[..., Done]


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Here:
    """Runs the command inside this process, which spares the seconds of importing."""

    def run(*arguments: str, cwd: Path, debug: bool = False) -> Done:
        monkeypatch.chdir(cwd)
        capsys.readouterr()
        code = run_command(list(arguments), debug=debug)
        printed = capsys.readouterr()
        return Done(returncode=code, stdout=printed.out, stderr=printed.err)

    return run


def parsed(done: Done | subprocess.CompletedProcess[str]) -> Any:
    """What a command with --json printed; everything that is not data must be elsewhere."""
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_run_from_beginning_to_end(tmp_path: Path) -> None:
    done = tune("run", "--task", "twodigit", *SMALL, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "4 of 4 trials finished" in done.stdout
    assert "over course-mlp" in done.stdout
    assert "Next: tune best twodigit" in done.stdout
    assert "4/4" in done.stderr, "plain lines where there is no terminal"
    assert "Warning" not in done.stderr
    again = tune("run", "--task", "twodigit", "--trials", "4", cwd=tmp_path)
    assert again.returncode == 0
    assert "nothing is left to do" in again.stdout
    more = parsed(tune("run", "--task", "twodigit", "--trials", "5", "--json", cwd=tmp_path))
    assert more["complete"] + more["pruned"] == 5


class TestLooking:
    def test_studies(self, finished: Path, here: Here) -> None:
        listed = parsed(here("studies", "--json", cwd=finished))
        assert [row["study"] for row in listed] == ["twodigit", "again", "sum"]
        for row in listed:
            assert row["complete"] + row["pruned"] == row["target_trials"] == 4
            assert (row["failed"], row["running"]) == (0, 0)
            assert 0 < row["best_value"] < 1
            assert row["best_trial"] in range(4)
        table = here("studies", cwd=finished).stdout
        assert table.splitlines()[0].split()[:3] == ["study", "task", "trials"]
        assert len(table.splitlines()) == 4

    def test_trials(self, finished: Path, here: Here) -> None:
        rows = parsed(here("trials", "twodigit", "--json", cwd=finished))
        assert [row["trial"] for row in rows] == [0, 1, 2, 3]
        for row in rows:
            assert row["state"] in ("complete", "pruned")
            assert set(row) >= {"trial", "state", "value", "params", "epochs", "seconds"}
            assert 0 < row["epochs"] <= 0.02
            assert row["seconds"] > 0
            assert row["params"]["model"] in ("mlp", "conv")
        assert [row["reference"] for row in rows[:2]] == ["course-mlp", "course-conv"]

    @pytest.mark.parametrize(
        ("study", "heads"), [("twodigit", ["first_digit", "second_digit"]), ("sum", ["digit", "sum"])]
    )
    def test_best(self, finished: Path, here: Here, study: str, heads: list[str]) -> None:
        best = parsed(here("best", study, "--json", cwd=finished))
        assert (best["study"], best["task"]) == (study, study)
        assert list(best["validation"]) == [*heads, "joint"]
        accuracies = [best["validation"][head] for head in heads]
        assert best["value"] == pytest.approx(sum(accuracies) / 2)
        assert best["validation"]["joint"] <= min(accuracies)
        assert best["parameters"] > 1000
        assert best["environment"]["torch"]
        rows = parsed(here("trials", study, "--json", cwd=finished))
        complete = [row["value"] for row in rows if row["state"] == "complete"]
        assert best["value"] == max(complete)

    def test_compare(self, finished: Path, here: Here) -> None:
        done = here("compare", "twodigit", "again", cwd=finished)
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines()[0].split() == ["twodigit", "again"]
        assert "accuracy second_digit" in done.stdout
        both = parsed(here("compare", "twodigit", "again", "--json", cwd=finished))
        for row in both:
            low, high = row["intervals"]["mean"]
            assert low < row["value"] < high


class TestRefusals:
    @pytest.mark.parametrize(
        ("arguments", "code", "words"),
        [
            (["run", "--task", "twodigits"], 2, "did you mean twodigit?"),
            (["run", "--task", "twodigit", "--trials", "0"], 2, "--trials must be at least 1, not 0"),
            (["run", "--task", "twodigit", "--trials", "many"], 2, "--trials"),
            (["run", "--task", "twodigit", "--model", "cnn"], 2, "--model cnn: no such family"),
            (["run", "--task", "twodigit", "--sampler", "tbe"], 2, "did you mean tpe?"),
            (["run", "--task", "twodigit", "--pruner", "median2"], 2, "did you mean median?"),
            (["run", "--task", "twodigit", "--epochs", "0"], 2, "--epochs must be from 0.01"),
            (["run", "--task", "twodigit", "--target", "98.5"], 2, "a fraction between 0 and 1"),
            (["run", "--task", "twodigit", "--workers", "0"], 2, "--workers must be at least 1"),
            (["run", "--task", "twodigit", "--device", "tpu"], 2, "tpu"),
            (["run", "--task", "twodigit", "--study", "x" * 101], 2, "at most 100 characters"),
            (["run", "--task", "twodigit", "--study", "a\nb"], 2, "a printable name"),
            (["run", "--task", "twodigit", "--trails", "3"], 2, "--trails"),
            (["run", "--task", "twodigit", "--space", "none.toml"], 78, "none.toml: cannot be read"),
            (["run", "--task", "twodigit", "--storage", "xyz"], 78, "is not a database URL"),
            (["run", "--task", "twodigit", "--storage", "sqlite:////no/x.db"], 78, "no folder /no"),
            (
                ["run", "--task", "sum", "--storage", "postgresql://a:hush@127.0.0.1:1/d"],
                75,
                "does not answer",
            ),
            (["studies"], 78, "There is no storage"),
            (["best", "x"], 78, "There is no storage"),
            (["run", "--task", "twodigit", "--timeout", "nan"], 2, "--timeout must be above 0"),
            (["data", "show", "--task", "two"], 2, "did you mean twodigit?"),
            (["data", "fetch", "--from", "/nowhere"], 78, "/nowhere"),
            (["nonsense"], 2, "nonsense"),
        ],
    )
    def test_one_sentence_and_the_right_code(
        self, tmp_path: Path, here: Here, arguments: list[str], code: int, words: str
    ) -> None:
        done = here(*arguments, cwd=tmp_path)
        assert done.returncode == code, done.stderr
        assert words in done.stderr
        assert "Traceback" not in done.stderr
        assert "hush" not in done.stderr
        assert done.stdout == ""
        assert list(tmp_path.iterdir()) == [], "a refusal leaves nothing behind"

    @pytest.mark.parametrize(
        ("arguments", "code", "words"),
        [
            (["run", "--task", "sum", "--study", "twodigit"], 78, "--task sum (the study has twodigit)"),
            (["run", "--task", "twodigit", "--seed", "5"], 78, "--seed 5 (the study has 0)"),
            (
                ["run", "--task", "twodigit", "--model", "conv"],
                78,
                "another search space (it differs in activation",
            ),
            (["trials", "twodigti"], 2, "did you mean twodigit?"),
            (["best", "nosuch"], 2, "There is no study nosuch"),
            (["compare", "twodigit", "twodigit"], 2, "takes two studies or more"),
            (["compare", "twodigit", "sum"], 2, "Only studies of one task can be compared"),
            (["worker", "nosuch"], 2, "There is no study nosuch"),
        ],
    )
    def test_what_does_not_fit_a_study(
        self, finished: Path, here: Here, arguments: list[str], code: int, words: str
    ) -> None:
        before = (finished / "studies.db").read_bytes()
        done = here(*arguments, cwd=finished)
        assert done.returncode == code, done.stderr
        assert (words in done.stderr) or (
            words == "another search space (it differs in activation" and "it differs in" in done.stderr
        )
        assert "Traceback" not in done.stderr
        assert (finished / "studies.db").read_bytes() == before, "a refusal changes nothing"

    def test_three_mistakes_in_a_space_file_are_all_named(self, tmp_path: Path, here: Here) -> None:
        (tmp_path / "space.toml").write_text('optimiser = "adam"\ndropout = 2\nwidth = {low = 9, high = 1}\n')
        done = here("run", "--task", "twodigit", "--space", "space.toml", cwd=tmp_path)
        assert done.returncode == 78
        for words in (
            "space.toml: optimiser: no such setting (did you mean optimizer?)",
            "space.toml: dropout: must be a number from 0 to 0.95, not 2.0",
            "space.toml: width: low must not exceed high, but 9 > 1",
        ):
            assert words in done.stderr
        assert not (tmp_path / "studies.db").exists()

    def test_debug_shows_the_traceback(self, tmp_path: Path, here: Here) -> None:
        done = here("studies", cwd=tmp_path, debug=True)
        assert done.returncode == 78
        assert "Traceback" in done.stderr

    def test_damaged_data_are_named_with_the_expected_sum(self, tmp_path: Path) -> None:
        cache = tmp_path / "cache"
        cache.mkdir()
        (cache / "t10k-labels-idx1-ubyte").write_bytes(b"not the labels")
        done = tune("data", "verify", cwd=tmp_path, TUNE_DATA_DIR=str(cache))
        assert done.returncode == 78
        assert "t10k-labels-idx1-ubyte" in done.stdout
        assert "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2" in done.stdout


class TestData:
    def test_verify(self, tmp_path: Path, here: Here) -> None:
        done = here("data", "verify", "--json", cwd=tmp_path)
        assert done.returncode == 0
        assert {entry["state"] for entry in json.loads(done.stdout).values()} == {"ok"}

    @pytest.mark.parametrize("task", ["twodigit", "sum"])
    def test_show_draws_a_picture(self, tmp_path: Path, here: Here, task: str) -> None:
        done = here("data", "show", "--task", task, "--out", "grid.png", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        with Image.open(tmp_path / "grid.png") as picture:
            assert picture.width > 500
            assert len(picture.getcolors(1 << 20) or []) > 50, "digits have shades"


class TestHelp:
    def test_lists_every_command_and_loads_nothing_heavy(self, tmp_path: Path) -> None:
        code = (
            "import sys; sys.argv = ['tune', '--help']\n"
            "from search.cli.app import main\n"
            "try: main()\nexcept SystemExit as end: assert not end.code\n"
            "heavy = {'torch', 'optuna', 'sqlalchemy', 'plotly', 'numpy', 'PIL'} & set(sys.modules)\n"
            "assert not heavy, heavy\n"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        for command in (
            "run",
            "worker",
            "studies",
            "trials",
            "best",
            "compare",
            "dashboard",
            "data",
            "doctor",
        ):
            assert f"\n  {command} " in done.stdout

    def test_version(self, tmp_path: Path, here: Here) -> None:
        done = here("--version", cwd=tmp_path)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.startswith("tune 0.")

    def test_doctor_finds_this_machine_well(self, tmp_path: Path, here: Here) -> None:
        findings = parsed(here("doctor", "--json", cwd=tmp_path))
        assert {finding["check"] for finding in findings} >= {"torch", "device", "data", "storage", "disk"}
        assert all(finding["ok"] for finding in findings)


def start(*arguments: str, cwd: Path) -> subprocess.Popen[str]:
    """The command in the background, in a process group of its own, as a shell starts it."""
    return subprocess.Popen(
        [TUNE, *arguments],
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def wait_for_a_running_trial(folder: Path, *, timeout_s: float = 60) -> None:
    """Until a worker has reported a first point of some trial, by a look at the file itself."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        with contextlib.suppress(sqlite3.OperationalError):  # no file yet, no table yet
            connection = sqlite3.connect(f"file:{folder / 'studies.db'}?mode=ro", uri=True, timeout=10)
            with contextlib.closing(connection):
                [(running,)] = connection.execute(
                    "SELECT count(*) FROM trials JOIN tune_points USING (trial_id) WHERE state = 'RUNNING'"
                )
            if running:
                return
        time.sleep(0.02)
    raise AssertionError(f"no trial was running after {timeout_s} s")


def workers_of(parent: int) -> list[int]:
    """Process ids of the worker processes (not of multiprocessing's own helper)."""
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return [int(c) for c in children if b"spawn_main" in Path(f"/proc/{c}/cmdline").read_bytes()]


class TestInterruption:
    LONG = (
        "run",
        "--task",
        "twodigit",
        "--trials",
        "3",
        "--epochs",
        "0.5",
        "--model",
        "mlp",
        "--pruner",
        "none",
        "--workers",
        "1",
    )

    def finish(self, folder: Path, here: Here) -> list[dict[str, Any]]:
        """The same command again: it must end with exactly three trials. Returns all trials."""
        done = tune(*self.LONG, cwd=folder)
        assert done.returncode == 0, done.stderr
        return self.exactly_three(folder, here)

    def exactly_three(self, folder: Path, here: Here) -> list[dict[str, Any]]:
        [study] = parsed(here("studies", "--json", cwd=folder))
        assert (study["complete"], study["pruned"], study["running"], study["waiting"]) == (3, 0, 0, 0)
        rows: list[dict[str, Any]] = parsed(here("trials", "twodigit", "--json", cwd=folder))
        references = [row["reference"] for row in rows if row["state"] == "complete" and row["reference"]]
        assert sorted(references) == ["course-conv", "course-mlp"], "each reference once"
        return rows

    @pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
    def test_a_signal_leaves_the_study_in_order_and_the_same_command_goes_on(
        self, tmp_path: Path, here: Here, number: signal.Signals, code: int
    ) -> None:
        running = start(*self.LONG, cwd=tmp_path)
        wait_for_a_running_trial(tmp_path)
        os.killpg(running.pid, number)  # Ctrl-C reaches the whole group
        _, words = running.communicate(timeout=30)
        assert running.returncode == code, words
        assert "the same command goes on" in words
        assert "Traceback" not in words
        rows = parsed(here("trials", "twodigit", "--json", cwd=tmp_path))
        assert [row for row in rows if row["state"] == "running"] == []
        assert any(row["failure"] == "interrupted" for row in rows)
        if number == signal.SIGINT:  # once is enough: the state it starts from is the same
            self.finish(tmp_path, here)

    def test_a_killed_worker_is_replaced_and_nothing_is_lost(self, tmp_path: Path, here: Here) -> None:
        running = start(*self.LONG, cwd=tmp_path)
        wait_for_a_running_trial(tmp_path)
        for worker in workers_of(running.pid):
            os.kill(worker, signal.SIGKILL)
        _, words = running.communicate(timeout=100)
        assert running.returncode == 0, words
        rows = self.exactly_three(tmp_path, here)
        assert any(row["failure"] == "worker_died" for row in rows)

    def test_workers_do_not_outlive_a_killed_parent(self, tmp_path: Path, here: Here) -> None:
        running = start(*self.LONG, cwd=tmp_path)
        wait_for_a_running_trial(tmp_path)
        workers = workers_of(running.pid)
        running.kill()
        running.communicate(timeout=10)
        time.sleep(2.5)
        assert [worker for worker in workers if _alive(worker)] == []
        self.finish(tmp_path, here)


class TestTogether:
    def test_a_detached_study_is_done_by_a_worker_beside_the_dashboard(
        self, tmp_path: Path, here: Here
    ) -> None:
        done = here("run", "--task", "twodigit", *SMALL, "--detach", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert "Next: tune worker twodigit" in done.stdout
        [study] = parsed(here("studies", "--json", cwd=tmp_path))
        assert (study["waiting"], study["complete"], study["target_trials"]) == (2, 0, 4)

        port = _free_port()
        dashboard = start("dashboard", "--port", str(port), cwd=tmp_path)
        try:
            working = start("worker", "twodigit", cwd=tmp_path)
            seen = _ask_until_it_answers(f"http://127.0.0.1:{port}/api/studies")
            assert [each["study_name"] for each in seen["study_summaries"]] == ["twodigit"]
            out, words = working.communicate(timeout=60)
            assert working.returncode == 0, words
            assert "4 of 4 trials finished" in out
            detail = _ask_until_it_answers(f"http://127.0.0.1:{port}/api/studies/1?after=0")
            assert [trial["state"] for trial in detail["trials"]] == ["Complete"] * 4
        finally:
            dashboard.kill()
            dashboard.communicate()

    def test_two_runs_on_one_study_make_no_more_than_was_asked_for(self, tmp_path: Path, here: Here) -> None:
        both = [start("run", "--task", "twodigit", *SMALL, "--workers", "1", cwd=tmp_path) for _ in range(2)]
        for each in both:
            _, words = each.communicate(timeout=100)
            assert each.returncode == 0, words
        [study] = parsed(here("studies", "--json", cwd=tmp_path))
        assert study["complete"] + study["pruned"] == 4
        assert (study["failed"], study["running"], study["waiting"]) == (0, 0, 0)

    def test_time_is_up(self, tmp_path: Path, here: Here) -> None:
        done = tune(*TestInterruption.LONG, "--timeout", "1", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert "time is up" in done.stdout
        [study] = parsed(here("studies", "--json", cwd=tmp_path))
        assert study["running"] == 0

    def test_a_port_that_is_taken(self, finished: Path, here: Here) -> None:
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


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split(") ")[1][0] != "Z"
    except OSError:
        return False
