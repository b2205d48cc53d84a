"""How many SQL statements a worker sends for what happens to a trial: more make every worker wait."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
from sqlalchemy import Engine, event

from search.optuna_db.storage import Storage
from search.records import NetworkSpec
from search.space.file import space_entries
from search.study.evaluation_schedule import EvaluationSchedule
from search.study.study import Study
from tune.space import Fixed, Float, Int, Space

SPACE = Space(
    {
        "model": Fixed(value="mlp"),
        "lr": Float(low=1e-4, high=1e-1, log=True),
        "depth": Int(low=1, high=9, when={"model": "mlp"}),
    }
)
EVALUATIONS = EvaluationSchedule.doubling(epoch_images=36_000, epochs=2)
FIRST = EVALUATIONS.rungs[0]


@contextmanager
def counting() -> Iterator[list[str]]:
    """The statements that are sent inside the block, by whichever engine."""
    sent: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if not statement.startswith("BEGIN"):  # no way to a server
            sent.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield sent
    finally:
        event.remove(Engine, "before_cursor_execute", note)


TRIALS = 4
"""Among this number are some that TPE is left out of, and some for which it reads the history."""


@pytest.mark.parametrize(("pruner", "report"), [("median", 9), ("asha", 2), ("none", 2)])
def test_no_more_than_these(emptied: Storage, plain_spec: NetworkSpec, pruner: str, report: int) -> None:
    on_file = emptied.optuna.engine.dialect.name == "sqlite"
    at_most = {"ask": 13 if on_file else 6, "suggest": 11, "report": report, "complete": 10}
    Study.create(emptied, "s", replace(plain_spec, space=space_entries(SPACE)), 100)
    study = Study.find(emptied, "s")
    assert study is not None
    study.prepare(sampler="tpe", pruner=pruner, seed=0, evaluations=EVALUATIONS)
    most = dict.fromkeys(at_most, 0)
    for _ in range(TRIALS):
        with counting() as asked:
            trial = study.ask()
        with counting() as drawn:
            trial.suggest()
        with counting() as reported:
            trial.report(FIRST, 0.5)
        with counting() as completed:
            trial.complete(0.5)
        for name, sent in zip(at_most, (asked, drawn, reported, completed), strict=True):
            most[name] = max(most[name], len(sent))
    assert {name: n for name, n in most.items() if n > at_most[name]} == {}
    assert most["report"] == report, "fewer are welcome: lower the number"
