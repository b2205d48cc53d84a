"""The learning curves of the store on a relational database."""

from __future__ import annotations

from abc import ABC
from collections.abc import Collection
from itertools import groupby
from typing import Any

from sqlalchemy import and_, case, func, select

from search.records import CurveCheck, Measured, Point
from search.store import tables
from search.store.base import Store
from search.store.database import IDS_PER_QUERY, Database, portions, raw, retried
from search.store.rows import LARGEST, LONGEST_S, MOST_IMAGES, point_of
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
            .where(_sound_point(), _sound_head())  # who reads a curve can compute with what is there
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

    @retried
    def check_curves(self, trial_ids: Collection[int]) -> dict[int, CurveCheck]:
        wanted = set(trial_ids)
        if not wanted:
            return {}
        points, heads = tables.points.c, tables.head_points.c
        unsound, unsound_head = (
            func.sum(case((sound, 0), else_=1)) for sound in (_sound_point(), _sound_head())
        )
        of_points = select(points.trial_id, func.count(), unsound).group_by(points.trial_id)
        of_heads = select(heads.trial_id, heads.head, func.count(), unsound_head)
        of_heads = of_heads.group_by(heads.trial_id, heads.head)

        def asked(trial_id: Any) -> Any:
            if len(wanted) <= IDS_PER_QUERY:
                return trial_id.in_(sorted(wanted))
            return trial_id.between(min(wanted), max(wanted))

        with self.database.read() as connection:
            points_found = raw(connection, of_points.where(asked(points.trial_id)))
            heads_found = raw(connection, of_heads.where(asked(heads.trial_id)))
        wrong = {trial_id: int(n) for trial_id, _, n in points_found}
        by_head: dict[int, dict[str, int]] = {}
        for trial_id, head, n, unsound_ones in heads_found:
            by_head.setdefault(trial_id, {})[head] = n
            wrong[trial_id] = wrong.get(trial_id, 0) + int(unsound_ones)
        return {
            trial_id: CurveCheck(points=n, unsound=wrong[trial_id], heads=by_head.get(trial_id, {}))
            for trial_id, n, _ in points_found
            if trial_id in wanted
        }


def _sound_point() -> Any:
    """The condition under which a row of tune_points can be used; is_sound says the same of a record."""
    points = tables.points.c
    return and_(
        points.images.between(1, MOST_IMAGES),
        points.seconds > 0,
        points.seconds <= LONGEST_S,
        points.learning_rate.between(0, LARGEST),
        points.train_joint.between(0, 1),
        points.validation_joint.between(0, 1),
    )


def _sound_head() -> Any:
    """The condition under which a row of tune_head_points can be used.

    NULL makes a condition NULL; NaN, infinity and words are above every number.
    """
    heads = tables.head_points.c
    return and_(
        heads.train_loss.between(-LARGEST, LARGEST),
        heads.validation_loss.between(-LARGEST, LARGEST),
        heads.train_accuracy.between(0, 1),
        heads.validation_accuracy.between(0, 1),
    )
