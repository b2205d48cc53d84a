"""Sampling, judging and book-keeping of trials, on a real storage."""

from __future__ import annotations

import contextlib
import datetime
import gc
import json
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

import optuna
import pytest
import torch
from optuna.samplers import TPESampler
from optuna.storages import RDBStorage
from optuna.trial import TrialState
from specs import network_spec
from sqlalchemy import create_engine, event, inspect, text
from sqlalchemy.exc import OperationalError
from valley import valley_spec

from data.datasets.mnist import Mnist
from data.tasks.registry import TASKS
from search.analysis.ranking import best_trial, count
from search.errors import ConfigError, TryAgain, UsageError
from search.heads import head_report
from search.objectives.network.decoding import decode
from search.optuna_db.storage import Storage, open_storage
from search.records import (
    ACCURACY,
    AblationRun,
    Confirming,
    Failure,
    HeadScore,
    NetworkSpec,
    Report,
    Scores,
    State,
    Value,
)
from search.service.create import RunRequest, create_or_resume
from search.space.defaults import BY_NAME, FAMILIES, default_space
from search.space.file import change_space, space_entries
from search.space.spec import declared_entries
from search.space.widen import widened
from search.store.base import LeaseLost
from search.store.database import Database
from search.store.engine import parse_url, translated
from search.store.rows import spec_to_json, study_of
from search.study import history
from search.study.evaluation_schedule import EvaluationSchedule
from search.study.exploration import is_exploration_seed, sampler_seed
from search.study.pruners import PRUNERS, make_pruning
from search.study.reading import TrialReader
from search.study.samplers import SAMPLERS, make_sampler
from search.study.space_change import change_space as change_space_of_study
from search.study.study import Study, StudyDeleted
from search.study.suggest import split_reference
from tune.space import Choice, Domain, Fixed, Float, Int, Space

ROOT = Path(__file__).parents[3]
NOW = datetime.datetime(2026, 11, 26)
EVALUATIONS = EvaluationSchedule.doubling(epoch_images=36_000, epochs=2)
SPACE = Space(
    {
        "model": Fixed(value="mlp"),
        "lr": Float(low=1e-4, high=1e-1, log=True),
        "depth": Int(low=1, high=3, when={"model": "mlp"}),
    }
)


def prepared(
    storage: Storage,
    *,
    sampler: str = "tpe",
    pruner: str = "none",
    seed: int = 0,
    space: Space = SPACE,
    references: Mapping[str, Mapping[str, Value]] = MappingProxyType({}),
) -> Study:
    Study.create(storage, "s", spec_of(space), 100, references=references)
    study = Study.find(storage, "s")
    assert study is not None
    study.prepare(sampler=sampler, pruner=pruner, seed=seed, evaluations=EVALUATIONS)
    return study


def spec_of(space: Space) -> NetworkSpec:
    return network_spec(space=space_entries(space), epochs=2)


def report(step: int) -> Report:
    scores = Scores(heads={"digit": HeadScore(loss=0.5, accuracy=0.75)}, joint=0.75)
    return head_report(step=step, seconds=1.0, learning_rate=0.01, train=scores, validation=scores)


Opened = Callable[[str], Storage]


@pytest.fixture
def opened() -> Iterator[Opened]:
    """Opens storages and closes them after the test: a connection left open is a warning, hence an error."""
    with contextlib.ExitStack() as stack:

        def open_one(url: str) -> Storage:
            storage = open_storage(url)
            stack.callback(storage.close)
            return storage

        yield open_one


@pytest.fixture
def storage(sqlite_url: str, opened: Opened) -> Storage:
    return opened(sqlite_url)


