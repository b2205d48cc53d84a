"""Every command on an objective that is nothing like ours and that another package declares, with the files
and pages that a user gets. A search and the run that is killed are processes. Nothing of this repository is
touched.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from valley import BUDGET, LOWEST, VALLEY, valley_spec
from worker_thread import run_workers_as_threads

from data.registry import declared
from search.cli.app import run_command
from search.objectives.registry import OBJECTIVES
from search.optuna_db.storage import open_storage
from search.study.study import Study

Tune = Callable[..., subprocess.CompletedProcess[str]]
Look = Callable[..., Any]
"""Of the fixture `look`: how a command ended."""


@pytest.fixture(scope="module")
def tune(site: Path, tmp_path_factory: pytest.TempPathFactory) -> Tune:
    """tune("studies"): the command as a separate process, with or without the package installed."""
    folder = tmp_path_factory.mktemp("work")

    def run(*arguments: str, installed: bool = True, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-P", "-m", "search", *arguments],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(site) if installed else "", **more},
            capture_output=True,
            text=True,
            timeout=110,
            check=False,
        )

    run.folder = folder  # type: ignore[attr-defined]
    return run


@pytest.fixture
def look(
    site: Path,
    folder: Path,
    here: Callable[..., Any],
    worker_threads: None,
    monkeypatch: pytest.MonkeyPatch,
) -> Look:
    """look("studies"): a command inside this process, with the package installed. Its workers are threads."""
    monkeypatch.syspath_prepend(site)
    return partial(here, cwd=folder)


@pytest.fixture(scope="module")
def folder(tune: Tune) -> Path:
    """Where its storage is, with two studies that are searched to their ends."""
    found: Path = tune.folder  # type: ignore[attr-defined]
    with open_storage(f"sqlite:///{found}/studies.db") as storage:
        Study.create(storage, "deep", valley_spec(pruner="asha"), 24)
        Study.create(storage, "wide", valley_spec(seed=1), 12)
    done = tune("run", "--study", "deep", "--workers", "2")
    assert done.returncode == 0, done.stderr
    assert "24 of 24 trials finished" in done.stdout + done.stderr
    with pytest.MonkeyPatch.context() as patch:
        run_workers_as_threads(patch)
        patch.chdir(found)
        patch.setitem(OBJECTIVES, "valley", VALLEY)
        assert run_command(["worker", "wide", "--workers", "1"], debug=False) == 0
    return found


def parsed(done: Any) -> Any:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


pytestmark = pytest.mark.timeout(400)


def test_studies_trials_and_best_speak_of_its_metric(look: Look, folder: Path) -> None:
    deep = parsed(look("studies", "--json"))[0]
    assert (deep["study"], deep["task"], deep["objective"]) == ("deep", None, "valley")
    assert deep["metric"] == {"name": "energy", "direction": "minimize"}
    assert (deep["unit"], deep["budget"], deep["complete"] + deep["pruned"]) == ("step", BUDGET, 24)

    trials = parsed(look("trials", "deep", "--json"))
    complete = [trial for trial in trials if trial["state"] == "complete"]
    assert deep["best_value"] == min(trial["value"] for trial in complete)
    assert all(trial["value"] > LOWEST - 0.5 for trial in trials), "energies, not scores"
    assert {trial["step"] for trial in complete} == {BUDGET}
    assert all(trial["epochs"] is None and trial["parameters"] is None for trial in trials)

    best = parsed(look("best", "deep", "--json"))
    assert (best["trial"], best["value"]) == (deep["best_trial"], deep["best_value"])
    assert best["validation"] is None
    assert best["metrics"] == {"energy": best["value"], "height": pytest.approx(best["value"] + 3)}
    assert (best["task"], best["unit"], best["budget"], best["step"]) == (None, "step", BUDGET, BUDGET)
    shown = look("best", "deep")
    assert f"{best['value']:.4g}".replace("-", "−") in shown.stdout + shown.stderr
    assert "%" not in shown.stdout, "an energy is no fraction"


def test_two_studies_are_compared_without_a_claim_about_examples(look: Look, folder: Path) -> None:
    done = look("compare", "deep", "wide", "--out", "sides.html")
    assert done.returncode == 0, done.stderr
    page = (folder / "sides.html").read_text(encoding="utf-8")
    assert "energy" in page
    for words in ("accuracy", "MNIST", "heads", "Wilson"):
        assert words not in page.split("<script")[0], words
    both = parsed(look("compare", "deep", "wide", "--json"))
    values = [parsed(look("best", name, "--json"))["value"] for name in ("deep", "wide")]
    assert [side["value"] for side in both] == values
    assert [side["intervals"] for side in both] == [{}, {}], "one run each: nothing to make an interval of"
    assert both[0]["images_seen"] is None
    assert both[0]["steps_seen"] > 24


def test_the_leaders_are_confirmed_on_fresh_seeds_and_no_test_set_is_claimed(
    look: Look, folder: Path
) -> None:
    done = look("confirm", "deep", "--top", "2", "--seeds", "3", "--workers", "1")
    assert done.returncode == 0, done.stderr
    assert "no test set" in done.stdout + done.stderr
    assert "over seeds only" in done.stdout + done.stderr
    found = parsed(look("confirm", "deep", "--top", "2", "--seeds", "3", "--json"))
    assert found["test_value"] is None
    assert found["epochs"] is None
    assert found["search_value"] == parsed(look("trials", "deep", "--json"))[found["chosen"]]["value"]
    means = [candidate["mean"] for candidate in found["candidates"]]
    assert means == sorted(means), "the lowest energy first"
    refused = look("confirm", "deep", "--top", "2", "--seeds", "3", "--widen", "2")
    assert refused.returncode == 2
    assert "--widen" in refused.stderr


def test_the_report_answers_with_what_was_measured(look: Look, folder: Path) -> None:
    done = look("report", "deep", "--out", "deep.html")
    assert done.returncode == 0, done.stderr
    page = (folder / "deep.html").read_text(encoding="utf-8")
    words = page.split("<script")[0]
    best = parsed(look("best", "deep", "--json"))
    assert f"trial {best['trial']}" in words
    assert "energy" in words
    assert "bounces" in words
    for foreign in ("accuracy", "MNIST", "epoch", "network", "images"):
        assert foreign not in words, foreign


@pytest.mark.parametrize("command", [("export", "deep", "--out", "m"), ("repeat", "deep", "--trial", "0")])
def test_what_is_for_networks_is_refused_in_a_sentence(
    look: Look, folder: Path, command: tuple[str, ...]
) -> None:
    refused = look(*command)
    assert refused.returncode == 2
    assert "network" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert not (folder / "m").exists()


def test_a_run_continues_to_a_new_target_and_refuses_flags_of_networks(look: Look, folder: Path) -> None:
    done = look("run", "--study", "wide", "--trials", "14", "--workers", "1")
    assert done.returncode == 0, done.stderr
    assert "14 of 14 trials finished" in done.stdout + done.stderr
    for flag in (("--epochs", "2"), ("--model", "mlp"), ("--task", "twodigit")):
        refused = look("run", "--study", "wide", *flag)
        assert refused.returncode in (2, 78), flag
        assert "Traceback" not in refused.stderr


@pytest.mark.usefixtures("worker_threads")
def test_without_its_package_a_study_is_read_and_not_run(
    tune: Tune, here: Callable[..., Any], folder: Path
) -> None:
    declared.cache_clear()  # of the tests that have it installed
    best = here("best", "deep", "--json", cwd=folder)
    assert parsed(best)["metric"]["name"] == "energy"
    refused = here("worker", "deep", "--workers", "1", cwd=folder)
    assert refused.returncode in (0, 78)
    refused = tune("run", "--study", "deep", "--trials", "30", installed=False)
    assert refused.returncode == 78
    assert "there is no objective 'valley'" in refused.stderr
    assert "is known where that package is installed" in refused.stderr


@pytest.fixture
def at_work(site: Path, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A run of slow trials by two workers, to be killed."""
    with open_storage(f"sqlite:///{tmp_path}/studies.db") as storage:
        Study.create(storage, "slow", valley_spec(), 12)
    command = [sys.executable, "-P", "-m", "search", "run", "--study", "slow", "--workers", "2"]
    environment = {**os.environ, "PYTHONPATH": str(site), "VALLEY_WAIT": "0.05"}
    process = subprocess.Popen(
        command, cwd=tmp_path, env=environment, start_new_session=True, stderr=subprocess.DEVNULL
    )
    yield process
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def test_an_exact_total_comes_of_a_run_that_was_killed(
    look: Look, at_work: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    until = time.monotonic() + 60
    while time.monotonic() < until:
        with open_storage(f"sqlite:///{tmp_path}/studies.db", create=False) as storage:
            study = Study.find(storage, "slow")
            assert study is not None
            if study.counts().finished >= 3:
                break
        time.sleep(0.2)
    os.killpg(at_work.pid, signal.SIGKILL)
    at_work.wait()
    url = f"sqlite:///{tmp_path}/studies.db"
    done = look("run", "--study", "slow", "--workers", "1", "--storage", url)
    assert done.returncode == 0, done.stderr
    trials = parsed(look("trials", "slow", "--json", "--storage", url))
    assert sum(trial["state"] in ("complete", "pruned") for trial in trials) == 12
    assert not [trial for trial in trials if trial["state"] in ("running", "waiting")]
