"""`tune repeat` of a user's training code: a recorded trial runs once more and is compared."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from snapshots import Snapshots

SENTENCES = Snapshots(__file__, "repeat_code")

TRAIN = """
import pathlib, random, time
import tune

HERE = pathlib.Path(__file__).parent

@tune.objective(
    space=tune.Space(
        x=tune.Float(-1.0, 1.0),
        kind=tune.Choice(["a", "b"]),
        rate=tune.Float(0.1, 1.0, when={"kind": "b"}),
    ),
    score="loss", direction="minimize", budget=4, unit="epoch", checkpoints=True,
)
def train(trial):
    assert ("rate" in trial.params) == (trial.params["kind"] == "b")
    draw = random.Random(trial.seed)
    done = trial.directory / "done"
    start = int(done.read_text()) if trial.resumed else 0
    noise = [draw.random() for _ in range(trial.budget)]
    for epoch in range(start + 1, trial.budget + 1):
        done.write_text(str(epoch))
        trial.checkpoint()
        with (HERE / "ran").open("a") as ran:
            ran.write(f"{epoch} {trial.resumed}\\n")
        loss = 1 + abs(trial.params["x"]) + trial.params.get("rate", 0) / epoch + noise[epoch - 1] / 100
        metrics = {"loss": loss, "doubled": 2.0 * epoch}
        ...
        trial.report(epoch, **metrics)
"""

Tune = Callable[..., Any]


@pytest.fixture
def tune(worker_threads: None, here: Tune, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tune:
    monkeypatch.setenv("TUNE_STORAGE", "sqlite:///studies.db")
    return lambda *arguments: here(*arguments, cwd=tmp_path)


@pytest.fixture
def searched(tune: Tune, tmp_path: Path) -> Callable[..., list[dict[str, Any]]]:
    """searched(line, …): the trials of a study `train` of code that has this line before each report."""

    def search(line: str = "pass", *more: str, trials: int = 2) -> list[dict[str, Any]]:
        write(tmp_path, line)
        flags = ("--trials", str(trials), "--workers", "1", "--seed", "1", *more)
        done = tune("run", "--objective", "train.py:train", *flags)
        assert done.returncode == 0, done.stderr
        (tmp_path / "ran").unlink()
        found: list[dict[str, Any]] = tune("trials", "train", "--json").parsed
        return found

    return search


def write(folder: Path, line: str) -> None:
    (folder / "train.py").write_text(TRAIN.replace("...", line))


def files(folder: Path) -> dict[str, bytes]:
    """Of the user's folder: all but what the code and the interpreter write."""
    found = [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".pyc"]
    return {str(path.relative_to(folder)): path.read_bytes() for path in found if path.name != "ran"}


def told(done: Any) -> list[str]:
    """All that a repetition says, without its duration and the traceback's place."""
    lines = (done.stderr + done.stdout).splitlines()
    return [re.sub(r"in [\d.]+ s:", "in TIME:", line) for line in lines]


def ran(folder: Path) -> list[str]:
    return (folder / "ran").read_text().splitlines()


def test_code_that_uses_its_seed_reports_the_same(
    tune: Tune, searched: Callable[..., Any], tmp_path: Path
) -> None:
    kinds = {trial["params"]["kind"]: trial["trial"] for trial in searched(trials=6)}
    assert kinds.keys() == {"a", "b"}, "with and without the setting that has a condition"
    before = files(tmp_path)
    for number in kinds.values():
        done = tune("repeat", "train", "--trial", str(number), "--json")
        assert done.returncode == 0, done.stderr
        found = done.parsed
        assert found.pop("seconds") > 0
        points = len(ran(tmp_path))
        assert found == {
            "study": "train",
            "trial": number,
            "points": points,
            "equal": True,
            "first_difference": None,
            "largest_difference": 0.0,
            "changed": {},
            "restored": None,
            "restored_where": None,
        }
        (tmp_path / "ran").unlink()
    assert files(tmp_path) == before, "nothing is written"


def test_the_reports_are_told_beside_the_old_ones(tune: Tune, searched: Callable[..., Any]) -> None:
    searched("metrics['loss'] = epoch / 8")
    SENTENCES.check("the same", told(tune("repeat", "train", "--trial", "0")))


DIFFERS = {
    "a value": (
        "metrics['loss'] = epoch / 8 + float((HERE / 'now').exists()) * (epoch - 1) / 16",
        (2, 0.1875),
    ),
    "another metric": ("metrics.update(loss=1 / epoch, doubled=time.perf_counter())", (1, 0.0)),
    "steps": (
        "metrics['loss'] = epoch / 8\n        if (HERE / 'now').exists() and epoch == 2: continue",
        (2, 0.0),
    ),
}
"""What differs: a line of the code that knows whether it is repeated, or what time it is, and (the first, the
largest) difference."""


@pytest.mark.parametrize("what", DIFFERS)
def test_what_differs_is_told(tune: Tune, searched: Callable[..., Any], tmp_path: Path, what: str) -> None:
    line, expected = DIFFERS[what]
    searched(line)
    (tmp_path / "now").touch()
    found = tune("repeat", "train", "--trial", "0", "--json").parsed
    assert not found["equal"]
    assert (found["first_difference"], found["largest_difference"]) == expected
    done = tune("repeat", "train", "--trial", "0")
    assert done.returncode == 0
    SENTENCES.check(f"differs: {what}", told(done))