class TestEvaluationSchedule:
    def test_doubles_up_to_an_epoch_then_every_epoch(self) -> None:
        rungs = EvaluationSchedule.doubling(epoch_images=36_000, epochs=3).rungs
        assert rungs == (2_250, 4_500, 9_000, 18_000, 36_000, 72_000, 108_000)

    @pytest.mark.parametrize(
        ("epochs", "rungs"),
        [(0.25, (2_250, 4_500, 9_000)), (0.01, (360,)), (1.5, (2_250, 4_500, 9_000, 18_000, 36_000, 54_000))],
    )
    def test_ends_with_the_budget(self, epochs: float, rungs: tuple[int, ...]) -> None:
        assert EvaluationSchedule.doubling(epoch_images=36_000, epochs=epochs).rungs == rungs

    @pytest.mark.parametrize(
        ("task", "epochs", "first", "judged"),
        [
            ("twodigit", 4, 4_500, 4_500),
            ("twodigit", 1, 4_500, 4_500),
            ("twodigit", 0.99, 2_250, 9_000),
            ("sum", 4, 13_500, 13_500),
            ("sum", 0.5, 3_375, 13_500),
        ],
    )
    def test_the_first_rung_of_a_new_study(
        self, storage: Storage, mnist: Mnist, task: str, epochs: float, first: int, judged: int
    ) -> None:
        _, record = create_or_resume(storage, RunRequest(task=task, trials=1, epochs=epochs), mnist)
        evaluations = EvaluationSchedule.of(record.spec)
        assert evaluations.first == first
        assert make_pruning("asha", evaluations).rungs[0] == judged
        _, again = create_or_resume(storage, RunRequest(task=task), mnist)
        assert again.target_trials == 1, "what is not said stays as it is"
        assert again.spec == record.spec

    def test_a_study_of_an_older_tune_keeps_its_evaluation_schedule(self, plain_spec: NetworkSpec) -> None:
        row = spec_to_json(replace(plain_spec, epochs=2))
        del row["halvings"]
        found = study_of({"study_id": 1, "spec": row, "target_trials": 1, "created": NOW})  # type: ignore[arg-type]
        assert EvaluationSchedule.of(found.spec).rungs == (2_250, 4_500, 9_000, 18_000, 36_000, 72_000)

    @pytest.mark.parametrize(("early", "first"), [(1, 18_000), (2, 9_000), (3, 4_500), (4, 9_000)])
    def test_no_trial_is_judged_where_nothing_is_reported(self, early: int, first: int) -> None:
        evaluations = EvaluationSchedule.doubling(epoch_images=36_000, epochs=4, early_evaluations=early)
        rungs = make_pruning("asha", evaluations).rungs
        assert rungs[0] == first
        assert set(rungs) <= set(evaluations.rungs)

    @pytest.mark.parametrize(
        ("budget", "judged"), [(1, 1), (9, 1), (16, 1), (17, 2), (100, 7), (10**7, 625_000)]
    )
    def test_another_objective_reports_at_every_step(self, budget: int, judged: int) -> None:
        """Nothing is known of it: a trial that is judged has had a sixteenth of the budget."""
        evaluations = EvaluationSchedule.of(valley_spec(budget=budget))
        assert evaluations.rungs == range(1, budget + 1)
        assert (evaluations.first, evaluations.total) == (1, budget)
        assert make_pruning("asha", evaluations).rungs[0] == judged
        assert make_pruning("asha", evaluations).rungs[-1] == budget

    @pytest.mark.parametrize(
        ("epochs", "rungs"),
        [
            (16, (36_000, 72_000, 144_000, 288_000, 576_000)),
            (8, (36_000, 72_000, 144_000, 288_000)),
            (1, (36_000,)),
            (3, (54_000, 108_000)),
            (1.5, (54_000,)),
            (0.25, (9_000,)),
        ],
    )
    def test_another_budget_is_halved_down_to_an_epoch(
        self, plain_spec: NetworkSpec, epochs: float, rungs: tuple[int, ...]
    ) -> None:
        """Also where it is the study's: trials that are compared report at the same steps."""
        spec = replace(plain_spec, epochs=8)
        evaluations = EvaluationSchedule.with_budget(spec, round(epochs * 36_000))
        assert evaluations.rungs == rungs
        assert (evaluations.first, evaluations.total) == (rungs[0], epochs * 36_000)

    @pytest.mark.parametrize(("budget", "rungs"), [(9, (1, 2, 4, 9)), (8, (1, 2, 4, 8)), (1, (1,))])
    def test_another_budget_of_another_objective_is_halved_down_to_a_step(
        self, budget: int, rungs: tuple[int, ...]
    ) -> None:
        assert EvaluationSchedule.with_budget(valley_spec(), budget).rungs == rungs

    @pytest.mark.parametrize("budget", [0, -5])
    def test_a_budget_of_no_step_is_refused(self, plain_spec: NetworkSpec, budget: int) -> None:
        with pytest.raises(ValueError, match=f"the budget must be 1 step or more, not {budget}"):
            EvaluationSchedule.with_budget(plain_spec, budget)

    @pytest.mark.parametrize("epochs", [0, -1, 1e-9])
    def test_nothing_is_no_budget(self, epochs: float) -> None:
        with pytest.raises(ValueError, match="epochs"):
            EvaluationSchedule.doubling(epoch_images=36_000, epochs=epochs)


class TestSampling:
    @pytest.mark.parametrize("sampler", SAMPLERS)
    @pytest.mark.usefixtures("early_model")
    def test_draws_inside_the_space_and_learns_of_results(self, storage: Storage, sampler: str) -> None:
        space = default_space()
        study = prepared(storage, sampler=sampler, space=space)
        for _ in range(12):
            asked = study.ask()
            settings = asked.suggest()
            assert settings == space.active(settings)
            assert settings.keys() >= space.shape(settings).searched
            assert {name: v for name, v in settings.items() if v not in space.domains[name]} == {}
            asked.complete(float(settings["lr"]))
        assert count(study.trials()).complete == 12

    @pytest.mark.parametrize("sampler", SAMPLERS)
    @pytest.mark.usefixtures("early_model")
    def test_one_seed_gives_one_sequence(self, tmp_path: Path, opened: Opened, sampler: str) -> None:
        def sequence(name: str, seed: int, length: int = 11) -> list[object]:
            study = prepared(opened(f"sqlite:///{tmp_path / name}"), sampler=sampler, seed=seed)
            drawn = []
            for _ in range(length):  # GP draws at random ten times before it models
                asked = study.ask()
                drawn.append(asked.suggest())
                asked.complete(float(drawn[-1]["lr"]))
            return drawn

        first = sequence("a.db", 1)
        assert sequence("b.db", 1) == first
        assert sequence("c.db", 2, length=2) != first[:2]

    @pytest.mark.parametrize("sampler", SAMPLERS)
    def test_workers_with_one_seed_never_draw_the_same(
        self, sqlite_url: str, opened: Opened, sampler: str
    ) -> None:
        """optuna#4412: with one seed in each process, workers repeat each other's trials."""
        workers = [prepared(opened(sqlite_url), sampler=sampler) for _ in range(3)]
        drawn = [worker.ask().suggest()["lr"] for _ in range(4) for worker in workers]
        assert len(set(drawn)) == len(drawn)

    def test_settings_that_diverge_are_avoided(self, storage: Storage) -> None:
        """All that does not diverge is equally good: nothing else tells the samplers where to look."""
        torch.set_num_threads(1)
        study = prepared(storage, sampler="random")
        for _ in range(30):
            asked = study.ask()
            if float(asked.suggest()["lr"]) > 1e-2:
                study.fail(asked.trial_id, Failure.DIVERGED, "")
            else:
                asked.report(2_250, 0.9)
                asked.prune()
        high = {}
        for sampler in ("random", "tpe", "gp"):
            study.prepare(sampler=sampler, pruner="none", seed=1, evaluations=EVALUATIONS)
            drawn = []
            while len(drawn) < 8:
                asked = study.ask()
                if not is_exploration_seed(sampler_seed(1, asked.number)):  # an exploration trial
                    drawn.append(float(asked.suggest()["lr"]))
                study.fail(asked.trial_id, Failure.ERROR, "")  # teaches nothing
            high[sampler] = sum(lr > 1e-2 for lr in drawn)
        assert high["tpe"] + 2 <= high["random"]
        assert high["gp"] + 2 <= high["random"]

    @pytest.mark.parametrize(
        ("make", "message"),
        [
            (lambda: make_sampler("tpee", 0), r"--sampler tpee: no such sampler \(did you mean tpe\?\)"),
            (
                lambda: make_pruning("ahsa", EVALUATIONS),
                r"--pruner ahsa: no such pruner \(did you mean asha\?\)",
            ),
            (lambda: make_pruning("xyz", EVALUATIONS), "known: asha, halving, hyperband, median, none, perc"),
        ],
    )
    def test_an_unknown_name_lists_near_ones(self, make, message: str) -> None:  # type: ignore[no-untyped-def]
        with pytest.raises(UsageError, match=message):
            make()


