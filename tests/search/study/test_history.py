"""What a sampler is shown of a large study."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator

import numpy as np
import optuna
import pytest
from optuna.samplers import _tpe
from optuna.samplers._tpe import _truncnorm
from optuna.samplers._tpe.sampler import _split_trials, default_gamma
from optuna.trial import FrozenTrial, TrialState, create_trial

from search.optuna_db.frozen import frozen
from search.optuna_db.ownership import FAILURE
from search.optuna_db.storage import Storage, open_storage
from search.optuna_db.trial_facts import Change, News
from search.optuna_db.whole_arrays import use_whole_arrays
from search.records import Failure, State
from search.study import history
from search.study.history import GOOD, History
from search.study.samplers import SAMPLERS


@pytest.fixture
def storage(sqlite_url: str) -> Iterator[Storage]:
    with open_storage(sqlite_url) as opened:
        yield opened


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A large study that a test can fill."""
    monkeypatch.setattr(history, "SHOWN", 40)


def add(storage: Storage, study_id: int, draw: random.Random, *, complete: float) -> int:
    """A finished trial; `complete` is the share of those that are not pruned."""
    trial_id = storage.trials.add(study_id).trial_id
    if draw.random() < complete:
        change = Change(state=State.COMPLETE, value=draw.choice([0.1, 0.5, draw.random()]))
    elif draw.random() < 0.1:
        change = Change(state=State.PRUNED)
    else:
        steps = {step: draw.random() for step in (10, 20, 30)[: draw.randint(1, 3)]}
        change = Change(state=State.PRUNED, steps=steps, value=steps[max(steps)])
    storage.trials.change(trial_id, change)
    return trial_id


def study_of(storage: Storage) -> optuna.Study:
    return optuna.create_study(storage=storage.optuna, study_name="s", direction="maximize")


def shown(storage: Storage, study_id: int) -> list[FrozenTrial]:
    fresh = History(storage.trials, study_id)
    fresh.look()
    return fresh.shown()


class TestHistory:
    def test_a_small_study_is_shown_whole(self, storage: Storage) -> None:
        study, draw = study_of(storage), random.Random(0)
        for _ in range(40):
            add(storage, study._study_id, draw, complete=0.3)
        assert shown(storage, study._study_id) == study.get_trials()

    @pytest.mark.parametrize("complete", [0.0, 0.1, 0.9])
    def test_tpe_calls_the_same_trials_good(self, storage: Storage, complete: float) -> None:
        study, draw = study_of(storage), random.Random(1)
        for _ in range(90):
            add(storage, study._study_id, draw, complete=complete)
        few = shown(storage, study._study_id)
        assert len(few) in (40, 41), "the first one may come on top"
        assert few[0].number == 0, "quasi-random sequences take their dimensions from the first"
        everything, _ = _split_trials(study, study.get_trials(), GOOD)
        bounded, _ = _split_trials(study, few, GOOD)
        assert [trial.number for trial in bounded] == [trial.number for trial in everything]

    def test_tpe_never_calls_more_good(self) -> None:
        assert max(default_gamma(n) for n in range(20_000)) == GOOD

    def test_the_history_does_not_depend_on_earlier_reads(self, storage: Storage) -> None:
        study_id, draw = study_of(storage)._study_id, random.Random(2)
        watching = History(storage.trials, study_id)
        for _ in range(80):
            add(storage, study_id, draw, complete=0.3)
            watching.look()
        assert watching.shown() == shown(storage, study_id)

    def test_one_more_trial_changes_little(self, storage: Storage) -> None:
        study_id, draw = study_of(storage)._study_id, random.Random(3)
        for _ in range(80):
            add(storage, study_id, draw, complete=0.3)
        before = {trial.number for trial in shown(storage, study_id)}
        add(storage, study_id, draw, complete=0.3)
        assert len(before - {trial.number for trial in shown(storage, study_id)}) <= 1

    def test_the_sample_is_even(self, storage: Storage) -> None:
        study_id, draw = study_of(storage)._study_id, random.Random(4)
        for _ in range(300):
            add(storage, study_id, draw, complete=0.0)
        mean = sum(trial.number for trial in shown(storage, study_id)) / 40
        assert 100 < mean < 200, "early and late trials alike"

    def test_trials_at_work_are_shown_as_they_are_now(self, storage: Storage) -> None:
        study_id, draw = study_of(storage)._study_id, random.Random(5)
        trial_id = storage.trials.add(study_id).trial_id
        for _ in range(60):
            add(storage, study_id, draw, complete=0.3)
        watching = History(storage.trials, study_id)
        for change in (Change(), Change(system={"tpe:relative_params:0": "{}"})):
            storage.trials.change(trial_id, change)
            watching.look()
            assert watching.shown()[0] == frozen(storage.trials.facts_of([trial_id])[0])
        storage.trials.change(trial_id, Change(state=State.FAILED))
        watching.look()
        assert all(trial._trial_id != trial_id for trial in watching.shown())

    @pytest.mark.parametrize("failure", [Failure.INTERRUPTED, Failure.WORKER_DIED, Failure.DIVERGED])
    def test_a_trial_that_fails_between_two_reads_is_the_worst_only_if_it_diverged(
        self, storage: Storage, failure: Failure
    ) -> None:
        study_id = study_of(storage)._study_id
        at_work = storage.trials.add(study_id)
        storage.trials.change(at_work.trial_id, Change(steps={10: 0.99}))
        watching = History(storage.trials, study_id)
        watching.look()
        why = {FAILURE: failure.value}
        storage.trials.change(at_work.trial_id, Change(user=why, state=State.FAILED))
        seen = [(trial.state, trial.intermediate_values) for trial in watching.shown()]
        assert seen == ([(TrialState.PRUNED, {})] if failure is Failure.DIVERGED else [])
        watching.look()
        assert len(watching.shown()) == (failure is Failure.DIVERGED)

    def test_failed_and_waiting_trials_are_not_shown(self, storage: Storage) -> None:
        study = study_of(storage)
        failed = storage.trials.add(study._study_id)
        storage.trials.change(failed.trial_id, Change(state=State.FAILED))
        study.enqueue_trial({})
        assert shown(storage, study._study_id) == []
        assert len(storage.trials.facts(study._study_id, News())) == 2

    def test_a_diverged_trial_is_the_worst_of_all(self, storage: Storage) -> None:
        """However far it came, and in a study so large that some trials are not shown."""
        study, draw = study_of(storage), random.Random(6)
        add(storage, study._study_id, draw, complete=0.0)
        for steps in ({}, {10: 0.9, 20: 0.99}):
            diverged = storage.trials.add(study._study_id)
            why = {FAILURE: Failure.DIVERGED.value}
            storage.trials.change(diverged.trial_id, Change(user=why, steps=steps, state=State.FAILED))
        few = shown(storage, study._study_id)
        assert [trial.state for trial in few] == [TrialState.PRUNED] * 3
        assert [trial.intermediate_values for trial in few[1:]] == [{}, {}]
        for _ in range(60):
            add(storage, study._study_id, draw, complete=0.5)
        good, _ = _split_trials(study, shown(storage, study._study_id), GOOD)
        assert not {1, 2} & {trial.number for trial in good}


