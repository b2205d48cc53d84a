"""What tune reads and writes in Optuna's tables is what Optuna itself would read and write there."""

from __future__ import annotations

import datetime
import json
import math
import tomllib
from dataclasses import replace
from pathlib import Path

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.storages._rdb import models
from optuna.trial import FrozenTrial, TrialState
from packaging.requirements import Requirement
from sqlalchemy import Enum, Table, UniqueConstraint, delete, insert, select

from search.optuna_db import optuna_tables
from search.optuna_db.frozen import frozen
from search.optuna_db.optuna_trials import TrialEnded
from search.optuna_db.ownership import FAILURE
from search.optuna_db.storage import Storage, open_storage
from search.optuna_db.trial_facts import Change, News
from search.optuna_db.trial_storage import TrialStorage
from search.records import ACCURACY, Counts, Direction, Failure, Metric, State

NOW = datetime.datetime(2026, 11, 22, 12, 0, 1)
DISTRIBUTIONS = {
    "family": CategoricalDistribution(("mlp", "conv")),
    "norm": CategoricalDistribution((False, True)),
    "batch": CategoricalDistribution((64, 128, 0.5)),
    "lr": FloatDistribution(1e-4, 0.1, log=True),
    "depth": IntDistribution(1, 9, step=2),
}
PARAMS = {"lr": 1e-3, "family": "conv", "norm": True, "batch": 128, "depth": 5}


@pytest.fixture
def storage(emptied: Storage) -> Storage:
    return emptied


def template(state: TrialState, value: float | None, steps: dict[int, float]) -> FrozenTrial:
    drawn = state is not TrialState.WAITING
    return FrozenTrial(
        number=-1,
        trial_id=-1,
        state=state,
        value=value,
        datetime_start=NOW if drawn else None,
        datetime_complete=NOW if state.is_finished() else None,
        params=PARAMS if drawn else {},
        distributions=DISTRIBUTIONS if drawn else {},
        user_attrs={"parameters": 7, "pinned": {"a": [1, "ü"]}, "nothing": None},
        system_attrs={"fixed_params": {"lr": 0.5}, "long": "x" * 3000},
        intermediate_values=steps,
    )


TEMPLATES = [
    template(TrialState.COMPLETE, 0.75, {10: 0.1 + 0.2, 2**30: 0.75}),
    template(TrialState.COMPLETE, 0.75, {}),
    template(TrialState.PRUNED, 0.5, {10: math.inf, 20: -math.inf, 30: 0.5}),
    template(TrialState.FAIL, None, {10: 1e-300}),
    template(TrialState.RUNNING, None, {20: 0.25}),
    template(TrialState.WAITING, None, {}),
    template(TrialState.COMPLETE, -math.inf, {}),
]


def filled(storage: Storage) -> int:
    """A study with a trial of every kind, written by Optuna, beside another study."""
    for name in ("other", "s"):
        study = optuna.create_study(storage=storage.optuna, study_name=name, direction="maximize")
        for each in TEMPLATES:
            storage.optuna.create_new_trial(study._study_id, each)
    return study._study_id


def rows(storage: Storage, table: Table, study_id: int) -> list[dict[str, object]]:
    """Of one study, without their own ids and its name."""
    with storage.trials.database.read() as connection:
        found = connection.execute(select(table).where(table.c.study_id == study_id)).mappings().all()
    own = {column.name for column in table.primary_key} | {"study_id", "study_name"}
    return [{name: value for name, value in row.items() if name not in own} for row in found]


class TestStudies:
    @pytest.mark.filterwarnings("ignore:.*set_metric_names:optuna.exceptions.ExperimentalWarning")
    @pytest.mark.parametrize("direction", Direction)
    def test_one_that_tune_makes_is_one_that_optuna_makes(
        self, storage: Storage, direction: Direction
    ) -> None:
        theirs = optuna.create_study(storage=storage.optuna, study_name="theirs", direction=direction.value)
        theirs.set_metric_names(["validation accuracy"])
        metric = Metric(name="validation/accuracy", direction=direction)
        ours = storage.trials.add_study("ours", metric)
        assert ours is not None
        assert storage.trials.direction(ours) is direction
        for model in models.BaseModel.metadata.sorted_tables:
            if "study_id" in model.c:
                assert rows(storage, model, ours) == rows(storage, model, theirs._study_id), model.name
        assert optuna.load_study(storage=storage.optuna, study_name="ours").metric_names == [
            "validation accuracy"
        ]

    def test_a_name_is_given_once(self, storage: Storage) -> None:
        assert storage.trials.add_study("s", ACCURACY) is not None
        assert storage.trials.add_study("s", ACCURACY) is None
        optuna.create_study(storage=storage.optuna, study_name="theirs")
        assert storage.trials.add_study("theirs", ACCURACY) is None
        with pytest.raises(optuna.exceptions.DuplicatedStudyError):
            optuna.create_study(storage=storage.optuna, study_name="s")


