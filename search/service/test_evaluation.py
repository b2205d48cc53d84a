"""Evaluates the chosen run and the references on the test set, once. That an evaluation begins is recorded
before anything sees the test set, and its result before it is printed.

Nothing else evaluates on a test set, or calls a test function: tests/contracts/test_test_split.py proves
that nothing else in the three packages reaches one.
"""

from __future__ import annotations

import datetime
import shlex
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from search.analysis.confirmation import Confirmation, SeedRun
from search.analysis.standing import Stand, best_run, confirmation
from search.errors import ConfigError, TuneError
from search.objectives.base import job_of
from search.optuna_db.storage import Storage
from search.records import (
    Answers,
    CheckpointRecord,
    DeclaredSpec,
    NetworkSpec,
    Scores,
    TestAttempt,
    TestEvaluation,
    TestEvaluationCounts,
)
from search.redaction import redacted
from search.report.words import begun_without_result, count
from search.service.data import load_data
from search.store.base import Store
from search.study.evaluation_schedule import EvaluationSchedule
from search.tasks import task_named
from search.worker.artifacts import Artifacts
from search.worker.options import WorkerOptions

if TYPE_CHECKING:  # torch takes a second to import; commands that only look do without it
    from data.datasets.base import OpenDataset


def evaluate_due(
    storage: Storage, found: Stand, options: WorkerOptions, *, tell: Callable[[str], None] = lambda _: None
) -> TuneError | None:
    """Makes and records the test evaluations that are due; returns what prevents it, if anything does.

    None is due where training code has no test function. options: of the confirmation's workers: a test
    function has their threads, and is ended where it takes longer than their stall timeout, and than training
    took. `tell` is told before the first one how many there were, and of each that was begun before and has
    no result.
    """
    known = confirmation(found)
    name = found.confirming.name
    if known.best_run is None:
        return TuneError(f"Nothing can be chosen; `tune trials {shlex.quote(name)}` shows why.")
    spec = found.confirming.spec
    if not spec.has_test:
        return None
    kept = {each.trial_id: each for each in storage.store.checkpoints(found.confirming.study_id)}
    due = list(_due(known, known.best_run))
    if due:
        tell(_before(known.tested_by, storage.store.count_test_evaluations(spec.test_set), len(due)))
    for run, reason in due:
        _tell_of_attempts(known, run, tell)
        attempt = _Attempt(
            store=storage.store,
            record=TestAttempt(
                study_id=found.confirming.study_id,
                trial_id=run.trial_id,
                moment=datetime.datetime.now(datetime.UTC),
                reason=reason,
            ),
        )
        try:
            content, sha256 = _kept(storage, found, run, kept.get(run.trial_id))
            if isinstance(spec, NetworkSpec):
                evaluation, answers = _of_network(spec, content, sha256, attempt)
            else:
                evaluation = _of_code(storage, content, found, run, attempt, options)
                answers = None
        except TuneError as error:
            attempt.fail(str(error))
            return error
        if storage.store.add_test_evaluation_once(evaluation, answers) != evaluation:
            attempt.fail("Another process recorded the result of the same evaluation first.")
    return None


@dataclass(kw_only=True, slots=True)
class _Attempt:
    """A test evaluation in the ledger, while it has no result."""

    store: Store
    record: TestAttempt
    begun: bool = False

    def begin(self) -> None:
        """To be called before anything sees the test set: from now on the evaluation counts."""
        self.begun = True
        self.store.put_test_attempt(self.record)

    def fail(self, why: str) -> None:
        """Records the first line of `why`, unless the evaluation did not begin."""
        if self.begun:
            self.record = replace(self.record, failure=redacted(why.partition("\n")[0]))
            self.store.put_test_attempt(self.record)

    def result(
        self, *, images: int, heads: Mapping[str, float], joint: float, scores: Mapping[str, float]
    ) -> TestEvaluation:
        """What takes its place. images: different ones; the other arguments are as in TestEvaluation."""
        return TestEvaluation(
            study_id=self.record.study_id,
            trial_id=self.record.trial_id,
            moment=self.record.moment,
            reason=self.record.reason,
            pictures=images,
            heads=heads,
            joint=joint,
            scores=scores,
        )


