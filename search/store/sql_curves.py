"""The learning curves of the store on a relational database.
Knows nothing of trials but their ids.
"""

from __future__ import annotations

from abc import ABC
from collections.abc import Collection
from itertools import groupby
from typing import Any

from sqlalchemy import func, select

from search.records import Measured, Point
from search.store import tables
from search.store.base import Store
from search.store.database import Database, portions, retried
from search.store.rows import point_of
from search.store.upsert import put


class SQLCurves(Store, ABC):
    """The part of the store that has to do with learning curves."""

    database: Database

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
    def curves(self, trial_ids: Collection[int]) -> dict[int, list[Point]]:
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
    def training_seconds(self, trial_ids: Collection[int]) -> dict[int, float]:
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
    def measured(self, trial_ids: Collection[int]) -> dict[int, tuple[Measured, ...]]:
        wanted = set(trial_ids)
        if not wanted:
            return {}
        points, heads = tables.points.c, tables.head_points.c

        def fetch(*columns: Any) -> list[Any]:
            table = columns[0].table
            query = select(*columns).where(table.c.trial_id.between(min(wanted), max(wanted)))
            # As the driver gives them, for the reason given in trial_facts.read_facts.
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