class TestWholeArrays:
    def test_scipys_logarithm_is_optunas(self) -> None:
        x = np.linspace(-40, 10, 5_001)
        theirs = np.array([_truncnorm._log_ndtr_single(float(each)) for each in x])
        SAMPLERS["tpe"](0)
        np.testing.assert_allclose(_truncnorm._log_ndtr(x), theirs, rtol=1e-12, atol=1e-15)

    def test_an_optuna_that_was_not_tested_keeps_its_own(self, monkeypatch: pytest.MonkeyPatch) -> None:
        own = object()
        monkeypatch.setattr(_truncnorm, "_log_ndtr", own)
        monkeypatch.setattr(optuna, "__version__", "5.99.0")
        assert not use_whole_arrays()
        assert _truncnorm._log_ndtr is own

    @pytest.mark.parametrize("missing", ["optuna.samplers._tpe._truncnorm", "optuna.samplers._tpe"])
    def test_one_without_such_a_module_keeps_its_own(
        self, monkeypatch: pytest.MonkeyPatch, missing: str
    ) -> None:
        monkeypatch.setitem(sys.modules, missing, None)
        monkeypatch.delattr(_tpe, "_truncnorm")
        assert not use_whole_arrays()

    def test_one_without_such_a_function_keeps_its_own(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delattr(_truncnorm, "_log_ndtr")
        assert not use_whole_arrays()
        assert not hasattr(_truncnorm, "_log_ndtr")

    def test_tpe_calls_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        sampler = SAMPLERS["tpe"](0)
        calls: list[int] = []
        replaced = _truncnorm._log_ndtr

        def counting(x: np.ndarray) -> np.ndarray:
            calls.append(x.size)
            return replaced(x)

        study = optuna.create_study(sampler=sampler)
        space = {"x": optuna.distributions.FloatDistribution(0, 1)}
        study.add_trials(
            create_trial(state=TrialState.COMPLETE, value=x, params={"x": x}, distributions=dict(space))
            for x in np.linspace(0, 1, 20)
        )
        trial = study.ask()
        with monkeypatch.context() as patch:
            patch.setattr(_truncnorm, "_log_ndtr", counting)
            trial.suggest_float("x", 0, 1)
        assert calls