def test_code_that_ignores_its_seed_differs(tune: Tune, searched: Callable[..., Any]) -> None:
    searched("metrics['loss'] += random.SystemRandom().random()")
    found = tune("repeat", "train", "--trial", "0", "--json").parsed
    assert (found["equal"], found["first_difference"]) == (False, 1)
    assert 0 < found["largest_difference"] < 1


def test_changed_code_is_told_of(tune: Tune, searched: Callable[..., Any], tmp_path: Path) -> None:
    first = searched("metrics['loss'] = epoch / 8")[0]
    write(tmp_path, "metrics['loss'] = epoch / 4")
    found = tune("repeat", "train", "--trial", "0", "--json").parsed
    assert (found["first_difference"], found["largest_difference"]) == (1, 0.5)
    [(then, now)] = found["changed"].values()
    assert then == first["code"]
    assert re.fullmatch("[0-9a-f]{64}", now)
    done = told(tune("repeat", "train", "--trial", "0"))
    SENTENCES.check("changed code", [re.sub("[0-9a-f]{64}", "SHA256", line) for line in done])


FAILS = {
    "an exception": ("pass", "if epoch == 3: raise ValueError('too far')", 1, "ValueError: too far"),
    "an exit": ("pass", "if epoch == 3: import os; os._exit(3)", 1, "exited with code 3"),
    "no number": ("pass", "if epoch == 3: metrics['loss'] = float('nan')", 1, "the loss was nan at step 3"),
    "an early end": ("pass", "if epoch == 3: return", 1, "returned after step 2"),
    "another search": ("budget=4", "budget=5", 78, "budget 5, not 4"),
    "no start": ("import tune", "import no_such_module", 78, "no_such_module"),
}
"""What fails: a part of the code, what is there now, the exit code, and what is said."""


def test_a_failure_of_the_code_ends_with_a_sentence(
    tune: Tune, searched: Callable[..., Any], tmp_path: Path
) -> None:
    """All of one search: a repetition writes nothing."""
    searched()
    file = tmp_path / "train.py"
    sound = file.read_text()
    for what, (part, instead, code, said) in FAILS.items():
        file.write_text(sound.replace(part, instead))
        before = files(tmp_path)
        done = tune("repeat", "train", "--trial", "0")
        assert done.returncode == code, what
        assert said in done.stderr
        assert (code == 1) == ("failed after 2 epochs when it was repeated" in done.stderr), what
        assert ("Traceback" in done.stderr) == (what in ("an exception", "no start")), what
        assert files(tmp_path) == before, what


def test_code_that_hangs_is_ended_and_no_weights_are_restored(
    tune: Tune, searched: Callable[..., Any], tmp_path: Path
) -> None:
    searched()
    done = tune("repeat", "train", "--trial", "0", "--restore")
    assert done.returncode == 2
    SENTENCES.check("not restored", told(done))
    assert not (tmp_path / "ran").exists()
    file = tmp_path / "train.py"
    file.write_text(file.read_text().replace("pass", "if epoch == 3: time.sleep(600)"))
    done = tune("repeat", "train", "--trial", "0", "--stall-timeout", "2")
    assert done.returncode == 1
    assert "failed after 2 epochs when it was repeated" in done.stderr
    assert "nothing for 2 s and was ended" in done.stderr
    assert tune("repeat", "train", "--trial", "0", "--stall-timeout", "0").returncode == 2


def test_a_pruned_trial_is_repeated_as_far_as_it_went(
    tune: Tune, searched: Callable[..., Any], tmp_path: Path
) -> None:
    trials = searched("pass", "--pruner", "asha", trials=8)
    pruned = next(trial for trial in trials if trial["state"] == "pruned")
    assert pruned["step"] < 4
    found = tune("repeat", "train", "--trial", str(pruned["trial"]), "--json").parsed
    assert (found["equal"], found["points"]) == (True, pruned["step"])
    assert ran(tmp_path) == [f"{epoch} False" for epoch in range(1, pruned["step"] + 1)]


def test_a_run_of_a_confirmation_has_its_own_seed(tune: Tune, searched: Callable[..., Any]) -> None:
    searched()
    assert tune("confirm", "train", "--top", "1", "--seeds", "2", "--workers", "1").returncode == 0
    found = [tune("repeat", "train.confirm", "--trial", number, "--json").parsed for number in ("0", "1")]
    assert [(each["equal"], each["points"]) for each in found] == [(True, 4), (True, 4)]


def test_a_program_that_is_not_python_is_repeated(tune: Tune, tmp_path: Path) -> None:
    script = tmp_path / "valley.sh"
    script.write_bytes((Path(__file__).resolve().parents[3] / "examples" / "valley.sh").read_bytes())
    run = ("run", "--command", "sh valley.sh", "--study", "valley", "--trials", "2", "--workers", "1")
    assert tune(*run).returncode == 0
    found = tune("repeat", "valley", "--trial", "1", "--json").parsed
    assert (found["equal"], found["points"], found["changed"]) == (True, 8, {})
    script.write_text(script.read_text().replace("(x ^ 2 - 1) ^ 2 }", "(x ^ 2 - 1) ^ 2 + 1 }"))
    found = tune("repeat", "valley", "--trial", "1", "--json").parsed
    assert (found["first_difference"], list(found["changed"])) == (1, ["code"])
    assert found["largest_difference"] == pytest.approx(1.0, abs=1e-3)
