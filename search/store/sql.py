"""The store on a relational database: SQLite, PostgreSQL, MySQL and MariaDB.
Knows nothing of Optuna; shares its database, touches none of its tables.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict
from itertools import groupby
from typing import Any

from sqlalchemy import Connection, delete, func, insert, select, update
from sqlalchemy.engine import URL

from search.confirmation import Look
from search.records import (
    CheckpointRecord,
    Claim,
    ExportRecord,
    StudyRecord,
    StudySpec,
    Worker,
)
from search.store import migrations, tables
from search.store.database import Database, retried
from search.store.engine import translated
from search.store.rows import (
    checkpoint_of,
    export_of,
    look_of,
    look_to_rows,
    spec_to_json,
    stored,
    study_of,
    worker_of,
    worker_to_row,
)
from search.store.sql_claims import SQLClaims, now, require_held, study_row
from search.store.sql_curves import SQLCurves
from search.store.upgrade import upgrade
from search.store.upsert import put


class SQLStore(SQLClaims, SQLCurves):
    """tune's tables in one database."""

    def __init__(self, url: URL, *, patience_s: float = 0.0) -> None:
        """Prepares an engine for `url`; touches nothing yet. Raises ConfigError without a driver.

        patience_s: so long most of what follows is tried again while the database is away; not `look`.
        """
        self.database = Database(url, patience_s=patience_s)

    def look(self, *, create: bool, backed_up: bool = False) -> bool:
        """Whether the database already has Optuna's tables. Tables of an older tune's are brought up to date
        first (upgrade.py; `backed_up` as there), else nothing changes.

        Raises ConfigError for a database of another program, of a newer tune or of another Optuna, for a
        server's of an older tune unless `backed_up`, or, unless `create`, for one that holds nothing of
        tune's; TryAgain where none answers.
        """
        with translated(self.database.url):
            found = migrations.look(self.database.engine, create=create)
            if found.version is not None and found.version < tables.SCHEMA_VERSION:
                upgrade(self.database.engine, backed_up=backed_up)
            return found.optuna

    def refuse_damaged(self) -> None:
        """Raises ConfigError for an SQLite file whose pages do not fit together."""
        with translated(self.database.url):
            migrations.refuse_damaged(self.database.engine)

    def create_tables(self) -> None:
        """Makes tune's tables where they are missing."""
        with translated(self.database.url):
            migrations.create(self.database.engine)

    # Studies

    @retried
    def add_study(self, study_id: int, spec: StudySpec, target_trials: int) -> None:
        row = {"study_id": study_id, "target_trials": target_trials, "spec": spec_to_json(spec)}
        with self.database.write() as connection:
            put(
                connection,
                tables.studies,
                ("study_id",),
                [{**row, "created": now(connection)}],
                replace=False,
            )

    @retried
    def study(self, study_id: int) -> StudyRecord | None:
        with self.database.read() as connection:
            row = study_row(connection, study_id)
        return None if row is None else study_of(row)

    @retried
    def studies(self) -> list[StudyRecord]:
        with self.database.read() as connection:
            rows = connection.execute(select(tables.studies).order_by(tables.studies.c.study_id)).mappings()
            return [study_of(row) for row in rows]

    @retried
    def set_target(self, study_id: int, target_trials: int) -> None:
        with self.database.write() as connection:
            connection.execute(
                update(tables.studies)
                .where(tables.studies.c.study_id == study_id)
                .values(target_trials=target_trials)
            )

    # Workers

    @retried
    def add_worker(self, study_id: int, worker: Worker) -> None:
        with self.database.write() as connection:
            row = worker_to_row(study_id, worker)
            connection.execute(insert(tables.workers).values(**row, joined=now(connection)))

    @retried
    def workers(self, study_id: int) -> dict[str, Worker]:
        query = select(tables.workers).where(tables.workers.c.study_id == study_id)
        with self.database.read() as connection:
            rows = connection.execute(query.order_by(tables.workers.c.joined)).mappings()
            return {row["worker_id"]: worker_of(row) for row in rows}

    # Checkpoints

    @retried
    def add_checkpoint(
        self, study_id: int, checkpoint: CheckpointRecord, *, claim: Claim | None = None
    ) -> None:
        row = {
            "path": checkpoint.path,
            "sha256": checkpoint.sha256,
            "score": checkpoint.score,
            "images": checkpoint.images,
            "bytes": checkpoint.bytes,
        }
        table = tables.checkpoints
        with self.database.write() as connection:
            if claim is not None:
                require_held(connection, claim)
            mine = table.c.trial_id == checkpoint.trial_id
            if connection.execute(update(table).where(mine).values(**row)).rowcount == 0:
                connection.execute(
                    insert(table).values(**row, trial_id=checkpoint.trial_id, study_id=study_id)
                )

    @retried
    def drop_checkpoints(self, study_id: int, *, keep: int) -> list[CheckpointRecord]:
        table = tables.checkpoints
        with self.database.read() as connection:  # most trials change nothing: a look keeps no writer waiting
            mine = table.c.study_id == study_id
            if connection.execute(select(func.count()).where(mine)).scalar_one() <= keep:
                return []
        with self.database.write() as connection:
            rows = connection.execute(_by_score(study_id)).mappings().all()[keep:]
            if rows:
                ids = [row["trial_id"] for row in rows]
                connection.execute(delete(table).where(table.c.trial_id.in_(ids)))
            return [checkpoint_of(row) for row in rows]

    @retried
    def checkpoints(self, study_id: int) -> list[CheckpointRecord]:
        with self.database.read() as connection:
            return [checkpoint_of(row) for row in connection.execute(_by_score(study_id)).mappings()]

    # What was done with the results

    @retried
    def add_look(self, look: Look) -> None:
        row, heads = look_to_rows(look)
        key = ("trial_id", "moment")
        with self.database.write() as connection:
            put(connection, tables.looks, key, [row], replace=False)
            put(connection, tables.head_looks, (*key, "head"), heads, replace=False)

    @retried
    def look_once(self, look: Look) -> Look:
        with self.database.write() as connection:
            study_row(connection, look.study_id, lock=True)  # one who looks at a time
            looks = self._looks(connection, [look.study_id])
            before = [each for each in looks if each.trial_id == look.trial_id]
            if not before:
                self.add_look(look)
            return before[0] if before else look

    @retried
    def looks(self, study_ids: Collection[int]) -> list[Look]:
        with self.database.read() as connection:
            return self._looks(connection, study_ids)

    @staticmethod
    def _looks(connection: Connection, study_ids: Collection[int]) -> list[Look]:
        looks, heads = tables.looks, tables.head_looks
        query = (
            select(looks, heads)
            .join_from(
                looks, heads, (looks.c.trial_id == heads.c.trial_id) & (looks.c.moment == heads.c.moment)
            )
            .where(looks.c.study_id.in_(list(study_ids)))
            .order_by(looks.c.moment, looks.c.trial_id, heads.c.position)
        )
        rows = connection.execute(query).mappings()
        groups = groupby(rows, key=lambda row: (row[looks.c.moment], row[looks.c.trial_id]))
        return [look_of(list(group)) for _, group in groups]

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
            return [export_of(row) for row in connection.execute(query).mappings()]

    def close(self) -> None:
        self.database.close()


def _by_score(study_id: int) -> Any:
    table = tables.checkpoints
    return select(table).where(table.c.study_id == study_id).order_by(table.c.score.desc(), table.c.trial_id)