CAME_LATER = {"averaging": 0.0, "affine": 0.0}
"""What the space of these tests does not name holds as it did before there was such a setting."""


class TestReferences:
    REFERENCE: ClassVar[dict[str, Value]] = {"model": "mlp", "lr": 0.01, "depth": 9, "padding": "valid"}

    def test_parts_what_the_space_can_say_from_what_it_cannot(self) -> None:
        assert split_reference(self.REFERENCE, SPACE) == ({"lr": 0.01}, {"depth": 9, "padding": "valid"})

    def test_is_the_first_trial_and_complete(self, storage: Storage) -> None:
        study = prepared(storage, references={"course": self.REFERENCE})
        asked = study.ask()
        assert (asked.number, asked.reference) == (0, "course")
        assert asked.suggest() == {**self.REFERENCE, **CAME_LATER}
        [record] = study.trials()
        assert record.params == {"lr": 0.01}, "the sampler must not learn from a depth outside its range"
        assert record.settings == {**self.REFERENCE, **CAME_LATER}

    def test_is_queued_once(self, storage: Storage) -> None:
        for _ in range(3):
            study = prepared(storage, references={"course": self.REFERENCE})
        assert len(study.trials()) == 1

    def test_a_queue_gives_each_trial_to_one_worker(self, sqlite_url: str, opened: Opened) -> None:
        """Optuna on SQLite hands a waiting trial to several workers unless transactions are immediate."""
        references = {f"r{index}": {"lr": 0.01} for index in range(20)}
        first = prepared(opened(sqlite_url), references=references)
        others = [first, *(prepared(opened(sqlite_url)) for _ in range(2))]
        numbers = [other.ask().number for _ in range(6) for other in others]
        assert sorted(numbers) == list(range(18))


class TestConditions:
    SPACE = change_space(
        {
            "momentum": {"low": 0.5, "high": 0.9, "when": {"optimizer": ["sgd", "nesterov"]}},
            "averaging": {"value": 0.2, "when": {"momentum": {"above": 0.7}}},
        },
        FAMILIES,
        where="test",
    )

    @pytest.mark.parametrize("sampler", SAMPLERS)
    @pytest.mark.usefixtures("early_model")
    def test_a_trial_has_exactly_the_active_settings(self, storage: Storage, sampler: str) -> None:
        torch.set_num_threads(1)
        study = prepared(storage, sampler=sampler, space=self.SPACE)
        for _ in range(13):
            asked = study.ask()
            settings = asked.suggest()
            searched = settings.keys() - {"averaging"}
            assert ("momentum" in searched) == (settings["optimizer"] in ("sgd", "nesterov"))
            assert ("averaging" in settings) == (float(settings.get("momentum", 0)) > 0.7)
            assert ("taper" in settings) == (settings["model"] == "mlp" and settings["depth"] != 1)
            assert settings == self.SPACE.active(settings)
            assert settings.keys() == {
                *self.SPACE.shape(settings).searched,
                *self.SPACE.shape(settings).fixed,
            }
            decode(settings, images=9, seed=0, precision="float32")
            asked.complete(float(settings["lr"]))
            assert study.trials()[-1].settings == settings
            [kept] = storage.trials.facts_of([asked.trial_id])
            drawn_anyway = {"taper"} if settings["model"] == "mlp" else {"convolutions", "growth"}
            assert kept.settings.keys() == study.trials()[-1].params.keys() | drawn_anyway

    def test_a_repetition_has_the_same_settings(self, storage: Storage) -> None:
        study = prepared(storage, space=self.SPACE, sampler="random")
        for _ in range(6):
            asked = study.ask()
            settings = asked.suggest()
            study.fail(asked.trial_id, Failure.WORKER_DIED, "")
            again = study.ask()
            assert (again.retry_of, again.suggest()) == (asked.number, settings)
            again.complete(0.5)

    def test_a_reference_is_what_it_is_whatever_the_conditions(self, storage: Storage) -> None:
        space = change_space({"momentum": {"when": {"optimizer": "adam"}}}, FAMILIES, where="test")
        reference = TASKS["twodigit"].references["course-conv"]
        searched, pinned = split_reference(reference, space)
        assert "momentum" not in searched
        assert pinned["momentum"] == 0.9
        study = prepared(storage, space=space, references={"course-conv": reference})
        settings = study.ask().suggest()
        hidden = {"hidden_taper"}
        assert settings == {name: value for name, value in reference.items() if name not in hidden}
        assert study.trials()[0].settings == settings

    def test_a_wider_leader_gets_no_setting_that_it_was_without(self, storage: Storage) -> None:
        entries = {"dropout": {"low": 0.1, "high": 0.5, "when": {"width": {"above": 100}}}}
        space = change_space({**entries, "depth": 1}, ("mlp",), where="test")
        leader = {**space.complete({}, lambda name, each: _first(each)), "width": 90, "lr": 0.002}
        leader = space.active(leader)
        assert "dropout" not in leader
        study = prepared(storage, space=space)
        for seed in range(2):
            wider = widened(leader, 2)
            study.queue_confirming(Confirming(candidate=7, seed=seed), wider, reference=None)
            assert study.ask().suggest() == {**wider, "width": 180, "dropout": 0.0}


