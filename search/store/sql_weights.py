"""Best weights as rows: written, found and deleted in chunks within a transaction of the caller."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, exists, or_, select

from search.store import tables
from search.store.upsert import put

CHUNK_BYTES = 2**20
"""Of one row. A driver may double it by escaping, and a server takes statements up to a limit: MariaDB of
16 MB, MySQL of 64 MB, MySQL 5.7 of 4 MB, by default (`max_allowed_packet`)."""

_KEY = ("trial_id", "sha256", "position")


def in_database() -> Any:
    """The column of a query over tune_checkpoints that says whether a row's weights are in the database."""
    weights, checkpoints = tables.weights.c, tables.checkpoints.c
    mine = (weights.trial_id == checkpoints.trial_id) & (weights.sha256 == checkpoints.sha256)
    return exists().where(mine, weights.position == 0).label("in_database")


def write(connection: Connection, trial_id: int, sha256: str, content: bytes) -> None:
    """Writes weights chunk by chunk; what has these keys already is replaced, as it may be damaged."""
    for position, start in enumerate(range(0, len(content), CHUNK_BYTES)):
        row = {"trial_id": trial_id, "sha256": sha256, "position": position}
        put(connection, tables.weights, _KEY, [{**row, "content": content[start : start + CHUNK_BYTES]}])


def chunk(connection: Connection, trial_id: int, sha256: str, position: int) -> bytes | None:
    """One chunk; None where there is none."""
    weights = tables.weights.c
    mine = (weights.trial_id == trial_id) & (weights.sha256 == sha256) & (weights.position == position)
    found = connection.execute(select(weights.content).where(mine)).scalar_one_or_none()
    return None if found is None else bytes(found)


def delete_others(connection: Connection, trial_id: int, sha256: str, length: int) -> None:
    """Deletes every chunk of a trial but those of these weights, which have `length` bytes; 0: all chunks."""
    weights = tables.weights.c
    stale = or_(weights.sha256 != sha256, weights.position >= -(-length // CHUNK_BYTES))
    connection.execute(tables.weights.delete().where(weights.trial_id == trial_id, stale))


def delete(connection: Connection, trial_id: int | None, sha256: str | None = None) -> None:
    """Deletes the chunks of these weights of a trial; None: of all its weights."""
    weights = tables.weights.c
    these = [] if sha256 is None else [weights.sha256 == sha256]
    connection.execute(tables.weights.delete().where(weights.trial_id == trial_id, *these))