class TestDefinitions:
    def test_the_installed_optuna_makes_the_schema_that_tune_reads(self, sqlite_url: str) -> None:
        with open_storage(sqlite_url) as storage:
            assert storage.optuna.get_head_version() == optuna_tables.REVISION

    def test_the_pin_allows_what_was_tested_and_nothing_else(self) -> None:
        file = Path(__file__).parents[2] / "pyproject.toml"
        asked = map(Requirement, tomllib.loads(file.read_text(encoding="utf-8"))["project"]["dependencies"])
        [pin] = [each.specifier for each in asked if each.name == "optuna"]
        minors = [f"{major}.{minor}" for major in range(4, 7) for minor in range(12)]
        assert tuple(each for each in minors if f"{each}.1" in pin) == optuna_tables.TESTED
        assert optuna.__version__ in pin

    @pytest.mark.parametrize("name", optuna_tables.metadata.tables)
    def test_every_column_is_optunas(self, name: str) -> None:
        theirs = models.BaseModel.metadata.tables[name].columns
        for column in optuna_tables.metadata.tables[name].columns:
            kind = theirs[column.name].type
            assert type(kind)._type_affinity is type(column.type)._type_affinity  # type: ignore[attr-defined]
            if isinstance(kind, Enum):
                assert isinstance(column.type, Enum)
                assert (set(kind.enums), kind.name) == (set(column.type.enums), column.type.name)

    @pytest.mark.parametrize(
        ("table", "key"),
        [
            ("studies", {"study_name"}),
            ("trial_params", {"trial_id", "param_name"}),
            ("trial_values", {"trial_id", "objective"}),
            ("trial_intermediate_values", {"trial_id", "step"}),
            ("trial_user_attributes", {"trial_id", "key"}),
            ("trial_system_attributes", {"trial_id", "key"}),
        ],
    )
    def test_rows_that_are_replaced_have_the_key_that_it_takes(self, table: str, key: set[str]) -> None:
        constraints = models.BaseModel.metadata.tables[table].constraints
        unique = [set(each.columns.keys()) for each in constraints if isinstance(each, UniqueConstraint)]
        indexes = models.BaseModel.metadata.tables[table].indexes
        assert key in unique + [set(each.columns.keys()) for each in indexes if each.unique]


