"""Many at once on one study, and a dashboard that looks on: exactly N, and nobody is turned away."""

from __future__ import annotations

import json
import socket
import threading
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


@pytest.mark.parametrize("database", ["sqlite_url", "postgresql_url", "mysql_url"])
def test_eight_workers_and_twenty_trials(
    request: pytest.FixtureRequest, arena: Callable[..., Any], database: str
) -> None:
    study = arena(request.getfixturevalue(database), trials=20, pruner="none")
    for _ in range(8):
        study.start(pause_s=0.005, lease_s=30.0)
    for pid in study.pids:
        study.wait(pid)
    study.check()
    begun = [line["trial"] for line in study.history if line["event"] == "begun"]
    assert sorted(begun) == list(range(20)), "each once, and no more"


def test_a_dashboard_looks_on_all_the_while(
    arena: Callable[..., Any], start: Callable[..., Any], tmp_path: Path
) -> None:
    """Each look reads every trial, again and again, in the way of every write of an SQLite file."""
    url = f"sqlite:///{tmp_path / 'studies.db'}"
    study = arena(url, trials=30)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    dashboard = start("dashboard", "--port", str(port), cwd=tmp_path, TUNE_STORAGE=url)
    # It writes a line for each request; a pipe that nobody reads fills, and then it stands still.
    reader = threading.Thread(target=dashboard.stderr.read, daemon=True)
    reader.start()
    api = f"http://127.0.0.1:{port}/api/studies"
    deadline = time.monotonic() + 60
    while True:
        try:
            asked(api)
            break
        except OSError:
            assert time.monotonic() < deadline, "the dashboard does not answer"
            time.sleep(0.1)
    for _ in range(3):
        study.start(pause_s=0.08, lease_s=30.0)
    looks = 0
    while study.alive():
        assert len(asked(api)["study_summaries"]) == 1
        asked(f"{api}/1?after=0")  # an answer other than 200 raises
        looks += 1
    dashboard.kill()
    reader.join(30)
    study.check()
    assert looks >= 3
    assert [line for line in study.history if line["event"] == "gave up"] == []


def asked(url: str) -> Any:
    """What the dashboard answers. Raises OSError where it refuses."""
    with urllib.request.urlopen(url, timeout=60) as answer:
        return json.load(answer)
