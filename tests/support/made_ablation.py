"""Made-up ablations whose truth is known: an effect for each arm, and noise for each seed."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from types import MappingProxyType

from made_study import EPOCH, NOW, SPEC, report
from valley import ENERGY, valley_spec

from search.analysis.ablation import Ablation, ablation
from search.analysis.ablation_arms import Read
from search.records import (
    ACCURACY_SCORE,
    AblationRun,
    Failure,
    Report,
    State,
    StudyRecord,
    StudySpec,
    TrialRecord,
    Value,
)

WINNER: Mapping[str, Value] = {
    "model": "conv",
    "optimizer": "adamw",
    "lr": 0.003,
    "batch_size": 64,
    "blocks": 2,
    "channels": 16,
    "activation": "silu",
    "dropout": 0.2,
    "affine": 1.0,
}

PLAIN: Mapping[str, Value] = {"dropout": 0.0, "affine": 0.0}
"""Without regularization and augmentation."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Made:
    """One arm: its settings, how long it is trained, how good it truly is."""

    name: str
    effect: float
    """on the score, against the baseline"""
    changed: Mapping[str, Value]
    budget: int = 4 * EPOCH
    fits: float = 0.0
    """on the training score, against the baseline"""
    fails: int = 0
    """seeds, the last ones, on which it diverges"""
    waits: int = 0
    """seeds, the last ones, for which it is queued and not trained yet"""


VARIANTS = (
    Made(name="baseline", effect=0.0, changed={}),
    Made(name="optimizer=sgd", effect=-0.0035, changed={"optimizer": "sgd", "lr": 0.0188}, fits=-0.004),
    Made(name="optimizer=nesterov", effect=-0.0005, changed={"optimizer": "nesterov", "lr": 0.0188}),
    Made(name="batch_size=128", effect=-0.0004, changed={"batch_size": 128, "lr": 0.0071}),
    Made(name="blocks=1", effect=-0.0120, changed={"blocks": 1}, fits=-0.012),
    Made(name="blocks=3", effect=0.0002, changed={"blocks": 3}),
    Made(name="channels=8", effect=-0.0045, changed={"channels": 8}, fits=-0.005),
    Made(name="channels=32", effect=0.0030, changed={"channels": 32}, fits=0.003),
    Made(name="activation=relu", effect=0.0001, changed={"activation": "relu"}),
    Made(name="dropout=0.0", effect=-0.0032, changed={"dropout": 0.0}, fits=0.004),
    Made(name="dropout=0.325", effect=-0.0006, changed={"dropout": 0.325}),
    Made(name="affine=0.0", effect=-0.0001, changed={"affine": 0.0}, fits=0.002),
)

LENGTHS = (
    Made(name="baseline", effect=-0.0130, changed={}, budget=EPOCH, fits=-0.014),
    Made(name="baseline", effect=-0.0055, changed={}, budget=2 * EPOCH, fits=-0.006),
    Made(name="baseline", effect=0.0032, changed={}, budget=8 * EPOCH, fits=0.004),
    Made(name="baseline", effect=0.0035, changed={}, budget=16 * EPOCH, fits=0.006),
    Made(name="unregularized", effect=-0.0040, changed=PLAIN, fits=0.006),
    Made(name="unregularized", effect=-0.0085, changed=PLAIN, budget=16 * EPOCH, fits=0.0099),
)

COURSE: Mapping[str, Value] = {"optimizer": "sgd", "lr": 0.01, "dropout": 0.5, "affine": 0.0, "channels": 8}
PATH = (
    Made(name="course-conv", effect=-0.0130, changed=COURSE),
    Made(
        name="course-conv + optimizer",
        effect=-0.0055,
        changed={"dropout": 0.5, "affine": 0.0, "channels": 8},
    ),
    Made(name="course-conv + optimizer + channels", effect=-0.0020, changed={"dropout": 0.5, "affine": 0.0}),
    Made(name="course-conv + optimizer + channels + dropout", effect=0.0004, changed={"affine": 0.0}),
)


def made_ablation(
    arms: Sequence[Made] = (*VARIANTS, *LENGTHS),
    *,
    seeds: int = 3,
    level: float = 0.9880,
    noise: float = 0.0004,
    fitted: bool = True,
    folds: int = 10,
    name: str = "twodigit",
    score: str = ACCURACY_SCORE,
    missing: int = 0,
    others: tuple[str, ...] = (),
    winner: Mapping[str, Value] = WINNER,
    draws: int = 5,
    later: Sequence[Made] = (),
    chooses: Mapping[str, Mapping[str, Value]] | None = None,
) -> Ablation:
    """Of trial 17 of a search for networks.

    level: the baseline's score, and its accuracy. fitted: whether accuracies on training examples are known.
    missing: runs that are asked for and not finished. draws: seed of the noise. later: arms of a second
    round. chooses: runs that choose a learning rate or an order, each complete, with what they change; None:
    those that chose the learning rates of these arms.
    """
    if chooses is None:
        chooses = chosen_rates((*arms, *later))
    spec = replace(SPEC, epochs=8, references=("course-mlp", "course-conv"), score=score)
    searched = StudyRecord(study_id=1, name=name, spec=spec, target_trials=40, created=NOW)
    of_ablation = replace(
        spec, epochs=4, sampler="random", pruner="none", references=(), ablates=name, baseline=17, folds=folds
    )

    def reported(made: Made, block: float, draw: random.Random) -> Report:
        found = report(made.budget, min(1.0, level + made.effect + block + draw.gauss(0, noise)))
        if score != ACCURACY_SCORE:
            scored = {f"{spec.metric.name}/{head}": value for head, value in found.parts.items()}
            found = replace(found, metrics={**found.metrics, **scored}, metric=spec.metric)
        if not fitted:
            return found
        fit = min(1.0, level + 0.006 + made.fits + block + draw.gauss(0, noise / 4))
        heads = {f"train_eval/{what}/{head}": fit for what in ("accuracy", "loss") for head in found.parts}
        return replace(found, metrics={**found.metrics, **heads, "train_eval/joint": fit})

    rounds = (arms, later)
    return _made(searched, of_ablation, rounds, reported, winner, seeds, missing, others, draws, chooses)


