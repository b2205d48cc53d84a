"""`tune run --objective`: a person's own training code, from its file to the best trial."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from snapshots import Snapshots, lines_with

from search.service.create import RunRequest

SENTENCES = Snapshots(__file__, "training_code")

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
    SENTENCES.check("code with checkpoints", lines_with(done.stderr, "settings;", "checkpoints"))
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


def test_a_target_is_a_value_of_the_metric_also_in_a_new_study(tune: Callable[..., Any]) -> None:
    run = ("run", "--objective", "plain.py", "--trials", "500", "--workers", "1")
    done = tune(*run, "--target", "1.5", "--json")
    assert done.parsed["reason"] == "target", "the first trial that is complete is below 1.25"


def test_a_file_whose_function_has_another_name_needs_no_name(tune: Callable[..., Any], folder: Path) -> None:
    code = (folder / "plain.py").read_text()
    (folder / "plain.py").write_text(
        code.replace("@tune.obj", "deco = tune.obj").replace("def train", "def fn")
    )
    (folder / "plain.py").write_text((folder / "plain.py").read_text() + "fit = deco(fn)\n")
    done = tune("run", "--objective", "plain.py", "--trials", "2", "--workers", "1")
    assert done.returncode == 0, done.stderr
    assert [trial["failure"] for trial in tune("trials", "plain", "--json").parsed] == [None, None]


def test_code_without_checkpoints_is_stopped_and_never_paused(tune: Callable[..., Any], folder: Path) -> None:
    refused = tune("run", "--objective", "plain.py", "--pruner", "asha")
    assert refused.returncode == 2
    assert "--pruner asha pauses trials" in refused.stderr
    assert not (folder / "studies.db").exists()
    done = tune("run", "--objective", "plain.py", "--trials", "4", "--workers", "1")
    assert done.returncode == 0, done.stderr
    SENTENCES.check("code without checkpoints", lines_with(done.stderr, "checkpoints", "on fresh seeds"))
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
    SENTENCES.check("another budget and space", refused.stderr.splitlines()[-1:])
    for command in ("confirm", "ablate", "worker"):
        again = tune(command, "plain")
        assert again.returncode == 78
        assert again.stderr.splitlines()[-1] == refused.stderr.splitlines()[-1]
    (folder / "plain.py").write_text("import no_such_module\n" + code)
    broken = [tune(*run[:-2]), tune("worker", "plain"), tune("confirm", "plain"), tune("ablate", "plain")]
    assert {each.returncode for each in broken} == {78}
    told = [line for each in broken for line in lines_with(each.stderr, "did not start")]
    SENTENCES.check("code that does not start", told)
    assert all("tune trials" not in each.stderr for each in broken)


def wrapper(path: Path) -> Path:
    """An interpreter at this path, which is the one of the tests."""
    path.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    path.chmod(0o755)
    return path


def test_a_study_runs_the_folder_and_the_interpreter_that_it_was_made_with(
    tune: Callable[..., Any], folder: Path
) -> None:
    """The plan would come from what the command names, the trials from what the study has."""
    own, other = wrapper(folder / "own-python"), wrapper(folder / "other-python")
    run = ("run", "--trials", "2", "--workers", "1")
    first = tune(*run, "--objective", "plain.py", "--python", str(own))
    assert first.returncode == 0, first.stderr
    (folder / "copy").mkdir()
    (folder / "copy" / "plain.py").write_text((folder / "plain.py").read_text())
    (folder / "link").symlink_to(folder)
    refused = [
        tune(*run, "--objective", "copy/plain.py:train"),
        tune(*run, "--objective", "plain.py", "--python", str(other)),
    ]
    assert [each.returncode for each in refused] == [78] * 2
    told = [
        line.replace(str(folder), "FOLDER") for each in refused for line in lines_with(each.stderr, "runs")
    ]
    SENTENCES.check("code of another folder and interpreter", told)
    for arguments in (
        ("--objective", "plain.py"),
        ("--objective", "link/plain.py:train", "--python", str(folder / "link" / "own-python")),
        ("--study", "plain"),
    ):
        done = tune(*run, *arguments)
        assert done.returncode == 0, done.stderr
    own.unlink()
    gone = tune(*run, "--objective", "plain.py")
    assert (gone.returncode, f"is started with {own}, which is not on" in gone.stderr) == (78, True)


def test_a_study_whose_folder_and_interpreter_were_moved_continues(
    tune: Callable[..., Any], folder: Path
) -> None:
    """With its confirmation: a project that is renamed takes its environment along."""
    project, renamed = folder / "project", folder / "renamed"
    project.mkdir()
    (project / "plain.py").write_text((folder / "plain.py").read_text())
    python = wrapper(project / "python")
    run = ("run", "--workers", "1", "--objective")
    first = tune(*run, "project/plain.py", "--python", str(python), "--trials", "4")
    assert first.returncode == 0, first.stderr
    confirm = ("confirm", "plain", "--top", "1", "--workers", "1", "--seeds")
    assert tune(*confirm, "2").returncode == 0
    project.rename(renamed)
    for wrong in (("--study", "plain"), ("--objective", "renamed/plain.py")):  # the interpreter is not named
        refused = tune("run", "--workers", "1", "--trials", "5", *wrong)
        assert (refused.returncode, "was moved: `tune run" in refused.stderr) == (78, True)
    moved = ("renamed/plain.py", "--python", str(renamed / "python"), "--trials", "5")
    done = tune(*run, *moved)
    assert done.returncode == 0, done.stderr
    SENTENCES.check(
        "code that was moved",
        [line.replace(str(folder), "FOLDER") for line in lines_with(done.stderr, "was moved")],
    )
    assert "was moved" not in tune(*run, *moved).stderr
    again = tune(*confirm, "3")
    assert again.returncode == 0, again.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("--objective", "nothere.py:f"), 78, "nothere.py:f did not start: there is no file nothere.py"),
        (("--objective", "train.py:trian"), 78, "train"),
        (("--objective", "train.py", "--task", "twodigit"), 2, "leave all but one out"),
        (("--objective", "train.py", "--command", "sh x.sh"), 2, "leave all but one out"),
        (("--command", "./absent --flag"), 78, "is started with ./absent, which is not on this machine"),
        (("--command", 'sh "x'), 2, "no closing quotation"),
        (("--command", " "), 2, "--command is empty"),
        (("--objective", "train.py", "--epochs", "3"), 2, "--epochs is for tune's networks"),
        (("--python", "/usr/bin/python3", "--task", "sum"), 2, "--python is the interpreter of --objective"),
        (
            ("--objective", "train.py", "--python", "/nowhere/python"),
            78,
            "is started with /nowhere/python, which is not on this machine",
        ),
        (("--objective", "train.py", "--python", "no-such-python"), 78, "no such program on the PATH"),
        (("--objective", "broken.py"), 78, "SyntaxError"),
        (("--objective", "train.py", "--target", "nan"), 2, "--target is a value of loss"),
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


TESTED = """
import random
import tune

