"""The seam, held to by an objective that is nothing like ours (tests/support/valley.py), in this process."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import optuna
import pytest
import valley
from valley import BUDGET, ENERGY, LOWEST, VALLEY, valley_spec

from search.objectives.base import Job, Work
from search.objectives.registry import OBJECTIVES
from search.optuna_db.storage import Storage, open_storage
from search.records import Confirming, Failure, Metric, NetworkSpec, Report, State, Value
from search.space.spec import declared_entries
from search.store.base import LeaseLost
from search.store.rows import spec_to_json
from search.study.pruners import PRUNERS
from search.study.samplers import SAMPLERS
from search.study.study import Study, StudyDeleted
from search.worker.context import WorkerContext, prepare
from search.worker.options import WorkerOptions
from search.worker.worker_loop import GivenUp, work
from tune.space import Choice, Space


@pytest.fixture(autouse=True)
def _known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(OBJECTIVES, "valley", VALLEY)


def joined(
    storage: Storage, folder: Path, *, trials: int = 20, name: str = "v", **changed: object
) -> WorkerContext:
    Study.create(storage, name, valley_spec(**changed), trials)
    return prepare(storage, name, None, folder, threads=1)


def forever() -> bool:
    return False


@pytest.mark.parametrize("pruner", PRUNERS)
def test_every_pruner_finishes_exactly_what_was_asked_for(pruner: str, tmp_path: Path) -> None:
    with open_storage(f"sqlite:///{tmp_path}/s.db") as storage:
        here = joined(storage, tmp_path, trials=20, pruner=pruner)
        assert work(here, stop=forever) == 20
        trials = here.study.trials()
        assert sum(trial.state.is_finished for trial in trials) == 20 == len(trials)
        complete = [trial for trial in trials if trial.state is State.COMPLETE]
        best = max(complete, key=lambda trial: trial.score or -math.inf)
        assert all(trial.step == BUDGET for trial in complete)
        # A score is higher where the energy is lower, and pruning stopped the higher energies.
        assert -ENERGY.value_of(best.score or 0.0) == best.score
        pruned = [trial for trial in trials if trial.state is State.PRUNED]
        assert bool(pruned) == (pruner != "none")
        for trial in pruned:
            rivals = [each.steps[trial.step] for each in complete if trial.step in each.steps]
            assert trial.score is not None
            assert trial.score < max(rivals)
        # Optuna's tables, and with them its dashboard, have the energy itself and the direction.
        plain = optuna.load_study(study_name="v", storage=f"sqlite:///{tmp_path}/s.db")
        assert plain.direction is optuna.study.StudyDirection.MINIMIZE
        assert plain.metric_names == ["energy"]
        assert plain.best_value == pytest.approx(ENERGY.value_of(best.score or 0.0))
        assert plain.best_trial.number == best.number
        curve = storage.store.curve(best.trial_id, ENERGY)
        assert [report.step for report in curve] == list(range(1, BUDGET + 1))
        assert curve[-1].metrics == {
            "energy": pytest.approx(plain.best_value),
            "height": pytest.approx(plain.best_value + 3),
        }


@pytest.mark.parametrize("how", ["confirms", "ablates"])
def test_a_study_whose_settings_are_given_ends_when_its_queue_is_empty(how: str, tmp_path: Path) -> None:
    """Another slot is free, and no settings are invented for it."""
    settings: dict[str, Value] = {"start": 0.1, "friction": 0.5, "push": "none", "bounces": 1}
    with open_storage(f"sqlite:///{tmp_path}/s.db") as storage:
        work(joined(storage, tmp_path, trials=1), stop=forever)
        changed: dict[str, object] = {how: "v", **({"baseline": 0} if how == "ablates" else {})}
        here = joined(storage, tmp_path, trials=2, name="given", **changed)
        here.study.queue_confirming(Confirming(candidate=0, seed=0), settings, reference=None)
        assert here.study.has_next()
        assert work(here, stop=forever) == 1
        assert not here.study.has_next()
        assert [trial.settings for trial in here.study.trials()] == [settings]
        assert [claim.done for claim in storage.store.claims(here.study.study_id)] == [True]


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_sampler_seeks_the_bottom(sampler: str, tmp_path: Path) -> None:
    count = 60 if sampler == "tpe" else 30  # it explores for 20 trials; gp for 10, and gets slow with many
    with open_storage(f"sqlite:///{tmp_path}/s.db") as storage:
        here = joined(storage, tmp_path, trials=count, sampler=sampler, pruner="asha", seed=1)
        work(here, stop=forever)
        trials = here.study.trials()
        values = [ENERGY.value_of(trial.score or 0.0) for trial in trials if trial.state is State.COMPLETE]
        assert min(values) < LOWEST + 1.5
        if sampler in ("tpe", "gp"):  # they learn: what they propose late lies lower than what came first
            early, late = (
                [math.nan if t.score is None else -t.steps[1] for t in some]
                for some in (trials[: count // 3], trials[-count // 3 :])
            )
            assert sorted(late)[count // 6] < sorted(early)[count // 6]


def test_a_score_that_is_no_number_is_a_diverged_trial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VALLEY_EDGE", "0")
    with open_storage(f"sqlite:///{tmp_path}/s.db") as storage:
        here = joined(storage, tmp_path, trials=6, seed=3)
        work(here, stop=forever)
        trials = here.study.trials()
        failed = [trial for trial in trials if trial.state is State.FAILED]
        assert failed
        assert {trial.failure for trial in failed} == {Failure.DIVERGED}
        assert "energy was nan at step 1" in (failed[0].failure_detail or "")
        assert all(float(trial.params["start"]) > 0 for trial in failed)
        assert sum(trial.state is State.COMPLETE for trial in trials) == 6


def test_a_worker_that_gives_up_quotes_the_beginning_and_the_end_of_a_long_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(self: valley.Rolling) -> Iterator[Report]:
        raise ValueError(f"the beginning, {'word ' * 10_000} and the end")
        yield

    monkeypatch.setattr(valley.Rolling, "reports", failing)
    with open_storage(f"sqlite:///{tmp_path}/s.db") as storage:
        with pytest.raises(GivenUp, match=r"(?s)with ValueError: the beginning.*and the end\.$") as caught:
            work(joined(storage, tmp_path, trials=1), stop=forever)
        assert len(str(caught.value)) < 2_500


def test_an_objective_is_closed_where_the_study_cannot_be_joined(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may have a process with training code, or a GPU."""
    closed: list[valley.OpenValley] = []

    def refused(*_arguments: object) -> None:
        raise StudyDeleted("v")

    monkeypatch.setattr(valley.OpenValley, "close", lambda self: closed.append(self))
    with open_storage(f"sqlite:///{tmp_path}/s.db") as storage:
        monkeypatch.setattr(storage.store, "add_worker", refused)
        with pytest.raises(StudyDeleted):
            joined(storage, tmp_path)
    assert len(closed) == 1


