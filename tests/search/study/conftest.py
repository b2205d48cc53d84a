"""What the tests of several modules here need."""

from __future__ import annotations

import pytest


@pytest.fixture
def early_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """TPE models after three trials in place of twenty, so that it proposes trials in short studies too."""
    monkeypatch.setattr("search.study.samplers.STARTUP_TRIALS", 3)
