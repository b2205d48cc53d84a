"""The checker of the fault tests can fail: each kind of harm, done to a sound study, is noticed."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

HARM = {
    "a result is lost": "UPDATE trials SET state = 'FAIL' WHERE trial_id = 1",
    "another value": "UPDATE trial_values SET value = 0.999 WHERE trial_id = 1",
    "one too many": "INSERT INTO trials (number, study_id, state) VALUES (9, 1, 'COMPLETE')",
    "left running": "INSERT INTO trials (number, study_id, state) VALUES (9, 1, 'RUNNING')",
    "left waiting": "INSERT INTO trials (number, study_id, state) VALUES (9, 1, 'WAITING')",
    "a slot is open": "UPDATE tune_claims SET done = 0 WHERE slot = 1",
    "two slots for one trial": "UPDATE tune_claims SET trial_id = 1",
    "a curve is cut": "DELETE FROM tune_reports WHERE trial_id = 1 AND step > 9000",
    "a curve is gone": "DELETE FROM tune_reports WHERE trial_id = 1",
    "weights that nothing names": "INSERT INTO tune_weights VALUES (1, 'ab', 0, x'00')",
    "weights are in the wrong place": (
        "INSERT INTO tune_weights SELECT trial_id, sha256, 0, x'00' FROM tune_checkpoints"
    ),
}


def test_a_sound_study_passes_and_each_harm_is_noticed(arena: Callable[..., Any], tmp_path: Path) -> None:
    file = tmp_path / "sound.db"
    study = arena(f"sqlite:///{file}", trials=3, pruner="none")
    study.wait(study.start(pause_s=0.0))
    study.check()
    sound = file.read_bytes()
    for name, harm in HARM.items():
        connection = sqlite3.connect(file)
        assert connection.execute(harm).rowcount > 0, name
        connection.commit()
        connection.close()
        with pytest.raises(AssertionError):
            study.check()
        file.write_bytes(sound)
    study.check()
