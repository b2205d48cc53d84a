"""Makes the table that replay.py replays: a study's complete curves, and what each network costs here.

The study is one without pruning, for example

    tune run --task twodigit --study record --trials 144 --epochs 4 --sampler random --pruner none
    python benchmarks/record.py record --storage sqlite:///studies.db

The seconds are measured anew, network by network, on one thread: the study may have run beside other work.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from data.datasets.mnist import Mnist, load
from data.tasks.base import Task
from data.tasks.registry import get_task
from models.device import bfloat16_pays, choose_device, describe, prepare_process
from models.network import build
from models.training import Training, evaluate
from search.objectives.network.decoding import decode, signature_of
from search.optuna_db.storage import open_storage
from search.records import ACCURACY, NetworkSpec, TrialRecord, Value
from search.service.look import find

TURNS = 3


def cost(settings: Mapping[str, Value], task: Task, mnist: Mnist) -> tuple[float, float]:
    """(seconds to train on one image, seconds of one evaluation): CPU seconds, the best of TURNS."""
    device = choose_device("cpu")
    precision = "bfloat16" if bfloat16_pays(device, str(settings["model"])) else "float32"
    spec = decode(settings, images=10**9, seed=0, precision=precision)  # type: ignore[arg-type]
    network = build(spec.model, signature_of(task), seed=0)
    stream = task.training(mnist, augmentation=spec.augmentation, seed=0)
    validation = task.validation(mnist)
    one, some = (replace(validation, rows=tuple(rows[:n] for rows in validation.rows)) for n in (1, 1000))
    training = Training(network, stream, one, spec.training, seed=0)
    steps, trains, evaluations = max(3, 1024 // spec.training.batch_size), [], []
    for _ in range(TURNS):
        began = time.process_time()
        next(training.reports([training.images + steps * spec.training.batch_size]))
        trained = time.process_time()
        evaluate(training.eval_model, some, precision=spec.training.precision)
        trains.append(trained - began)
        evaluations.append(time.process_time() - trained)
    examples = steps * spec.training.batch_size
    return min(trains) / examples, min(evaluations) * validation.examples / some.examples


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("study")
    parser.add_argument("--storage", default="sqlite:///studies.db")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("curves.json"))
    arguments = parser.parse_args()
    prepare_process(threads=1)
    mnist = load()
    with open_storage(arguments.storage, create=False) as storage:
        study, record = find(storage, arguments.study)
        trials = [t for t in study.trials() if t.state == "complete" and t.reference is None]
        curves = storage.store.curves([trial.trial_id for trial in trials], ACCURACY)
    spec = record.spec
    assert isinstance(spec, NetworkSpec)
    task = get_task(spec.task)
    heads = [head.name for head in task.heads]

    def row(trial: TrialRecord) -> dict[str, Any]:
        image_s, evaluation_s = cost(trial.settings, task, mnist)
        points = [
            [report.step, *(round(report.parts[head], 5) for head in heads)]
            for report in curves[trial.trial_id]
        ]
        return {
            "params": dict(trial.params),
            "image_s": float(f"{image_s:.3g}"),
            "evaluation_s": float(f"{evaluation_s:.3g}"),
            "points": points,
        }

    rows = ",\n".join(json.dumps(row(trial)) for trial in trials)
    head = json.dumps(
        {
            "task": task.name,
            "epochs": spec.epochs,
            "space": dict(spec.space),
            "machine": describe(choose_device("cpu")),
        }
    )
    arguments.out.write_text(f'{head[:-1]}, "trials": [\n{rows}\n]}}\n')
    print(f"{len(trials)} curves of {record.name} are in {arguments.out}.")


if __name__ == "__main__":
    main()