def test_nothing_is_kept_in_memory_of_a_trial_that_another_worker_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost: list[int] = []

    def losing(self: valley.Rolling) -> Iterator[Report]:
        lost.append(1)
        raise LeaseLost("another worker has it")
        yield

    monkeypatch.setattr(valley.Rolling, "reports", losing)
    with open_storage(f"sqlite:///{tmp_path}/s.db") as storage:
        here = joined(storage, tmp_path, trials=1)
        assert work(here, stop=lambda: bool(lost)) == 0
        adapter = here.study._adapter
        assert adapter._own == adapter._drafts == adapter._guards == {}


def test_a_fraction_that_is_reported_in_percent_is_a_failure_that_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recall = Metric(name="recall", is_fraction=True)

    def in_percent(self: valley.Rolling) -> Iterator[Report]:
        yield Report(step=1, seconds=0.0, metrics={"recall": 98.5}, metric=recall)

    monkeypatch.setattr(valley.Rolling, "reports", in_percent)
    with open_storage(f"sqlite:///{tmp_path}/s.db") as storage:
        here = joined(storage, tmp_path, trials=1, metric=recall)
        with pytest.raises(
            GivenUp, match=r"the recall was 98\.5 at step 1; it is a fraction between 0 and 1"
        ):
            work(here, stop=forever)
        assert {trial.failure for trial in here.study.trials()} == {Failure.ERROR}


