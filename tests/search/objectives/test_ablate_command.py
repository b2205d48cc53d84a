"""`tune ablate` on an objective that another package declares."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, suppress
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from processes import exists
from valley import ENERGY, SPACE, VALLEY, Rolling, valley_spec

from search.errors import Interrupted
from search.objectives.registry import OBJECTIVES
from search.optuna_db.storage import open_storage
from search.records import Report
from search.service import read_ablation
from search.service.drive import drive
from search.space.spec import declared_entries
from search.study.reading import TrialReader
from search.study.study import Study
from search.worker.context import prepare
from search.worker.worker_loop import FAILURES_IN_A_ROW, work
from tune.space import Choice, Float, Space

Tune = Callable[..., Any]
"""Of the fixture `tune`: the command in this process. Its workers are threads; those of the run that is
killed are processes."""

TRIALS = 12
ONE = ("--workers", "1")


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The database with the finished search v; tests work on copies of it."""
    folder = tmp_path_factory.mktemp("searched")
    path = folder / "studies.db"
    with pytest.MonkeyPatch.context() as patch, open_storage(f"sqlite:///{path}") as storage:
        patch.setitem(OBJECTIVES, "valley", VALLEY)
        patch.setenv("VALLEY_STONES", "1")
        Study.create(storage, "v", valley_spec(), TRIALS)
        work(prepare(storage, "v", None, folder, threads=1), stop=lambda: False)
    return path


