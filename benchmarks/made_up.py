"""Studies of plausible finished trials, made by bulk inserts: as large as anybody wants, in a second or two.

The rows are those of a search: in Optuna's own tables, by Optuna's own definition of them, and in tune's.
"""

import datetime
import json
import math
import random
import secrets
from collections import defaultdict
from collections.abc import Mapping, Sequence

from optuna import distributions
from optuna.trial import TrialState
from sqlalchemy import Connection, insert, select

from data.datasets.mnist import load
from data.tasks.registry import TASKS
from search.heads import head_report
from search.optuna_db.installed import optuna_schema
from search.optuna_db.storage import Storage
from search.records import HeadScore, NetworkSpec, Scores, Value
from search.space.defaults import default_space
from search.space.file import space_entries
from search.store import tables
from search.store.metrics import report_to_row
from search.study.evaluation_schedule import EvaluationSchedule, early_evaluations_of
from search.study.study import Study
from tune.space import Choice, Domain, Float, Int, Space

SPACE = default_space()
TASK = TASKS["twodigit"]
EPOCHS = TASK.epochs
EPOCH_IMAGES = 36_000
HALVINGS = early_evaluations_of(TASK.early_evaluations, EPOCHS)
EVALUATIONS = EvaluationSchedule.doubling(
    epoch_images=EPOCH_IMAGES, epochs=EPOCHS, early_evaluations=HALVINGS
)
HEADS = ("first_digit", "second_digit")


def spec(sampler: str, pruner: str, space: Space = SPACE) -> NetworkSpec:
    return NetworkSpec(
        task="twodigit",
        space=space_entries(space),
        epochs=EPOCHS,
        epoch_images=EPOCH_IMAGES,
        halvings=HALVINGS,
        validation_pictures=4_000,
        seed=0,
        sampler=sampler,
        pruner=pruner,
        references=(),
        checksums=load().checksums,
    )


def drawn(draw: random.Random) -> dict[str, tuple[distributions.BaseDistribution, Value]]:
    """Random settings of one trial, in the order in which they are asked for."""
    settings: dict[str, tuple[distributions.BaseDistribution, Value]] = {}

    def choose(name: str, domain: Domain) -> Value:
        distribution: distributions.BaseDistribution
        value: Value
        if isinstance(domain, Choice):
            value = draw.choice(domain.options)
            distribution = distributions.CategoricalDistribution(domain.options)
        elif isinstance(domain, Float):
            low, high = (
                (math.log(domain.low), math.log(domain.high)) if domain.log else (domain.low, domain.high)
            )
            number = draw.uniform(low, high)
            value = min(domain.high, max(domain.low, math.exp(number) if domain.log else number))
            distribution = distributions.FloatDistribution(domain.low, domain.high, log=domain.log)
        else:
            assert isinstance(domain, Int), "Space.complete asks for no others"
            value = draw.randrange(domain.low, domain.high + 1, domain.step)
            distribution = distributions.IntDistribution(
                domain.low, domain.high, log=domain.log, step=domain.step
            )
        settings[name] = (distribution, value)
        return value

    SPACE.complete({}, choose)
    return settings


def curve(draw: random.Random, quality: float, rungs: Sequence[int]) -> list[tuple[int, float]]:
    """(images, best score so far) at each rung."""
    best, points = 0.0, []
    for images in rungs:
        best = max(best, quality * (1 - math.exp(-images / 12_000)) + draw.gauss(0, 0.01))
        points.append((images, min(best, 0.9999)))
    return points


