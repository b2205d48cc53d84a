"""A made-up study whose truth is known: trials, curves, and all that a report is made of."""

from __future__ import annotations

import datetime
import random
from collections.abc import Mapping, Sequence
from dataclasses import replace

from specs import network_spec

from data.datasets.mnist import MNIST
from search.analysis.effects import Effect, Setting
from search.heads import head_report
from search.records import (
    Examples,
    HeadScore,
    Report,
    Scores,
    State,
    StudyRecord,
    TrialRecord,
    Value,
    Worker,
)
from search.report.one_study.material import Material

NOW = datetime.datetime(2026, 11, 22, 12, tzinfo=datetime.UTC)
EPOCH = 1000

OPTIMIZER = Setting(name="optimizer", meaning="optimizer", ordered=False, log=False)
DROPOUT = Setting(name="dropout", meaning="probability", ordered=True, log=False)
DEPTH = Setting(name="depth", meaning="hidden layers", ordered=True, log=False)
TAPER = Setting(name="taper", meaning="taper", ordered=True, log=False)
MODEL = Setting(name="model", meaning="family", ordered=False, log=False)
SETTINGS = (OPTIMIZER, DROPOUT, DEPTH)


def scores(accuracy: float, loss: float = 0.5) -> Scores:
    heads = {name: HeadScore(loss=loss, accuracy=accuracy) for name in ("first_digit", "second_digit")}
    return Scores(heads=heads, joint=accuracy**2)


def report(step: int, validation: float, *, train: float | None = None, loss: float = 0.5) -> Report:
    return head_report(
        step=step,
        seconds=step / 1000,
        learning_rate=0.1,
        train=scores(validation if train is None else train),
        validation=scores(validation, loss),
    )


def trial(
    number: int,
    state: State = State.COMPLETE,
    score: float | None = 0.9,
    params: Mapping[str, Value] | None = None,
    **more: object,
) -> TrialRecord:
    return TrialRecord(
        trial_id=100 + number,
        number=number,
        state=state,
        score=score,
        params={"model": "mlp"} if params is None else params,
        finished=NOW + datetime.timedelta(minutes=number),
        **more,  # type: ignore[arg-type]
    )


def curve(*accuracies: float, losses: Sequence[float] | None = None) -> list[Report]:
    """Reported at 1, 2, 3 … epochs."""
    return [
        report(EPOCH * (place + 1), accuracy, loss=0.5 if losses is None else losses[place])
        for place, accuracy in enumerate(accuracies)
    ]


DIGITS = Examples(are="digits", references_are="published networks", remark=MNIST.remark)

SPEC = network_spec(
    space={"model": "mlp", "dropout": {"low": 0.0, "high": 0.5}},
    epochs=4,
    epoch_images=EPOCH,
    pruner="asha",
    references=("course-mlp",),
    checksums={"labels": "0" * 64},
)


def material(
    trials: Sequence[TrialRecord], curves: Mapping[int, Sequence[Report]], **changed: object
) -> Material:
    values: dict[str, object] = {
        "study": StudyRecord(
            study_id=1, name="mine & <yours>", spec=SPEC, target_trials=len(trials), created=NOW
        ),
        "trials": trials,
        "curves": curves,
        "seconds": {trial_id: reports[-1].seconds for trial_id, reports in curves.items()},
        "workers": (
            Worker(worker_id="w", host="host", pid=1, device="cpu", threads=1, environment={"torch": "2"}),
        ),
        "settings": (OPTIMIZER, DROPOUT, DEPTH),
        "without_effect": frozenset({"number_width"}),
        "exploration_trials": frozenset(each.number for each in trials if each.number % 3 == 0),
        "budget": SPEC.budget,
        "mistakes": "The winner's weights were not kept.",
        "confirmation": None,
        "command": "tune run --task twodigit",
        "space": "dropout = 0.1",
        "moment": NOW,
        "version": "0",
        "examples": DIGITS,
    }
    return Material(**{**values, **changed})  # type: ignore[arg-type]


def study(n: int, seed: int = 0) -> tuple[list[TrialRecord], dict[int, float]]:
    """Accuracy depends on the optimizer and on dropout being in the middle; on nothing else."""
    draw = random.Random(seed)
    trials, found = [], {}
    for number in range(n):
        optimizer, dropout = draw.choice(("sgd", "nesterov", "adam", "adamw")), draw.uniform(0, 0.5)
        trials.append(
            trial(
                number,
                params={"optimizer": optimizer, "dropout": dropout, "depth": draw.randint(1, 3)},
                fixed={"model": "mlp"},
            )
        )
        gain = 0.06 if optimizer in ("adam", "adamw") else 0.0
        found[number] = 0.85 + gain - 1.6 * (dropout - 0.25) ** 2 + draw.gauss(0, 0.01)
    return trials, found


def by_name(found: Sequence[Effect]) -> dict[str, Effect]:
    return {each.setting.name: each for each in found}


def made(n: int = 40) -> Material:
    """A study with a bit of everything."""
    draw = random.Random(3)
    trials, found = study(n)
    curves: dict[int, list[Report]] = {}
    records = []
    for each in trials:
        state = State.COMPLETE if each.number % 4 == 0 else State.PRUNED
        top = min(0.99, found[each.number])
        whole = [top * share for share in (0.8, 0.9, 0.97, 1.0)]
        curves[each.trial_id] = curve(*(whole if state is State.COMPLETE else whole[:2]))
        score = curves[each.trial_id][-1].score
        records.append(replace(each, state=state, score=score, parameters=draw.randint(10_000, 900_000)))
    records.append(trial(n, score=0.8, params={}, reference="course-mlp", parameters=76_628))
    curves[100 + n] = curve(0.7, 0.82, 0.81, 0.77, losses=[0.5, 0.4, 0.5, 0.6])
    return material(records, curves)
