"""The claims of the store on a relational database."""

from __future__ import annotations

import datetime
import secrets
from abc import ABC
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, RowMapping, delete, func, insert, select, text, update

from search.records import Claim
from search.store import sql_answers, sql_ledger, sql_weights, tables
from search.store.base import LeaseLost, Store
from search.store.database import Database, Transaction, retried
from search.store.rows import claim_of, utc
from search.store.upsert import put


def study_row(connection: Connection, study_id: int, *, lock: bool = False) -> RowMapping | None:
    """A study's row. lock: until the transaction ends, no other process can change or lock it."""
    query = select(tables.studies).where(tables.studies.c.study_id == study_id)
    if lock:
        query = query.with_for_update()
    return connection.execute(query).mappings().one_or_none()


def require_held(connection: Connection, claim: Claim) -> None:
    """Until the transaction ends the claim stays its holder's. Raises LeaseLost where it is not any more."""
    query = select(tables.claims.c.claim_id).where(*_held(claim)).with_for_update()
    if connection.execute(query).first() is None:
        raise _lost(claim)


def require_study(connection: Connection, study_id: int, created: datetime.datetime) -> None:
    """Until the transaction ends the study of this id is the one made at `created`. Raises LeaseLost where it
    is deleted; another one may have its id by now."""
    study = study_row(connection, study_id, lock=True)
    if study is None or utc(study["created"]) != created:
        raise LeaseLost("The study was deleted meanwhile.")


