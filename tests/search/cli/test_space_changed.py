"""`tune run --space-changed` of a study of tune's networks."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from search.cli.look import _state, _tell_failures
from search.records import Failure

pytestmark = pytest.mark.usefixtures("worker_threads")

RUN = ("run", "--task", "twodigit", "--model", "mlp", "--workers", "1")


@pytest.fixture
def folder(finished: Path, tmp_path: Path) -> Path:
    """A study of four trials, and a space file that fits only those with the larger learning rates."""
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    return tmp_path


def test_networks_continue_in_another_space(folder: Path, here: Callable[..., Any]) -> None:
    before = here("trials", "twodigit", "--json", cwd=folder).parsed
    searched = [row for row in before if row["reference"] is None]
    least = max(row["params"]["lr"] for row in searched)
    (folder / "space.toml").write_text(f"lr = {{ low = {least}, high = 1.0, log = true }}\n")
    changed = (*RUN, "--space", "space.toml", "--trials", "6")
    refused = here(*changed, cwd=folder)
    assert refused.returncode == 78
    assert "another search space (it differs in " in refused.stderr
    assert "lr: Float(" in refused.stderr
    assert "--space-changed continues in it" in refused.stderr
    seeded = here(*changed, "--space-changed", "--seed", "7", cwd=folder)
    assert seeded.returncode == 78
    assert here("trials", "twodigit", "--json", cwd=folder).parsed == before
    done = here(*changed, "--space-changed", cwd=folder)
    assert done.returncode == 0, done.stderr
    after = here("trials", "twodigit", "--json", cwd=folder).parsed
    assert [row["params"] for row in after[:4]] == [row["params"] for row in before]
    aside = [row["trial"] for row in after if row["set_aside"] is not None]
    assert aside == [row["trial"] for row in searched if row["params"]["lr"] < least]
    assert [row["params"]["lr"] >= least for row in after[4:]] == [True, True]
    assert sum(row["state"] in ("complete", "pruned") for row in after) == 6
    assert here("best", "twodigit", "--json", cwd=folder).parsed["trial"] not in aside
    old = next(number for number in aside if after[number]["state"] == "complete")
    assert here("repeat", "twodigit", "--trial", str(old), cwd=folder).returncode == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("run", "--study", "twodigit", "--space-changed"), "--space-changed needs the space"),
        (("run", "--task", "twodigit", "--space-changed"), "--space-changed needs the space"),
        (
            (*RUN, "--study", "new", "--space-changed"),
            "There is no study new yet whose space could have changed",
        ),
    ],
)
def test_a_flag_without_a_space_or_a_study_is_refused(
    arguments: tuple[str, ...], words: str, folder: Path, here: Callable[..., Any]
) -> None:
    refused = here(*arguments, cwd=folder)
    assert refused.returncode == 2
    assert words in refused.stderr


def test_a_trial_that_the_space_leaves_out_is_called_not_continued(
    capsys: pytest.CaptureFixture[str],
) -> None:
    row = dict.fromkeys(("foreign", "set_aside")) | {"failure": Failure.OUTSIDE_SPACE, "trial": 4}
    assert _state(row) == "not continued (outside_space)"
    _tell_failures([{**row, "failure_detail": "x = 0.1 is outside the space"}])
    assert capsys.readouterr().out.split("\n")[1] == "Trial 4 is not continued: x = 0.1 is outside the space"
