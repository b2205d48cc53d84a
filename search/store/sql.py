"""The store on a relational database: SQLite, PostgreSQL, MySQL and MariaDB.
Knows nothing of Optuna; shares its database, touches none of its tables.
"""

from __future__ import annotations

import datetime
import secrets
from collections.abc import Iterable
from dataclasses import asdict, replace
from itertools import groupby
from typing import Any

from sqlalchemy import Connection, RowMapping, delete, func, insert, select, text, update
from sqlalchemy.engine import URL
from sqlalchemy.exc import IntegrityError

from search.confirmation import Look
from search.records import (
    CheckpointRecord,
    Claim,
    ExportRecord,
    Measured,
    Point,
    StudyRecord,
    StudySpec,
    Worker,
)
from search.store import migrations, tables
from search.store.base import LeaseLost, Store
from search.store.database import Database, portions, retried
from search.store.engine import translated
from search.store.rows import (
    checkpoint_of,
    claim_of,
    export_of,
    look_of,
    look_to_rows,
    point_of,
    spec_to_json,
    stored,
    study_of,
    utc,
    worker_of,
)
from search.store.upgrade import upgrade
from search.store.upsert import put


class SQLStore(Store):
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

    def add_study(self, study_id: int, spec: StudySpec, target_trials: int) -> None:
        row = {
            "study_id": study_id,
            "target_trials": target_trials,
            "spec": spec_to_json(spec),
        }
        with translated(self.database.url):
            try:
                with self.database.engine.begin() as connection:
                    if self._study_row(connection, study_id) is None:
                        connection.execute(insert(tables.studies).values(**row, created=_now(connection)))
            except IntegrityError:
                pass  # somebody was first, between our look and our write: theirs stands

    @retried
    def study(self, study_id: int) -> StudyRecord | None:
        with self.database.read() as connection:
            row = self._study_row(connection, study_id)
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

    @staticmethod
    def _study_row(connection: Connection, study_id: int, *, lock: bool = False) -> RowMapping | None:
        query = select(tables.studies).where(tables.studies.c.study_id == study_id)
        if lock:
            query = query.with_for_update()
        return connection.execute(query).mappings().one_or_none()

    # Claims

    def claim(self, study_id: int, worker_id: str, *, lease_s: float) -> Claim | None:
        return self._claim(study_id, worker_id, secrets.token_hex(16), lease_s)

    @retried
    def _claim(self, study_id: int, worker_id: str, token: str, lease_s: float) -> Claim | None:
        claims = tables.claims
        with self.database.write() as connection:
            study = self._study_row(connection, study_id, lock=True)  # one claimant at a time
            if study is None:
                return None
            if (landed := self._with_token(connection, token)) is not None:
                return landed  # an earlier try, of which we never heard
            slot = self._lowest_free_slot(connection, study_id)
            if slot >= study["target_trials"]:
                return None
            row: dict[str, Any] = {
                "study_id": study_id,
                "slot": slot,
                "worker_id": worker_id,
                "token": token,
                "trial_id": None,
                "done": False,
                "expires": _now(connection) + datetime.timedelta(seconds=lease_s),
            }
            result = connection.execute(insert(claims).values(**row))
            assert result.inserted_primary_key is not None
            return Claim(
                **{**row, "claim_id": result.inserted_primary_key[0], "expires": utc(row["expires"])}
            )

    @staticmethod
    def _with_token(connection: Connection, token: str) -> Claim | None:
        row = connection.execute(select(tables.claims).where(tables.claims.c.token == token)).mappings()
        found = row.one_or_none()
        return None if found is None else claim_of(found)

    @staticmethod
    def _lowest_free_slot(connection: Connection, study_id: int) -> int:
        mine = tables.claims.c.study_id == study_id
        count, top = connection.execute(
            select(func.count(), func.max(tables.claims.c.slot)).where(mine)
        ).one()
        if top is None or count == top + 1:  # no gap: the usual case costs no list of slots
            return int(count)
        taken = set(connection.execute(select(tables.claims.c.slot).where(mine)).scalars())
        return next(slot for slot in range(top + 1) if slot not in taken)

    @retried
    def attach(self, claim: Claim, trial_id: int) -> Claim:
        self._change(claim, trial_id=trial_id)
        return replace(claim, trial_id=trial_id)

    def renew(self, claim: Claim, *, lease_s: float) -> None:
        self._change(claim, lease_s=lease_s)

    @retried
    def settle(self, claim: Claim) -> None:
        self._change(claim, done=True)

    def _change(self, claim: Claim, *, lease_s: float | None = None, **values: Any) -> None:
        with self.database.write() as connection:
            if lease_s is not None:
                values["expires"] = _now(connection) + datetime.timedelta(seconds=lease_s)
            result = connection.execute(update(tables.claims).where(*_held(claim)).values(**values))
            if result.rowcount != 1:
                landed = self._with_token(connection, claim.token)
                if landed is None or not (landed.done and values.get("done")):
                    raise _lost(claim)

    @retried
    def release(self, claim: Claim) -> None:
        kept = tables.checkpoints
        with self.database.write() as connection:
            if connection.execute(delete(tables.claims).where(*_held(claim))).rowcount == 1:
                connection.execute(delete(kept).where(kept.c.trial_id == claim.trial_id))
            else:
                left = select(tables.claims.c.claim_id).where(tables.claims.c.claim_id == claim.claim_id)
                if connection.execute(left).first() is not None:
                    raise _lost(claim)

    def claims(self, study_id: int) -> list[Claim]:
        return self._claims(study_id)

    def open_claims(self, study_id: int) -> list[Claim]:
        return self._claims(study_id, tables.claims.c.done.is_(False))

    def claim_of(self, study_id: int, trial_id: int) -> Claim | None:
        return next(iter(self._claims(study_id, tables.claims.c.trial_id == trial_id)), None)

    @retried
    def _claims(self, study_id: int, *conditions: Any) -> list[Claim]:
        query = select(tables.claims).where(tables.claims.c.study_id == study_id, *conditions)
        with self.database.read() as connection:
            rows = connection.execute(query.order_by(tables.claims.c.slot)).mappings()
            return [claim_of(row) for row in rows]

    def take_over(self, claim: Claim, worker_id: str, *, lease_s: float) -> Claim | None:
        return self._take_over(claim, worker_id, secrets.token_hex(16), lease_s)

    @retried
    def _take_over(self, claim: Claim, worker_id: str, token: str, lease_s: float) -> Claim | None:
        with self.database.write() as connection:
            expires = _now(connection) + datetime.timedelta(seconds=lease_s)
            unchanged = tables.claims.c.expires == claim.expires.replace(tzinfo=None)
            conditions = [*_held(claim), unchanged]
            changes = {"worker_id": worker_id, "token": token, "expires": expires}
            connection.execute(update(tables.claims).where(*conditions).values(**changes))
            return self._with_token(connection, token)

    # Learning curves

    @retried
    def add_point(self, trial_id: int, point: Point) -> None:
        key = {"trial_id": trial_id, "images": point.images}
        heads = [
            {
                **key,
                "position": position,
                "head": name,
                "train_loss": train.loss,
                "train_accuracy": train.accuracy,
                "validation_loss": point.validation.heads[name].loss,
                "validation_accuracy": point.validation.heads[name].accuracy,
            }
            for position, (name, train) in enumerate(point.train.heads.items())
        ]
        row = {
            **key,
            "seconds": point.seconds,
            "learning_rate": point.learning_rate,
            "train_joint": point.train.joint,
            "validation_joint": point.validation.joint,
        }
        with self.database.write() as connection:
            put(connection, tables.points, ("trial_id", "images"), [row], replace=False)
            put(connection, tables.head_points, ("trial_id", "images", "head"), heads, replace=False)

    def curve(self, trial_id: int) -> list[Point]:
        return self.curves([trial_id]).get(trial_id, [])

    @retried
    def curves(self, trial_ids: Iterable[int]) -> dict[int, list[Point]]:
        curves: dict[int, list[Point]] = {}
        joined = (
            select(tables.points, tables.head_points)
            .join_from(
                tables.points,
                tables.head_points,
                (tables.points.c.trial_id == tables.head_points.c.trial_id)
                & (tables.points.c.images == tables.head_points.c.images),
            )
            .order_by(tables.points.c.trial_id, tables.points.c.images, tables.head_points.c.position)
        )
        with self.database.read() as connection:
            for some in portions(list(trial_ids)):
                rows = connection.execute(joined.where(tables.points.c.trial_id.in_(some))).mappings()
                for (trial_id, _images), group in groupby(
                    rows, key=lambda row: (row[tables.points.c.trial_id], row[tables.points.c.images])
                ):
                    curves.setdefault(trial_id, []).append(point_of(list(group)))
        return curves

    @retried
    def training_seconds(self, trial_ids: Iterable[int]) -> dict[int, float]:
        wanted = set(trial_ids)
        if not wanted:
            return {}
        trial_id = tables.points.c.trial_id
        query = (
            select(trial_id, func.max(tables.points.c.seconds))
            .where(trial_id.between(min(wanted), max(wanted)))
            .group_by(trial_id)
        )
        with self.database.read() as connection:
            return {each: seconds for each, seconds in connection.execute(query) if each in wanted}

    @retried
    def measured(self, trial_ids: Iterable[int]) -> dict[int, tuple[Measured, ...]]:
        wanted = set(trial_ids)
        if not wanted:
            return {}
        points, heads = tables.points.c, tables.head_points.c

        def fetch(*columns: Any) -> list[Any]:
            table = columns[0].table
            query = select(*columns).where(table.c.trial_id.between(min(wanted), max(wanted)))
            # As the driver gives them, for the reason given in optuna_trials._facts.
            result = connection.execute(query)
            found = result.cursor.fetchall() if result.cursor is not None else []
            result.close()
            return sorted(row for row in found if row[0] in wanted)

        accuracies: dict[tuple[int, int], dict[str, float]] = {}
        measured: dict[int, list[Measured]] = {}
        with self.database.read() as connection:
            for trial_id, images, _, head, accuracy in fetch(
                heads.trial_id, heads.images, heads.position, heads.head, heads.validation_accuracy
            ):
                accuracies.setdefault((trial_id, images), {})[head] = accuracy
            for trial_id, images, seconds, joint in fetch(
                points.trial_id, points.images, points.seconds, points.validation_joint
            ):
                if of_heads := accuracies.get((trial_id, images)):  # else it came between the two queries
                    point = Measured(images=images, seconds=seconds, heads=of_heads, joint=joint)
                    measured.setdefault(trial_id, []).append(point)
        return {trial_id: tuple(curve) for trial_id, curve in measured.items()}

    # Workers

    @retried
    def add_worker(self, study_id: int, worker: Worker) -> None:
        with self.database.write() as connection:
            connection.execute(
                insert(tables.workers).values(
                    study_id=study_id,
                    worker_id=worker.worker_id,
                    host=worker.host,
                    pid=worker.pid,
                    device=worker.device,
                    threads=worker.threads,
                    environment=dict(worker.environment),
                    joined=_now(connection),
                )
            )

    @retried
    def workers(self, study_id: int) -> dict[str, Worker]:
        query = select(tables.workers).where(tables.workers.c.study_id == study_id)
        with self.database.read() as connection:
            rows = connection.execute(query.order_by(tables.workers.c.joined)).mappings()
            return {row["worker_id"]: worker_of(row) for row in rows}

    # Checkpoints

    @retried
    def add_checkpoint(self, study_id: int, checkpoint: CheckpointRecord) -> None:
        row = {
            "path": checkpoint.path,
            "sha256": checkpoint.sha256,
            "score": checkpoint.score,
            "images": checkpoint.images,
            "bytes": checkpoint.bytes,
        }
        table = tables.checkpoints
        with self.database.write() as connection:
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
            self._study_row(connection, look.study_id, lock=True)  # one who looks at a time
            looks = self._looks(connection, [look.study_id])
            before = [each for each in looks if each.trial_id == look.trial_id]
            if not before:
                self.add_look(look)
            return before[0] if before else look

    @retried
    def looks(self, study_ids: Iterable[int]) -> list[Look]:
        with self.database.read() as connection:
            return self._looks(connection, study_ids)

    @staticmethod
    def _looks(connection: Connection, study_ids: Iterable[int]) -> list[Look]:
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


def _now(connection: Connection) -> datetime.datetime:
    """UTC by the database's clock, so that machines with different clocks agree on leases."""
    match connection.dialect.name:
        case "sqlite":  # a file has no clock but its readers'
            moment = datetime.datetime.now(datetime.UTC)
        case "postgresql":
            moment = connection.execute(text("SELECT clock_timestamp() AT TIME ZONE 'utc'")).scalar_one()
        case _:
            moment = connection.execute(text("SELECT UTC_TIMESTAMP(6)")).scalar_one()
    return moment.replace(tzinfo=None)


def _held(claim: Claim) -> list[Any]:
    """The conditions under which `claim` still is its holder's to change."""
    table = tables.claims
    return [table.c.claim_id == claim.claim_id, table.c.token == claim.token, table.c.done.is_(False)]


def _lost(claim: Claim) -> LeaseLost:
    return LeaseLost(f"The claim on slot {claim.slot} has passed to another worker.")


def _by_score(study_id: int) -> Any:
    table = tables.checkpoints
    return select(table).where(table.c.study_id == study_id).order_by(table.c.score.desc(), table.c.trial_id)