class TestReading:
    def test_trials_are_those_that_optuna_reads(self, storage: Storage) -> None:
        study_id = filled(storage)
        ours = [frozen(trial) for trial in storage.trials.facts(study_id, News())]
        assert ours == storage.optuna.get_all_trials(study_id)
        assert list(ours[0].params) == list(PARAMS), "in the order of drawing"
        assert storage.trials.facts_of([ours[2]._trial_id, ours[0]._trial_id, 999]) == [
            trial for trial in storage.trials.facts(study_id, News()) if trial.number in (0, 2)
        ]

    def test_a_step_that_is_no_number(self, storage: Storage) -> None:
        study_id = filled(storage)
        trial_id = storage.optuna.create_new_trial(
            study_id, template(TrialState.RUNNING, None, {1: math.nan})
        )
        [trial] = storage.trials.facts_of([trial_id])
        assert math.isnan(trial.steps[1])

    def test_what_is_asked_without_reading_trials(self, storage: Storage) -> None:
        study_id, trials = filled(storage), storage.trials
        everything = trials.facts(study_id, News())
        ids = [trial.trial_id for trial in everything]
        assert trials.counts(study_id) == Counts(complete=3, pruned=1, failed=1, running=1, waiting=1)
        own = Counts(failed=1, running=1, waiting=1, foreign=4)
        counted, foreign = trials.tally(study_id)
        assert (counted, foreign) == (own, {*ids[:3], ids[6]}), "finished without a claim or a mark"
        failed, waiting = (trials.in_state(study_id, each)[0] for each in (State.FAILED, State.WAITING))
        table = optuna_tables.user_attributes
        for failure in (Failure.INTERRUPTED, Failure.OUTSIDE_SPACE):
            noted = {"key": FAILURE, "value_json": json.dumps(failure)}
            with trials.database.write() as connection:
                connection.execute(delete(table).where(table.c.key == FAILURE))
                for trial_id in (failed, waiting):
                    connection.execute(insert(table).values(trial_id=trial_id, **noted))
            assert trials.tally(study_id)[0] == replace(own, **{failure.value: 1}), "only failed ones"
        most = Direction.MAXIMIZE
        assert trials.ranked(study_id, most) == [ids[0], ids[1], ids[6]], "the earliest of equals first"
        assert trials.ranked(study_id, most, without="parameters") == []
        assert trials.ranked(study_id, most, without="reference") == [ids[0], ids[1], ids[6]]
        assert trials.ranked(study_id, Direction.MINIMIZE) == [ids[6], ids[0], ids[1]], "likewise"
        assert trials.steps(study_id) == sum(max(trial.steps, default=0) for trial in everything)
        assert trials.in_state(study_id, State.RUNNING) == [ids[4]]
        assert trials.noted(study_id, "parameters") == ids
        assert trials.noted(study_id, "parameters", 8) == []
        assert [trials.state(each) for each in ids] == [trial.state for trial in everything]
        assert trials.named("s") == (study_id, "s")
        assert trials.named("t") is None
        assert trials.names() == {study_id - 1: "other", study_id: "s"}
        with pytest.raises(KeyError):
            trials.state(999)

    def test_reports_come_in_the_order_of_writing(self, storage: Storage) -> None:
        study_id = filled(storage)
        ids = [storage.optuna.create_new_trial(study_id) for _ in range(2)]
        for trial_id, step in ((ids[1], 10), (ids[0], 30), (ids[1], 20), (ids[0], 10)):
            storage.trials.change(trial_id, Change(steps={step: 0.5}))
        storage.trials.change(ids[1], Change(steps={10: 0.75}))  # said again: its place stays
        reports = storage.trials.reports(study_id)
        assert reports[-4:] == [(ids[1], 10), (ids[0], 30), (ids[1], 20), (ids[0], 10)]
        assert len(reports) == sum(len(trial.steps) for trial in storage.trials.facts(study_id, News()))

    def test_without_what_was_drawn_and_reported_the_rest_is_the_same(self, storage: Storage) -> None:
        study_id = filled(storage)
        brief = storage.trials.facts(study_id, News(), drawn_and_reported=False)
        whole = storage.trials.facts(study_id, News())
        assert brief == [replace(trial, params={}, steps={}) for trial in whole]
        assert any(trial.params and trial.steps for trial in whole)

    def test_outlines_and_standings_agree_with_the_trials(self, storage: Storage) -> None:
        study_id, trials = filled(storage), storage.trials
        everything = trials.facts(study_id, News())
        for outline, trial in zip(trials.outlines(study_id, News()), everything, strict=True):
            assert (outline.trial_id, outline.number, outline.state, outline.value, outline.last_step) == (
                trial.trial_id,
                trial.number,
                trial.state,
                trial.value,
                max(trial.steps, default=None),
            )
        for step in (1, 10, 15, 20, 31):  # some at which trials report, and some between them and beyond
            standings = trials.standings(study_id, step, News(), mark="reference")
            later = [sorted(at for at in trial.steps if at >= step)[:1] for trial in everything]
            assert [each.value for each in standings] == [
                trial.steps[at[0]] if at else None for trial, at in zip(everything, later, strict=True)
            ]

    def test_news_are_new_trials_and_those_that_were_open(self, storage: Storage) -> None:
        study_id, news = filled(storage), News()
        assert len(storage.trials.outlines(study_id, news)) == len(TEMPLATES)
        running, waiting = (each.number for each in storage.trials.outlines(study_id, news))
        assert (running, waiting) == (4, 5)
        [open_id] = storage.trials.in_state(study_id, State.RUNNING)
        storage.trials.change(open_id, Change(state=State.FAILED))
        assert storage.trials.add(study_id).number == waiting
        new = storage.trials.add(study_id)
        assert [each.number for each in storage.trials.outlines(study_id, news)] == [4, 5, new.number]
        assert [each.number for each in storage.trials.outlines(study_id, news)] == [5, new.number]


