"""A store in this process's memory, for tests. It passes the contract suite of every store."""

from __future__ import annotations

import datetime
import secrets
import threading
from collections.abc import Collection, Mapping
from dataclasses import replace

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
from search.store.base import LeaseLost, Store
from search.store.database import Transaction
from search.store.metrics import Row, check_reports, report_of
from search.store.rows import REASON_CHARACTERS


class MemoryStore(Store):
    """Shared by the threads of one process; gone with it. It has no transactions: `within` means nothing."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._studies: dict[int, StudyRecord] = {}
        self._claims: dict[int, Claim] = {}
        self._next_claim_id = 1
        self._offers: dict[int, str] = {}
        """token by claim"""
        self._curves: dict[int, dict[int, Report]] = {}
        self._workers: dict[int, dict[str, Worker]] = {}
        self._precisions: dict[tuple[int, str], dict[str, str]] = {}
        self._checkpoints: dict[int, tuple[int, CheckpointRecord]] = {}
        self._weights: dict[int, tuple[str, bytes]] = {}
        """(SHA-256, weights) by trial"""
        self._answers: dict[tuple[int, str], Answers] = {}
        """by trial and split"""
        self._test_attempts: dict[tuple[int, datetime.datetime], TestAttempt] = {}
        self._test_evaluations: dict[tuple[int, datetime.datetime], TestEvaluation] = {}
        self._exports: dict[tuple[int, datetime.datetime], ExportRecord] = {}

    # Studies

    def add_study(
        self, study_id: int, spec: StudySpec, target_trials: int, *, within: Transaction | None = None
    ) -> None:
        with self._lock:
            record = StudyRecord(
                study_id=study_id, name="", spec=spec, target_trials=target_trials, created=_now()
            )
            self._studies.setdefault(study_id, record)

    def study(self, study_id: int, *, within: Transaction | None = None) -> StudyRecord | None:
        return self._studies.get(study_id)

    def studies(self) -> list[StudyRecord]:
        return [self._studies[key] for key in sorted(self._studies)]

    def set_target(self, study_id: int, target_trials: int) -> None:
        with self._lock:
            self._studies[study_id] = replace(self._studies[study_id], target_trials=target_trials)

    def set_spec(self, study_id: int, spec: StudySpec, *, within: Transaction | None = None) -> None:
        with self._lock:
            self._studies[study_id] = replace(self._studies[study_id], spec=spec)

    # Claims

    def claim(
        self,
        study_id: int,
        worker_id: str,
        *,
        lease_s: float,
        created: datetime.datetime | None = None,
        space_changes: int | None = None,
    ) -> Claim | None:
        with self._lock:
            study = self._studies.get(study_id)
            if study is None or created not in (None, study.created):
                return None
            if space_changes not in (None, len(study.spec.space_changes)):
                return None
            taken = {claim.slot for claim in self.claims(study_id)}
            if len(taken) >= study.target_trials:
                return None
            slot = next(slot for slot in range(len(taken) + 1) if slot not in taken)
            claim = Claim(
                claim_id=self._next_claim_id,
                study_id=study_id,
                slot=slot,
                worker_id=worker_id,
                token=secrets.token_hex(16),
                trial_id=None,
                done=False,
                expires=_now() + datetime.timedelta(seconds=lease_s),
            )
            self._claims[claim.claim_id] = claim
            self._next_claim_id += 1
            return claim

    def attach(self, claim: Claim, trial_id: int, *, within: Transaction | None = None) -> Claim:
        with self._lock:
            self._claims[claim.claim_id] = replace(self._held(claim), trial_id=trial_id)
            self._curves.pop(trial_id, None)
            self._delete_checkpoint(trial_id)
            return self._claims[claim.claim_id]

    def renew(self, claim: Claim, *, lease_s: float) -> None:
        with self._lock:
            expires = _now() + datetime.timedelta(seconds=lease_s)
            self._claims[claim.claim_id] = replace(self._held(claim), expires=expires)

    def require_held(self, claim: Claim, *, within: Transaction | None = None) -> None:
        with self._lock:
            self._held(claim)

    def settle(self, claim: Claim) -> None:
        with self._lock:
            self._claims[claim.claim_id] = replace(self._held(claim), done=True)

    def release(self, claim: Claim) -> None:
        with self._lock:
            lost = self._held(claim).trial_id
            del self._claims[claim.claim_id]
            if lost is not None:
                self._delete_checkpoint(lost)

    def claims(self, study_id: int) -> list[Claim]:
        with self._lock:
            mine = [claim for claim in self._claims.values() if claim.study_id == study_id]
            return sorted(mine, key=lambda claim: claim.slot)

    def open_claims(self, study_id: int, *, within: Transaction | None = None) -> list[Claim]:
        return [claim for claim in self.claims(study_id) if not claim.done]

    def claim_of(self, study_id: int, trial_id: int) -> Claim | None:
        return next((claim for claim in self.claims(study_id) if claim.trial_id == trial_id), None)

    def take_over(self, claim: Claim, worker_id: str, *, lease_s: float) -> Claim | None:
        with self._lock:
            try:
                held = self._held(claim)
            except LeaseLost:
                return None
            if held.expires != claim.expires:
                return None
            expires = _now() + datetime.timedelta(seconds=lease_s)
            taken = replace(held, worker_id=worker_id, token=secrets.token_hex(16), expires=expires)
            self._claims[claim.claim_id] = taken
            return taken

    # Claims that are handed on

    def offer(self, claim: Claim) -> None:
        with self._lock:
            self._held(claim)
            self._offers[claim.claim_id] = claim.token

    def withdraw(self, claim: Claim) -> None:
        with self._lock:
            self._held(claim)
            self._offers.pop(claim.claim_id, None)

    def offers(self, study_id: int) -> list[Claim]:
        with self._lock:
            offered = self._offers.items()
            return [claim for claim in self.open_claims(study_id) if (claim.claim_id, claim.token) in offered]

    def accept(self, claim: Claim, worker_id: str, *, lease_s: float) -> Claim | None:
        with self._lock:
            held = self._claims.get(claim.claim_id)
            if held is None or held not in self.offers(claim.study_id) or held.token != claim.token:
                return None
            del self._offers[claim.claim_id]
            return self.take_over(held, worker_id, lease_s=lease_s)

    def _held(self, claim: Claim) -> Claim:
        known = self._claims.get(claim.claim_id)
        if known is None or known.token != claim.token or known.done:
            raise LeaseLost(f"The claim on slot {claim.slot} has passed to another worker.")
        return known

    # Learning curves

    def add_report(self, trial_id: int, report: Report, *, within: Transaction | None = None) -> None:
        with self._lock:
            self._curves.setdefault(trial_id, {}).setdefault(report.step, report)

    def curve(self, trial_id: int, metric: Metric) -> list[Report]:
        found = (report_of(*row[1:], metric) for row in self._rows([trial_id]))
        return [report for report in found if report is not None]

    def curves(self, trial_ids: Collection[int], metric: Metric) -> dict[int, list[Report]]:
        return {trial_id: curve for trial_id in trial_ids if (curve := self.curve(trial_id, metric))}

    def training_seconds(self, trial_ids: Collection[int]) -> dict[int, float]:
        return {trial_id: seconds for trial_id, _, seconds, _ in self._rows(trial_ids)}

    def checked_curves(self, trial_ids: Collection[int], metric: Metric) -> dict[int, CheckedCurve]:
        return {
            trial_id: CheckedCurve(reports=tuple(self.curve(trial_id, metric)), check=check)
            for trial_id, check in self.check_curves(trial_ids, metric).items()
        }

    def check_curves(self, trial_ids: Collection[int], metric: Metric) -> dict[int, CurveCheck]:
        return check_reports(self._rows(trial_ids), metric)

    def _rows(self, trial_ids: Collection[int]) -> list[Row]:
        """Every report of these trials, by trial and step."""
        with self._lock:
            return [
                (trial_id, report.step, report.seconds, report.metrics)
                for trial_id in sorted(set(trial_ids))
                for _, report in sorted(self._curves.get(trial_id, {}).items())
            ]

    # Workers

    def add_worker(self, study_id: int, worker: Worker) -> None:
        with self._lock:
            self._workers.setdefault(study_id, {})[worker.worker_id] = worker

    def workers(self, study_id: int) -> dict[str, Worker]:
        with self._lock:
            return dict(self._workers.get(study_id, {}))

    # Precisions

    def precisions(self, study_id: int, processor: str) -> dict[str, str]:
        with self._lock:
            return dict(self._precisions.get((study_id, processor), {}))

    def decide_precisions(
        self, study_id: int, processor: str, precisions: Mapping[str, str]
    ) -> dict[str, str]:
        with self._lock:
            decided = {**precisions, **self.precisions(study_id, processor)}
            self._precisions[study_id, processor] = decided
            return dict(decided)

    # Checkpoints

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
        with self._lock:
            if claim is not None:
                self._held(claim)
            elif created is not None:
                study = self.study(study_id)
                if study is None or study.created != created:
                    raise LeaseLost("The study was deleted meanwhile.")
            self._delete_checkpoint(checkpoint.trial_id)
            if answers is not None:
                self._answers[checkpoint.trial_id, answers.split] = answers
            record = replace(checkpoint, in_database=content is not None)
            self._checkpoints[checkpoint.trial_id] = (study_id, record)
            if content is not None:
                self._weights[checkpoint.trial_id] = (checkpoint.sha256, content)

    def drop_checkpoints(
        self, study_id: int, *, keep: int, beside: Collection[int] = ()
    ) -> list[CheckpointRecord]:
        with self._lock:
            counted = [each for each in self.checkpoints(study_id) if each.trial_id not in beside]
            dropped = counted[keep:]
            for checkpoint in dropped:
                self._delete_checkpoint(checkpoint.trial_id)
            return dropped

    def checkpoints(self, study_id: int) -> list[CheckpointRecord]:
        with self._lock:
            mine = [checkpoint for owner, checkpoint in self._checkpoints.values() if owner == study_id]
            return sorted(mine, key=lambda checkpoint: (-checkpoint.score, checkpoint.trial_id))

    def weights_chunk(self, checkpoint: CheckpointRecord, position: int) -> bytes | None:
        sha256, content = self._weights.get(checkpoint.trial_id, ("", b""))
        return content if (sha256, position) == (checkpoint.sha256, 0) else None

    def answers(self, trial_ids: Collection[int], split: str) -> dict[int, Answers]:
        with self._lock:
            return {
                trial_id: self._answers[trial_id, split]
                for trial_id in sorted(trial_ids)
                if (trial_id, split) in self._answers
            }

    def _delete_checkpoint(self, trial_id: int) -> None:
        self._checkpoints.pop(trial_id, None)
        self._weights.pop(trial_id, None)
        self._answers = {key: found for key, found in self._answers.items() if key[0] != trial_id}

    # What was done with the results

    def put_test_attempt(self, attempt: TestAttempt) -> None:
        if attempt.failure is not None:
            attempt = replace(attempt, failure=attempt.failure[: REASON_CHARACTERS - len(attempt.reason) - 1])
        with self._lock:
            self._test_attempts[attempt.trial_id, attempt.moment] = attempt

    def test_attempts(self, study_ids: Collection[int]) -> list[TestAttempt]:
        wanted = set(study_ids)
        mine = [attempt for attempt in self._test_attempts.values() if attempt.study_id in wanted]
        return sorted(mine, key=lambda attempt: (attempt.moment, attempt.trial_id))

    def add_test_evaluation_once(
        self, evaluation: TestEvaluation, answers: Answers | None = None
    ) -> TestEvaluation:
        with self._lock:
            before = [
                each
                for each in self.test_evaluations([evaluation.study_id])
                if each.trial_id == evaluation.trial_id
            ]
            if not before:
                self._test_attempts.pop((evaluation.trial_id, evaluation.moment), None)
                self._test_evaluations[evaluation.trial_id, evaluation.moment] = evaluation
                if answers is not None and evaluation.trial_id in self._checkpoints:
                    self._answers[evaluation.trial_id, answers.split] = answers
            return before[0] if before else evaluation

    def count_test_evaluations(self, test_set: str) -> TestEvaluationCounts:
        with self._lock:
            studies = {study_id: record.spec.test_set for study_id, record in self._studies.items()}
            with_result, without = (
                sum(studies.get(each.study_id, test_set) == test_set for each in records.values())
                for records in (self._test_evaluations, self._test_attempts)
            )
            return TestEvaluationCounts(
                total=with_result + without, of_deleted_studies=0, without_result=without
            )

    def test_evaluations(self, study_ids: Collection[int]) -> list[TestEvaluation]:
        wanted = set(study_ids)
        mine = [evaluation for evaluation in self._test_evaluations.values() if evaluation.study_id in wanted]
        return sorted(mine, key=lambda evaluation: (evaluation.moment, evaluation.trial_id))

    def add_export(self, export: ExportRecord) -> None:
        with self._lock:
            self._exports.setdefault((export.trial_id, export.moment), export)

    def exports(self, study_id: int) -> list[ExportRecord]:
        mine = [export for export in self._exports.values() if export.study_id == study_id]
        return sorted(mine, key=lambda export: (export.moment, export.trial_id))

    def close(self) -> None:
        pass


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)
