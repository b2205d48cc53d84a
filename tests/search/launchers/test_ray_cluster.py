"""Workers on a Ray cluster of two nodes: a node, the head, the parent are killed; nothing is lost or doubled.

Needs Ray (`pip install -e '.[ray]'`) and a server; `make ray` runs it. Ray's nodes are processes of this
machine, so SIGKILL for all that belongs to one is what a lost machine looks like from the others.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, inspect, text
from sqlalchemy.engine import make_url

pytestmark = [
    pytest.mark.ray,
    pytest.mark.timeout(400),
    pytest.mark.filterwarnings("ignore"),  # Ray's own, of which there are many
]

Command = Callable[..., Any]
TRIALS = 8
CANARY = "canary-4711"
ROUNDS = int(os.environ.get("TUNE_RAY_ROUNDS", "1"))
RUN = ("--trials", str(TRIALS), "--pruner", "none", "--sampler", "random", "--workers", "4")
NETWORKS = ("--task", "twodigit", "--model", "mlp", "--epochs", "0.25")
AWAY_S = 10
"""Seconds for which Ray hopes that its head comes back, with one core busy; of itself it takes sixty."""
WAITING = """
import time, tune

@tune.objective(space=tune.Space(x=tune.Float(0, 1)), score="value", budget=12, unit="step")
def train(trial):
    for step in range(1, 13):
        time.sleep(0.25)
        trial.report(step, value=trial.params["x"])
"""
"""Training code that takes three seconds and hardly any processor time."""

_logger = logging.getLogger(__name__)


class TwoNodes:
    """A cluster of two nodes with two CPUs each."""

    def __init__(self) -> None:
        self._cluster = importlib.import_module("ray.cluster_utils").Cluster(
            initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False}
        )
        self._second = self._cluster.add_node(num_cpus=2)
        self.address: str = self._cluster.address
        self.logs = Path(self._cluster.head_node.get_session_dir_path())

    @property
    def head(self) -> int:
        """Process id of the head's raylet."""
        return self._raylet(self._cluster.head_node)

    @property
    def second(self) -> int:
        """Process id of the second node's raylet."""
        return self._raylet(self._second)

    def kill_second(self) -> None:
        """Ends every process of the second node at once."""
        workers = children_of(self.second)
        self._cluster.remove_node(self._second, allow_graceful=False)
        for worker in workers:  # they would follow their raylet; on a machine that is lost nothing waits
            with contextlib.suppress(ProcessLookupError):
                os.kill(worker, signal.SIGKILL)

    def kill_head(self) -> None:
        """Ends every process of the head at once."""
        workers = children_of(self.head)
        self._cluster.remove_node(self._cluster.head_node, allow_graceful=False)
        for worker in workers:
            with contextlib.suppress(ProcessLookupError):
                os.kill(worker, signal.SIGKILL)

    def shutdown(self) -> None:
        """Ends the cluster."""
        with contextlib.suppress(Exception):  # some of it is dead already
            self._cluster.shutdown()

    @staticmethod
    def _raylet(node: Any) -> int:
        return int(node.all_processes["raylet"][0].process.pid)


