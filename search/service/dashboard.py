"""Serves optuna-dashboard on tune's storage and artifact folder, with tune's notes, figures and weights.
Changes nothing: what is shown beside Optuna's tables is made at each look (search.study.showing).
"""

from __future__ import annotations

import ipaddress
import socket
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from search.errors import TuneError, UsageError
from search.records import Counts
from search.report import card, numbers
from search.report.side_by_side import figures as comparison_figures
from search.report.timeline import timeline
from search.serve.sender import refusal
from search.service.look import reader_of
from search.study.reading import Reading, open_reading
from search.study.showing import Shown, ShownFile, ShownFiles
from search.study.storage import open_storage, open_undisturbing

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication

REFRESH_S = 5.0
"""So old what is shown may be; the dashboard looks about as often."""

Ready = Callable[[str], None]
"""Told the address once it is known that it can be had."""


def serve(storage_url: str, *, host: str, port: int, ready: Ready) -> None:
    """Serves until interrupted. Raises UsageError for a port that is taken or an address that is not ours."""
    from optuna_dashboard import wsgi

    open_storage(storage_url, create=False).close()  # every refusal of a storage, in words
    address = f"http://{f'[{host}]' if ':' in host else host}:{port}/dashboard/"
    with _listening(host, port) as server, open_reading(storage_url) as reading:
        showing = Showing(reading)
        app = wsgi(
            open_undisturbing(storage_url, showing.study),
            artifact_store=ShownFiles(showing.file, reading.location.artifacts / "uploads"),
        )
        server.set_app(for_its_own_page(app, host=host, address=address))
        ready(address)
        server.serve_forever()


def for_its_own_page(app: WSGIApplication, *, host: str, address: str) -> WSGIApplication:
    """The app, which is not asked when a request comes under a foreign name or from another page."""

    def answer(environment: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        words = refusal(
            environment.get("HTTP_HOST"), environment.get("HTTP_ORIGIN"), host=host, address=address
        )
        if words is None:
            return app(environment, start_response)
        start_response("403 Forbidden", [("Content-Type", "text/plain; charset=utf-8")])
        return [f"tune: {words}.\n".encode()]

    return answer


class _Server(WSGIServer):
    def __init__(self, host: str, port: int) -> None:
        if ":" in host:
            self.address_family = socket.AF_INET6
        super().__init__((host, port), WSGIRequestHandler)


def _listening(host: str, port: int) -> _Server:
    try:
        return _Server(host, port)
    except OSError as error:
        raise UsageError(
            f"--host {host} --port {port} cannot be used: {error.strerror or error}; choose another --port."
        ) from error


def only_here(host: str) -> bool:
    """Whether nobody but this machine reaches that address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class Showing:
    """What the dashboard is shown of each study, made anew where trials have ended since."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading
        self._made: dict[int, tuple[float, Counts, Shown]] = {}
        """by study id: (when it was last found up to date, what stood then, what is shown)"""

    def study(self, study_id: int) -> Shown | None:
        """See search.study.showing.Show. A database that is away for a moment hides nothing."""
        now = time.monotonic()
        made = self._made.get(study_id)
        if made is not None and now - made[0] < REFRESH_S:
            return made[2]
        try:
            record = self._reading.store.study(study_id)
            if record is None:
                return None
            counts = self._reading.trials.counts(study_id)
            shown = made[2] if made is not None and made[1] == counts else self._make(study_id, counts)
        except TuneError:
            return None if made is None else made[2]
        self._made[study_id] = now, counts, shown
        return shown

    def file(self, sha256: str) -> ShownFile | None:
        """The weights with that sum, of any study that was looked at."""
        files = [file for _, _, shown in self._made.values() for file in shown.files]
        return next((file for file in files if file.sha256 == sha256), None)

    def _make(self, study_id: int, counts: Counts) -> Shown:
        store = self._reading.store
        record = store.study(study_id)
        assert record is not None
        record = replace(record, name=self._reading.trials.names().get(study_id, ""))
        reader = reader_of(self._reading, record)
        line = timeline(reader.tracks(store.measured), reader.reports())
        best = reader.best()
        kept = store.checkpoints(study_id)
        leaders = {trial.trial_id: trial for trial in reader.of([each.trial_id for each in kept])}
        curves = store.curves({*leaders, *([best.trial_id] if best else [])})
        rivals = {each.number: each for each in (*([best] if best else []), *reader.references())}
        note = card.study_card(
            record,
            counts,
            line,
            best,
            numbers.best_point(curves.get(best.trial_id, ())) if best else None,
            numbers.gains([rivals[number] for number in sorted(rivals)]),
        )
        ranked = [each for each in kept if each.trial_id in leaders and curves.get(each.trial_id)]
        notes = {}
        for rank, each in enumerate(ranked, start=1):
            point = next((p for p in curves[each.trial_id] if p.images == each.images), None)
            if point is not None:
                notes[each.trial_id] = card.trial_card(rank, record, leaders[each.trial_id], point, each)
        by_name = {f"trial {leaders[each.trial_id].number}": curves[each.trial_id] for each in ranked}
        named = [(record.name, line)]
        figures = {
            "best-so-far-by-time": partial(comparison_figures.best_by_time, named),
            "best-so-far-by-images": partial(comparison_figures.best_by_images, named),
            "curves-of-the-ten-best": partial(comparison_figures.curves, by_name),
        }
        return Shown(
            note=note,
            trial_notes=notes,
            figures={name: comparison_figures.alone(draw(), name) for name, draw in figures.items()},
            files=tuple(
                ShownFile(
                    trial_id=each.trial_id,
                    sha256=each.sha256,
                    name=f"{record.name}-{Path(each.path).name}",
                    path=self._reading.location.find(each.path),
                )
                for each in ranked
            ),
        )