def _first(domain: Domain) -> Value:
    assert not isinstance(domain, Fixed)
    return domain.options[0] if isinstance(domain, Choice) else domain.low


class TestJudging:
    # asha ends trials between rungs, not at a report: tests/search/study/test_promotion.py
    @pytest.mark.parametrize("pruner", [name for name in PRUNERS if name not in ("none", "asha")])
    def test_ends_what_is_hopeless_beside_others(self, storage: Storage, pruner: str) -> None:
        study = prepared(storage, pruner=pruner, sampler="random")
        for score in [0.9, 0.91, 0.92, 0.93, 0.94, 0.95, 0.96] * 3:
            asked = study.ask()
            asked.suggest()
            for step in EVALUATIONS.rungs:
                if asked.report(step, score):
                    break
            asked.complete(score)
        bad = [study.ask() for _ in range(8)]
        verdicts = [any(asked.report(step, 0.1) for step in EVALUATIONS.rungs) for asked in bad]
        assert any(verdicts), "eight trials at chance level beside 95 %"

    def test_without_a_pruner_no_trial_is_pruned(self, storage: Storage) -> None:
        study = prepared(storage, pruner="none")
        for score in [0.9] * 9:
            study.ask().complete(score)
        asked = study.ask()
        assert not any(asked.report(step, 0.0) for step in EVALUATIONS.rungs)


