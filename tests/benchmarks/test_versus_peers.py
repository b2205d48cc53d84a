"""The race of benchmarks/versus_peers.py, with scripts of a few lines as its sides."""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"

EVENT = """
import json, os, time
def note(lr, epoch, accuracy):
    event = {"t": time.time(), "pid": os.getpid(), "settings": {"lr": lr}}
    event.update(epoch=epoch, accuracy=accuracy)
    with open(os.environ["EVENTS"], "a") as file:
        file.write(json.dumps(event) + chr(10))
"""


@pytest.fixture
def race(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The benchmark, in a hurry."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    found = importlib.import_module("versus_peers")
    monkeypatch.setattr(found, "POLL_S", 0.02)
    return found


Measure = Callable[..., Any]


@pytest.fixture
def measure(race: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Measure:
    """measure(script, count): a run of a side whose worker is this script. count: of what it has."""

    def made(script: str, count: str | None = None, *, alone: bool = False, seconds: float = 20.0) -> Any:
        side = race.Side(
            "json",
            lambda _job, _worker: [sys.executable, "-c", EVENT + script],
            None if count is None else lambda _: [sys.executable, "-c", count],
            alone=alone,
        )
        monkeypatch.setitem(race.SIDES, "optuna", side)
        job = race.Job(folder=tmp_path, trials=3, seed=1, seconds=seconds)
        return race.measure("optuna", job, dict(os.environ), kill_every=kill_every[0])

    kill_every: list[float | None] = [None]
    made.kill_every = kill_every  # type: ignore[attr-defined]
    return made


COUNT = 'print(\'{"finished": 3, "open": 1}\')'


class TestRun:
    def test_what_comes_after_the_time_is_not_counted(self, measure: Measure) -> None:
        script = """
note(0.1, 1, 0.5)
note(0.1, 2, 0.25)
note(0.2, 1, 0.75)
time.sleep(3.5)
note(0.3, 1, 1.0)
"""
        run = measure(script, alone=True, seconds=3.0)
        assert (run.trials, run.epochs, run.failed, run.ended) == (2, 3, None, False)
        assert [accuracy for _, accuracy in run.best] == [0.5, 0.75]
        assert run.best_after(3.0) == 0.75

    def test_a_command_that_ends_with_an_error_is_a_failed_run(self, measure: Measure) -> None:
        run = measure("note(0.1, 1, 0.5)\nprint('a word'); raise SystemExit(3)", alone=True)
        assert run.failed.startswith("the command ended with exit code 3; ")
        assert run.failed.endswith("\na word")
        assert run.epochs == 1

    def test_a_command_that_does_not_end_is_a_failed_run(
        self, measure: Measure, race: ModuleType, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(race, "MARGIN_S", 0.5)
        run = measure("print('at work', flush=True); time.sleep(100)", alone=True, seconds=2.5)
        assert run.failed.startswith("the command had not ended 0.5 s after")
        assert run.failed.endswith("\nat work")

    def test_a_script_that_always_fails_is_not_started_for_ever(
        self, race: ModuleType, measure: Measure
    ) -> None:
        run = measure("print('no such module'); raise SystemExit(1)")
        assert "exit code 1, 5 times in a row" in run.failed
        assert run.failed.count("no such module") >= race.SHORT_LIVES

    def test_one_that_fails_now_and_then_is_started_again(
        self, measure: Measure, race: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setattr(race, "SHORT_S", 0.0)
        script = f"""
note(0.1, 1, 0.5)
raise SystemExit(os.stat(os.environ["EVENTS"]).st_size < {12 * 100})
"""
        run = measure(script)
        assert run.failed is None
        assert run.ended
        assert run.epochs > race.SHORT_LIVES

    @pytest.mark.parametrize(
        ("count", "words"),
        [
            ("import sys; sys.exit('no database')", "its trials cannot be counted: no database"),
            ("print('nothing')", "what it says of its trials cannot be read"),
            ("print('[]')", "what it says of its trials cannot be read"),
            (None, "what it says of its trials cannot be read"),
        ],
    )
    def test_a_side_that_cannot_count_its_trials_is_a_failed_run(
        self, measure: Measure, count: str | None, words: str
    ) -> None:
        measure.kill_every[0] = 100.0  # type: ignore[attr-defined]
        run = measure("print('done')", count)
        assert words in run.failed
        assert (run.finished, run.open) == (None, None)

    def test_kills_are_as_far_apart_as_was_asked_for_also_where_one_is_late(self, measure: Measure) -> None:
        """The process to kill is known from its first epoch on."""
        measure.kill_every[0] = 0.4  # type: ignore[attr-defined]
        run = measure("time.sleep(1.0)\nnote(0.1, 1, 0.5)\ntime.sleep(100)", COUNT, seconds=4.0)
        assert run.failed is None
        assert len(run.kills) >= 2
        assert all(later - earlier >= 0.4 for earlier, later in zip(run.kills, run.kills[1:], strict=False))
        assert (run.finished, run.open) == (3, 1)


TREE = """
import subprocess, sys, time
below = int(sys.argv[1])
if below:
    command = [sys.executable, "-c", sys.argv[2], str(below - 1), sys.argv[2]]
    subprocess.Popen(command, start_new_session=below == 2)  # as the guard of training code
time.sleep(100)
"""


class TestVictim:
    @pytest.fixture
    def tree(self) -> Iterator[list[int]]:
        """Process ids: of a command, its worker, the guard and the user's process."""
        command = subprocess.Popen([sys.executable, "-c", TREE, "3", TREE], start_new_session=True)
        pids = [command.pid]
        while len(pids) < 4:
            children = Path(f"/proc/{pids[-1]}/task/{pids[-1]}/children")
            until = time.monotonic() + 20
            while not (found := children.read_text().split()):
                assert time.monotonic() < until
                time.sleep(0.02)
            pids.append(int(found[0]))
        yield pids
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        command.wait()

    def test_of_tune_it_is_the_worker(self, race: ModuleType, tree: list[int]) -> None:
        command, worker, _guard, user = tree
        assert race.victim(race.SIDES["tune"], [{"pid": user}], {command}) == worker
        assert race.victim(race.SIDES["optuna"], [{"pid": user}], {command}) == user

    def test_of_an_orphan_there_is_none(self, race: ModuleType, tree: list[int]) -> None:
        """Its grandparent is another program's: process 1, or a service manager."""
        command, worker, guard, user = tree
        os.kill(worker, signal.SIGKILL)
        until = time.monotonic() + 20
        while race.seen(guard).parent == worker:
            assert time.monotonic() < until
            time.sleep(0.02)
        assert race.victim(race.SIDES["tune"], [{"pid": user}], {command}) is None

    def test_a_process_that_has_ended_is_none(self, race: ModuleType) -> None:
        ended = subprocess.Popen([sys.executable, "-c", ""])
        os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)
        assert race.victim(race.SIDES["optuna"], [{"pid": ended.pid}], set()) is None, "it is a zombie"
        ended.wait()
        assert race.victim(race.SIDES["optuna"], [{"pid": ended.pid}], set()) is None


class TestRace:
    @pytest.fixture
    def run(self, race: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
        """run(words…): main, with one side that works and one that fails."""
        works = 'note(0.1, 1, 0.5)\nprint(\'{"finished": 3, "open": 0}\')'
        for name, script in {"ray": works, "neps": "raise SystemExit('no room')"}.items():
            command = [sys.executable, "-c", EVENT + script]
            side = race.Side("json", lambda _job, _worker, command=command: command, None, alone=True)
            monkeypatch.setitem(race.SIDES, name, side)
        data = tmp_path / "data.npz"
        data.write_bytes(b"data")

        def made(*words: str) -> list[dict[str, Any]]:
            file = tmp_path / "race.json"
            given = ["--minutes", "0.1", "--seeds", "0", "--sides", "ray", "neps", "--json", str(file)]
            race.main([str(data), *given, *words])
            read: list[dict[str, Any]] = json.loads(file.read_text())["runs"]
            return read

        return made

    def test_a_side_that_fails_does_not_end_it(
        self, run: Callable[..., Any], capsys: pytest.CaptureFixture[str], tmp_path: Path
    ) -> None:
        runs = run()
        assert [(each["side"], each["asked"] == 20, each["failed"] is None) for each in runs] == [
            ("ray", False, True),
            ("neps", False, False),
            ("ray", True, True),
            ("neps", True, False),
        ]
        printed = capsys.readouterr().out
        assert "| ray | 1 | " in printed
        assert "| ray | 20 | 3 | 0 | 0 | after 0.0 min |" in printed
        assert "| neps |" not in printed
        assert printed.count("no room") == 2
        assert [path.name for path in tmp_path.iterdir() if path.name.endswith(".partial")] == []

    def test_it_continues_and_makes_failed_runs_again(
        self, run: Callable[..., Any], race: ModuleType, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        before = run("--asked", "0")
        made: list[str] = []
        measure = race.measure

        def noted(name: str, *arguments: Any, **more: Any) -> Any:
            made.append(name)
            return measure(name, *arguments, **more)

        monkeypatch.setattr(race, "measure", noted)
        after = run("--asked", "0")
        assert made == ["neps"]
        assert after[0] == before[0]
        assert len(after) == 2

    @pytest.mark.parametrize(
        ("words", "told"),
        [
            (["--minutes", "0.2"], "minutes 0.1, now 0.2"),
            (["--examples", "7"], "examples None, now 7"),
            (["--kill-every", "5"], "kill_every 60, now 5"),
        ],
    )
    def test_runs_of_another_race_are_not_taken(
        self, run: Callable[..., Any], words: list[str], told: str
    ) -> None:
        run("--asked", "0", "--sides", "ray")
        with pytest.raises(SystemExit, match=told):
            run("--asked", "0", "--sides", "ray", *words)

    def test_nor_those_of_other_code_and_data(
        self, run: Callable[..., Any], race: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        run("--asked", "0", "--sides", "ray")
        (tmp_path / "data.npz").write_bytes(b"other")
        monkeypatch.setattr(race, "git", lambda *_: "0123abc")
        with pytest.raises(SystemExit, match=r"data_sha256 .*, now .*; commit .*, now 0123abc"):
            run("--asked", "0", "--sides", "ray")


class TestTraining:
    @pytest.fixture
    def cnn(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
        draw = np.random.default_rng(0)
        arrays = {
            f"{part}_{what}": draw.integers(0, most, (20, *shape), dtype=np.uint8)
            for part in ("train", "val")
            for what, most, shape in (("images", 256, (42, 28)), ("labels", 10, (2,)))
        }
        np.savez(tmp_path / "data.npz", allow_pickle=False, **arrays)
        monkeypatch.setenv("TWODIGIT", str(tmp_path / "data.npz"))
        monkeypatch.setenv("EVENTS", str(tmp_path / "events.jsonl"))
        monkeypatch.syspath_prepend(str(BENCHMARKS / "peers"))
        monkeypatch.delitem(sys.modules, "course_cnn", raising=False)
        return importlib.import_module("course_cnn")

    def test_its_seed_follows_from_its_settings(self, cnn: ModuleType) -> None:
        settings = {"lr": 0.001, "channels": 16, "dropout": 0.5}
        of_a_library = {
            "dropout": np.float64(0.5), "channels": np.int64(16), "lr": np.float64(0.001), "epochs": 3
        }  # fmt: skip
        assert cnn.seed_of(settings) == cnn.seed_of(of_a_library)
        assert cnn.seed_of(settings) != cnn.seed_of({**settings, "lr": 0.0010001})

    def test_it_continues_where_it_stood(self, cnn: ModuleType, race: ModuleType, tmp_path: Path) -> None:
        settings = {"lr": 0.01, "channels": 8, "dropout": 0.5}
        whole = list(cnn.epochs(settings, until=2, directory=tmp_path))
        half = list(cnn.epochs(settings, until=1, directory=tmp_path))
        rest = list(cnn.epochs(settings, until=2, directory=tmp_path, state=tmp_path / "state.pt"))
        assert whole == half + rest
        events = race.events_of(tmp_path / "events.jsonl")
        assert [event["epoch"] for event in events] == [1, 2, 1, 2]
        assert {json.dumps(event["settings"]) for event in events} == {json.dumps(settings)}

    def test_tune_draws_channels_from_8_to_64(self, cnn: ModuleType) -> None:
        drawn = importlib.import_module("by_tune").train.space.domains["channels"]
        assert (drawn.low, drawn.high, drawn.log) == (8, 64, True)

    @pytest.mark.peers
    @pytest.mark.filterwarnings("ignore")  # the peers' own
    def test_so_does_ray(self, cnn: ModuleType) -> None:
        by_ray = importlib.import_module("by_ray")
        drawn = by_ray.OptunaSearch.convert_search_space(by_ray.space())["channels"]
        assert (drawn.low, drawn.high, drawn.log) == (8, 64, True)

    @pytest.mark.peers
    @pytest.mark.filterwarnings("ignore")  # the peers' own
    def test_so_does_neps_and_is_seeded(self, cnn: ModuleType, tmp_path: Path) -> None:
        by_neps = importlib.import_module("by_neps")

        def drawn(folder: str, seed: int) -> list[tuple[float, int]]:
            found: list[tuple[float, int]] = []

            def evaluate(lr: float, channels: float, dropout: float, epochs: int) -> float:
                found.append((lr, round(channels)))
                return lr

            by_neps.work(str(tmp_path / folder), 40, seed, evaluate)
            return found

        first = drawn("first", 1)
        assert len({channels for _, channels in first}) > 10
        assert all(8 <= channels <= 64 for _, channels in first)
        assert drawn("second", 1) == first
        assert drawn("third", 2) != first