def fill(storage: Storage, study_id: int, n: int, *, seed: int = 0) -> None:
    """Writes n trials as a search leaves them: 15 % complete, 3 % failed, the rest pruned at some rung."""
    draw = random.Random(seed)
    rows: defaultdict[str, list[dict[str, object]]] = defaultdict(list)
    rungs, now = EVALUATIONS.rungs, datetime.datetime.now(datetime.UTC).replace(tzinfo=None)
    trial_rows, endings = [], []
    for number in range(n):
        state = draw.choices((TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL), (15, 82, 3))[0]
        seen = (
            len(rungs) if state is TrialState.COMPLETE else min(len(rungs) - 1, draw.choice((3, 3, 3, 5, 7)))
        )
        started = now - datetime.timedelta(seconds=30 * (n - number))
        trial_rows.append(
            {
                "study_id": study_id,
                "number": number,
                "state": state,
                "datetime_start": started,
                "datetime_complete": started + datetime.timedelta(seconds=seen * 4),
            }
        )
        quality = draw.betavariate(8, 1) if state is not TrialState.FAIL else 0.5
        endings.append((state, drawn(draw), curve(draw, quality, rungs[:seen]), started))
    optuna_tables = optuna_schema().metadata
    with storage.optuna.engine.begin() as connection:
        bulk(connection, optuna_tables.tables["trials"], trial_rows)
        trial = optuna_tables.tables["trials"].c
        ids = list(
            connection.execute(
                select(trial.trial_id).where(trial.study_id == study_id).order_by(trial.number)
            ).scalars()
        )
        for slot, (trial_id, (state, settings, points, started)) in enumerate(zip(ids, endings, strict=True)):
            one_trial(rows, trial_id, state, settings, points)
            if state is not TrialState.FAIL:
                rows["tune_claims"].append(
                    {
                        "study_id": study_id,
                        "slot": slot,
                        "worker_id": f"host:{slot % 16}:0123abcd",
                        "token": secrets.token_hex(16),
                        "trial_id": trial_id,
                        "done": True,
                        "expires": started,
                    }
                )
        for slot, row in enumerate(rows["tune_claims"]):  # failed trials fill none
            row["slot"] = slot
        for table in (*optuna_tables.sorted_tables, *tables.metadata.sorted_tables):
            bulk(connection, table, rows.pop(table.name, []))
        assert not rows, f"no table for {list(rows)}"


def one_trial(
    rows: Mapping[str, list[dict[str, object]]],
    trial_id: int,
    state: TrialState,
    settings: Mapping[str, tuple[distributions.BaseDistribution, Value]],
    points: Sequence[tuple[int, float]],
) -> None:
    """Adds what belongs to one trial."""
    for name, (distribution, value) in settings.items():
        rows["trial_params"].append(
            {
                "trial_id": trial_id,
                "param_name": name,
                "param_value": distribution.to_internal_repr(value),
                "distribution_json": distributions.distribution_to_json(distribution),
            }
        )
    relative = json.dumps({name: value for name, (_, value) in settings.items()})
    rows["trial_system_attributes"].append(
        {"trial_id": trial_id, "key": "tpe:relative_params:0", "value_json": json.dumps(relative)}
    )
    rows["trial_user_attributes"].append({"trial_id": trial_id, "key": "parameters", "value_json": "123456"})
    if state is TrialState.FAIL:
        for key, reason in (("failure", "diverged"), ("failure_detail", "the loss is nan after 640 images")):
            rows["trial_user_attributes"].append(
                {"trial_id": trial_id, "key": key, "value_json": json.dumps(reason)}
            )
    elif points:
        rows["trial_values"].append(
            {"trial_id": trial_id, "objective": 0, "value": points[-1][1], "value_type": "FINITE"}
        )
    one_curve(rows, trial_id, points)


def one_curve(
    rows: Mapping[str, list[dict[str, object]]], trial_id: int, points: Sequence[tuple[int, float]]
) -> None:
    """Adds the points of one trial, as Optuna, its ASHA and tune keep them."""
    rung, promotion = 0, EPOCH_IMAGES // 4
    for images, score in points:
        rows["trial_intermediate_values"].append(
            {
                "trial_id": trial_id,
                "step": images,
                "intermediate_value": score,
                "intermediate_value_type": "FINITE",
            }
        )
        while images >= promotion * 4**rung:
            rows["trial_system_attributes"].append(
                {"trial_id": trial_id, "key": f"completed_rung_{rung}", "value_json": json.dumps(score)}
            )
            rung += 1
        head = HeadScore(loss=1 - score, accuracy=score)
        scores = Scores(heads=dict.fromkeys(HEADS, head), joint=score**2)
        report = head_report(
            step=images, seconds=images / 3000, learning_rate=0.001, train=scores, validation=scores
        )
        rows["tune_reports"].append(report_to_row(trial_id, report))


def bulk(connection: Connection, table: object, rows: Sequence[Mapping[str, object]]) -> None:
    for start in range(0, len(rows), 5_000):
        connection.execute(insert(table), rows[start : start + 5_000])  # type: ignore[arg-type]


def make(storage: Storage, name: str, n: int, sampler: str = "tpe", pruner: str = "asha") -> Study:
    """The study of that name with n trials in it, set up to continue."""
    study = Study.create(storage, name, spec(sampler, pruner), 10 * n + 10_000)
    assert study is not None
    if n:
        fill(storage, study.study_id, n)
    study.prepare(sampler=sampler, pruner=pruner, seed=0, evaluations=EVALUATIONS)
    return study
