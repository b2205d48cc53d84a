"""Evaluates the chosen run and the references on the test set, once, and records the results before it prints
them.

Nothing else evaluates on a test set: tests/contracts/test_test_split.py proves that nothing else in the
three packages reaches one.
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
from search.records import (
    Answers,
    CheckpointRecord,
    NetworkSpec,
    Scores,
    TestEvaluation,
    TestEvaluationCounts,
)
from search.report.words import count
from search.service.data import load_data
from search.tasks import task_named

if TYPE_CHECKING:  # torch takes a second to import; commands that only look do without it
    from data.datasets.base import OpenDataset


def evaluate_due(
    storage: Storage, found: Stand, *, tell: Callable[[str], None] = lambda _: None
) -> TuneError | None:
    """Makes and records the test evaluations that are due; returns what prevents it, if anything does.

    None is due where no networks were trained: another objective has no test set. `tell` is told before the
    first one how many there were.
    """
    known = confirmation(found)
    name = found.confirming.name
    if known.best_run is None:
        return TuneError(f"Nothing can be chosen; `tune trials {shlex.quote(name)}` shows why.")
    spec = found.searched.spec
    if not isinstance(spec, NetworkSpec):
        return None
    kept = {each.trial_id: each for each in storage.store.checkpoints(found.confirming.study_id)}
    due = list(_due(known, known.best_run))
    if due:
        tell(_before(spec.task, storage.store.count_test_evaluations(spec.task), len(due)))
    for run, reason in due:
        evaluation = _evaluation(storage, found, spec.task, run, kept.get(run.trial_id), reason)
        if isinstance(evaluation, TuneError):
            return evaluation
        storage.store.add_test_evaluation_once(*evaluation)
    return None


def _before(task: str, evaluation_counts: TestEvaluationCounts, due: int) -> str:
    """How often the test set was evaluated until now, and that it is again."""
    deleted = evaluation_counts.of_deleted_studies
    gone = f", {deleted} of them for studies that are deleted" if deleted else ""
    before = (
        f"was evaluated {count(evaluation_counts.total, 'time')} before in this storage{gone}"
        if evaluation_counts.total
        else "was never evaluated before in this storage"
    )
    follow = "one more evaluation follows" if due == 1 else f"{due} more evaluations follow"
    return f"The test set of {task} {before}; {follow}."


def _due(known: Confirmation, chosen: SeedRun) -> Iterator[tuple[SeedRun, str]]:
    """(run, reason) of each missing test evaluation: the chosen run, and one run of each reference."""
    evaluated_ids = {evaluation.trial_id for evaluation in known.test_evaluations}
    if chosen.trial_id not in evaluated_ids:
        racers = sum(each.reference is None for each in known.candidates)
        yield (
            chosen,
            f"chosen by tune confirm among {count(racers, 'candidate')} on {known.seeds} seeds in "
            f"{known.confirmed_in}",
        )
    for each in known.candidates:
        if each.reference is not None and not evaluated_ids & {run.trial_id for run in each.runs}:
            yield best_run(each), f"the reference {each.reference}, beside the chosen one"


def _evaluation(
    storage: Storage,
    found: Stand,
    task: str,
    run: SeedRun,
    checkpoint: CheckpointRecord | None,
    reason: str,
) -> tuple[TestEvaluation, Answers] | TuneError:
    from search.worker.best_weights import BestWeights, WeightsDamaged, WeightsMissing

    weights = BestWeights.of(storage.location, found.confirming, storage.store)
    where = f"in {weights.artifacts.root}" if checkpoint is None else weights.where(checkpoint)
    away = (
        f"The weights of trial {run.trial} of {found.confirming.name} are not {where}, so the test set was "
        "not evaluated: let all machines share one folder (TUNE_ARTIFACTS), or give the same command where "
        "that trial was trained."
    )
    if checkpoint is None:
        return ConfigError(away)
    try:
        content = weights.read(checkpoint)
    except WeightsMissing:
        return ConfigError(away)
    except (OSError, WeightsDamaged) as error:
        return ConfigError(f"The test set was not evaluated: {error}.")
    dataset = load_data(task_named(task).source)
    scores, images, answers = evaluate_on_test(task, content, checkpoint.sha256, dataset)
    evaluation = TestEvaluation(
        study_id=found.confirming.study_id,
        trial_id=run.trial_id,
        moment=datetime.datetime.now(datetime.UTC),
        reason=reason,
        pictures=images,
        heads={name: head.accuracy for name, head in scores.heads.items()},
        joint=scores.joint,
    )
    return evaluation, answers


def evaluate_on_test(
    task: str, content: bytes, sha256: str, dataset: OpenDataset
) -> tuple[Scores, int, Answers]:
    """(scores, images, answers) of a checkpoint's network on the task's test set, in float32 on the CPU.

    Answers: which are right. Images, not examples: ten sums of one image are not ten independent
    observations. Float32, because that is how weights are exported, whatever precision they were trained
    in. content: of the checkpoint file. Raises CheckpointCorrupt where it is not the one that was written.
    """
    from data.datasets.base import Split
    from models.checkpoint import parse_checkpoint
    from models.training import evaluate
    from search.objectives.network.learning import answers_of, scores_of

    network = parse_checkpoint(content, "the checkpoint", expected_sha256=sha256).network()
    chosen = task_named(task)
    test = chosen.test(dataset)
    found = evaluate(network, test)
    return scores_of(found), test.examples // max(1, chosen.numbers), answers_of(found, Split.TEST)
