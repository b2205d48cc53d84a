"""The proposals of new studies are those of commit f12430d: how a space is described must not change what
is searched.

The first 60 trials of each study, references included, without any training: a made-up score stands for it.
proposals.json has the first three and a SHA-256 of all 60. All samplers, seeds and tasks, a minute of them:

    TUNE_ALL_PROPOSALS=1 python -m pytest tests/search/test_proposals.py

Where a change to the proposals is meant, `python tests/search/test_proposals.py` records them anew.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import sys
import tempfile
from pathlib import Path

import optuna
import pytest

from data.datasets.mnist import Mnist, load
from search.optuna_db.ownership import PINNED
from search.optuna_db.storage import open_storage
from search.service.create import RunRequest, create_or_resume
from search.study.evaluation_schedule import EvaluationSchedule

RECORDED = Path(__file__).with_name("proposals.json")
TRIALS, SHOWN = 60, 3
SAMPLERS, SEEDS, TASKS = ("tpe", "random", "qmc"), (0, 1, 2), ("twodigit", "sum")
EVERY = [(sampler, seed, task) for task in TASKS for sampler in SAMPLERS for seed in SEEDS]
COMPARED = [each for each in EVERY if each[1] == 0 or os.environ.get("TUNE_ALL_PROPOSALS")]
"""TUNE_ALL_PROPOSALS=1 compares every seed."""

Proposal = dict[str, object]


def proposals(url: str, mnist: Mnist, sampler: str, seed: int, task: str) -> list[Proposal]:
    """What is drawn and what is pinned in each trial; real numbers to six digits, for the last ones depend on
    the machine."""
    storage = open_storage(url)
    try:
        study, record = create_or_resume(
            storage, RunRequest(task=task, sampler=sampler, seed=seed, trials=TRIALS), mnist
        )
        study.prepare(
            sampler=sampler, pruner="none", seed=seed, evaluations=EvaluationSchedule.of(record.spec)
        )
        found = []
        for number in range(TRIALS):
            trial = study.ask()
            trial.suggest()
            [kept] = storage.trials.facts_of([trial.trial_id])
            proposal = {**kept.settings, **kept.user.get(PINNED, {})}
            score = made_up(proposal)
            if number % 3 == 1:
                trial.report(4_500, score / 2)
                trial.prune()
            else:
                trial.complete(score)
            found.append({name: rounded(value) for name, value in sorted(proposal.items())})
        return found
    finally:
        storage.close()


def made_up(proposal: Proposal) -> float:
    """A score between 0 and 1 that is a smooth function of the numbers."""
    waves = [math.sin(3 + index + number(value)) for index, (_, value) in enumerate(sorted(proposal.items()))]
    return 0.5 + 0.4 * sum(waves) / len(waves)


def number(value: object) -> float:
    if isinstance(value, str):
        return len(value)
    assert isinstance(value, int | float)
    return math.log1p(value)


def rounded(value: object) -> object:
    return float(f"{value:.6g}") if isinstance(value, float) else value


def digest(found: list[Proposal]) -> str:
    return hashlib.sha256(json.dumps(found, sort_keys=True).encode()).hexdigest()


@pytest.mark.parametrize(("sampler", "seed", "task"), COMPARED)
def test_proposals_are_the_recorded_ones(
    sqlite_url: str, mnist: Mnist, sampler: str, seed: int, task: str
) -> None:
    recorded = json.loads(RECORDED.read_text(encoding="utf-8"))
    if recorded["optuna"] != optuna.__version__:
        pytest.skip(f"recorded with Optuna {recorded['optuna']}")
    before = recorded["studies"][f"{sampler} {seed} {task}"]
    found = proposals(sqlite_url, mnist, sampler, seed, task)
    assert found[:SHOWN] == before["first"]
    assert digest(found) == before["sha256"]


def record() -> None:
    studies = {}
    for sampler, seed, task in EVERY:
        with tempfile.TemporaryDirectory() as folder:
            found = proposals(f"sqlite:///{folder}/studies.db", load(), sampler, seed, task)
        studies[f"{sampler} {seed} {task}"] = {"first": found[:SHOWN], "sha256": digest(found)}
    text = json.dumps({"optuna": optuna.__version__, "studies": studies}, indent=1)
    RECORDED.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(record())
