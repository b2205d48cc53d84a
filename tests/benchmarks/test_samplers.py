"""Samplers that learn do so under every pruner: searches with the benchmark's objective, nothing trained."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import pytest
import torch
from optuna.samplers import RandomSampler

from search.optuna_db.storage import open_storage
from search.records import Value
from search.seeds import derive
from search.study.evaluation_schedule import EvaluationSchedule
from search.study.exploration import is_exploration_seed, sampler_seed
from search.study.pruners import PRUNERS
from search.study.study import Study
from search.study.suggest import as_drawn

SEED = 0


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """With trials that report three times, and a TPE that begins to learn after 10 trials, as GP does."""
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parents[2] / "benchmarks"))
    torch.set_num_threads(1)
    found = importlib.import_module("samplers")
    monkeypatch.setattr(
        found, "EVALUATIONS", EvaluationSchedule.doubling(epoch_images=36_000, epochs=1, early_evaluations=2)
    )
    monkeypatch.setattr("search.study.samplers.STARTUP_TRIALS", 10)
    return found


def exploration_of(number: int, drawn: dict[str, Value], benchmark: ModuleType) -> dict[str, object]:
    """What `--sampler random` draws for trial `number` of the study, in the order in which it was asked."""
    sampler = RandomSampler(seed=sampler_seed(SEED, number))
    return {
        name: sampler.sample_independent(None, None, name, distribution)  # type: ignore[arg-type]  # unused
        for name, (distribution, _) in as_drawn(drawn, benchmark.SPACE).items()
    }


@pytest.mark.parametrize("pruner", PRUNERS)
def test_after_the_start_proposed_trials_differ_from_exploration_trials(
    benchmark: ModuleType, sqlite_url: str, pruner: str
) -> None:
    """Optuna's GPSampler sees complete trials only: under a pruner they are so few that it drew at random."""
    with open_storage(sqlite_url) as storage:
        study = Study.create(storage, "s", benchmark.spec("random", pruner, benchmark.SPACE), 1000)
        assert study is not None
        benchmark.search(study, benchmark.Objective.of(0), SEED, pruner, "random", 11)
        for trial in study.trials():
            assert trial.params == exploration_of(trial.number, trial.settings, benchmark)
        for sampler in ("tpe", "gp"):
            study.prepare(sampler=sampler, pruner=pruner, seed=SEED, evaluations=benchmark.EVALUATIONS)
            asked = study.ask()
            while is_exploration_seed(sampler_seed(SEED, asked.number)):  # an exploration trial
                asked = study.ask()
            drawn = asked.suggest()
            explored = exploration_of(asked.number, drawn, benchmark)
            assert {name for name in explored if drawn[name] != explored[name]} >= {
                "lr",
                "momentum",
                "dropout",
            }


def test_the_objective_is_a_function_of_the_seed(benchmark: ModuleType) -> None:
    assert benchmark.Objective.of(1) == benchmark.Objective.of(1) != benchmark.Objective.of(derive(1, "x"))
