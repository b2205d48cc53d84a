"""A study of a discrete space: every configuration once, and then no more."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from few_images import take_few_images
from specs import network_spec

from data.datasets.mnist import Mnist
from search.cli.app import run_command
from search.optuna_db.optuna_trials import Exhausted
from search.optuna_db.storage import Storage, open_storage
from search.records import Failure, State
from search.service.create import RunRequest, create_or_resume
from search.service.look import studies
from search.service.run import _open
from search.space.file import change_space, space_entries
from search.study.active_trial import ActiveTrial
from search.study.evaluation_schedule import EvaluationSchedule
from search.study.grid import identity
from search.study.pruners import PRUNERS
from search.study.samplers import SAMPLERS
from search.study.study import Study
from search.worker.context import prepare
from search.worker.worker_loop import work
from tune.space import Space

TWO = """
optimizer = "adamw"
lr = 0.003
momentum = 0.9
weight_decay = 0.001
batch_size = 128
label_smoothing = 0.0
activation = "relu"
dropout = 0.0
depth = 1
width = [4, 8]
"""
"""Of the taper, which does nothing here, the space keeps its default range."""
FIXED: dict[str, object] = {
    "optimizer": "adamw",
    "lr": 0.003,
    "momentum": 0.9,
    "weight_decay": 0.001,
    "batch_size": 128,
    "label_smoothing": 0.0,
    "activation": "relu",
    "dropout": 0.0,
    "depth": 1,
}
EVALUATIONS = EvaluationSchedule.doubling(epoch_images=36_000, epochs=1)


def space_of(networks: int) -> Space:
    return change_space({**FIXED, "width": {"low": 1, "high": networks}}, ("mlp",), where="test")


def study_of(storage: Storage, networks: int, sampler: str = "random") -> Study:
    """The study s, new or as it is, whose space has this number of networks."""
    spec = network_spec(space=space_entries(space_of(networks)), sampler=sampler)
    study = Study.create(storage, "s", spec, 100) or Study.find(storage, "s")
    assert study is not None
    study.prepare(sampler=sampler, pruner="none", seed=0, evaluations=EVALUATIONS)
    return study


def end(asked: ActiveTrial) -> None:
    asked.report(EVALUATIONS.total, 0.5 + int(asked.suggest()["width"]) / 100)
    asked.complete(0.5 + int(asked.suggest()["width"]) / 100)


def widths(study: Study) -> list[int]:
    """Of all trials that were not failed, by size."""
    return sorted(int(t.settings["width"]) for t in study.trials() if t.state is not State.FAILED)


@pytest.fixture
def storage(sqlite_url: str) -> Iterator[Storage]:
    with open_storage(sqlite_url) as opened:
        yield opened


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_configuration_once_whatever_the_sampler(storage: Storage, sampler: str) -> None:
    torch.set_num_threads(1)
    study = study_of(storage, 12, sampler)
    for _ in range(12):
        assert study.has_next()
        asked = study.ask()
        drawn = asked.suggest()
        assert asked.suggest() == drawn
        end(asked)
        assert study.trials()[-1].settings == drawn
    assert widths(study) == list(range(1, 13))
    assert not study.has_next()
    with pytest.raises(Exhausted):
        study.ask()
    assert len(study.trials()) == 12, "nothing was begun"


@pytest.mark.parametrize(
    "database",
    [
        "sqlite_url",
        pytest.param("postgresql_url", marks=pytest.mark.server),
        pytest.param("mysql_url", marks=pytest.mark.server),
    ],
)
def test_workers_at_once_take_no_configuration_twice(database: str, request: pytest.FixtureRequest) -> None:
    url = request.getfixturevalue(database)
    with open_storage(url, retry_s=60) as storage:
        study_of(storage, 9)

    def search() -> None:
        with open_storage(url, create=False, retry_s=60) as storage, contextlib.suppress(Exhausted):
            study = study_of(storage, 9)
            while True:
                end(study.ask())

    threads = [threading.Thread(target=search) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with open_storage(url, create=False) as storage:
        assert widths(study_of(storage, 9)) == list(range(1, 10))


class TestRoom:
    def test_a_trial_that_has_drawn_nothing_yet_will_take_one(self, storage: Storage) -> None:
        study = study_of(storage, 2)
        first, second = study.ask(), study.ask()
        with pytest.raises(Exhausted):
            study.ask()
        end(second)
        end(first)
        assert widths(study) == [1, 2]

    def test_what_is_queued_again_begins_nevertheless(self, storage: Storage) -> None:
        study = study_of(storage, 2)
        first, second = study.ask(), study.ask()
        end(first)
        study.fail(second.trial_id, Failure.WORKER_DIED, "before it drew")
        assert study.has_next()
        again = study.ask()
        drawn = again.suggest()
        study.fail(again.trial_id, Failure.INTERRUPTED, "after it drew")
        assert study.has_next()
        third = study.ask()
        assert third.suggest() == drawn, "the same settings"
        end(third)
        assert not study.has_next()
        assert widths(study) == [1, 2]

    def test_what_failed_by_its_own_fault_is_not_tried_again(self, storage: Storage) -> None:
        study = study_of(storage, 2)
        asked = study.ask()
        asked.suggest()
        study.fail(asked.trial_id, Failure.DIVERGED, "")
        end(study.ask())
        assert not study.has_next()
        states = {trial.state for trial in study.trials()}
        assert states == {State.FAILED, State.COMPLETE}

    def test_a_person_may_queue_what_was_tried(self, storage: Storage) -> None:
        study = study_of(storage, 1)
        end(study.ask())
        assert not study.has_next()
        study._study.enqueue_trial({"width": 1})
        assert study.has_next()
        end(study.ask())
        assert widths(study) == [1, 1]
        assert not study.has_next()


@pytest.fixture
def without_references(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("data.tasks.twodigit.TwoDigit.references", {})
    take_few_images(monkeypatch)


def requested(folder: Path, **more: object) -> RunRequest:
    path = folder / "two.toml"
    path.write_text(TWO)
    request: dict[str, object] = {"task": "twodigit", "trials": 100, "epochs": 0.01, "model": "mlp"}
    return RunRequest(**{**request, "space": path, **more})  # type: ignore[arg-type]


@pytest.mark.parametrize("pruner", PRUNERS)
@pytest.mark.usefixtures("without_references")
def test_a_worker_ends_when_all_was_tried(
    storage: Storage, mnist: Mnist, tmp_path: Path, pruner: str
) -> None:
    torch.set_num_threads(1)
    create_or_resume(storage, requested(tmp_path, pruner=pruner), mnist)
    contexts = [
        prepare(storage, "twodigit", mnist, tmp_path / "artifacts", device="cpu", threads=1) for _ in range(2)
    ]
    assert work(contexts[0], stop=lambda: False) == 2
    assert work(contexts[1], stop=lambda: False) == 0
    study, store = contexts[0].study, storage.store
    assert widths(study) == [4, 8]
    assert [(claim.slot, claim.done) for claim in store.claims(study.study_id)] == [(0, True), (1, True)]


@pytest.mark.usefixtures("without_references")
def test_commands_call_it_exhausted_and_a_worker_for_ever_passes_on(
    storage: Storage,
    sqlite_url: str,
    mnist: Mnist,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    torch.set_num_threads(1)
    create_or_resume(storage, requested(tmp_path, study="two"), mnist)
    create_or_resume(storage, RunRequest(task="twodigit", trials=1, epochs=0.01), mnist)
    context = prepare(storage, "two", mnist, tmp_path / "artifacts", device="cpu", threads=1)
    assert list(_open(studies(sqlite_url), None, {})) == ["two", "twodigit"]
    work(context, stop=lambda: False)
    assert list(_open(studies(sqlite_url), None, {})) == ["twodigit"]
    monkeypatch.setenv("TUNE_STORAGE", sqlite_url)
    monkeypatch.chdir(tmp_path)

    def printed(*command: str) -> str:
        capsys.readouterr()
        assert run_command(list(command), debug=True) == 0
        return capsys.readouterr().out

    for more in ((), ("--trials", "200")):
        out = " ".join(printed("run", "--study", "two", *more).split())
        assert f"two: exhausted, 2 of {more[-1] if more else 100} trials are finished (2 complete" in out
    assert "2/200 exhausted" in printed("studies")
    assert '"exhausted": true' in printed("studies", "--json")
    assert '"reason": "exhausted"' in printed("worker", "two", "--json")
    printed("report", "two", "--out", "report.html")
    assert "The search space is exhausted after 2 of 200 trials" in (tmp_path / "report.html").read_text()
    trials, space = context.study.trials(), context.study.space
    assert len({identity(trial.settings, space, context.record.spec) for trial in trials}) == 2
    assert not any("taper" in trial.settings for trial in trials), "drawn, and without effect"