class TestTrials:
    def test_states_and_values(self, storage: Storage) -> None:
        study = prepared(storage)
        done, pruned, failed, _running = (study.ask() for _ in range(4))
        for asked in (done, pruned):
            asked.suggest()
            asked.report(2_250, 0.4)
            asked.report(4_500, 0.6)
        done.note_parameters(123)
        done.complete(0.6)
        pruned.prune()
        study.fail(failed.trial_id, Failure.DIVERGED, "the loss is nan")
        records = study.trials()
        assert [record.state for record in records] == [
            State.COMPLETE,
            State.PRUNED,
            State.FAILED,
            State.RUNNING,
        ]
        assert [record.score for record in records] == [0.6, 0.6, None, None]
        assert (records[0].parameters, records[0].step) == (123, 4_500)
        assert (records[2].failure, records[2].failure_detail) == (Failure.DIVERGED, "the loss is nan")
        assert records[0].finished is not None
        assert records[0].started is not None
        assert records[0].finished >= records[0].started
        best = best_trial(records)
        assert best is not None
        assert best.number == 0

    def test_a_trial_that_was_ended_elsewhere_takes_no_report(self, storage: Storage) -> None:
        study = prepared(storage)
        asked = study.ask()
        asked.suggest()
        study.fail(asked.trial_id, Failure.WORKER_DIED, "gone")
        for late in (lambda: asked.report(1, 0.5), lambda: asked.complete(0.99), asked.prune):
            with pytest.raises(LeaseLost):
                late()
        assert study.trials()[0].state is State.FAILED

    @pytest.mark.parametrize("database", ["sqlite_url", pytest.param("mysql_url", marks=pytest.mark.server)])
    @pytest.mark.parametrize("letter", ["a", "é", "\n", "😀"])
    def test_of_a_long_failure_the_beginning_and_the_end_are_recorded(
        self, database: str, letter: str, opened: Opened, request: pytest.FixtureRequest
    ) -> None:
        """Two functions that call each other without end have a traceback of 200 kB; MySQL's column takes
        65,535 bytes."""
        study = prepared(opened(request.getfixturevalue(database)))
        whole = f"Traceback {letter * 30_000}{letter * 40_000} RecursionError"
        study.fail(study.ask().trial_id, Failure.ERROR, whole)
        detail = study.trials()[0].failure_detail or ""
        assert len(json.dumps(detail)) < 65_536
        head, tail = detail.split("\n…\n")
        assert whole.startswith(head)
        assert whole.endswith(tail)
        assert min(len(json.dumps(part)) for part in (head, tail)) > 20_000
        study.fail(study.ask().trial_id, Failure.ERROR, letter * 4_000)
        assert study.trials()[1].failure_detail == letter * 4_000

    def test_what_was_noted_of_a_trial_that_fails_before_its_first_report_is_recorded(
        self, storage: Storage
    ) -> None:
        """The model that did not fit in memory: its size is what the user asks for."""
        study = prepared(storage)
        asked = study.ask()
        asked.suggest()
        asked.note_parameters(123_456_789)
        asked.note_code("ab" * 32)
        study.fail(asked.trial_id, Failure.OUT_OF_MEMORY, "no memory")
        [failed] = study.trials()
        assert (failed.parameters, failed.failure) == (123_456_789, Failure.OUT_OF_MEMORY)
        assert (failed.failure_detail, failed.code) == ("no memory", "ab" * 32)
        assert study._adapter._own == study._adapter._drafts == {}, "nothing of it is kept in memory"

    def test_a_storage_that_fails_is_not_the_trials_fault(
        self, storage: Storage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked = prepared(storage).ask()

        @contextlib.contextmanager
        def away(_database: Database, _within: None = None) -> Iterator[None]:
            with translated(parse_url("postgresql://u:hush@h/d")):
                raise OperationalError("INSERT", {}, Exception("no route for u:hush@h"))
            yield

        monkeypatch.setattr(Database, "write", away)
        with pytest.raises(TryAgain, match="does not answer: no route") as caught:
            asked.report(2_250, 0.5)
        assert "hush" not in str(caught.value)

    def test_nor_is_a_failure_of_what_is_left_to_optuna(
        self, storage: Storage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        study = prepared(storage, sampler="qmc")
        first = study.ask()
        first.suggest()
        first.complete(0.5)
        asked = study.ask()

        def away(*_arguments: object) -> None:
            raise optuna.exceptions.StorageInternalError("password in here")

        monkeypatch.setattr(RDBStorage, "set_study_system_attr", away)
        with pytest.raises(TryAgain, match="The storage failed while trial 1 was written") as caught:
            asked.suggest()
        assert "password" not in str(caught.value)

    def test_a_retry_is_queued_once_with_everything(self, storage: Storage) -> None:
        study = prepared(storage, references={"course": TestReferences.REFERENCE})
        asked = study.ask()
        asked.suggest()
        for _ in range(3):
            study.fail(asked.trial_id, Failure.WORKER_DIED, "gone")
        again = study.ask()
        assert (again.number, again.retry_of, again.reference) == (1, 0, "course")
        assert again.suggest() == {**TestReferences.REFERENCE, **CAME_LATER}
        assert count(study.trials()).waiting == 0
        study.fail(again.trial_id, Failure.WORKER_DIED, "gone too")
        third = study.ask()
        assert (third.number, third.retry_of, third.origin) == (2, 1, 0), "a retry of a retry keeps the seed"

    @pytest.mark.parametrize("what", ["reference", "confirmation"])
    def test_queued_settings_that_were_not_suggested_yet_are_not_lost(
        self, storage: Storage, what: str
    ) -> None:
        """A worker can die between taking a queued trial and suggesting its settings, more than once."""
        given = {**TestReferences.REFERENCE, "lr": 0.0123}
        study = prepared(storage, references={"course": given} if what == "reference" else {})
        if what == "confirmation":
            study.queue_confirming(Confirming(candidate=7, seed=0), given, reference=None)
        for _ in range(2):
            study.fail(study.ask().trial_id, Failure.INTERRUPTED, "before it drew anything")
        again = study.ask()
        assert (again.number, again.retry_of, again.origin) == (2, 1, 0)
        assert again.suggest() == {**given, **CAME_LATER}

    def test_readers_that_count_while_they_read_know_what_a_signal_stopped(self, storage: Storage) -> None:
        study = prepared(storage)
        reader = TrialReader(storage.trials, study.study_id, study.revisions, ACCURACY)
        for failure in (Failure.INTERRUPTED, Failure.ERROR, Failure.INTERRUPTED):
            trial_id = study.ask().trial_id
            reader.all()  # as one at work
            study.fail(trial_id, failure, "")
            reader.all()
            assert reader.counted == reader.counts()
        assert (reader.counted.failed, reader.counted.interrupted) == (3, 2)

    def test_what_another_program_ended_is_not_repeated(self, storage: Storage) -> None:
        """optuna-dashboard and scripts can end a trial as failed, and say nothing of tune's why."""
        study = prepared(storage)
        asked = study.ask()
        optuna.load_study(storage=storage.optuna, study_name=study.name).tell(0, state=TrialState.FAIL)
        assert study.fail(asked.trial_id, Failure.WORKER_DIED, "gone") is State.FAILED
        assert count(study.trials()).waiting == 0

    def test_a_finished_trial_is_not_failed_nor_retried(self, storage: Storage) -> None:
        study = prepared(storage)
        asked = study.ask()
        asked.complete(0.5)
        study.fail(asked.trial_id, Failure.WORKER_DIED, "late")
        assert [trial.state for trial in study.trials()] == [State.COMPLETE]

    def test_a_choice_of_every_type_survives(self, storage: Storage) -> None:
        space = change_space({"batch_norm": [True, False], "batch_size": [64, 128]}, ("conv",), where="x")
        study = prepared(storage, space=space)
        settings = study.ask().suggest()
        assert isinstance(settings["batch_norm"], bool)
        assert type(settings["batch_size"]) is int
        assert study.trials()[0].params == {
            name: settings[name] for name, d in space.domains.items() if not isinstance(d, Fixed)
        }
        assert BY_NAME["batch_norm"].legal == Choice(options=(False, True))


class TestWriting:
    def test_a_trial_takes_few_transactions(self, storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
        """Each one waits for the disk; Optuna's own storage would commit each parameter by itself."""
        study = prepared(storage, space=default_space())
        for score in range(12):  # past the exploration trials of TPE
            asked = study.ask()
            asked.suggest()
            asked.complete(score / 12)
        commits: list[object] = []
        for engine in (storage.optuna.engine, storage.trials.database.engine):
            event.listen(engine, "commit", commits.append)
        asked = study.ask()
        asked.suggest()
        asked.note_parameters(5)
        for step in EVALUATIONS.rungs[:3]:
            asked.report(step, 0.5, report(step))
        asked.prune()
        assert len(commits) == 1 + 1 + 3 + 1, "the trial, its settings, three reports, its end"
        record = study.trials()[-1]
        assert (record.parameters, record.step) == (5, EVALUATIONS.rungs[2])
        assert storage.store.curve(asked.trial_id, ACCURACY) == [
            report(step) for step in EVALUATIONS.rungs[:3]
        ]

    def test_a_report_that_comes_too_late_leaves_nothing_on_the_curve(self, storage: Storage) -> None:
        study = prepared(storage)
        asked = study.ask()
        study.fail(asked.trial_id, Failure.WORKER_DIED, "gone")
        with pytest.raises(LeaseLost):
            asked.report(2_250, 0.5, report(2_250))
        assert storage.store.curve(asked.trial_id, ACCURACY) == []

    def test_a_deleted_trial_is_lost_like_an_ended_one(self, storage: Storage) -> None:
        study = prepared(storage)
        asked, other = study.ask(), study.ask()
        asked.suggest()
        storage.optuna.delete_study(study.study_id)
        with pytest.raises(LeaseLost, match="deleted"):
            asked.report(2_250, 0.5, report(2_250))
        with pytest.raises(LeaseLost, match="deleted"):
            asked.complete(0.5)
        with pytest.raises(LeaseLost, match="deleted"):
            other.prune()

    def test_settings_that_cannot_be_written_are_not_drawn(
        self, storage: Storage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        study = prepared(storage)
        asked = study.ask()
        study.fail(asked.trial_id, Failure.WORKER_DIED, "gone")
        with pytest.raises(LeaseLost):
            asked.suggest()
        assert study.trials()[0].params == {}

    def test_a_sampler_is_shown_no_more_than_the_history(
        self, storage: Storage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(history, "SHOWN", 30)
        study = prepared(storage)
        seen: list[int] = []
        drawn: list[object] = []
        sample = TPESampler._sample_relative

        def counting(self: TPESampler, study: optuna.Study, *rest: Any) -> Any:
            seen.append(len(study._get_trials(deepcopy=False, use_cache=True)))
            return sample(self, study, *rest)

        monkeypatch.setattr(TPESampler, "_sample_relative", counting)
        for _ in range(50):
            asked = study.ask()
            drawn.append(asked.suggest()["lr"])
            asked.complete(0.5)
        assert max(seen) <= 30 + 2, "and the first trial, and the one that is drawn"
        assert len(set(drawn)) == 50


def test_nothing_is_written_into_a_study_of_another_program_that_has_the_same_ids(storage: Storage) -> None:
    """It deletes tune's study, and makes one of that name: SQLite gives the ids of both again."""
    study, store = prepared(storage), storage.store
    claim, free = (store.claim(study.study_id, "w", lease_s=60) for _ in range(2))
    assert claim is not None
    asked = study.ask(claim)
    asked.guard(lambda transaction: store.require_held(claim, within=transaction))
    asked.suggest()
    assert study.exists()
    optuna.delete_study(study_name=study.name, storage=storage.optuna)
    theirs = optuna.create_study(study_name=study.name, storage=storage.optuna, direction="maximize")
    trial = theirs.ask()
    assert (theirs._study_id, trial._trial_id) == (study.study_id, asked.trial_id), "or this shows nothing"
    assert not study.exists()
    for late in (lambda: asked.report(1, 0.5, report(1)), lambda: asked.complete(0.9), asked.prune):
        with pytest.raises(LeaseLost):
            late()
    assert study.fail(asked.trial_id, Failure.INTERRUPTED, "", claim=claim) is None
    for queued in range(2):
        with pytest.raises(StudyDeleted):
            study.ask(free)
        assert len(theirs.trials) == 1 + queued
        theirs.enqueue_trial({"x": 1.0})
    states = [each.state for each in theirs.trials]
    assert states == [TrialState.RUNNING, TrialState.WAITING, TrialState.WAITING]
    assert theirs.trials[0].values is None
    assert theirs.trials[0].intermediate_values == theirs.trials[0].user_attrs == {}


FOREIGN = """
import sys
import optuna
from search.optuna_db.storage import open_storage
from search.study.study import Study

with open_storage(sys.argv[1]) as storage:
    optuna.create_study(storage=storage.optuna, study_name="mine")
    study = Study.find(storage, "mine")
    for what in sys.argv[2:]:
        try:
            getattr(study, what)
        except Exception as error:
            print(what, repr(error))
"""


def test_a_study_that_is_not_tunes_says_so_without_assertions_too(sqlite_url: str) -> None:
    asked = ["space", "revisions", "metric", "_taken"]
    command = [sys.executable, "-O", "-P", "-c", FOREIGN, sqlite_url, *asked]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True, cwd=ROOT)
    said = 'KeyError("the study mine is not tune\'s")'
    assert done.stdout.splitlines() == [f"{what} {said}" for what in asked]


class TestScoresAt:
    def test_of_all_trials_at_that_step(self, sqlite_url: str, opened: Opened) -> None:
        study, other = prepared(opened(sqlite_url)), prepared(opened(sqlite_url))
        done, running, elsewhere = study.ask(), study.ask(), other.ask()
        for asked, score in ((done, 0.5), (elsewhere, 0.25)):
            asked.report(2_250, score)
        done.report(4_500, 0.75)
        done.prune()
        assert study.scores_at(2_250) == [(0, 0.5), (2, 0.25)]
        assert study.scores_at(4_500) == [(0, 0.75)]
        assert study.scores_at(9_000) == []
        running.report(2_250, 0.125)
        elsewhere.report(4_500, 0.5)
        for each in (study, other):
            assert each.scores_at(2_250) == [(0, 0.5), (1, 0.125), (2, 0.25)]
            assert each.scores_at(4_500) == [(0, 0.75), (2, 0.5)]

    def test_between_two_reports_the_later_one_counts(self, sqlite_url: str, opened: Opened) -> None:
        """Training code reports when it likes, and each of its trials has passed the rungs in between."""
        study = prepared(opened(sqlite_url))
        often, seldom = study.ask(), study.ask()
        for step, score in ((5, 0.25), (10, 0.5)):
            often.report(step, score)
        seldom.report(20, 0.75)
        assert study.scores_at(4) == [(0, 0.25), (1, 0.75)]
        assert study.scores_at(8) == [(0, 0.5), (1, 0.75)]
        assert study.scores_at(16) == [(1, 0.75)]
        often.report(35, 0.625)
        assert study.scores_at(16) == [(0, 0.625), (1, 0.75)]

    def test_a_trial_that_was_cut_short_does_not_stand_beside_its_repetition(
        self, sqlite_url: str, opened: Opened
    ) -> None:
        study = prepared(opened(sqlite_url))
        first = study.ask()
        first.suggest()
        first.report(2_250, 0.5)
        assert study.scores_at(2_250) == [(0, 0.5)]
        study.fail(first.trial_id, Failure.INTERRUPTED, "")
        assert study.scores_at(2_250) == [], "seen before as one at work"
        again = study.ask()
        again.report(2_250, 0.5)
        assert study.scores_at(2_250) == [(1, 0.5)]

    def test_references_take_no_places(self, storage: Storage, mnist: Mnist) -> None:
        study, _ = create_or_resume(storage, RunRequest(task="twodigit", trials=5), mnist)
        study.prepare(
            sampler="random",
            pruner="asha",
            seed=0,
            evaluations=EvaluationSchedule.doubling(epoch_images=36_000, epochs=8),
        )
        for score in (0.9, 0.8, 0.7):
            study.ask().report(4_500, score)
        assert [number for number, _ in study.scores_at(4_500)] == [2]


class TestStorage:
    @pytest.mark.parametrize("kind", ["sqlite", "postgresql", "mysql"])
    def test_a_study_on_every_database(
        self, request: pytest.FixtureRequest, opened: Opened, kind: str
    ) -> None:
        url = request.getfixturevalue(f"{kind}_url")
        study = prepared(opened(url))
        asked = study.ask()
        settings = asked.suggest()
        asked.report(2_250, 0.25)
        asked.complete(0.5)
        storage = opened(url)
        found = Study.find(storage, "s")
        assert found is not None
        [record] = found.trials()
        assert (record.score, record.steps, record.params) == (
            0.5,
            {2_250: 0.25},
            {k: settings[k] for k in ("lr", "depth")},
        )

    # Optuna's storage drops the connection of an attempt that tripped over another process's table.
    @pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
    @pytest.mark.parametrize("kind", ["sqlite", "postgresql", "mysql"])
    def test_a_new_database_can_be_opened_by_many_at_once(
        self, request: pytest.FixtureRequest, kind: str
    ) -> None:
        url = request.getfixturevalue(f"{kind}_url")
        start = threading.Barrier(4)

        def open_and_make(index: int) -> tuple[bool, int, int]:
            start.wait()
            with open_storage(url) as storage:
                references = {"course": TestReferences.REFERENCE, "other": {"lr": 0.01}}
                made = Study.create(storage, "s", spec_of(SPACE), index, references=references)
                study = Study.find(storage, "s")
                assert study is not None
                record = storage.store.study(study.study_id)
                assert record is not None, "nobody meets a study without its spec"
                return made is not None, record.target_trials, len(study.trials())

        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(open_and_make, range(4)))
        [maker] = [index for index, (made, _, _) in enumerate(found) if made]
        assert {(target, trials) for _, target, trials in found} == {(maker, 2)}
        gc.collect()  # here, where the warning is expected

    def test_a_database_that_ignores_case_mixes_up_no_studies(self, mysql_url: str, opened: Opened) -> None:
        storage = opened(mysql_url)
        prepared(storage)
        for name in ("S", "s "):
            with pytest.raises(UsageError, match="does not tell the name"):
                Study.create(storage, name, spec_of(SPACE), 1)
            with pytest.raises(UsageError, match="does not tell the name"):
                Study.find(storage, name)

    @pytest.mark.parametrize("part", ["store.add_study", "trials.queue"])
    @pytest.mark.parametrize("kind", ["sqlite", "postgresql", "mysql"])
    def test_a_study_is_made_whole_or_not_at_all(
        self,
        request: pytest.FixtureRequest,
        opened: Opened,
        monkeypatch: pytest.MonkeyPatch,
        kind: str,
        part: str,
    ) -> None:
        """Else the next process after a maker that was killed finds a study without spec or references."""
        storage = opened(request.getfixturevalue(f"{kind}_url"))
        owner, name = part.split(".")

        def dies(*_arguments: object, **_more: object) -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as patched:
            patched.setattr(type(getattr(storage, owner)), name, dies)
            with pytest.raises(KeyboardInterrupt):
                prepared(storage, references={"course": TestReferences.REFERENCE})
        assert (storage.trials.names(), storage.store.studies()) == ({}, [])
        assert len(prepared(storage, references={"course": TestReferences.REFERENCE}).trials()) == 1

    def test_optuna_reads_what_we_write(self, storage: Storage, sqlite_url: str) -> None:
        prepared(storage).ask().complete(0.75)
        assert optuna.load_study(study_name="s", storage=sqlite_url).best_value == 0.75

    @pytest.mark.parametrize(
        ("url", "error", "message"),
        [
            ("nonsense", ConfigError, "is not a database URL"),
            ("oracle://u@h/d", ConfigError, "names oracle"),
            ("sqlite://", ConfigError, "in memory cannot be shared"),
            ("sqlite:////no/such/folder/x.db", ConfigError, "there is no folder /no/such/folder"),
            ("postgresql://u:hush@127.0.0.1:1/d", TryAgain, "does not answer"),
            ("mysql://u:hush@127.0.0.1:1/d", TryAgain, "does not answer"),
        ],
    )
    def test_a_bad_url_is_one_sentence_without_the_password(
        self, url: str, error: type[Exception], message: str
    ) -> None:
        with pytest.raises(error, match=message) as caught:
            open_storage(url)
        assert "hush" not in str(caught.value)

    def test_reading_makes_no_missing_file(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="There is no storage"):
            open_storage(f"sqlite:///{tmp_path / 'x.db'}", create=False)
        assert list(tmp_path.iterdir()) == []

    def test_reading_plain_optuna_studies_writes_nothing(self, tmp_path: Path) -> None:
        path = tmp_path / "plain.db"
        optuna.create_study(study_name="plain", storage=f"sqlite:///{path}")
        before = path.read_bytes()
        with pytest.raises(ConfigError, match="holds no study of tune's yet"):
            open_storage(f"sqlite:///{path}", create=False)
        assert path.read_bytes() == before

    def _refused_untouched(self, path: Path, message: str) -> None:
        before = path.read_bytes()
        with pytest.raises(ConfigError, match=message):
            open_storage(f"sqlite:///{path}")
        assert path.read_bytes() == before, "a refused database stays as it is, to the byte"
        assert [each.name for each in path.parent.iterdir()] == [path.name]

    def test_a_database_of_another_program(self, tmp_path: Path) -> None:
        path = tmp_path / "other.db"
        with sqlite3.connect(path) as connection:
            connection.execute("CREATE TABLE songs (title TEXT)")
        connection.close()
        self._refused_untouched(path, "belongs to another program .it has the tables songs")
        with sqlite3.connect(path) as connection:  # Optuna is not the only one who uses Alembic
            connection.execute("CREATE TABLE alembic_version (version_num TEXT)")
        connection.close()
        self._refused_untouched(path, "belongs to another program .it has the tables alembic_version, songs")

    @pytest.mark.parametrize("server", ["postgresql", "mysql"])
    def test_one_on_a_server(self, server: str, request: pytest.FixtureRequest) -> None:
        url = request.getfixturevalue(f"{server}_url")
        engine = create_engine(url)
        with engine.begin() as connection:
            connection.execute(text("CREATE TABLE songs (title VARCHAR(20))"))
        with pytest.raises(ConfigError, match="belongs to another program"):
            open_storage(url)
        assert inspect(engine).get_table_names() == ["songs"]
        engine.dispose()

    def test_a_file_that_is_no_database(self, tmp_path: Path) -> None:
        path = tmp_path / "text.db"
        path.write_text("dear diary\n" * 1000)
        self._refused_untouched(path, "is not a whole SQLite database")

    def test_a_newer_tune(self, tmp_path: Path) -> None:
        path = tmp_path / "new.db"
        open_storage(f"sqlite:///{path}").close()
        with sqlite3.connect(path) as connection:
            connection.execute("UPDATE tune_schema SET version = 999")
        connection.close()
        self._refused_untouched(path, "schema 999 of a newer tune")

    def test_an_older_optuna(self, tmp_path: Path) -> None:
        path = tmp_path / "old.db"
        open_storage(f"sqlite:///{path}").close()
        with sqlite3.connect(path) as connection:
            connection.execute("UPDATE alembic_version SET version_num = 'v1.3.0.a'")
        connection.close()
        self._refused_untouched(path, "made by another version of Optuna")


def test_mysql_does_not_tell_names_apart_that_differ_in_case(mysql_url: str) -> None:
    """It would keep one of the two settings in each trial."""
    alike = Space({"C": Float(0.1, 10.0), "c": Float(0.0, 1.0), "act": Choice(["relu", "ReLU"])})
    spec = valley_spec(space=declared_entries(alike), budget=4)
    with open_storage(mysql_url) as storage:
        with pytest.raises(UsageError, match="does not tell the settings 'C' and 'c' apart"):
            Study.create(storage, "v", spec, 3)
        one = Space({name: domain for name, domain in alike.domains.items() if name != "c"})
        study = Study.create(storage, "v", replace(spec, space=declared_entries(one)), 3)
        assert study is not None
        with pytest.raises(UsageError, match="does not tell the settings 'C' and 'c' apart"):
            change_space_of_study(storage, storage.store.study(study.study_id), spec.space)
        for option in ("relu", "ReLU", "relu"):
            study.queue_ablation(
                AblationRun(arm=f"act={option}", seed=0, budget=2), {"C": 1.0, "act": option}
            )
        arms = [each.ablation.arm for each in study.trials() if each.ablation]
        assert arms == ["act=relu", "act=ReLU"], "each once"


def test_other_databases_tell_them_apart(storage: Storage) -> None:
    alike = Space({"C": Float(0.1, 10.0), "c": Float(0.0, 1.0)})
    assert Study.create(storage, "v", valley_spec(space=declared_entries(alike)), 3) is not None
