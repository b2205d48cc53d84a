"""Tables that an older tune made and this one no longer has, and how their rows go into today's."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from sqlalchemy import BigInteger, Column, Connection, Float, Integer, MetaData, String, Table, func, select

from search.store import tables
from search.store.database import raw
from search.store.metrics import OF_A_HEAD, write_metrics
from search.store.upsert import put

metadata = MetaData()

_Double = Float(53)

points = Table(
    "tune_points",
    metadata,
    Column("trial_id", Integer, primary_key=True, autoincrement=False),
    Column("images", BigInteger, primary_key=True, autoincrement=False),
    Column("seconds", _Double, nullable=False),
    Column("learning_rate", _Double, nullable=False),
    Column("train_joint", _Double, nullable=False),
    Column("validation_joint", _Double, nullable=False),
)

head_points = Table(
    "tune_head_points",
    metadata,
    Column("trial_id", Integer, primary_key=True, autoincrement=False),
    Column("images", BigInteger, primary_key=True, autoincrement=False),
    Column("position", Integer, nullable=False),
    Column("head", String(64), primary_key=True),
    Column("train_loss", _Double, nullable=False),
    Column("train_accuracy", _Double, nullable=False),
    Column("validation_loss", _Double, nullable=False),
    Column("validation_accuracy", _Double, nullable=False),
)

NAMES = frozenset(metadata.tables)


def copy_some(connection: Connection, most: int) -> int:
    """Copies the reports of at most `most` trials whose reports are not all there yet; returns how many.

    A number that cannot be read stays unreadable: readers say what is wrong with such a trial.
    """
    ids = _left(connection, most)
    if not ids:
        return 0
    metrics: dict[tuple[int, int], dict[str, Any]] = defaultdict(dict)
    columns = head_points.c
    heads = select(
        columns.trial_id,
        columns.images,
        columns.head,
        columns.train_loss,
        columns.train_accuracy,
        columns.validation_loss,
        columns.validation_accuracy,
    ).order_by(columns.trial_id, columns.images, columns.position)
    for trial_id, images, head, *numbers in raw(connection, heads.where(_between(columns.trial_id, ids))):
        names = [f"{part}/{head}" for part in OF_A_HEAD]
        metrics[trial_id, images].update(zip(names, numbers, strict=True))
    rows = []
    of_points = select(*points.c).where(_between(points.c.trial_id, ids))
    for trial_id, images, seconds, learning_rate, train, validation in raw(connection, of_points):
        shared = {"learning_rate": learning_rate, "train/joint": train, "validation/joint": validation}
        text = write_metrics({**shared, **metrics[trial_id, images]})
        rows.append({"trial_id": trial_id, "step": images, "seconds": seconds, "metrics": text})
    put(connection, tables.reports, ("trial_id", "step"), rows, replace=False)
    return len(ids)


def _left(connection: Connection, most: int) -> list[int]:
    """The first trials with reports that are not in the new table. They are copied in order of their ids."""
    reports = tables.reports.c
    last = connection.execute(select(func.max(reports.trial_id))).scalar()
    ids = select(points.c.trial_id).distinct().order_by(points.c.trial_id).limit(most)
    if last is None:
        return list(connection.scalars(ids))
    if later := list(connection.scalars(ids.where(points.c.trial_id > last))):
        return later
    copied = (reports.trial_id == points.c.trial_id) & (reports.step == points.c.images)
    missing = ids.select_from(points.outerjoin(tables.reports, copied)).where(reports.trial_id.is_(None))
    return list(connection.scalars(missing))


def _between(column: Any, ids: list[int]) -> Any:
    return column.between(ids[0], ids[-1])