@pytest.fixture(scope="class")
def cluster() -> Iterator[TwoNodes]:
    """One for each test, or for a class of tests that do it no harm."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_gcs_rpc_server_reconnect_timeout_s", str(AWAY_S))
        made = TwoNodes()
        yield made
        made.shutdown()


@pytest.fixture
def database(postgresql_url: str) -> Iterator[Engine]:
    engine = create_engine(postgresql_url)
    yield engine
    engine.dispose()


@pytest.fixture
def run(start: Command, tmp_path: Path, postgresql_url: str, cluster: TwoNodes) -> Command:
    """run(*NETWORKS): `tune run` of them on the cluster in the background, its password a canary."""
    (tmp_path / "waiting.py").write_text(WAITING)
    secret = make_url(postgresql_url).set(password=CANARY).render_as_string(hide_password=False)

    def begin(*what: str) -> subprocess.Popen[str]:
        engine = ("--engine", "ray", "--address", cluster.address)
        process: subprocess.Popen[str] = start("run", *RUN, *what, *engine, cwd=tmp_path, TUNE_STORAGE=secret)
        return process

    return begin


@pytest.mark.parametrize("round_", range(ROUNDS))
def test_a_killed_node_costs_nothing(round_: int, run: Command, cluster: TwoNodes, database: Engine) -> None:
    running = run(*NETWORKS)
    lost = wait_for(lambda: held_by(database, children_of(cluster.second)), timeout_s=200)
    began = time.monotonic()
    cluster.kill_second()
    out, words = running.communicate(timeout=200)
    assert running.returncode == 0, words
    assert f"{TRIALS} of {TRIALS} trials finished" in out
    rows = trials_of(database)
    repeated = exactly_n(rows)
    died = {row["trial_id"] for row in rows if row["failure"] == "worker_died"}
    assert died, f"trials {lost} were at work on the node that was killed"
    assert {"course-mlp", "course-conv"} == {
        row["reference"] for row in rows if row["state"] == "COMPLETE" and row["reference"]
    }
    _logger.info(
        "round %d: %d trials at work on the killed node, %d failed as worker_died, %d repeated; "
        "%d complete, none open, %.0f s after the kill",
        *(round_, len(lost), len(died), repeated, TRIALS, time.monotonic() - began),
    )


class TestParent:
    """What ends the run leaves the cluster as it was."""

    def test_workers_end_with_a_killed_one_and_the_same_command_continues(
        self, run: Command, cluster: TwoNodes, database: Engine
    ) -> None:
        running = run("--objective", "waiting.py")
        wait_for(lambda: held_by(database, children_of(cluster.second)), timeout_s=200)
        workers = workers_in(database)
        os.kill(running.pid, signal.SIGKILL)
        wait_for(lambda: not any(alive(pid) for pid in workers), timeout_s=30)
        again = run("--objective", "waiting.py")
        _, words = again.communicate(timeout=300)
        assert again.returncode == 0, words
        exactly_n(trials_of(database))

    def test_ctrl_c_saves_and_no_password_is_left_anywhere(
        self, run: Command, cluster: TwoNodes, database: Engine, tmp_path: Path
    ) -> None:
        running = run(*NETWORKS)
        seen: set[str] = set()
        wait_for(lambda: held_by(database, children_of(cluster.second)), timeout_s=200)
        for process in [p for p in Path("/proc").iterdir() if p.name.isdecimal()]:
            with contextlib.suppress(OSError):
                line = (process / "cmdline").read_bytes().decode("latin-1")
                if "ray" in line or "tune" in line:
                    seen.add(line)
        assert any("ray::" in line for line in seen), "Ray's workers were among those looked at"
        os.killpg(running.pid, signal.SIGINT)
        began = time.monotonic()
        out, words = running.communicate(timeout=60)
        assert running.returncode == 130, words
        assert "the same command continues" in words
        rows = trials_of(database)
        assert [row["trial_id"] for row in rows if row["state"] == "RUNNING"] == []
        assert {row["failure"] for row in rows if row["state"] == "FAIL"} == {"interrupted"}
        _logger.info("stopped %.1f s after Ctrl-C", time.monotonic() - began)

        cluster.shutdown()  # its logs are written; no test of this class comes after
        logs = {
            path: path.read_bytes().decode("latin-1")
            for folder in (cluster.logs, tmp_path)
            for path in folder.rglob("*")
            if path.is_file()
        }
        assert rows
        assert any(path.name.startswith("worker-") for path in logs), "Ray's logs of its workers"
        seen |= {out, words, *everything_in(database), *logs.values()}
        assert [each[:200] for each in seen if CANARY in each] == []


def test_a_lost_head_ends_the_run_in_words(run: Command, cluster: TwoNodes, database: Engine) -> None:
    # Eight trials can be over before a fast machine notices the loss.
    running = run("--objective", "waiting.py", "--trials", "1000")
    wait_for(lambda: held_by(database, children_of(cluster.second)), timeout_s=200)
    cluster.kill_head()
    _, words = running.communicate(timeout=200)
    assert running.returncode == 1, words
    assert "The Ray cluster is lost" in words
    assert "Traceback" not in words
    assert [row["trial_id"] for row in trials_of(database) if row["state"] == "RUNNING"] == []


def exactly_n(rows: list[dict[str, Any]]) -> int:
    """Holds the trials to the promise; returns how many of the complete ones repeat another."""
    assert Counter(row["state"] for row in rows if row["state"] != "FAIL") == {"COMPLETE": TRIALS}
    complete = [row for row in rows if row["state"] == "COMPLETE"]
    origins = [row["origin"] for row in complete]
    assert len(set(origins)) == TRIALS, "no settings count twice"
    return sum(row["origin"] != str(row["number"]) for row in complete)


def trials_of(database: Engine) -> list[dict[str, Any]]:
    """Every trial with what Optuna's own tables say of it."""
    with database.connect() as connection:
        rows = connection.execute(text("SELECT trial_id, number, state FROM trials ORDER BY trial_id"))
        trials = [dict(row._mapping) for row in rows]
        attributes = connection.execute(text("SELECT trial_id, key, value_json FROM trial_user_attributes"))
        noted: dict[tuple[int, str], str] = {
            (trial_id, key): value.strip('"') for trial_id, key, value in attributes
        }
    for trial in trials:
        for name in ("failure", "reference"):
            trial[name] = noted.get((trial["trial_id"], name))
        trial["origin"] = noted.get((trial["trial_id"], "origin"), str(trial["number"]))
    return trials


def held_by(database: Engine, pids: list[int]) -> list[int]:
    """The trials that these worker processes are in the middle of: claimed, and reported on once."""
    with contextlib.suppress(Exception), database.connect() as connection:  # no table yet
        return [
            trial_id
            for trial_id, pid in connection.execute(
                text(
                    "SELECT DISTINCT claims.trial_id, workers.pid FROM tune_claims AS claims "
                    "JOIN tune_workers AS workers USING (worker_id) JOIN tune_reports USING (trial_id) "
                    "WHERE NOT claims.done"
                )
            )
            if pid in pids
        ]
    return []


def workers_in(database: Engine) -> list[int]:
    """Process ids of the workers that signed the list."""
    with database.connect() as connection:
        return [pid for (pid,) in connection.execute(text("SELECT pid FROM tune_workers"))]


def everything_in(database: Engine) -> list[str]:
    """Every row of every table, as text."""
    with database.connect() as connection:
        return [
            str(tuple(row))
            for name in inspect(connection).get_table_names()
            for row in connection.execute(text(f'SELECT * FROM "{name}"'))
        ]


def children_of(parent: int) -> list[int]:
    """Process ids of the children of a process, whichever of its threads started them."""
    with contextlib.suppress(OSError):
        files = Path(f"/proc/{parent}/task").glob("*/children")
        return [int(child) for file in files for child in file.read_text().split()]
    return []


def alive(pid: int) -> bool:
    """Whether that process exists and is more than a zombie."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1][0] not in "ZX"
    return False


def wait_for(what: Callable[[], Any], *, timeout_s: float) -> Any:
    """What `what` returns, once that is true."""
    deadline = time.monotonic() + timeout_s
    while not (found := what()):
        assert time.monotonic() < deadline, f"not within {timeout_s} s"
        time.sleep(0.05)
    return found
