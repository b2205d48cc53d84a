"""The learning curves of the store on a relational database."""

from __future__ import annotations

from abc import ABC
from collections.abc import Collection, Iterator
from typing import Any

from sqlalchemy import func, select

from search.records import CheckedCurve, CurveCheck, Metric, Report
from search.store import tables
from search.store.base import Store
from search.store.database import IDS_PER_QUERY, Database, Transaction, raw, retried
from search.store.metrics import Row, check_reports, read_metrics, report_of, report_to_row, sound_report
from search.store.upsert import put


class SQLCurves(Store, ABC):
    """The part of the store that has to do with learning curves."""

    database: Database

    @retried
    def add_report(self, trial_id: int, report: Report, *, within: Transaction | None = None) -> None:
        row = report_to_row(trial_id, report)
        with self.database.write(within) as connection:
            put(connection, tables.reports, ("trial_id", "step"), [row], replace=False)

    def curve(self, trial_id: int, metric: Metric) -> list[Report]:
        return self.curves([trial_id], metric).get(trial_id, [])

    @retried
    def curves(self, trial_ids: Collection[int], metric: Metric) -> dict[int, list[Report]]:
        curves: dict[int, list[Report]] = {}
        for trial_id, step, seconds, metrics in self._rows(trial_ids):
            if report := report_of(step, seconds, metrics, metric):  # with what can be used of it
                curves.setdefault(trial_id, []).append(report)
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
    def checked_curves(self, trial_ids: Collection[int], metric: Metric) -> dict[int, CheckedCurve]:
        rows = list(self._rows(trial_ids))
        checks = check_reports(rows, metric)
        reports: dict[int, list[Report]] = {trial_id: [] for trial_id in checks}
        for trial_id, step, seconds, metrics in rows:
            if not checks[trial_id].unsound:
                reports[trial_id].append(sound_report(step, seconds, metrics, metric))
            elif found := report_of(step, seconds, metrics, metric):
                reports[trial_id].append(found)
        return {
            trial_id: CheckedCurve(reports=tuple(reports[trial_id]), check=check)
            for trial_id, check in checks.items()
        }

    @retried
    def check_curves(self, trial_ids: Collection[int], metric: Metric) -> dict[int, CurveCheck]:
        return check_reports(self._rows(trial_ids), metric)

    def _rows(self, trial_ids: Collection[int]) -> Iterator[Row]:
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
