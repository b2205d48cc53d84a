"""Looks at the test set for the chosen one and the references, and records each look before it is told."""

from __future__ import annotations

import datetime
import shlex
from collections.abc import Callable, Iterator

from search.confirmation import Confirmation, Look, SeedRun, TestEvaluations
from search.errors import ConfigError, TuneError
from search.records import Answers, CheckpointRecord
from search.report.confirming.standing import Stand, best_run, confirmation
from search.report.words import count
from search.service.data import load_data
from search.study.storage import Storage
from search.tasks import task_named


def take_looks(
    storage: Storage, found: Stand, *, tell: Callable[[str], None] = lambda _: None
) -> TuneError | None:
    """Takes and records the looks that are due; returns what prevents it, if anything does.

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
        look = _look(storage, found, run, kept.get(run.trial_id), reason)
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


def _look(
    storage: Storage,
    found: Stand,
    run: SeedRun,
    checkpoint: CheckpointRecord | None,
    reason: str,
) -> tuple[Look, Answers] | TuneError:
    from search.worker.best_weights import BestWeights, WeightsDamaged, WeightsMissing
    from search.worker.test_evaluation import look_at_test

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
    scores, pictures, answers = look_at_test(found.searched.spec.task, content, checkpoint.sha256, dataset)
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