class TestWriting:
    def test_a_trial_through_our_storage_is_the_same_as_through_optunas(self, storage: Storage) -> None:
        study = optuna.create_study(storage=storage.optuna, study_name="s", direction="maximize")
        written = []
        for adapter in (storage.optuna, TrialStorage(storage.optuna, storage.trials)):
            trial_id = adapter.create_new_trial(study._study_id)
            for name, distribution in DISTRIBUTIONS.items():
                internal = distribution.to_internal_repr(PARAMS[name])
                adapter.set_trial_param(trial_id, name, internal, distribution)
            adapter.set_trial_user_attr(trial_id, "parameters", 1)
            adapter.set_trial_user_attr(trial_id, "parameters", {"ü": [1, None]})
            adapter.set_trial_system_attr(trial_id, "completed_rung_0", 0.5)
            for step, value in ((10, 0.5), (10, 0.25), (20, math.inf), (30, -math.inf), (2**30, 1e-300)):
                adapter.set_trial_intermediate_value(trial_id, step, value)
            running = storage.optuna.get_trial(trial_id)
            assert frozen(storage.trials.facts_of([trial_id])[0]) == running
            assert adapter.set_trial_state_values(trial_id, TrialState.COMPLETE, [math.inf])
            written.append(storage.optuna.get_trial(trial_id))
        theirs, ours = written
        assert (theirs.number, ours.number) == (0, 1)
        for trial in written:
            assert trial.datetime_complete is not None
            assert trial.datetime_start is not None
            assert abs((datetime.datetime.now() - trial.datetime_complete).total_seconds()) < 60
            assert trial.datetime_complete >= trial.datetime_start
        for trial in written:
            trial.number = trial._trial_id = 0
            trial.datetime_start = trial.datetime_complete = NOW
        assert ours == theirs

    def test_a_finished_trial_cannot_change(self, storage: Storage) -> None:
        study_id = filled(storage)
        for trial in storage.trials.facts(study_id, News())[:4]:
            for change in (Change(user={"a": 1}), Change(state=State.FAILED), Change(steps={1: 0.0})):
                with pytest.raises(TrialEnded):
                    storage.trials.change(trial.trial_id, change)
            assert storage.trials.facts_of([trial.trial_id]) == [trial]
        with pytest.raises(KeyError):
            storage.trials.change(999, Change())

    def test_a_waiting_trial_is_taken_once(self, storage: Storage) -> None:
        study_id = filled(storage)
        [waiting] = storage.trials.in_state(study_id, State.WAITING)
        assert [storage.trials.start(waiting) for _ in range(2)] == [True, False]
        [trial] = storage.trials.facts_of([waiting])
        assert trial.state is State.RUNNING
        assert trial.started is not None

    def test_trial_numbers_continue_after_optunas(self, storage: Storage) -> None:
        study_id = filled(storage)
        waited = storage.trials.add(study_id)
        assert waited.state is State.RUNNING, "what waits comes first, also where Optuna has looked already"
        assert waited.started is not None
        assert storage.trials.in_state(study_id, State.WAITING) == []
        ours = storage.trials.add(study_id).number
        theirs = storage.optuna.get_trial(storage.optuna.create_new_trial(study_id)).number
        assert (ours, theirs) == (len(TEMPLATES), len(TEMPLATES) + 1)
        with pytest.raises(KeyError):
            storage.trials.add(999)

    def test_a_change_is_made_whole_or_not_at_all(self, storage: Storage) -> None:
        trial = storage.trials.add(filled(storage))
        before = storage.trials.facts_of([trial.trial_id])
        with pytest.raises(TypeError, match="JSON"):
            storage.trials.change(trial.trial_id, Change(user={"good": 1}, system={"bad": object()}))
        assert storage.trials.facts_of([trial.trial_id]) == before