@tune.objective(space=tune.Space(skill=tune.Float(0.5, 0.9)), score="accuracy", budget=2)
def train(trial):
    draw = random.Random(trial.seed)
    for epoch in (1, 2):
        right = [draw.random() < trial.params["skill"] for _ in range(200)]
        trial.examples(right)
        trial.report(epoch, accuracy=sum(right) / 200)
    (trial.directory / "model").write_text(str(trial.seed))

@train.test
def test(trial):
    assert (trial.directory / "model").read_text() == str(trial.seed)
    print("held out")
    return {"accuracy": 0.75, "loss": 2.5}
"""


def test_a_confirmation_calls_the_test_function_once(tune: Callable[..., Any], folder: Path) -> None:
    file = folder / "tested.py"
    file.write_text(TESTED)
    done = tune("run", "--objective", "tested.py", "--trials", "3", "--workers", "1")
    assert done.returncode == 0, done.stderr
    SENTENCES.check("code with a test function", lines_with(done.stderr, "test function"))
    [code] = {trial["code"] for trial in tune("trials", "tested", "--json").parsed}
    file.write_text(TESTED + "# another version\n")
    confirm = ("confirm", "tested", "--top", "2", "--seeds", "3", "--workers", "1")
    done = tune(*confirm)
    assert done.returncode == 0, done.stderr
    assert "over seeds and validation examples" in done.stdout
    told = lines_with(done.stdout, "The code has changed", "The test set")
    SENTENCES.check("a confirmation of changed code", told)
    runs = tune("trials", "tested.confirm", "--json").parsed
    assert len({trial["code"] for trial in runs}) == 1
    assert code not in {trial["code"] for trial in runs}
    found = tune(*confirm, "--json").parsed
    assert (found["test_value"], found["test_evaluations"]) == (0.75, 1), "it is not repeated"
    assert [look["test"] for look in found["looks"]] == [{"accuracy": 0.75, "loss": 2.5}]
    logs = {trial["trial"]: tune("trials", "tested.confirm", "--log", str(trial["trial"])) for trial in runs}
    assert [number for number, log in logs.items() if "held out" in log.stdout] == [
        found["best_run"]["trial"]
    ]
    file.write_text(TESTED.split("@train.test")[0] + "# a third version, without a test function\n")
    more = tune("run", "--objective", "tested.py", "--trials", "4", "--workers", "1")
    assert more.returncode == 0, more.stderr
    assert "The code changed before trial 3:" in tune("trials", "tested").stdout


def test_a_test_function_that_hangs_is_ended_and_the_attempt_recorded(
    tune: Callable[..., Any], folder: Path
) -> None:
    file, result = folder / "tested.py", '    return {"accuracy": 0.75, "loss": 2.5}'
    file.write_text(TESTED.replace(result, "    import time; time.sleep(600)"))
    assert tune("run", "--objective", "tested.py", "--trials", "2", "--workers", "1").returncode == 0
    confirm = ("confirm", "tested", "--top", "1", "--seeds", "2", "--workers", "1")
    hangs = tune(*confirm, "--stall-timeout", "4", "--json")
    assert hangs.returncode == 1
    assert "within 4 s and was ended; a larger --stall-timeout" in hangs.stderr
    [attempt] = json.loads(hangs.stdout)["test_attempts"]
    assert "did not return within 4 s" in attempt["failure"]
    file.write_text(TESTED)
    found = tune(*confirm, "--json")
    assert (found.returncode, found.parsed["test_value"]) == (0, 0.75)


def test_a_test_function_that_fails_was_called_all_the_same(tune: Callable[..., Any], folder: Path) -> None:
    """It counts, is told of before it is called again, and stays on record when a later call has a result."""
    file, result = folder / "tested.py", '    return {"accuracy": 0.75, "loss": 2.5}'
    confirm = ("confirm", "tested", "--top", "1", "--seeds", "2", "--workers", "1")
    file.write_text(TESTED)
    assert tune("run", "--objective", "tested.py", "--trials", "2", "--workers", "1").returncode == 0
    told = []
    for line in ('    raise ValueError("too small")', '    return {"accuracy": float("nan")}'):
        file.write_text(TESTED.replace(result, line))
        done = tune(*confirm)
        assert done.returncode == 1
        told.append(done.stderr)
        assert "The chosen one has no result on the test set yet." in done.stdout
    for number, each in enumerate(told, 1):
        dateless = re.sub(r"\d{4}-\d\d-\d\d at \d\d:\d\d UTC", "DATE", each)
        SENTENCES.check(f"a test function that fails: {number}", lines_with(dateless, "The test "))
    page = tune("report", "tested")
    assert page.returncode == 0, page.stderr
    [written] = folder.glob("*.html")
    text = written.read_text(encoding="utf-8").replace("\u00a0", " ")
    assert "2 evaluations were begun and have no result" in text
    assert "ValueError: too small" in text

    begun = folder / "begun"
    waits = f"    import time; open({str(begun)!r}, 'w').close(); time.sleep(60)"
    file.write_text(TESTED.replace(result, waits))
    with subprocess.Popen([sys.executable, "-m", "search", *confirm], cwd=folder) as killed:
        while killed.poll() is None and not begun.exists():
            time.sleep(0.05)
        killed.kill()
    assert begun.exists()
    file.write_text(TESTED)
    found = tune(*confirm, "--json")
    assert found.returncode == 0, found.stderr
    assert "(3 evaluations were begun and have no result)" in found.stderr
    assert (found.parsed["test_value"], found.parsed["test_evaluations"]) == (0.75, 4)
    assert len(found.parsed["looks"]) == 1
    *failures, killed_one = [attempt["failure"] for attempt in found.parsed["test_attempts"]]
    assert killed_one is None
    SENTENCES.check("recorded failures of a test function", failures)
    again = tune(*confirm, "--json").parsed
    assert again == found.parsed, "with a result it is not repeated"


KEEPS = """
import tune

