"""`tune run --objective`: a person's own training code, from its file to the best trial."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

TRAIN = """
import tune

@tune.objective(
    space=tune.Space(x=tune.Float(-1.0, 1.0), kind=tune.Choice(["a", "b"])),
    score="loss", direction="minimize", budget=4, unit="epoch", checkpoints={checkpoints},
)
def train(trial):
    done = trial.directory / "done"
    start = int(done.read_text()) if trial.resumed else 0
    for epoch in range(start + 1, trial.budget + 1):
        done.write_text(str(epoch))
        if {checkpoints}:
            trial.checkpoint()
        print("epoch", epoch)
        trial.report(epoch, loss=trial.params["x"] ** 2 + 1 / epoch, doubled=2.0 * epoch)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TUNE_STORAGE", "sqlite:///studies.db")
    (tmp_path / "train.py").write_text(TRAIN.format(checkpoints=True))
    (tmp_path / "plain.py").write_text(TRAIN.format(checkpoints=False))
    return tmp_path


@pytest.fixture
def tune(worker_threads: None, here: Callable[..., Any], folder: Path) -> Callable[..., Any]:
    return lambda *arguments: here(*arguments, cwd=folder)


def test_code_is_searched_and_the_study_named_after_its_file(tune: Callable[..., Any]) -> None:
    done = tune("run", "--objective", "train.py:train", "--trials", "8", "--workers", "1")
    assert done.returncode == 0, done.stderr
    assert "train.py:train: 2 settings; loss is minimized; a trial has 4 epochs." in done.stderr
    assert "It has checkpoints" in done.stderr
    [study] = tune("studies", "--json").parsed
    assert (study["study"], study["objective"], study["pruner"]) == ("train", "code", "asha")
    assert (study["complete"] + study["pruned"], study["failed"]) == (8, 0)
    best = tune("best", "train", "--json").parsed
    assert best["value"] == pytest.approx(best["params"]["x"] ** 2 + 1 / best["step"])
    assert best["metrics"]["doubled"] == 2.0 * best["step"]
    printed = tune("trials", "train", "--log", str(best["trial"]))
    assert [line for line in printed.stdout.splitlines() if line.startswith("epoch")][-1] == "epoch 4"
    assert tune("trials", "train", "--log", "99").returncode == 2
    more = tune("run", "--objective", "train.py", "--trials", "9", "--workers", "1", "--json")
    assert more.parsed["complete"] + more.parsed["pruned"] == 9


def test_code_without_checkpoints_is_stopped_and_never_paused(tune: Callable[..., Any], folder: Path) -> None:
    refused = tune("run", "--objective", "plain.py", "--pruner", "asha")
    assert refused.returncode == 2
    assert "--pruner asha pauses trials" in refused.stderr
    assert not (folder / "studies.db").exists()
    done = tune("run", "--objective", "plain.py", "--trials", "4", "--workers", "1")
    assert done.returncode == 0, done.stderr
    assert "It has no checkpoints" in done.stderr
    assert tune("studies", "--json").parsed[0]["pruner"] == "percentile"


def test_a_changed_space_is_another_search(tune: Callable[..., Any], folder: Path) -> None:
    run = ("run", "--objective", "plain.py", "--trials", "2", "--workers", "1")
    assert tune(*run).returncode == 0
    code = (folder / "plain.py").read_text()
    (folder / "plain.py").write_text(code + "\n# a comment changes the code and not what it declares\n")
    assert tune(*run).returncode == 0
    (folder / "plain.py").write_text(code.replace("-1.0, 1.0", "-2.0, 1.0").replace("budget=4", "budget=5"))
    refused = tune(*run)
    assert refused.returncode == 78
    assert "declares another space and budget than when it was made" in refused.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("--objective", "nothere.py:f"), 2, "there is no file"),
        (("--objective", "train.py:trian"), 78, "train"),
        (("--objective", "train.py", "--task", "twodigit"), 2, "leave one of the two out"),
        (("--objective", "train.py", "--epochs", "3"), 2, "--epochs is for tune's networks"),
        (("--python", "/usr/bin/python3", "--task", "sum"), 2, "--python is the interpreter of --objective"),
        (("--objective", "train.py", "--python", "/nowhere/python"), 2, "there is no such file"),
        (("--objective", "broken.py"), 78, "SyntaxError"),
    ],
)
def test_what_cannot_be_run_is_refused_in_a_sentence(
    tune: Callable[..., Any], folder: Path, arguments: tuple[str, ...], code: int, said: str
) -> None:
    (folder / "broken.py").write_text("def f(:\n")
    done = tune("run", *arguments)
    assert done.returncode == code, done.stderr
    assert said in done.stderr
    assert not (folder / "studies.db").exists()


def test_a_failed_trial_says_why(tune: Callable[..., Any], folder: Path) -> None:
    (folder / "fails.py").write_text(
        TRAIN.format(checkpoints=False).replace(
            "    start =", "    if trial.number == 1: raise ValueError('too far')\n    start ="
        )
    )
    done = tune("run", "--objective", "fails.py", "--trials", "3", "--workers", "1")
    assert done.returncode == 0, done.stderr
    assert "Trial 1 failed: ValueError: too far" in tune("trials", "fails").stdout