@pytest.fixture
def folder(searched: Path, tmp_path: Path, site: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the storage is, with the finished search v."""
    monkeypatch.setitem(OBJECTIVES, "valley", VALLEY)
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.setenv("PYTHONPATH", str(site))
    monkeypatch.setenv("VALLEY_STONES", "1")
    shutil.copy(searched, tmp_path)
    return tmp_path


@pytest.fixture
def tune(worker_threads: None, here: Callable[..., Any], folder: Path) -> Tune:
    return lambda *arguments: here(*arguments, cwd=folder)


def test_the_plan_is_listed_and_nothing_is_trained(tune: Tune) -> None:
    found = tune("ablate", "v", "--list", "--json").parsed
    best = tune("best", "v", "--json").parsed["trial"]
    assert (found["study"], found["ablates"], found["baseline"], found["done"]) == ("v.ablate", "v", best, 0)
    budgets = sorted(each["budget"] for each in found["arms"] if each["arm"] == "baseline")
    assert budgets == [1, 2, 4, 9, 18]  # 9 steps of the search, 4 of a variant
    assert {each["seeds"] for each in found["arms"]} == {3}
    assert found["runs"] == 3 * len(found["arms"])
    assert [study["study"] for study in tune("studies", "--json").parsed] == ["v"]


def test_it_tells_which_settings_matter(tune: Tune) -> None:
    found = tune("ablate", "v", *ONE, "--json").parsed
    assert (found["seeds"], found["finished_runs"]) == (3, found["wanted"])
    by_arm = {each["arm"]: each for each in found["settings"]}
    pushed = [each for name, each in by_arm.items() if name.startswith("push=")]
    assert len(pushed) == 2
    for each in by_arm.values():
        low, high = each["family"]
        assert low < each["difference"] < high
        assert each["pointwise"][0] > low
        assert each["pointwise"][1] < high
    # The energy is minimized: what is worse lies above 0. Two pushes move the ball's aim by 1.5 to 4.
    assert {each["verdict"] for each in pushed} == {"worse"}
    assert all(each["family"][0] > 0 for each in pushed)
    assert [each["reference_budget"] for each in found["lengths"]] == [1, 2, 4, 9]
    verdicts = [each["verdict"] for each in found["lengths"]]
    assert verdicts[0] == "better", "the ball has far to roll at first"
    assert set(verdicts) <= {"better", "not told apart"}
    assert tune("ablate", "v", *ONE, "--json").parsed == found


def test_two_ablations_are_compared(tune: Tune, folder: Path) -> None:
    trials = tune("trials", "v", "--json").parsed
    best = sorted((each for each in trials if each["state"] == "complete"), key=lambda each: each["value"])
    winner, other = (each["trial"] for each in best[:2])
    for trial in (winner, other):
        done = tune("ablate", "v", "--trial", str(trial), "--settings", "push", "--lengths", *ONE, "--json")
        assert done.parsed["baseline"] == trial
    names = [study["study"] for study in tune("studies", "--json").parsed if study["ablates"]]
    found = tune("compare", *names, "--json").parsed
    assert found[0]["effects"] is None
    effects = {each["change"]: each for each in found[1]["effects"]}
    assert {"1 step → 2 steps", "4 steps → 9 steps"} <= effects.keys()
    for each in effects.values():
        estimate = each["this_minus_first"]
        assert estimate["value"] == pytest.approx(each["this"] - each["first"])
        assert estimate["low"] < estimate["value"] < estimate["high"]
        assert each["differs"] == (not estimate["low"] <= 0 <= estimate["high"])
    printed = tune("compare", *names, "--out", "page.html")
    page = (folder / "page.html").read_text()
    assert "4 steps → 9 steps" in page
    assert "changes in common with" in page
    assert "Best so far" not in page
    assert "AT EQUAL BUDGETS" not in printed.stdout
    assert "EFFECTS OF CHANGES" in printed.stdout
    assert "4 steps → 9 steps" in printed.stdout
    assert "have no change in common" not in printed.stderr
    assert "in common" in printed.stderr or "that both measured" in printed.stderr
    assert "less the best of" not in printed.stderr, "their bests are of other budgets"
    assert "EFFECTS OF CHANGES" not in tune("compare", "v", names[0]).stdout


def test_the_present_winners_ablation_is_told_once_it_compares_something(
    tune: Tune, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"sqlite:///{folder / 'studies.db'}"
    trials = tune("trials", "v", "--json").parsed
    best = sorted((each for each in trials if each["state"] == "complete"), key=lambda each: each["value"])
    winner, second, third, empty = (each["trial"] for each in best[:4])

    def told() -> tuple[int, set[str]]:
        found = read_ablation.ablation(url, "v")
        assert found is not None
        return found.baseline.number, set(found.others)

    push = ("--settings", "push", "--seeds", "1", *ONE, "--json")
    tune("ablate", "v", "--trial", str(second), *push)
    with open_storage(url) as storage:
        Study.create(storage, "v.ablate", valley_spec(ablates="v", baseline=empty), 3)
    assert told() == (second, {"v.ablate"}), "the one begun last has no run yet"
    tune("ablate", "v", "--trial", str(winner), *push)
    tune("ablate", "v", "--trial", str(third), *push)
    assert told() == (winner, {"v.ablate", f"v.ablate-{second}", f"v.ablate-{third}"})
    chosen = SimpleNamespace(chosen=second)
    monkeypatch.setattr(read_ablation, "confirmation_in", lambda *_args, **_more: chosen)
    assert told()[0] == second, "the confirmed one is the winner"
    chosen.chosen = 999
    assert told()[0] == winner


def test_the_baseline_is_read_without_the_other_trials(
    tune: Tune, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tune("ablate", "v", "--settings", "push", "--seeds", "1", *ONE, "--json")
    read, reader = [], TrialReader.all
    monkeypatch.setattr(TrialReader, "all", lambda self: read.append(self) or reader(self))
    assert read_ablation.ablation(f"sqlite:///{folder / 'studies.db'}", "v") is not None
    assert len(read) == 1, "of the ablation, not of the search"


def test_an_ablation_of_a_study_that_was_deleted_and_made_again_is_refused(tune: Tune, folder: Path) -> None:
    """Its baseline is another trial now."""
    winner, other = (each["trial"] for each in tune("trials", "v", "--json").parsed[:2])
    for trial in (winner, other):
        tune("ablate", "v", "--trial", str(trial), "--settings", "push", "--seeds", "1", *ONE, "--json")
    names = [study["study"] for study in tune("studies", "--json").parsed if study["ablates"]]
    assert tune("compare", *names).returncode == 0
    with closing(sqlite3.connect(folder / "studies.db")) as connection, connection:
        later = "UPDATE tune_studies SET created = '2101-01-01 00:00:00.000000' WHERE study_id = "
        connection.execute(later + "(SELECT study_id FROM studies WHERE study_name = 'v')")
    refused = tune("compare", *names)
    assert refused.returncode == 78
    assert "older study v, which was deleted" in refused.stderr
    assert f"`tune delete {names[0]}` makes room" in refused.stderr


def test_an_ablation_of_a_trial_that_cannot_be_used_is_left_out_of_the_report(
    tune: Tune, folder: Path, tmp_path: Path
) -> None:
    baseline = tune("ablate", "v", "--settings", "push", "--seeds", "1", *ONE, "--json").parsed["baseline"]
    with closing(sqlite3.connect(folder / "studies.db")) as connection, connection:
        of_baseline = (
            "trial_id = (SELECT trial_id FROM trials JOIN studies USING (study_id) "
            "WHERE study_name = 'v' AND number = ?)"
        )
        one = f"DELETE FROM trial_params WHERE param_name = 'start' AND {of_baseline}"
        connection.execute(one, (baseline,))
    done = tune("report", "v", "--out", str(tmp_path / "page.html"))
    assert done.returncode == 0
    assert f"Trial {baseline} of v, which v.ablate changes, cannot be used" in done.stderr
    assert read_ablation.ablation(f"sqlite:///{folder / 'studies.db'}", "v") is None


def test_searches_that_are_compared_lead_to_their_ablations(tune: Tune, folder: Path) -> None:
    with open_storage(f"sqlite:///{folder / 'studies.db'}") as storage:
        Study.create(storage, "w", valley_spec(), TRIALS)
        work(prepare(storage, "w", None, folder, threads=1), stop=lambda: False)
    hint = "Which changes do the same to each winner: tune compare v.ablate w.ablate"
    for name in ("v", "w"):
        assert hint not in tune("compare", "v", "w").stderr
        tune("ablate", name, "--settings", "push", "--seeds", "1", *ONE, "--json")
    assert hint in tune("compare", "v", "w").stderr.splitlines()
    assert hint not in tune("compare", "v.ablate", "w.ablate").stderr


def test_more_seeds_and_settings_continue(tune: Tune) -> None:
    first = tune("ablate", "v", "--settings", "push", "--seeds", "1", *ONE, "--json").parsed
    assert (first["seeds"], first["finished_runs"], first["lengths"]) == (1, 3, [])
    assert {each["no_interval"] for each in first["settings"]} == {"one seed"}
    more = tune("ablate", "v", "--settings", "push,bounces", "--seeds", "2", *ONE, "--json").parsed
    kept = {(arm["arm"], run["seed"]): run for arm in first["arms"] for run in arm["runs"]}
    later = {(arm["arm"], run["seed"]): run for arm in more["arms"] for run in arm["runs"]}
    assert kept.items() <= later.items()
    assert more["seeds"] == 2
    assert len(more["settings"]) > len(first["settings"])


def test_more_seeds_are_for_every_arm_that_is_there(tune: Tune) -> None:
    tune("ablate", "v", "--settings", "push", "--seeds", "1", *ONE)
    more = ("ablate", "v", "--settings", "bounces", "--seeds", "2")
    plan = tune(*more, "--list", "--json").parsed
    pushed = [each["seeds"] for each in plan["arms"] if each["arm"].startswith("push=")]
    assert (pushed, plan["runs"] - plan["done"]) == ([2, 2], 2 * len(plan["arms"]) - 3)
    found = tune(*more, *ONE, "--json").parsed
    assert found["seeds"] == 2
    assert {each["seeds"] for each in found["settings"]} == {2}
    # Fewer are asked for than the others have: a new arm gets as many as they, or their number would fall.
    new = tune("ablate", "v", "--settings", "start", "--seeds", "1", *ONE, "--json").parsed
    assert new["seeds"] == 2
    assert any(each["arm"].startswith("start=") for each in new["settings"])


def test_more_seeds_are_for_arms_too_that_have_not_begun(tune: Tune, folder: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("search.service.ablate.drive", stopped)
        assert tune("ablate", "v", "--settings", "push", "--seeds", "1", *ONE).returncode == 130
    found = tune("ablate", "v", "--settings", "bounces", "--seeds", "2", *ONE, "--json").parsed
    assert found["seeds"] == 2
    pushed = {arm["arm"]: arm for arm in found["arms"] if arm["arm"].startswith("push=")}
    assert len(pushed) == 2
    for name, arm in pushed.items():
        assert f"push={arm['settings']['push']}" == name
        assert len(arm["runs"]) == 2


def stopped(*_args: Any, **_more: Any) -> None:
    raise Interrupted("Stopped before the first run.", signal.SIGINT)


def test_it_survives_a_kill(tune: Tune, folder: Path) -> None:
    run = ["ablate", "v", "--settings", "push", "--seeds", "2", *ONE]
    with subprocess.Popen(
        [sys.executable, "-P", "-m", "search", *run],
        cwd=folder,
        env={**os.environ, "VALLEY_WAIT": "0.2"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        until = time.monotonic() + 60
        while time.monotonic() < until and not complete_runs(folder):
            time.sleep(0.02)
        assert complete_runs(folder) < 6, "it was to be killed in the middle"
        workers = pids_of_workers(folder)
        assert workers
        os.killpg(process.pid, signal.SIGKILL)
    while any(map(exists, workers)) and time.monotonic() < until:
        time.sleep(0.02)  # one that is not gone when the command begins keeps its trial for ten seconds more
    found = tune(*run, "--json").parsed
    assert (found["seeds"], found["finished_runs"], found["wanted"]) == (2, 6, 6)
    trials = tune("trials", "v.ablate", "--json").parsed
    complete = [trial for trial in trials if trial["state"] == "complete"]
    assert len({json.dumps(trial["ablation"]) for trial in complete}) == len(complete) == 6


def pids_of_workers(folder: Path) -> list[int]:
    """Of the ablation."""
    with open_storage(f"sqlite:///{folder}/studies.db") as storage:
        [study_id] = [each.study_id for each in storage.store.studies() if each.spec.ablates == "v"]
        return [worker.pid for worker in storage.store.workers(study_id).values()]


def complete_runs(folder: Path) -> int:
    """Of the ablation, read from the file itself."""
    query = (
        "SELECT count(*) FROM trials JOIN studies USING (study_id) "
        "WHERE study_name = 'v.ablate' AND state = 'COMPLETE'"
    )
    with (
        suppress(sqlite3.OperationalError),
        closing(sqlite3.connect(f"file:{folder / 'studies.db'}?mode=ro", uri=True, timeout=1)) as file,
    ):
        [(count,)] = file.execute(query)
        return int(count)
    return 0


def test_an_arm_that_diverges_is_a_result(tune: Tune, monkeypatch: pytest.MonkeyPatch) -> None:
    baseline = tune("best", "v", "--json").parsed["params"]["start"]
    monkeypatch.setenv("VALLEY_EDGE", str(baseline + 1))
    found = tune("ablate", "v", "--settings", "start", *ONE, "--json").parsed
    lost = [arm for arm in found["arms"] if arm["failed"]]
    assert [arm["failed"] for arm in lost] == [3]
    assert lost[0]["arm"] not in {each["arm"] for each in found["settings"]}
    assert found["finished_runs"] == found["wanted"]
    assert any("diverged" in sentence for sentence in found["words"])


OPTIMIZERS = Space({**SPACE.domains, "optimizer": Choice(["one", "other"]), "lr": Float(0.01, 1.0, log=True)})


@pytest.fixture
def optimizers(folder: Path, tune: Tune) -> str:
    """The optimizer of the winner of the finished search o, whose learning rate is a setting, too."""
    with open_storage(f"sqlite:///{folder / 'studies.db'}") as storage:
        Study.create(storage, "o", valley_spec(space=declared_entries(OPTIMIZERS)), 4)
        work(prepare(storage, "o", None, folder, threads=1), stop=lambda: False)
    return str(tune("best", "o", "--json").parsed["params"]["optimizer"])


def test_an_option_that_fails_at_every_learning_rate_is_a_result(
    tune: Tune, optimizers: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_unless(monkeypatch, lambda settings: settings["optimizer"] == optimizers)
    found = tune("ablate", "o", "--settings", "optimizer", "--no-lengths", *ONE, "--json").parsed
    assert sorted(arm["failed"] for arm in found["arms"]) == [0, 3]
    assert [len(arm["runs"]) for arm in found["arms"] if arm["arm"] == "baseline"] == [3]
    assert found["finished_runs"] == found["wanted"]


def test_where_every_arm_fails_the_command_gives_up(
    tune: Tune, optimizers: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_unless(monkeypatch, lambda _: False)
    done = tune("ablate", "o", "--settings", "optimizer,push", "--no-lengths", *ONE)
    assert done.returncode == 1
    assert f"{FAILURES_IN_A_ROW} trials in a row failed" in done.stderr
    arms = [row["ablation"]["arm"] for row in tune("trials", "o.ablate", "--json").parsed if row["failure"]]
    assert arms.count("baseline") == 2, "its second failure counts, as the other arms' do not"


EDITS = {
    "a curve without the score": "UPDATE tune_reports SET metrics = '{\"height\": 1.0}' WHERE trial_id = ?",
    "an end as pruned": "UPDATE trials SET state = 'PRUNED' WHERE trial_id = ?",
    "a value that is none": "UPDATE trial_values SET value = NULL, value_type = 'INF_POS' WHERE trial_id = ?",
}


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS.keys())
def test_a_run_that_chooses_and_cannot_be_read_counts_as_failed(
    tune: Tune, optimizers: str, folder: Path, monkeypatch: pytest.MonkeyPatch, edit: str
) -> None:
    drives, tried = count(1), {}

    def edited(storage: Any, study: Any, *args: Any, **more: Any) -> Any:
        time = next(drives)
        assert time < 5, "the same runs are waited for again and again"
        result = drive(storage, study, *args, **more)
        if time == 1:
            trials = [trial for trial in study.trials() if trial.ablation and trial.ablation.chooses]
            tried.update({trial.settings["lr"]: trial for trial in trials})
            best = max(trials, key=lambda trial: storage.store.curve(trial.trial_id, ENERGY)[-1].score)
            del tried[best.settings["lr"]]
            with closing(sqlite3.connect(folder / "studies.db")) as file, file:
                assert file.execute(edit, (best.trial_id,)).rowcount
        return result

    monkeypatch.setattr("search.service.ablate.drive", edited)
    done = tune("ablate", "o", "--settings", "optimizer", "--no-lengths", "--seeds", "1", *ONE, "--json")
    [arm] = [arm for arm in done.parsed["arms"] if arm["arm"] != "baseline"]
    assert len(arm["runs"]) == 1
    assert len(tried) == 4
    assert arm["settings"]["lr"] in tried


def fail_unless(monkeypatch: pytest.MonkeyPatch, works: Callable[[Mapping[str, Any]], bool]) -> None:
    """From now on trials of the valley fail whose settings are others."""
    reports = Rolling.reports

    def failing(self: Rolling) -> Iterator[Report]:
        if not works(self._job.settings):
            raise ValueError("not with these settings")
        yield from reports(self)

    monkeypatch.setattr(Rolling, "reports", failing)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("v", "--settings", "frictoin"), "friction"),
        (("v", "--trial", "99"), "no such trial"),
        (("v", "--seeds", "0"), "--seeds must be at least 1"),
        (("v", "--path", "course-conv"), "has no references"),
        (("nobody",), "no study nobody"),
    ],
)
def test_wrong_input_is_refused_in_a_sentence(tune: Tune, arguments: tuple[str, ...], said: str) -> None:
    done = tune("ablate", *arguments)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_an_unfinished_search_is_refused(tune: Tune, folder: Path) -> None:
    with open_storage(f"sqlite:///{folder}/studies.db") as storage:
        Study.create(storage, "open", valley_spec(), 5)
    done = tune("ablate", "open")
    assert done.returncode == 1
    assert "is not finished (0 of 5 trials)" in done.stderr


def test_a_study_that_has_its_name_is_refused(tune: Tune, folder: Path) -> None:
    with open_storage(f"sqlite:///{folder}/studies.db") as storage:
        Study.create(storage, "v.ablate", valley_spec(), 1)
    done = tune("ablate", "v")
    assert done.returncode == 78
    assert "The study v.ablate exists and is not an ablation of trial" in done.stderr


def test_an_ablation_is_named_for_what_it_is(tune: Tune, folder: Path) -> None:
    with open_storage(f"sqlite:///{folder}/studies.db") as storage:
        Study.create(storage, "v.ablate", valley_spec(ablates="v", baseline=0), 1)
    rows = {row["study"]: row for row in tune("studies", "--json").parsed}
    assert (rows["v.ablate"]["ablates"], rows["v"]["ablates"]) == ("v", None)
    assert "(ablates v)" in tune("studies").stdout
    for command in ("run", "confirm", "ablate"):
        arguments = ("--study", "v.ablate") if command == "run" else ("v.ablate",)
        done = tune(command, *arguments)
        assert done.returncode == 2
        assert "ablation" in done.stderr
    refused = tune("delete", "v", "--yes")
    assert refused.returncode == 2
    assert "v.ablate ablates" in refused.stderr