@tune.objective(
    space=tune.Space(x=tune.Float(-1.0, 1.0)), score="loss", direction="minimize", budget=2,
)
def train(trial):
    for step in range(1, trial.budget + 1):
        (trial.directory / "sub").mkdir(exist_ok=True)
        (trial.directory / "sub" / "model.bin").write_text(f"{trial.params['x']} {trial.seed} {step}")
        (trial.directory / "README.md").write_text("its own")
        trial.keep("sub/model.bin", "README.md")
        trial.report(step, loss=trial.params["x"] ** 2 + 1 / step, other=1.5)

@train.test
def test(trial):
    return {"loss": 0.125}
"""

ANSWERS = "trial.examples([True, False])"


@pytest.fixture
def keeps(tune: Callable[..., Any], folder: Path) -> Path:
    (folder / "keeps.py").write_text(KEEPS)
    assert tune("run", "--objective", "keeps.py", "--trials", "3", "--workers", "1").returncode == 0
    return folder


def test_the_files_that_the_winner_kept_are_exported(tune: Callable[..., Any], keeps: Path) -> None:
    best = tune("best", "keeps", "--json").parsed
    done = tune("export", "keeps", "--out", "model", "--json")
    assert done.returncode == 0, done.stderr
    told, out = done.parsed, keeps / "model"
    assert (told["study"], told["trial"]) == ("keeps", best["trial"])
    assert set(told["files"]) == {"files/README.md", "files/sub/model.bin"}
    kept = (out / "files" / "sub" / "model.bin").read_text()
    assert kept.startswith(f"{best['params']['x']} ")
    assert kept.endswith(" 2")
    text = (out / "manifest.json").read_text()
    assert hashlib.sha256(text.encode()).hexdigest() == told["manifest_sha256"]
    manifest = json.loads(text)
    listed = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    assert set(manifest["files"]) == listed - {"manifest.json"}
    for name, about in manifest["files"].items():
        content = (out / name).read_bytes()
        assert about == {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    assert manifest["settings"] == best["params"]
    assert manifest["metrics"] == best["metrics"]
    [code] = {trial["code"] for trial in tune("trials", "keeps", "--json").parsed}
    assert manifest["code_sha256"] == code
    card = (out / "README.md").read_text()
    sha256 = manifest["files"]["files/sub/model.bin"]["sha256"]
    for part in ("keeps.py:train", code, sha256, str(manifest["seeds"]["of the trial"]), "| `x` |"):
        assert part in card, part
    assert "What mattered" not in card
    again = tune("export", "keeps", "--out", "model")
    assert (again.returncode, "--force replaces it" in again.stderr) == (2, True)
    (out / "files" / "mine").write_text("mine")
    mixed = tune("export", "keeps", "--out", "model", "--force")
    assert (mixed.returncode, "files/mine" in mixed.stderr) == (2, True)
    (out / "files" / "mine").unlink()
    assert tune("export", "keeps", "--out", "model", "--force", "--trial", "0").returncode == 0
    for command in (("predict", "model", "image.png"), ("demo", "model")):
        refused = tune(*command)
        assert (refused.returncode, "only your own code" in refused.stderr) == (2, True), refused.stderr


def test_the_card_of_exported_files_says_what_mattered(tune: Callable[..., Any], keeps: Path) -> None:
    ablated = tune("ablate", "keeps", "--seeds", "1", "--no-lengths", "--workers", "1", "--json")
    assert ablated.returncode == 0, ablated.stderr
    done = tune("export", "keeps", "--out", "model")
    assert done.returncode == 0, done.stderr
    card = (keeps / "model" / "README.md").read_text()
    section = card.partition("## What mattered\n")[2].partition("\n## ")[0]
    assert f"- {ablated.parsed['words'][0]}" in section
    assert "| baseline, trial" in section


def test_the_run_that_a_confirmation_chose_is_exported_with_its_test_result(
    tune: Callable[..., Any], keeps: Path
) -> None:
    confirmed = tune("confirm", "keeps", "--top", "2", "--seeds", "2", "--workers", "1", "--json")
    assert confirmed.returncode == 0, confirmed.stderr
    done = tune("export", "keeps", "--out", "model", "--json")
    assert done.returncode == 0, done.stderr
    run = confirmed.parsed["best_run"]
    assert (done.parsed["study"], done.parsed["trial"]) == ("keeps.confirm", run["trial"])
    assert set(done.parsed["files"]) == {"files/README.md", "files/sub/model.bin"}
    card = (keeps / "model" / "README.md").read_text()
    assert "| test (chosen by tune confirm" in card
    assert "0.125" in card


def test_a_confirmed_trial_that_a_narrower_space_leaves_out_is_named_by_export_and_confirm(
    tune: Callable[..., Any], keeps: Path
) -> None:
    confirm = ("confirm", "keeps", "--top", "1", "--workers", "1")
    confirmed = tune(*confirm, "--seeds", "2", "--json").parsed
    searched = {row["trial"]: row["params"]["x"] for row in tune("trials", "keeps", "--json").parsed}
    chosen = confirmed["chosen"]
    least = min(x for x in searched.values() if x > searched[chosen])
    (keeps / "keeps.py").write_text(KEEPS.replace("-1.0, 1.0", f"{least}, 1.0"))
    changed = ("run", "--objective", "keeps.py", "--trials", "3", "--workers", "1", "--space-changed")
    assert tune(*changed).returncode == 0
    leader = tune("best", "keeps", "--json").parsed["trial"]
    told = {
        "the best run": tune("export", "keeps", "--out", "model"),
        "the trial": tune("export", "keeps", "--out", "trial", "--trial", str(chosen)),
        "the leader": tune("export", "keeps", "--out", "leader", "--trial", str(leader)),
        "more seeds": tune(*confirm, "--seeds", "3"),
    }
    assert {case: done.returncode for case, done in told.items()} == dict.fromkeys(told, 0)
    said = [f"{case}: {line}" for case, done in told.items() for line in lines_with(done.stderr, "set aside")]
    SENTENCES.check("a confirmed trial that is set aside", said)
    assert "set aside" in (keeps / "model" / "README.md").read_text()
    assert tune(*confirm, "--seeds", "3", "--json").parsed["chosen"] in (chosen, leader)


def test_what_cannot_be_exported_of_training_code_is_refused(tune: Callable[..., Any], keeps: Path) -> None:
    def refused(*arguments: str) -> tuple[int, str]:
        done = tune("export", *arguments, "--out", "model")
        assert not (keeps / "model").exists()
        return done.returncode, done.stderr

    assert tune("run", "--objective", "train.py", "--trials", "2", "--workers", "1").returncode == 0
    (keeps / "answers.py").write_text(KEEPS.replace('trial.keep("sub/model.bin", "README.md")', ANSWERS))
    assert tune("run", "--objective", "answers.py", "--trials", "2", "--workers", "1").returncode == 0
    told = {"nothing kept": refused("train"), "int8": refused("keeps", "--int8")}
    told["answers alone"] = refused("answers")
    [kept] = (keeps / "studies.artifacts").glob("*-keeps-*")
    files = sorted(kept.glob("trial-*"))
    for file in files:
        content = bytearray(file.read_bytes())
        content[-600] ^= 1
        file.write_bytes(content)
    told["changed"] = refused("keeps")
    for file in files:
        file.unlink()
    told["elsewhere"] = refused("keeps")
    assert {case: code for case, (code, _) in told.items()} == {
        "nothing kept": 2,
        "answers alone": 2,
        "int8": 2,
        "changed": 1,
        "elsewhere": 1,
    }
    words = {"nothing kept": "trial.keep(", "int8": "leave it out", "changed": "are not those that it kept"}
    words |= {"answers alone": "trial.keep(", "elsewhere": "TUNE_ARTIFACTS"}
    assert [case for case, part in words.items() if part not in told[case][1]] == []


def test_a_program_that_is_not_python_is_searched(tune: Callable[..., Any], folder: Path) -> None:
    example = Path(__file__).resolve().parents[3] / "examples" / "valley.sh"
    (folder / "valley.sh").write_bytes(example.read_bytes())
    # Its study is named after the first file of this folder that the command names.
    done = tune("run", "--command", "sh valley.sh", "--trials", "4", "--workers", "1")
    assert done.returncode == 0, done.stderr
    SENTENCES.check("a program that is not Python", lines_with(done.stderr, "settings;"))
    trials = tune("trials", "valley", "--json").parsed
    assert [trial["state"] for trial in trials if trial["state"] == "failed"] == []
    assert all(trial["code"] for trial in trials), "the SHA-256 of the script"
    best = tune("best", "valley", "--json").parsed
    x, rate = best["params"]["start"], best["params"]["rate"]
    for _ in range(best["step"]):
        x -= rate * 4 * x * (x * x - 1)
    assert best["value"] == pytest.approx((x * x - 1) ** 2, abs=1e-3)


def test_all_mistakes_of_a_space_that_a_program_declares_are_told_at_once(
    tune: Callable[..., Any], folder: Path
) -> None:
    space = {
        "lr": {"kind": "float", "low": 0, "high": 1, "log": True},
        "kind": {"kind": "choice", "options": [1, True]},
        "depth": {"kind": "integer", "low": 1},
        "width": {"kind": "int", "low": 1, "hihg": 2},
        "momentum": {"kind": "float", "low": 0, "high": 1, "when": {"optimizer": "sgd", "lr": 3}},
        "decay": 3,
    }
    hello = {"protocol": 1, "name": "p", "space": space, "score": "loss", "direction": "minimize"}
    line = json.dumps({"hello": {**hello, "budget": 3}})
    (folder / "p.sh").write_text(f"echo '{line}' >&$TUNE_ANSWERS; sleep 60")
    refused = tune("run", "--command", "sh p.sh")
    assert refused.returncode == 78
    told = [part for line in lines_with(refused.stderr, "not valid") for part in line.split("; ")]
    SENTENCES.check("all mistakes of a space that a program declares", told)


def test_a_space_that_no_trial_fits_says_how_to_take_them_back(
    tune: Callable[..., Any], folder: Path
) -> None:
    run = ("run", "--objective", "keeps.py", "--workers", "1", "--trials", "2")
    (folder / "keeps.py").write_text(KEEPS)
    assert tune(*run).returncode == 0
    (folder / "keeps.py").write_text(KEEPS.replace("1.0))", "1.0), y=tune.Choice([2]))"))
    alone = tune(*run, "--space-changed")
    (folder / "keeps.py").write_text(KEEPS)
    back = tune(*run, "--space-changed")
    assert (alone.returncode, back.returncode) == (0, 0)
    SENTENCES.check("a space that no trial fits", lines_with(alone.stderr + back.stderr, "space"))
    assert [row["set_aside"] for row in tune("trials", "keeps", "--json").parsed] == [None, None]


def test_a_space_changes_only_where_that_is_said(tune: Callable[..., Any], folder: Path) -> None:
    run = ("run", "--objective", "plain.py", "--workers", "1", "--trials")
    early = tune(*run, "4", "--space-changed")
    assert early.returncode == 2
    assert "There is no study plain yet whose space could have changed" in early.stderr
    assert tune(*run, "4").returncode == 0
    before = tune("trials", "plain", "--json").parsed
    code = (folder / "plain.py").read_text()
    changed = code.replace("-1.0, 1.0", "0.0, 2.0").replace('"b"]', '"c", "b"]')
    (folder / "plain.py").write_text(changed)
    refused = tune(*run, "6")
    assert refused.returncode == 78
    assert "x: Float(low=-1.0, high=1.0) → Float(low=0.0, high=2.0)" in refused.stderr
    assert "--space-changed" in refused.stderr
    (folder / "plain.py").write_text(changed.replace("budget=4", "budget=5"))
    refused = tune(*run, "6", "--space-changed")
    assert refused.returncode == 78
    assert "than its study has: budget 5, not 4." in refused.stderr
    assert tune("trials", "plain", "--json").parsed == before
    (folder / "plain.py").write_text(changed)
    done = tune(*run, "6", "--space-changed")
    assert done.returncode == 0, done.stderr
    assert "plain has changed (x: Float(low=-1.0, high=1.0) → " in done.stderr
    after = tune("trials", "plain", "--json").parsed
    assert [row["params"] for row in after[:4]] == [row["params"] for row in before]
    aside = [row["trial"] for row in after if row["set_aside"] is not None]
    assert aside == [row["trial"] for row in before if row["params"]["x"] < 0]
    assert aside
    assert all("outside the space" in after[number]["set_aside"] for number in aside)
    assert len(after) == 6
    assert tune("best", "plain", "--json").parsed["trial"] not in aside
    assert len(tune("studies", "--json").parsed[0]["space_changes"]) == 1
    assert f"{after[aside[0]]['state']}, set aside" in tune("trials", "plain").stdout
    again = tune(*run, "7", "--space-changed", "--json")  # there is nothing more to change
    assert again.parsed["complete"] + again.parsed["pruned"] == 7
    assert len(tune("studies", "--json").parsed[0]["space_changes"]) == 1
    assert tune("report", "plain").returncode == 0
    assert "Set aside, because they do not fit it: trial" in (folder / "report.html").read_text()
    assert tune("ablate", "plain", "--trial", str(aside[0])).returncode == 2


def test_an_ablation_continues_in_a_changed_space_and_begins_with_no_trial_that_is_set_aside(
    tune: Callable[..., Any], folder: Path
) -> None:
    run = ("run", "--objective", "plain.py", "--pruner", "none", "--workers", "1")
    ablate = ("ablate", "plain", "--settings", "kind", "--workers", "1", "--json")
    code = (folder / "plain.py").read_text()
    assert tune(*run, "--trials", "3").returncode == 0
    assert tune("confirm", "plain", "--top", "1", "--seeds", "2", "--workers", "1").returncode == 0
    first = tune(*ablate, "--seeds", "1").parsed
    x = {row["trial"]: row["params"]["x"] for row in tune("trials", "plain", "--json").parsed}
    chosen = first["baseline"]
    (folder / "plain.py").write_text(code.replace('"b"]', '"b", "c"]'))
    assert tune(*run, "--trials", "3", "--space-changed").returncode == 0
    more = tune(*ablate, "--seeds", "2", "--trial", str(chosen)).parsed
    assert (more["ablated_in"], more["baseline"], more["seeds"]) == ("plain.ablate", chosen, 2)
    assert {arm["arm"] for arm in more["arms"]} == {arm["arm"] for arm in first["arms"]}
    other = next(x[trial] for trial in x if trial != chosen)
    without_chosen = f"-2.0, {other}" if other < x[chosen] else f"{other}, 2.0"
    (folder / "plain.py").write_text(code.replace("-1.0, 1.0", without_chosen))
    assert tune(*run, "--trials", "3", "--space-changed").returncode == 0
    plan = tune(*ablate, "--list").parsed
    fits = {row["trial"] for row in tune("trials", "plain", "--json").parsed if row["set_aside"] is None}
    assert chosen not in fits
    assert plan["baseline"] in fits


@pytest.mark.parametrize(
    ("command", "name"),
    [
        ("sh valley.sh --rounds 3", "valley"),
        ("./valley.sh", "valley"),
        (f"{sys.executable} valley.sh", "valley"),
        ("perl absent.pl", "perl"),
    ],
)
def test_the_study_of_a_command_is_named_after_its_file(
    command: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "valley.sh").touch()
    assert RunRequest(command=command).name == name