def test_work_that_ends_before_its_budget_is_a_failure_that_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = valley.Rolling.reports

    def short(self: valley.Rolling):  # type: ignore[no-untyped-def]
        yield from list(whole(self))[:4]

    monkeypatch.setattr(valley.Rolling, "reports", short)
    with open_storage(f"sqlite:///{tmp_path}/s.db") as storage:
        here = joined(storage, tmp_path, trials=1)
        with pytest.raises(
            Exception, match="trials in a row failed, the last one with EndedEarly: it ended at step 4 of 9"
        ):
            work(here, stop=forever)


def test_an_error_of_the_objective_is_the_trials_and_its_traceback_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin = valley.OpenValley.begin

    def fragile(self: valley.OpenValley, job: Job, state: object = None) -> Work:
        if job.settings["push"] == "left":
            raise RuntimeError("the left slope is closed")
        return begin(self, job, state)

    monkeypatch.setattr(valley.OpenValley, "begin", fragile)
    with open_storage(f"sqlite:///{tmp_path}/s.db") as storage:
        here = joined(storage, tmp_path, trials=8, seed=2)
        work(here, stop=forever)
        failed = [trial for trial in here.study.trials() if trial.state is State.FAILED]
        assert failed
        assert all("the left slope is closed" in (trial.failure_detail or "") for trial in failed)


def test_what_a_killed_worker_did_is_done_again_from_the_start(tmp_path: Path) -> None:
    with open_storage(f"sqlite:///{tmp_path}/s.db") as storage:
        here = joined(storage, tmp_path, trials=3)
        steps = iter(range(5))
        work(here, stop=lambda: next(steps, None) is None)  # it is asked to end within the first trial
        first = here.study.trials()[0]
        assert first.failure is Failure.INTERRUPTED
        again = prepare(storage, "v", None, tmp_path, threads=1)
        work(again, stop=forever)
        trials = again.study.trials()
        repeated = next(trial for trial in trials if trial.retry_of == first.number)
        assert repeated.params == first.params
        assert repeated.state is State.COMPLETE
        assert sum(trial.state.is_finished for trial in trials) == 3
        assert not list(tmp_path.rglob("*.safetensors"))


def test_a_target_ends_the_search_once_the_energy_is_so_low(tmp_path: Path) -> None:
    with open_storage(f"sqlite:///{tmp_path}/s.db") as storage:
        Study.create(storage, "v", valley_spec(pruner="asha"), 200)
        options = WorkerOptions(target=LOWEST + 2)
        here = prepare(storage, "v", None, tmp_path, threads=1, options=options)
        work(here, stop=forever)
        trials = here.study.trials()
        assert sum(trial.state.is_finished for trial in trials) < 200
        assert any(ENERGY.value_of(t.score or 0.0) <= LOWEST + 2 for t in trials if t.state is State.COMPLETE)


def test_a_discrete_space_is_exhausted(tmp_path: Path) -> None:
    only = Space(
        {
            "start": Choice(options=(0.0, 1.0)),
            "friction": Choice(options=(0.1,)),
            "push": Choice(options=("none", "left", "right")),
            "bounces": Choice(options=(0,)),
        }
    )
    with open_storage(f"sqlite:///{tmp_path}/s.db") as storage:
        here = joined(storage, tmp_path, trials=50, space=declared_entries(only))
        work(here, stop=forever)
        tried = [(trial.params["start"], trial.params["push"]) for trial in here.study.trials()]
        assert len(tried) == 6 == len(set(tried))


def test_a_spec_is_read_as_it_was_written(tmp_path: Path) -> None:
    spec = valley_spec(options={"wind": [1, 2], "name": "north"}, confirms="other")
    with open_storage(f"sqlite:///{tmp_path}/s.db") as storage:
        study = Study.create(storage, "v", spec, 5)
        assert study is not None
        record = storage.store.study(study.study_id)
        assert record is not None
        assert record.spec == spec
        assert not isinstance(record.spec, NetworkSpec)
        assert spec_to_json(record.spec)["metric"] == {
            "name": "energy",
            "direction": "minimize",
            "is_fraction": False,
            "of_heads": False,
        }
