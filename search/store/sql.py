"""The store on a relational database: SQLite, PostgreSQL, MySQL and MariaDB."""

from __future__ import annotations

import datetime
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from itertools import groupby
from typing import Any

from sqlalchemy import Connection, RowMapping, delete, func, insert, inspect, select, update
from sqlalchemy.engine import URL

from search.errors import ConfigError
from search.records import (
    Answers,
    CheckpointRecord,
    Claim,
    ExportRecord,
    StudyRecord,
    StudySpec,
    TestAttempt,
    TestEvaluation,
    TestEvaluationCounts,
    Worker,
)
from search.store import sql_answers, sql_ledger, sql_weights, tables
from search.store.database import Database, Transaction, retried
from search.store.engine import masked
from search.store.opened_file import FileId
from search.store.rows import (
    Unusable,
    checkpoint_of,
    export_of,
    spec_to_json,
    stored,
    study_of,
    test_attempt_of,
    test_attempt_to_row,
    test_evaluation_of,
    test_evaluation_to_rows,
    usable,
    worker_of,
    worker_to_row,
)
from search.store.sql_claims import SQLClaims, now, require_held, require_study, study_row
from search.store.sql_curves import SQLCurves
from search.store.upsert import put


class SQLStore(SQLClaims, SQLCurves):
    """tune's tables in one database."""

    def __init__(self, url: URL, *, retry_s: float = 0.0, file_id: FileId | None = None) -> None:
        """Prepares an engine for `url`; touches nothing yet. Raises ConfigError without a driver.

        retry_s: deadline of the retries of most methods while the database is away.
        file_id: of the SQLite file that is meant; None: the one that is there.
        """
        self.database = Database(url, retry_s=retry_s, file_id=file_id)
        self.may_lack_tables = False
        """whether there were none of tune's tables yet when this store was opened to look; another process
        may make them any time"""

    # Studies

    @retried
    def add_study(
        self, study_id: int, spec: StudySpec, target_trials: int, *, within: Transaction | None = None
    ) -> None:
        row = {"study_id": study_id, "target_trials": target_trials, "spec": spec_to_json(spec)}
        with self.database.write(within) as connection:
            put(
                connection,
                tables.studies,
                ("study_id",),
                [{**row, "created": now(connection)}],
                replace=False,
            )

    @retried
    def study(self, study_id: int, *, within: Transaction | None = None) -> StudyRecord | None:
        if self._holds_nothing():
            return None
        with self.database.read(within) as connection:
            row = study_row(connection, study_id, lock=within is not None)
        try:
            return None if row is None else study_of(row)
        except Unusable as error:
            raise ConfigError(
                f"The study with id {study_id} in {masked(self.database.url)} holds a value that tune did "
                f"not write ({error}): it is damaged, or another program changed it. Nothing was changed now."
            ) from error

    def studies(self) -> list[StudyRecord]:
        return self.checked_studies()[0]

    @retried
    def checked_studies(self) -> tuple[list[StudyRecord], dict[int, str]]:
        """As `studies`, and what is wrong with those that it leaves out, by id."""
        found, faults = [], {}
        for row in self._study_rows():
            try:
                found.append(study_of(row))
            except Unusable as error:
                faults[row["study_id"]] = str(error)
        return found, faults

    def _holds_nothing(self) -> bool:
        """Whether there are still none of tune's tables."""
        if self.may_lack_tables:
            with self.database.read() as connection:
                self.may_lack_tables = not inspect(connection).has_table(tables.schema.name)
        return self.may_lack_tables

    def _study_rows(self) -> Sequence[RowMapping]:
        if self._holds_nothing():
            return []
        with self.database.read() as connection:
            query = select(tables.studies).order_by(tables.studies.c.study_id)
            return connection.execute(query).mappings().all()

    @retried
    def set_target(self, study_id: int, target_trials: int) -> None:
        with self.database.write() as connection:
            connection.execute(
                update(tables.studies)
                .where(tables.studies.c.study_id == study_id)
                .values(target_trials=target_trials)
            )

    @retried
    def set_spec(self, study_id: int, spec: StudySpec, *, within: Transaction | None = None) -> None:
        with self.database.write(within) as connection:
            mine = tables.studies.c.study_id == study_id
            connection.execute(update(tables.studies).where(mine).values(spec=spec_to_json(spec)))

    # Workers

    @retried
    def add_worker(self, study_id: int, worker: Worker) -> None:
        with self.database.write() as connection:
            row = {**worker_to_row(study_id, worker), "joined": now(connection)}
            put(connection, tables.workers, ("study_id", "worker_id"), [row], replace=False)

    @retried
    def workers(self, study_id: int) -> dict[str, Worker]:
        query = select(tables.workers).where(tables.workers.c.study_id == study_id)
        with self.database.read() as connection:
            rows = connection.execute(query.order_by(tables.workers.c.joined)).mappings()
            return {worker.worker_id: worker for worker in usable(worker_of, rows)}

    # Precisions

    @retried
    def precisions(self, study_id: int, processor: str) -> dict[str, str]:
        with self.database.read() as connection:
            return _precisions(connection, study_id, processor)

    @retried
    def decide_precisions(
        self, study_id: int, processor: str, precisions: Mapping[str, str]
    ) -> dict[str, str]:
        with self.database.write() as connection:
            study_row(connection, study_id, lock=True)  # one process decides at a time
            decided = _precisions(connection, study_id, processor)
            new = {family: each for family, each in precisions.items() if family not in decided}
            key = {"study_id": study_id, "processor": processor}
            rows = [{**key, "family": family, "precision": each} for family, each in new.items()]
            put(connection, tables.precisions, ("study_id", "processor", "family"), rows, replace=False)
            return {**decided, **new}

    # Checkpoints

    @retried
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
        row = {
            "path": checkpoint.path,
            "sha256": checkpoint.sha256,
            "score": checkpoint.score,
            "images": checkpoint.step,
            "bytes": checkpoint.bytes,
        }
        table, trial_id = tables.checkpoints, checkpoint.trial_id
        with self.database.write() as connection:
            if claim is None and created is not None:
                require_study(connection, study_id, created)
            if content is not None:
                # Before the claim is locked, because this can take seconds: the lease is renewed meanwhile.
                # No other process sees these rows, or waits for them, until the transaction ends.
                sql_weights.write(connection, trial_id, checkpoint.sha256, content)
            if claim is not None:
                require_held(connection, claim)
            mine = table.c.trial_id == trial_id
            if connection.execute(update(table).where(mine).values(**row)).rowcount == 0:
                connection.execute(insert(table).values(**row, trial_id=trial_id, study_id=study_id))
            else:
                sql_weights.delete_others(connection, trial_id, checkpoint.sha256, len(content or b""))
                sql_answers.delete(connection, trial_id, but=checkpoint.sha256)
            if answers is not None:
                sql_answers.write(connection, trial_id, checkpoint.sha256, answers)

    @retried
    def drop_checkpoints(
        self, study_id: int, *, keep: int, beside: Collection[int] = ()
    ) -> list[CheckpointRecord]:
        table = tables.checkpoints
        with self.database.read() as connection:  # most trials change nothing: a look keeps no writer waiting
            mine = table.c.study_id == study_id
            if connection.execute(select(func.count()).where(mine)).scalar_one() <= keep:
                return []
        with self.database.write() as connection:
            # One process drops at a time. Two that had listed different scores could forget too many.
            study_row(connection, study_id, lock=True)
            dropped = []
            rows = connection.execute(_by_score(study_id)).mappings().all()
            for row in [each for each in rows if each["trial_id"] not in beside][keep:]:
                # By checksum too: the trial may have got better weights since they were listed.
                same = (table.c.trial_id == row["trial_id"]) & (table.c.sha256 == row["sha256"])
                if connection.execute(delete(table).where(same)).rowcount == 1:
                    sql_weights.delete(connection, row["trial_id"], row["sha256"])
                    sql_answers.delete(connection, row["trial_id"])
                    dropped.append(row)
            return list(usable(checkpoint_of, dropped))

    @retried
    def checkpoints(self, study_id: int) -> list[CheckpointRecord]:
        with self.database.read() as connection:
            return list(usable(checkpoint_of, connection.execute(_by_score(study_id)).mappings()))

    @retried
    def weights_chunk(self, checkpoint: CheckpointRecord, position: int) -> bytes | None:
        with self.database.read() as connection:
            return sql_weights.chunk(connection, checkpoint.trial_id, checkpoint.sha256, position)

    @retried
    def answers(self, trial_ids: Collection[int], split: str) -> dict[int, Answers]:
        with self.database.read() as connection:
            return sql_answers.read(connection, trial_ids, split)

    # What was done with the results

    @retried
    def put_test_attempt(self, attempt: TestAttempt) -> None:
        with self.database.write() as connection:
            put(connection, tables.test_evaluations, ("trial_id", "moment"), [test_attempt_to_row(attempt)])

    @retried
    def test_attempts(self, study_ids: Collection[int]) -> list[TestAttempt]:
        table = tables.test_evaluations
        query = (
            select(table)
            .where(table.c.study_id.in_(list(study_ids)), sql_ledger.WITHOUT_RESULT)
            .order_by(table.c.moment, table.c.trial_id)
        )
        with self.database.read() as connection:
            return list(usable(test_attempt_of, connection.execute(query).mappings()))

    @retried
    def add_test_evaluation_once(
        self, evaluation: TestEvaluation, answers: Answers | None = None
    ) -> TestEvaluation:
        with self.database.write() as connection:
            study_row(connection, evaluation.study_id, lock=True)  # one evaluation at a time
            test_evaluations = self._test_evaluations(connection, [evaluation.study_id])
            before = [each for each in test_evaluations if each.trial_id == evaluation.trial_id]
            if not before:
                table = tables.test_evaluations
                attempt = (table.c.trial_id == evaluation.trial_id) & (
                    table.c.moment == stored(evaluation.moment)
                )
                connection.execute(delete(table).where(attempt))
                _add_test_evaluation(connection, evaluation)
                if answers is not None:
                    mine = tables.checkpoints.c.trial_id == evaluation.trial_id
                    sha256 = connection.execute(select(tables.checkpoints.c.sha256).where(mine)).scalar()
                    sql_answers.write(connection, evaluation.trial_id, sha256 or "", answers)
            return before[0] if before else evaluation

    @retried
    def count_test_evaluations(self, test_set: str) -> TestEvaluationCounts:
        with self.database.read() as connection:
            return sql_ledger.count(connection, test_set)

    @retried
    def test_evaluations(self, study_ids: Collection[int]) -> list[TestEvaluation]:
        with self.database.read() as connection:
            return self._test_evaluations(connection, study_ids)

    @staticmethod
    def _test_evaluations(connection: Connection, study_ids: Collection[int]) -> list[TestEvaluation]:
        test_evaluations, heads = tables.test_evaluations, tables.head_test_evaluations
        query = (
            select(test_evaluations, heads)
            .join_from(
                test_evaluations,
                heads,
                (test_evaluations.c.trial_id == heads.c.trial_id)
                & (test_evaluations.c.moment == heads.c.moment),
            )
            .where(test_evaluations.c.study_id.in_(list(study_ids)))
            .order_by(test_evaluations.c.moment, test_evaluations.c.trial_id, heads.c.position)
        )
        rows = connection.execute(query).mappings()
        groups = groupby(
            rows, key=lambda row: (row[test_evaluations.c.moment], row[test_evaluations.c.trial_id])
        )
        return list(usable(test_evaluation_of, (list(group) for _, group in groups)))

    @retried
    def add_export(self, export: ExportRecord) -> None:
        row = {**asdict(export), "moment": stored(export.moment)}
        with self.database.write() as connection:
            put(connection, tables.exports, ("trial_id", "moment"), [row], replace=False)

    @retried
    def exports(self, study_id: int) -> list[ExportRecord]:
        table = tables.exports
        query = select(table).where(table.c.study_id == study_id).order_by(table.c.moment, table.c.trial_id)
        with self.database.read() as connection:
            return list(usable(export_of, connection.execute(query).mappings()))

    def close(self) -> None:
        self.database.close()


def _precisions(connection: Connection, study_id: int, processor: str) -> dict[str, str]:
    table = tables.precisions
    query = select(table)
    mine = (table.c.study_id == study_id) & (table.c.processor == processor)
    rows = connection.execute(query.where(mine)).mappings()
    return {row["family"]: row["precision"] for row in rows}


def _add_test_evaluation(connection: Connection, evaluation: TestEvaluation) -> None:
    row, heads = test_evaluation_to_rows(evaluation)
    key = ("trial_id", "moment")
    put(connection, tables.test_evaluations, key, [row], replace=False)
    put(connection, tables.head_test_evaluations, (*key, "head"), heads, replace=False)


def _by_score(study_id: int) -> Any:
    table = tables.checkpoints
    query = select(table, sql_weights.in_database()).where(table.c.study_id == study_id)
    return query.order_by(table.c.score.desc(), table.c.trial_id)