def chosen_rates(arms: Sequence[Made]) -> dict[str, Mapping[str, Value]]:
    """Runs that chose the learning rate of each of these arms that has another one: that rate, half and twice
    of it."""
    return {
        f"{made.name}, lr={rate:g}": {**made.changed, "lr": rate}
        for made in arms
        if "=" in made.name and isinstance(lr := made.changed.get("lr"), float)
        for rate in (lr, lr / 2, 2 * lr)
    }


ROLLING = (
    Made(name="baseline", effect=0.0, changed={}, budget=5),
    Made(name="push=left", effect=-2.2, changed={"push": "left"}, budget=5),
    Made(name="friction=0.178", effect=0.03, changed={"friction": 0.178}, budget=5),
    Made(name="bounces=1", effect=0.6, changed={"bounces": 1}, budget=5),
    Made(name="baseline", effect=-0.8, changed={}, budget=2),
    Made(name="baseline", effect=0.4, changed={}, budget=10),
)


def made_valley_ablation(arms: Sequence[Made] = ROLLING, *, seeds: int = 3, missing: int = 0) -> Ablation:
    """Of an objective whose metric is minimized and is no fraction."""
    spec = valley_spec()
    searched = StudyRecord(study_id=1, name="deep", spec=spec, target_trials=40, created=NOW)
    of_ablation = replace(spec, budget=5, ablates="deep", baseline=17)

    def reported(made: Made, block: float, draw: random.Random) -> Report:
        score = 2.5 + made.effect + 20 * block + draw.gauss(0, 0.05)
        return Report(step=made.budget, seconds=1.0, metrics={"energy": -score}, metric=ENERGY)

    winner: Mapping[str, Value] = {"start": 0.4, "friction": 0.0316, "push": "none", "bounces": 0}
    return _made(searched, of_ablation, (arms,), reported, winner, seeds, missing, ())


def _made(
    searched: StudyRecord,
    of_ablation: StudySpec,
    rounds: Sequence[Sequence[Made]],
    reported: Callable[[Made, float, random.Random], Report],
    winner: Mapping[str, Value],
    seeds: int,
    missing: int,
    others: tuple[str, ...],
    draws: int = 5,
    chooses: Mapping[str, Mapping[str, Value]] = MappingProxyType({}),
) -> Ablation:
    draw = random.Random(draws)
    runs: list[TrialRecord] = []
    curves: dict[int, list[Report]] = {}
    blocks: list[float] = []
    for arms, seed in product(rounds, range(seeds)):
        if seed == len(blocks):
            blocks.append(draw.gauss(0, 0.0008))
        for made in arms:
            number = len(runs)
            fails, waits = (seed >= seeds - some for some in (made.fails, made.waits))
            run = TrialRecord(
                trial_id=500 + number,
                number=number,
                state=State.FAILED if fails else State.WAITING if waits else State.COMPLETE,
                failure=Failure.DIVERGED if fails else None,
                score=None,
                params={**winner, **made.changed},
                ablation=AblationRun(arm=made.name, seed=seed, budget=made.budget),
            )
            runs.append(run)
            curves[run.trial_id] = [reported(made, blocks[seed], draw)]
            if fails:  # a worker begins the repetition, and ends it at once
                again = {"trial_id": 501 + number, "number": number + 1, "retry_of": number}
                runs.append(replace(run, state=State.PRUNED, failure=None, **again))  # type: ignore[arg-type]
    for name, changed in chooses.items():
        runs.append(
            TrialRecord(
                trial_id=500 + len(runs),
                number=len(runs),
                state=State.COMPLETE,
                score=0.9,
                params={**winner, **changed},
                ablation=AblationRun(arm=name, seed=0, budget=2 * EPOCH, chooses=True),
            )
        )
    record = StudyRecord(
        study_id=2,
        name=f"{searched.name}.ablate",
        spec=of_ablation,
        target_trials=len({run.ablation for run in runs}) + missing,
        created=NOW,
    )
    baseline = TrialRecord(trial_id=17, number=17, state=State.COMPLETE, score=0.98, params=winner)
    read = Read(searched=searched, baseline=baseline, record=record, runs=runs, curves=curves)
    return replace(ablation(read), others=others)
