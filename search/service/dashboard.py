"""Serves optuna-dashboard on tune's storage and artifact folder, with tune's notes, figures and weights.
Changes nothing: what is shown beside Optuna's tables is made at each request (dashboard_storage).
"""

from __future__ import annotations

import datetime
import json
import re
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search.analysis.intervals import measurements
from search.analysis.ranking import best_report
from search.analysis.timeline import timeline
from search.errors import TuneError
from search.optuna_db.storage import open_storage
from search.records import (
    CheckpointRecord,
    Counts,
    NetworkSpec,
    Report,
    State,
    StudyRecord,
    StudySpec,
    TrialRecord,
    Value,
)
from search.report import dashboard_notes
from search.report.side_by_side import comparison_figures
from search.serve.server import THREADS, Server
from search.service.dashboard_storage import Shown, ShownFile, ShownFiles, open_undisturbing
from search.service.look import reader_of, view_of
from search.service.signals import until_stopped
from search.space.defaults import shown_settings
from search.study.reading import Reading, open_reading
from search.tasks import known_task

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication

REFRESH_S = 5.0
"""Seconds after which what is shown is read anew; the dashboard asks about as often."""

MAX_BODY = 128 * 1024**2
"""Bytes of a request: a file that a person adds to a trial, in base64. Also the dashboard's own limit."""

Ready = Callable[[str], None]
"""Told the address once it is known that it can be had."""


def serve(storage_url: str, *, host: str, port: int, ready: Ready) -> None:
    """Serves until a signal comes, which it raises as `until_stopped` does.

    Raises UsageError for a port that is taken or an address that is not this machine's.
    """
    from optuna_dashboard import wsgi

    open_storage(storage_url, create=False).close()  # every refusal of a storage, in words
    with open_reading(storage_url) as reading:
        showing = Showing(reading)
        storage = open_undisturbing(storage_url, showing.study, reading.store.database, threads=THREADS)
        uploads = reading.location.artifacts / "uploads"
        app = wsgi(storage, artifact_store=ShownFiles(showing.file, uploads))
        app = while_storage_is_there(without_renaming(_tolerant(app), reading), reading)
        try:
            with Server(app, host=host, port=port, max_body=MAX_BODY, page="/dashboard/") as server:
                ready(server.address)
                until_stopped(server)
        finally:
            storage.engine.dispose()


