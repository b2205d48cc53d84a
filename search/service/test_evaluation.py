"""Evaluates the chosen one and the references on the test set, once, and records it before anybody is told.

The only look at a test set that there is: tests/contracts/test_test_split.py proves that nothing else in the
three rooms reaches one.
"""

from __future__ import annotations

import datetime
import shlex
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from search.analysis.confirmation import Confirmation, SeedRun
from search.analysis.standing import Stand, best_run, confirmation
from search.errors import ConfigError, TuneError
from search.optuna_db.storage import Storage
from search.records import Answers, CheckpointRecord, Look, Scores, TestEvaluations
from search.report.words import count
from search.service.data import load_data
from search.tasks import task_named

if TYPE_CHECKING:  # torch takes a second to import; commands that only look do without it
    from data.datasets.base import OpenDataset


def evaluate_due(
    storage: Storage, found: Stand, *, tell: Callable[[str], None] = lambda _: None
) -> TuneError | None:
    """Makes and records the test evaluations that are due; returns what prevents it, if anything does.

    `tell` is told before the first one how many there were.
    """
    known = confirmation(found)
    name = found.confirming.name
    if known.best_run is None:
        return TuneError(f"Nothing can be chosen; `tune trials {shlex.quote(name)}` shows why.")
    kept = {each.trial_id: each for each in storage.store.checkpoints(found.confirming.study_id)}
    due = list(_due(known, known.best_run))
    if due:
        tell(_before(found, storage.store.test_evaluations(found.searched.spec.task), len(due)))
    for run, reason in due:
        look = _evaluation(storage, found, run, kept.get(run.trial_id), reason)
        if isinstance(look, TuneError):
            return look
        storage.store.look_once(*look)
    return None


def _before(found: Stand, evaluations: TestEvaluations, due: int) -> str:
    """How often the test set was evaluated until now, and that it is again."""
    deleted = evaluations.of_deleted_studies
    gone = f", {deleted} of them for studies that are deleted" if deleted else ""
    before = (
        f"was evaluated {count(evaluations.total, 'time')} before in this storage{gone}"
        if evaluations.total
        else "was never evaluated before in this storage"
    )
    follow = "one more evaluation follows" if due == 1 else f"{due} more evaluations follow"
    return f"The test set of {found.searched.spec.task} {before}; {follow}."


def _due(known: Confirmation, chosen: SeedRun) -> Iterator[tuple[SeedRun, str]]:
    """(run, reason) of each look that nobody took yet: the chosen run, and one run of each reference."""
    looked = {look.trial_id for look in known.looks}
    if chosen.trial_id not in looked:
        racers = sum(each.reference is None for each in known.candidates)
        yield (
            chosen,
            f"chosen by tune confirm among {count(racers, 'candidate')} on {known.seeds} seeds in "
            f"{known.confirmed_in}",
        )
    for each in known.candidates:
        if each.reference is not None and not looked & {run.trial_id for run in each.runs}:
            yield best_run(each), f"the reference {each.reference}, beside the chosen one"


def _evaluation(
    storage: Storage,
    found: Stand,
    run: SeedRun,
    checkpoint: CheckpointRecord | None,
    reason: str,
) -> tuple[Look, Answers] | TuneError:
    from search.worker.best_weights import BestWeights, WeightsDamaged, WeightsMissing

    weights = BestWeights.of(storage.location, found.confirming, storage.store)
    where = f"in {weights.artifacts.root}" if checkpoint is None else weights.where(checkpoint)
    away = (
        f"The weights of trial {run.trial} of {found.confirming.name} are not {where}, so the test set was "
        "not looked at: let all machines share one folder (TUNE_ARTIFACTS), or give the same command where "
        "that trial was trained."
    )
    if checkpoint is None:
        return ConfigError(away)
    try:
        content = weights.read(checkpoint)
    except WeightsMissing:
        return ConfigError(away)
    except (OSError, WeightsDamaged) as error:
        return ConfigError(f"The test set was not looked at: {error}.")
    dataset = load_data(task_named(found.searched.spec.task).source)
    scores, pictures, answers = evaluate_on_test(
        found.searched.spec.task, content, checkpoint.sha256, dataset
    )
    look = Look(
        study_id=found.confirming.study_id,
        trial_id=run.trial_id,
        moment=datetime.datetime.now(datetime.UTC),
        reason=reason,
        pictures=pictures,
        heads={name: head.accuracy for name, head in scores.heads.items()},
        joint=scores.joint,
    )
    return look, answers


def evaluate_on_test(
    task: str, content: bytes, sha256: str, dataset: OpenDataset
) -> tuple[Scores, int, Answers]:
    """(scores, pictures, answers) of a checkpoint's network on the task's test set, in float32 on the CPU.

    Answers: which are right. Pictures, not examples: ten sums of one picture are not ten independent
    observations. Float32, because that is how weights are handed over, whatever precision they were trained
    in. content: of the checkpoint file. Raises CheckpointCorrupt where it is not the one that was written.
    """
    from data.datasets.base import Split
    from models.checkpoint import parse_checkpoint
    from models.training import evaluate
    from search.worker.trial import answers_of, scores_of

    network = parse_checkpoint(content, "the checkpoint", expected_sha256=sha256).network()
    chosen = task_named(task)
    test = chosen.test(dataset)
    found = evaluate(network, test)
    return scores_of(found), test.examples // max(1, chosen.numbers), answers_of(found, Split.TEST)