class SQLClaims(Store, ABC):
    """The part of the store that has to do with claims."""

    database: Database

    def claim(
        self,
        study_id: int,
        worker_id: str,
        *,
        lease_s: float,
        created: datetime.datetime | None = None,
        space_changes: int | None = None,
    ) -> Claim | None:
        return self._claim(study_id, worker_id, secrets.token_hex(16), lease_s, created, space_changes)

    @retried
    def _claim(
        self,
        study_id: int,
        worker_id: str,
        token: str,
        lease_s: float,
        created: datetime.datetime | None,
        space_changes: int | None,
    ) -> Claim | None:
        claims = tables.claims
        with self.database.write() as connection:
            study = study_row(connection, study_id, lock=True)  # one claimant at a time
            if study is None or created not in (None, utc(study["created"])):
                return None
            if (landed := self._with_token(connection, token)) is not None:
                return landed  # an earlier try, of which we never heard
            if space_changes not in (None, len(study["spec"].get("space_changes", ()))):
                return None
            slot = self._free_slot(connection, study_id, study["target_trials"])
            if slot is None:
                return None
            row: dict[str, Any] = {
                "study_id": study_id,
                "slot": slot,
                "worker_id": worker_id,
                "token": token,
                "trial_id": None,
                "done": False,
                "expires": now(connection) + datetime.timedelta(seconds=lease_s),
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
    def _free_slot(connection: Connection, study_id: int, target: int) -> int | None:
        """The lowest one; None where as many as the target are taken: with a target that was lowered, also
        by higher slots."""
        mine = tables.claims.c.study_id == study_id
        count, top = connection.execute(
            select(func.count(), func.max(tables.claims.c.slot)).where(mine)
        ).one()
        if count >= target:
            return None
        if top is None or count == top + 1:  # no gap: the usual case costs no list of slots
            return int(count)
        taken = set(connection.execute(select(tables.claims.c.slot).where(mine)).scalars())
        return next(slot for slot in range(top + 1) if slot not in taken)

    @retried
    def attach(self, claim: Claim, trial_id: int, *, within: Transaction | None = None) -> Claim:
        with self.database.write(within) as connection:
            self._change(connection, claim, trial_id=trial_id)
            _delete_earlier(connection, trial_id)
        return replace(claim, trial_id=trial_id)

    def renew(self, claim: Claim, *, lease_s: float) -> None:
        with self.database.write() as connection:
            expires = now(connection) + datetime.timedelta(seconds=lease_s)
            self._change(connection, claim, expires=expires)

    def require_held(self, claim: Claim, *, within: Transaction | None = None) -> None:
        with self.database.write(within) as connection:
            require_held(connection, claim)

    @retried
    def settle(self, claim: Claim) -> None:
        with self.database.write() as connection:
            self._change(connection, claim, done=True)

    def _change(self, connection: Connection, claim: Claim, **values: Any) -> None:
        """Changes columns of a claim. Raises LeaseLost."""
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
                sql_weights.delete(connection, claim.trial_id)
                sql_answers.delete(connection, claim.trial_id)
            else:
                left = select(tables.claims.c.claim_id).where(tables.claims.c.claim_id == claim.claim_id)
                if connection.execute(left).first() is not None:
                    raise _lost(claim)

    def claims(self, study_id: int) -> list[Claim]:
        return self._claims(study_id)

    def open_claims(self, study_id: int, *, within: Transaction | None = None) -> list[Claim]:
        return self._claims(study_id, tables.claims.c.done.is_(False), within=within)

    def claim_of(self, study_id: int, trial_id: int) -> Claim | None:
        return next(iter(self._claims(study_id, tables.claims.c.trial_id == trial_id)), None)

    @retried
    def _claims(self, study_id: int, *conditions: Any, within: Transaction | None = None) -> list[Claim]:
        query = select(tables.claims).where(tables.claims.c.study_id == study_id, *conditions)
        with self.database.read(within) as connection:
            rows = connection.execute(query.order_by(tables.claims.c.slot)).mappings()
            return [claim_of(row) for row in rows]

    def take_over(self, claim: Claim, worker_id: str, *, lease_s: float) -> Claim | None:
        return self._take_over(claim, worker_id, secrets.token_hex(16), lease_s)

    @retried
    def _take_over(self, claim: Claim, worker_id: str, token: str, lease_s: float) -> Claim | None:
        with self.database.write() as connection:
            expires = now(connection) + datetime.timedelta(seconds=lease_s)
            unchanged = tables.claims.c.expires == claim.expires.replace(tzinfo=None)
            conditions = [*_held(claim), unchanged]
            changes = {"worker_id": worker_id, "token": token, "expires": expires}
            connection.execute(update(tables.claims).where(*conditions).values(**changes))
            return self._with_token(connection, token)

    # Claims that are handed on

    @retried
    def offer(self, claim: Claim) -> None:
        row = {"claim_id": claim.claim_id, "study_id": claim.study_id, "token": claim.token}
        with self.database.write() as connection:
            require_held(connection, claim)
            put(connection, tables.offers, ("claim_id",), [row])

    @retried
    def withdraw(self, claim: Claim) -> None:
        with self.database.write() as connection:
            require_held(connection, claim)
            connection.execute(delete(tables.offers).where(tables.offers.c.claim_id == claim.claim_id))

    @retried
    def offers(self, study_id: int) -> list[Claim]:
        claims, offers = tables.claims, tables.offers
        standing = (offers.c.claim_id == claims.c.claim_id) & (offers.c.token == claims.c.token)
        query = select(claims).join_from(claims, offers, standing)
        query = query.where(claims.c.study_id == study_id, claims.c.done.is_(False))
        with self.database.read() as connection:
            rows = connection.execute(query.order_by(claims.c.slot)).mappings()
            return [claim_of(row) for row in rows]

    def accept(self, claim: Claim, worker_id: str, *, lease_s: float) -> Claim | None:
        return self._accept(claim, worker_id, secrets.token_hex(16), lease_s)

    @retried
    def _accept(self, claim: Claim, worker_id: str, token: str, lease_s: float) -> Claim | None:
        offers = tables.offers.c
        mine = (offers.claim_id == claim.claim_id) & (offers.token == claim.token)
        with self.database.write() as connection:
            connection.execute(select(tables.claims.c.claim_id).where(*_held(claim)).with_for_update())
            if connection.execute(delete(tables.offers).where(mine)).rowcount == 1:
                expires = now(connection) + datetime.timedelta(seconds=lease_s)
                changes = {"worker_id": worker_id, "token": token, "expires": expires}
                connection.execute(update(tables.claims).where(*_held(claim)).values(**changes))
            return self._with_token(connection, token)


def now(connection: Connection) -> datetime.datetime:
    """UTC by the database's clock, so that what machines with different clocks write can be compared."""
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


def _delete_earlier(connection: Connection, trial_id: int) -> None:
    """Removes what is there of an earlier trial with the number of one that has only just begun."""
    if connection.dialect.name != "sqlite":  # servers give no number twice
        return
    sql_ledger.keep(connection, tables.test_evaluations.c.trial_id == trial_id)
    for table in tables.NAMING_A_TRIAL:
        connection.execute(delete(table).where(table.c.trial_id == trial_id))
