"""A worker dies at its first write, at its second, and so on until a whole study passes without it."""

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
