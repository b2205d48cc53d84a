"""The learning curves of the store on a relational database."""

from __future__ import annotations

from abc import ABC
from collections.abc import Collection, Iterator
from typing import Any

from sqlalchemy import func, select

from search.records import CurveCheck, Measured, MeasuredCurve, Point
from search.store import tables
from search.store.base import Store
from search.store.database import IDS_PER_QUERY, Database, raw, retried
from search.store.metrics import (
    Report,
    check_reports,
    measured_of,
    point_of,
    read_metrics,
    report_to_row,
)
from search.store.upsert import put


class SQLCurves(Store, ABC):
    """The part of the store that has to do with learning curves."""

    database: Database

    @retried
    def add_point(self, trial_id: int, point: Point) -> None:
        row = report_to_row(trial_id, point)
        with self.database.write() as connection:
            put(connection, tables.reports, ("trial_id", "step"), [row], replace=False)

    def curve(self, trial_id: int) -> list[Point]:
        return self.curves([trial_id]).get(trial_id, [])

    @retried
    def curves(self, trial_ids: Collection[int]) -> dict[int, list[Point]]:
        curves: dict[int, list[Point]] = {}
        for trial_id, step, seconds, metrics in self._reports(trial_ids):
            if point := point_of(step, seconds, metrics):  # who reads a curve can compute with what is there
                curves.setdefault(trial_id, []).append(point)
        return curves

    @retried
    def training_seconds(self, trial_ids: Collection[int]) -> dict[int, float]:
        wanted = set(trial_ids)
        if not wanted:
            return {}
        reports = tables.reports.c
        query = select(reports.trial_id, func.max(reports.seconds)).group_by(reports.trial_id)
        with self.database.read() as connection:
            found = connection.execute(query.where(_among(wanted)))
            return {trial_id: seconds for trial_id, seconds in found if trial_id in wanted}

    @retried
    def measured(self, trial_ids: Collection[int]) -> dict[int, MeasuredCurve]:
        reports = list(self._reports(trial_ids))
        measured: dict[int, list[Measured]] = {}
        for trial_id, step, seconds, metrics in reports:
            points = measured.setdefault(trial_id, [])
            if point := measured_of(step, seconds, metrics):
                points.append(point)
        return {
            trial_id: MeasuredCurve(points=tuple(measured[trial_id]), check=check)
            for trial_id, check in check_reports(reports).items()
        }

    @retried
    def check_curves(self, trial_ids: Collection[int]) -> dict[int, CurveCheck]:
        return check_reports(self._reports(trial_ids))

    def _reports(self, trial_ids: Collection[int]) -> Iterator[Report]:
        """(trial, step, seconds, metrics) of every report, by trial and step."""
        wanted = set(trial_ids)
        if not wanted:
            return
        reports = tables.reports.c
        query = select(reports.trial_id, reports.step, reports.seconds, reports.metrics)
        with self.database.read() as connection:
            found = raw(connection, query.where(_among(wanted)).order_by(reports.trial_id, reports.step))
        for trial_id, step, seconds, text in found:
            if trial_id in wanted:
                yield trial_id, step, seconds, read_metrics(text)


def _among(trial_ids: Collection[int]) -> Any:
    """The condition for reports of these trials; where they are many, of all from the first to the last."""
    column = tables.reports.c.trial_id
    if len(trial_ids) <= IDS_PER_QUERY:
        return column.in_(sorted(trial_ids))
    return column.between(min(trial_ids), max(trial_ids))
