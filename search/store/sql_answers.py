"""Right and wrong answers of kept weights as rows: written, read, deleted in a transaction of the caller."""

from __future__ import annotations

from collections.abc import Collection
from itertools import groupby

from sqlalchemy import Connection, RowMapping, select

from search.records import Answers
from search.store import tables
from search.store.upsert import put

_KEY = ("trial_id", "split", "head")


def write(connection: Connection, trial_id: int, sha256: str, answers: Answers) -> None:
    """Writes the answers of these weights on one split, in place of earlier ones."""
    rows = [
        {
            "trial_id": trial_id,
            "split": answers.split,
            "head": head,
            "position": position,
            "sha256": sha256,
            "examples": answers.examples,
            "bits": bits,
        }
        for position, (head, bits) in enumerate(answers.heads.items())
    ]
    put(connection, tables.answers, _KEY, rows)


def read(connection: Connection, trial_ids: Collection[int], split: str) -> dict[int, Answers]:
    """The answers of the weights that these trials have now, by trial; others are left out."""
    answers, kept = tables.answers, tables.checkpoints
    query = (
        select(answers)
        .join_from(
            answers, kept, (answers.c.trial_id == kept.c.trial_id) & (answers.c.sha256 == kept.c.sha256)
        )
        .where(answers.c.trial_id.in_(list(trial_ids)), answers.c.split == split)
        .order_by(answers.c.trial_id, answers.c.position)
    )
    found = {}
    for trial_id, group in groupby(connection.execute(query).mappings(), key=lambda row: row["trial_id"]):
        rows = list(group)
        examples = rows[0]["examples"]
        if isinstance(examples, int) and examples > 0 and all(_is_whole(row, examples) for row in rows):
            heads = {row["head"]: bytes(row["bits"]) for row in rows}
            found[trial_id] = Answers(split=split, examples=examples, heads=heads)
    return found


def _is_whole(row: RowMapping, examples: int) -> bool:
    """Whether a row can be used: another program may have changed it."""
    bits = row["bits"]
    return row["examples"] == examples and isinstance(bits, bytes) and len(bits) == -(-examples // 8)


def delete(connection: Connection, trial_id: int | None, *, but: str | None = None) -> None:
    """Deletes the answers of a trial. but: SHA-256 of weights whose answers stay."""
    answers = tables.answers.c
    stale = [] if but is None else [answers.sha256 != but]
    connection.execute(tables.answers.delete().where(answers.trial_id == trial_id, *stale))
