"""Which settings a sampler models together where some trials lack some, as docs/decisions/027 says."""

from __future__ import annotations

import optuna
import pytest

from search.study.samplers import make_sampler
from search.study.suggest import suggest
from tune.space import Choice, Float, Space

SPACE = Space(
    optimizer=Choice(["adam", "sgd"]),
    lr=Float(1e-4, 0.1, log=True),
    momentum=Float(0.0, 0.99, when={"optimizer": "sgd"}),
    decay=Float(0.0, 0.1, when={"optimizer": "adam"}),
)


@pytest.mark.parametrize(
    ("name", "first", "together"),
    [
        ("gp", "sgd", {"optimizer", "lr"}),
        ("gp", "adam", {"optimizer", "lr"}),
        ("qmc", "sgd", {"optimizer", "lr", "momentum"}),
        ("qmc", "adam", {"optimizer", "lr", "decay"}),
    ],
)
def test_settings_that_only_some_trials_have(name: str, first: str, together: set[str]) -> None:
    sampler = make_sampler(name, 7)
    study = optuna.create_study(sampler=sampler)
    for optimizer in (first, "adam", "sgd"):
        study.enqueue_trial({"optimizer": optimizer})
        trial = study.ask()
        drawn = suggest(trial, SPACE, {})
        study.tell(trial, float(drawn["lr"]))
    trial = study.ask()
    assert set(sampler.infer_relative_search_space(study, study.trials[-1])) == together
    drawn = suggest(trial, SPACE, {})
    assert ("momentum" in drawn) == (drawn["optimizer"] == "sgd")