def _tolerant(app: WSGIApplication) -> WSGIApplication:
    """The dashboard, which fails where a request does not say which encodings it takes."""

    def answer(environment: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        return app({"HTTP_ACCEPT_ENCODING": "identity", **environment}, start_response)

    return answer


RENAMING = re.compile(r"/api/studies/(\d+)/rename/?")


def without_renaming(app: WSGIApplication, reading: Reading) -> WSGIApplication:
    """The app, which renames no study of tune's: it would copy what Optuna knows of it under the new name,
    and delete the study, with the learning curves and weights that only tune knows."""

    def answer(environment: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        asked = RENAMING.fullmatch(environment.get("PATH_INFO", ""))
        if asked is None or int(asked[1]) not in reading.trials.signed():
            return app(environment, start_response)
        start_response("403 Forbidden", [("Content-Type", "application/json")])
        reason = "A study of tune's cannot be renamed: others may refer to it by name."
        return [json.dumps({"reason": reason}).encode()]

    return answer


def while_storage_is_there(app: WSGIApplication, reading: Reading) -> WSGIApplication:
    """The app, in whose place a sentence answers once the SQLite file was moved or replaced."""

    def answer(environment: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        try:
            reading.store.database.check_file()
        except TuneError as error:
            start_response("503 Service Unavailable", [("Content-Type", "text/plain; charset=utf-8")])
            return [f"tune: {error}\n".encode()]
        return app(environment, start_response)

    return answer


@dataclass(frozen=True, kw_only=True, slots=True)
class _Made:
    """What was made of a study."""

    at_s: float
    """when it was last found up to date, by the monotonic clock"""
    created: datetime.datetime
    """when the study was made: a new one may have the id of a deleted one"""
    counts: Counts
    """of its trials"""
    shown: Shown


def _trial_notes(
    record: StudyRecord,
    ranked: Sequence[CheckpointRecord],
    trials: Mapping[int, TrialRecord],
    curves: Mapping[int, Sequence[Report]],
    *,
    measurements: int,
) -> dict[int, str]:
    """The notes of trials with kept weights, by trial. ranked: complete trials first, best first."""
    notes = {}
    for rank, each in enumerate(ranked, start=1):
        trial = trials[each.trial_id]
        report = next((report for report in curves[each.trial_id] if report.step == each.step), None)
        if report is not None:
            settings = _settings(trial, record.spec)
            place = rank if trial.state is State.COMPLETE else None
            notes[each.trial_id] = dashboard_notes.trial_card(
                place, record, report, each, settings, measurements=measurements
            )
    return notes


def _settings(trial: TrialRecord, spec: StudySpec) -> Mapping[str, Value]:
    """Those that do anything in the study."""
    if not isinstance(spec, NetworkSpec):
        return trial.settings
    return shown_settings(trial.settings, known_task(spec.task))


class Showing:
    """What the dashboard is shown of each study, made anew where trials have ended since.

    Threads may share it.
    """

    def __init__(self, reading: Reading) -> None:
        self._reading = reading
        self._made: dict[int, _Made] = {}
        """by study id"""
        self._lock = threading.Lock()

    def study(self, study_id: int) -> Shown | None:
        """See search.service.dashboard_storage.Show. A database that is away for a moment hides nothing."""
        with self._lock:  # who asks meanwhile gets what is being made
            return self._study(study_id)

    def _study(self, study_id: int) -> Shown | None:
        now = time.monotonic()
        made = self._made.get(study_id)
        if made is not None and now - made.at_s < REFRESH_S:
            return made.shown
        try:
            record = self._reading.store.study(study_id)
            if record is None:
                self._made.pop(study_id, None)
                return None
            counts, _ = self._reading.trials.tally(study_id)
            current = made is not None and (made.created, made.counts) == (record.created, counts)
            shown = made.shown if made is not None and current else self._make(record)
        except TuneError:
            return None if made is None else made.shown
        self._made[study_id] = _Made(at_s=now, created=record.created, counts=counts, shown=shown)
        return shown

    def file(self, sha256: str) -> ShownFile | None:
        """The weights with that SHA-256, of any study that was opened."""
        with self._lock:
            files = [file for made in self._made.values() for file in made.shown.files]
        return next((file for file in files if file.sha256 == sha256), None)

    def _make(self, record: StudyRecord) -> Shown:
        from search.worker.best_weights import BestWeights

        store = self._reading.store
        record = replace(record, name=self._reading.trials.names().get(record.study_id, ""))
        reader = reader_of(self._reading, record)
        tracks = reader.tracks(store)
        line, tried = timeline(tracks, reader.reports()), measurements(tracks)
        view = view_of(reader, record)
        best = view.ranking.searched
        kept = store.checkpoints(record.study_id)
        # Weights of other programs' trials, and of trials that cannot be used, are not shown.
        found = reader.of([each.trial_id for each in kept])
        leaders = {trial.trial_id: trial for trial in found if trial.set_aside is None}
        curves = store.curves({*leaders, *([best.trial_id] if best else [])}, record.spec.metric)
        note = dashboard_notes.study_card(
            record,
            view.counts,
            line,
            view.ranking,
            best_report(curves.get(best.trial_id, ())) if best else None,
            view.gains,
            _settings(best, record.spec) if best else {},
            measurements=tried,
            changed=reader.all() if record.spec.space_changes else (),
        )
        # Complete ones first: what was pruned is not ranked against a longer training.
        ranked = sorted(
            (each for each in kept if each.trial_id in leaders and curves.get(each.trial_id)),
            key=lambda each: leaders[each.trial_id].state is not State.COMPLETE,
        )
        by_name = {f"trial {leaders[each.trial_id].number}": curves[each.trial_id] for each in ranked}
        named, spec = [(record.name, line)], record.spec
        by_steps = "images" if isinstance(spec, NetworkSpec) else "steps"
        figures = {
            "best-so-far-by-time": partial(comparison_figures.best_by_time, named, spec),
            f"best-so-far-by-{by_steps}": partial(comparison_figures.best_by_steps, named, spec),
            "curves-of-the-leaders": partial(comparison_figures.curves, by_name, spec),
        }
        weights = BestWeights.of(self._reading.location, record, store)
        return Shown(
            note=note,
            trial_notes=_trial_notes(record, ranked, leaders, curves, measurements=tried),
            figures={name: comparison_figures.alone(draw(), name) for name, draw in figures.items()},
            files=tuple(
                ShownFile(
                    trial_id=each.trial_id,
                    sha256=each.sha256,
                    name=f"{record.name}-{Path(each.path).name}",
                    open=partial(weights.open, each),
                )
                for each in ranked
            ),
        )
