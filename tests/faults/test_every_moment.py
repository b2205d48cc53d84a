"""A worker, or a reaper, dies at its first write, at its second, and so on until all is done without it.

Before and after every commit. Among these moments are the one between a trial's beginning and the first
renewal of its lease, the one between a result and the settling of its slot, and a reaper's between ending a
lost trial and queuing its settings again. Parents are killed in tests/search/test_processes.py.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest

STRIDE = int(os.environ.get("TUNE_MOMENTS_STRIDE", "5"))
"""Of the moments, one in so many is tried; 1: all of them, as `make soak` does."""


@pytest.mark.timeout(600)
def test_a_worker_may_die_at_any_write(arena: Callable[..., Any], tmp_path: Any) -> None:
    moment, survived = 1, False
    while not survived:
        study = arena(f"sqlite:///{tmp_path}/{moment}.db", trials=3)
        study.wait(study.start(die_at=moment, pause_s=0.0))
        done = [line for line in study.history if line["event"] == "confirmed"]
        survived = len(done) == 3 and moment > 20
        study.bury()
        study.wait(study.start(pause_s=0.0))
        study.check()
        moment += STRIDE
    assert moment > 40, "three trials take some thirty writes, two moments each"


def test_a_reaper_may_die_at_any_write(arena: Callable[..., Any], tmp_path: Any) -> None:
    moment, survived = 1, False
    while not survived:
        study = arena(f"sqlite:///{tmp_path}/{moment}.db", trials=3)
        study.wait(study.start(die_at=8, pause_s=0.0))
        assert [line["event"] for line in study.history] == ["joined", "begun"]
        dead = [study.history[0]["worker"]]
        study.wait(study.start(reap=dead, die_at=moment))
        survived = study.history[-1]["event"] == "reaped"
        study.wait(study.start(reap=[*dead, "reaper"]))
        study.wait(study.start(pause_s=0.0))
        study.check()
        moment += 1
    assert moment > 8, "it takes over, ends, queues and lets go: four writes, two moments each"
