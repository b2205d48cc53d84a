"""A signal ends the very first command while it makes the database: the same command then continues."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from search.cli.app import run_command

RUN = ("run", "--task", "twodigit", "--trials", "2", "--detach")


@pytest.mark.parametrize(
    ("number", "later_s"),
    [(signal.SIGINT, 0.0), (signal.SIGTERM, 0.03), (signal.SIGHUP, 0.03)],
)
def test_a_signal_at_the_first_start(
    start: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    number: signal.Signals,
    later_s: float,
) -> None:
    file = tmp_path / "studies.db"
    for _ in range(5):
        first = start(*RUN, cwd=tmp_path)
        deadline = time.monotonic() + 100
        while not file.exists():
            assert time.monotonic() < deadline
            time.sleep(0.001)
        time.sleep(later_s)
        first.send_signal(number)
        first.communicate(timeout=60)
        if first.returncode != 0:
            break
        file.unlink()  # it was done before the signal came
    assert first.returncode != 0
    monkeypatch.chdir(tmp_path)
    assert run_command(list(RUN), debug=False) == 0
    out, words = capsys.readouterr()
    assert words == ""
    assert "the study is open for 2 trials" in out
    assert [path.name for path in tmp_path.iterdir()] == ["studies.db"], "nothing is left over"
