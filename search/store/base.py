"""The contract of the store: what tune remembers beside Optuna's own tables.

Optuna keeps parameters, values and states. The store keeps what Optuna has no place for: a study's spec
and target, the claims of workers on slots of that target, learning curves, environments, precisions,
checkpoints, test evaluations, exports.
tests/contracts/test_store.py holds every implementation to this page.
"""

from __future__ import annotations

import datetime
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from search.errors import TuneError
from search.records import (
    Answers,
    CheckedCurve,
    CheckpointRecord,
    Claim,
    CurveCheck,
    ExportRecord,
    Metric,
    Report,
    StudyRecord,
    StudySpec,
    TestAttempt,
    TestEvaluation,
    TestEvaluationCounts,
    Worker,
)

if TYPE_CHECKING:
    from search.store.database import Transaction


class LeaseLost(TuneError):
    """The claim has passed to another worker; what its former holder still brings is refused."""


class Store(ABC):
    """Safe to share between threads; processes open their own.

    within: a transaction that the caller has opened in the same database, of which the call is then a part:
    see search.store.database.
    """

    # Studies

    @abstractmethod
    def add_study(
        self, study_id: int, spec: StudySpec, target_trials: int, *, within: Transaction | None = None
    ) -> None:
        """Remembers the spec of the Optuna study `study_id`. The first writer wins; later calls are void."""

    @abstractmethod
    def study(self, study_id: int, *, within: Transaction | None = None) -> StudyRecord | None:
        """The study without its name (Optuna owns names; the field is empty), or None.

        Until the transaction `within` ends, no other process changes the study or claims a slot of it.
        """

    @abstractmethod
    def studies(self) -> list[StudyRecord]:
        """All studies, oldest first, names empty as in `study`."""

    @abstractmethod
    def set_target(self, study_id: int, target_trials: int) -> None:
        """Changes how many finished trials the study is to have."""

    @abstractmethod
    def set_spec(self, study_id: int, spec: StudySpec, *, within: Transaction | None = None) -> None:
        """Changes what the study means."""

    # Claims

    @abstractmethod
    def claim(
        self,
        study_id: int,
        worker_id: str,
        *,
        lease_s: float,
        created: datetime.datetime | None = None,
        space_changes: int | None = None,
    ) -> Claim | None:
        """Takes the lowest free slot, or None where as many as the study's target are taken.

        However many processes call at once, each slot goes to one of them. created: when the study was made
        that the worker joined; None too where that one was deleted and another one has its id.
        space_changes: how many the worker knows of; None too where there are others.
        """

    @abstractmethod
    def attach(self, claim: Claim, trial_id: int, *, within: Transaction | None = None) -> Claim:
        """Notes which trial fills the slot; it has only just begun. Raises LeaseLost.

        A curve or a checkpoint under its number is a deleted trial's, and forgotten.
        """

    @abstractmethod
    def renew(self, claim: Claim, *, lease_s: float) -> None:
        """Holds the claim for another `lease_s` seconds. Raises LeaseLost."""

    @abstractmethod
    def require_held(self, claim: Claim, *, within: Transaction | None = None) -> None:
        """Raises LeaseLost where the claim is no longer its holder's.

        It stays its holder's until the transaction `within` ends.
        """

    @abstractmethod
    def settle(self, claim: Claim) -> None:
        """Marks the slot as filled by a finished trial, for good. Raises LeaseLost."""

    @abstractmethod
    def release(self, claim: Claim) -> None:
        """Frees the slot for another trial: the one on the claim is lost, and its checkpoint no longer counts
        among the best. Raises LeaseLost."""

    @abstractmethod
    def claims(self, study_id: int) -> list[Claim]:
        """The claims of a study by slot, done ones included."""

    @abstractmethod
    def open_claims(self, study_id: int, *, within: Transaction | None = None) -> list[Claim]:
        """The claims of a study that are not done, by slot: few, however many trials are finished."""

    @abstractmethod
    def claim_of(self, study_id: int, trial_id: int) -> Claim | None:
        """The claim that this trial fills; None for a trial that failed or was never noted on one."""

    @abstractmethod
    def take_over(self, claim: Claim, worker_id: str, *, lease_s: float) -> Claim | None:
        """Passes a claim to `worker_id`, who takes its holder for gone.

        None where it was renewed, taken or ended since `claim` was read.
        """

    # Claims that are handed on

    @abstractmethod
    def offer(self, claim: Claim) -> None:
        """Lets any worker without work `accept` the claim and continue with its trial. Raises LeaseLost.

        Its holder keeps it meanwhile, and must `withdraw` before anything else is done about the trial.
        """

    @abstractmethod
    def withdraw(self, claim: Claim) -> None:
        """Ends the offer, if there was one. Raises LeaseLost where another worker has accepted it."""

    @abstractmethod
    def offers(self, study_id: int) -> list[Claim]:
        """The claims of a study that are on offer, by slot."""

    @abstractmethod
    def accept(self, claim: Claim, worker_id: str, *, lease_s: float) -> Claim | None:
        """Passes a claim that is on offer to `worker_id`; None where it is on offer no more.

        However many workers call at once, one of them gets it.
        """

    # Learning curves

    @abstractmethod
    def add_report(self, trial_id: int, report: Report, *, within: Transaction | None = None) -> None:
        """Adds a report to a trial's learning curve; what it reported at the same step before stays."""

    @abstractmethod
    def curve(self, trial_id: int, metric: Metric) -> list[Report]:
        """A trial's learning curve by step. metric: that its study optimizes, here and below."""

    @abstractmethod
    def curves(self, trial_ids: Collection[int], metric: Metric) -> Mapping[int, list[Report]]:
        """The learning curves of many trials in a few queries. Trials without reports are left out."""

    @abstractmethod
    def training_seconds(self, trial_ids: Collection[int]) -> Mapping[int, float]:
        """How long each trial has worked up to its last report, in one query. Trials without reports are
        left out."""

    @abstractmethod
    def checked_curves(self, trial_ids: Collection[int], metric: Metric) -> Mapping[int, CheckedCurve]:
        """The learning curves of many trials, and whether they can be used, in one query. Trials without
        reports are left out."""

    @abstractmethod
    def check_curves(self, trial_ids: Collection[int], metric: Metric) -> Mapping[int, CurveCheck]:
        """What is needed to tell which of these curves can be used, in one query. Trials without reports are
        left out."""

    # Workers

    @abstractmethod
    def add_worker(self, study_id: int, worker: Worker) -> None:
        """Remembers a worker and its environment."""

    @abstractmethod
    def workers(self, study_id: int) -> Mapping[str, Worker]:
        """The workers that ever joined a study, by id."""

    # Precisions

    @abstractmethod
    def precisions(self, study_id: int, processor: str) -> Mapping[str, str]:
        """The precision of each model family that was decided for this study on this kind of processor.

        Empty where nothing was decided.
        """

    @abstractmethod
    def decide_precisions(
        self, study_id: int, processor: str, precisions: Mapping[str, str]
    ) -> Mapping[str, str]:
        """Records the precision of each model family, unless one was decided before. Returns what is decided.

        However many processes call at once, all of them get the same answer.
        """

    # Checkpoints

    @abstractmethod
    def add_checkpoint(
        self,
        study_id: int,
        checkpoint: CheckpointRecord,
        *,
        claim: Claim | None = None,
        created: datetime.datetime | None = None,
        content: bytes | None = None,
        answers: Answers | None = None,
    ) -> None:
        """Remembers the best weights of a trial, in place of earlier ones, whose chunks and answers are
        deleted.

        claim: under which the trial is trained; None: it has ended. created: when the study was made that is
        meant, for a trial that has ended. content: the weights, to be kept in the database; None: they are in
        the file that the record names. answers: of these weights on validation; None: not known. All of it
        happens or nothing. Raises LeaseLost once the claim has passed on, or where the study is deleted and
        another one may have its id.
        """

    @abstractmethod
    def drop_checkpoints(
        self, study_id: int, *, keep: int, beside: Collection[int] = ()
    ) -> list[CheckpointRecord]:
        """Forgets all but the `keep` best checkpoints of a study, chunks included; returns the forgotten.

        beside: ids of trials whose checkpoints stay and are not counted.
        """

    @abstractmethod
    def checkpoints(self, study_id: int) -> list[CheckpointRecord]:
        """The checkpoints of a study, best score first (the earlier trial where scores are equal). No chunk
        is read."""

    @abstractmethod
    def weights_chunk(self, checkpoint: CheckpointRecord, position: int) -> bytes | None:
        """One chunk, counted from 0, of weights that are in the database; None after the last one, and where
        they are there no more."""

    @abstractmethod
    def answers(self, trial_ids: Collection[int], split: str) -> Mapping[int, Answers]:
        """Which examples of a split the kept weights of these trials answer right. Trials without kept
        weights, and weights whose answers are not known, are left out."""

    # What was done with the results

    @abstractmethod
    def put_test_attempt(self, attempt: TestAttempt) -> None:
        """Records that a test evaluation was begun, or why the one of this trial and moment has no result.

        Its result takes its place (`add_test_evaluation_once`); after that it is not written again.
        """

    @abstractmethod
    def test_attempts(self, study_ids: Collection[int]) -> list[TestAttempt]:
        """The test evaluations without a result for the trials of these studies, oldest first."""

    @abstractmethod
    def add_test_evaluation_once(
        self, evaluation: TestEvaluation, answers: Answers | None = None
    ) -> TestEvaluation:
        """Records a test evaluation for good, unless the trial has a result already; returns the record that
        is kept.

        It takes the place of the attempt of the same trial and moment.
        However many processes call at once, one record is kept. answers: of the trial's kept weights.
        """

    @abstractmethod
    def test_evaluations(self, study_ids: Collection[int]) -> list[TestEvaluation]:
        """The test evaluations for the trials of these studies, oldest first."""

    @abstractmethod
    def count_test_evaluations(self, test_set: str) -> TestEvaluationCounts:
        """How often a test set was evaluated by any study of this storage, deleted ones too, with a result or
        without.

        test_set: of a study's spec.
        """

    @abstractmethod
    def add_export(self, export: ExportRecord) -> None:
        """Records an export for good. An equal record that is there already is left as it is."""

    @abstractmethod
    def exports(self, study_id: int) -> list[ExportRecord]:
        """The exports of a study, oldest first."""

    @abstractmethod
    def close(self) -> None:
        """Gives back connections. The store must not be used afterwards."""