def _tell_of_attempts(known: Confirmation, run: SeedRun, tell: Callable[[str], None]) -> None:
    attempts = [each for each in known.test_attempts if each.trial_id == run.trial_id]
    if attempts:
        tell(
            f"The test evaluation of trial {run.trial} of {known.confirmed_in} was begun "
            f"{count(len(attempts), 'time')}, last on {attempts[-1].moment:%Y-%m-%d at %H:%M} UTC, has no "
            f"result, and is repeated. {attempts[-1].why}"
        )


def _before(tested_by: str, evaluation_counts: TestEvaluationCounts, due: int) -> str:
    """How often the test set was evaluated until now, and that it is again."""
    deleted = evaluation_counts.of_deleted_studies
    gone = f", {deleted} of them for studies that are deleted" if deleted else ""
    failed = evaluation_counts.without_result
    without = f" ({begun_without_result(failed)})" if failed else ""
    before = (
        f"was evaluated {count(evaluation_counts.total, 'time')} before in this storage{gone}{without}"
        if evaluation_counts.total
        else "was never evaluated before in this storage"
    )
    follow = "one more evaluation follows" if due == 1 else f"{due} more evaluations follow"
    return f"The test set of {tested_by} {before}; {follow}."


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


def _kept(
    storage: Storage, found: Stand, run: SeedRun, checkpoint: CheckpointRecord | None
) -> tuple[bytes, str]:
    """(content, SHA-256) of the file that is kept of a run. Raises ConfigError where it cannot be read."""
    from search.worker.best_weights import BestWeights, WeightsDamaged, WeightsMissing

    weights = BestWeights.of(storage.location, found.confirming, storage.store)
    where = f"in {weights.artifacts.root}" if checkpoint is None else weights.where(checkpoint)
    what = "weights" if isinstance(found.confirming.spec, NetworkSpec) else "files"
    away = (
        f"The {what} of trial {run.trial} of {found.confirming.name} are not {where}, so the test set was "
        "not evaluated: let all machines share one folder (TUNE_ARTIFACTS), or give the same command where "
        "that trial was trained."
    )
    if checkpoint is None:
        raise ConfigError(away)
    try:
        return weights.read(checkpoint), checkpoint.sha256
    except WeightsMissing as error:
        raise ConfigError(away) from error
    except (OSError, WeightsDamaged) as error:
        raise ConfigError(f"The test set was not evaluated: {error}.") from error


def _of_network(
    spec: NetworkSpec, content: bytes, sha256: str, attempt: _Attempt
) -> tuple[TestEvaluation, Answers]:
    dataset = load_data(task_named(spec.task).source)
    attempt.begin()
    scores, images, answers = evaluate_on_test(spec.task, content, sha256, dataset)
    evaluation = attempt.result(
        images=images,
        heads={name: head.accuracy for name, head in scores.heads.items()},
        joint=scores.joint,
        scores={} if spec.scored_by_answers else {spec.score: scores.of(spec.score)},
    )
    return evaluation, answers


LONGEST_NAME = 64
"""Characters of a metric's name that the ledger has room for."""


def _of_code(
    storage: Storage, content: bytes, found: Stand, run: SeedRun, attempt: _Attempt, options: WorkerOptions
) -> TestEvaluation:
    """Raises ConfigError and TuneError as `call_test_function`."""
    from search.objectives.external.test_function import call_test_function

    spec = found.confirming.spec
    assert isinstance(spec, DeclaredSpec), "the study is of training code"
    training_s = max(report.seconds for report in found.curves[run.trial_id])
    [trial] = [each for each in found.runs if each.trial_id == run.trial_id]
    job = job_of(
        spec,
        trial.settings,
        EvaluationSchedule.of(spec),
        origin=trial.number,
        number=trial.number,
        confirming=trial.confirming,
    )
    folder = Artifacts.of(storage.location.artifacts, found.confirming).folder
    metrics = call_test_function(
        spec,
        job,
        content,
        folder,
        begin=attempt.begin,
        limit_s=max(options.stall_timeout_s, training_s),
        threads=options.threads,
    )
    return attempt.result(
        images=0,
        heads={name[:LONGEST_NAME]: value for name, value in metrics.items()},
        joint=metrics[spec.metric.name],
        scores={},
    )


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
    return (
        scores_of(found, by_class=chosen.by_class),
        test.examples // max(1, chosen.numbers),
        answers_of(found, Split.TEST),
    )
