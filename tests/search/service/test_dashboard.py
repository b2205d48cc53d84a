"""What optuna-dashboard shows of tune's studies, asked through the dashboard's own interface."""

from __future__ import annotations

import datetime
import hashlib
import io
import json
import re
import shutil
import signal
import socket
import subprocess
import threading
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from wsgiref.util import setup_testing_defaults

import optuna
import pytest
from optuna_dashboard import wsgi
from snapshots import Snapshots, lines_with

from search.analysis.ranking import Ranking
from search.analysis.timeline import timeline
from search.heads import head_report
from search.optuna_db.storage import open_storage
from search.records import (
    Counts,
    HeadScore,
    NetworkSpec,
    Scores,
    SpaceChange,
    State,
    StudyRecord,
    TrialRecord,
)
from search.report.dashboard_notes import study_card
from search.serve.sender import for_its_own_page, only_here
from search.serve.server import THREADS, Server
from search.service.dashboard import Showing, without_renaming
from search.service.dashboard_storage import ShownFiles, open_undisturbing
from search.study.reading import open_reading

SENTENCES = Snapshots(__file__, "dashboard")


@dataclass(frozen=True)
class Answer:
    """Of the dashboard."""

    status: int
    body: bytes

    @property
    def parsed(self) -> Any:
        assert self.status == 200, self.body
        return json.loads(self.body)


@dataclass(frozen=True)
class Dashboard:
    """One that serves a copy of the finished studies, inside this process."""

    folder: Path
    showing: Showing
    app: Callable[..., Any]

    def ask(
        self, path: str, method: str = "GET", headers: Mapping[str, str] | None = None, **sent: object
    ) -> Answer:
        status: list[str] = []
        body = json.dumps(sent).encode()
        environment: dict[str, Any] = {
            "PATH_INFO": path,
            "REQUEST_METHOD": method,
            "CONTENT_TYPE": "application/json",
            "CONTENT_LENGTH": str(len(body)),
            "wsgi.input": io.BytesIO(body),
            **{f"HTTP_{name.upper()}": value for name, value in (headers or {}).items()},
        }
        setup_testing_defaults(environment)
        answer = self.app(environment, lambda line, *_: status.append(line))
        content = b"".join(answer)
        if hasattr(answer, "close"):
            answer.close()
        return Answer(status=int(status[0].split()[0]), body=content)


@pytest.fixture
def dashboard(finished: Path, tmp_path: Path) -> Iterator[Dashboard]:
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    url = f"sqlite:///{tmp_path / 'studies.db'}"
    with open_reading(url) as reading:
        showing = Showing(reading)
        storage = open_undisturbing(url, showing.study, reading.store.database, threads=1)
        uploads = reading.location.artifacts / "uploads"
        yield Dashboard(
            folder=tmp_path,
            showing=showing,
            app=for_its_own_page(
                without_renaming(wsgi(storage, artifact_store=ShownFiles(showing.file, uploads)), reading),
                host="127.0.0.1",
                address="http://127.0.0.1:8080/dashboard/",
            ),
        )
        storage.engine.dispose()


def test_a_study_has_its_winners_card_figures_and_metric(dashboard: Dashboard) -> None:
    before = (dashboard.folder / "studies.db").read_bytes()
    study = dashboard.ask("/api/studies/1").parsed
    note = study["note"]["body"]
    reference, best = (
        max(some, key=lambda trial: trial["values"][0]) for some in (study["trials"][:2], study["trials"][2:])
    )
    better = f"\\(trial {reference['number']}\\) measured higher than every searched network"
    assert (better in note) == (reference["values"][0] > best["values"][0])
    assert f"## Winner: trial {best['number']}, " in note, "never a reference"
    assert "number\\_width" not in note, "there is no number"
    assert "is computed on complete trials only." in note
    assert "| first\\_digit |" in study["note"]["body"]
    assert study["objective_names"] == ["validation accuracy"]
    figures = {each["id"]: json.loads(each["graph_object"]) for each in study["plotly_graph_objects"]}
    assert set(figures) == {"best-so-far-by-time", "best-so-far-by-images", "curves-of-the-leaders"}
    assert all(figure["data"] and figure["layout"]["title"] for figure in figures.values())
    assert max(len(each["graph_object"]) for each in study["plotly_graph_objects"]) < 20_000
    assert (dashboard.folder / "studies.db").read_bytes() == before, "to look changes nothing"


def test_a_list_of_studies_makes_no_figures(dashboard: Dashboard) -> None:
    assert len(dashboard.ask("/api/studies").parsed["study_summaries"]) == 3
    assert dashboard.showing._made == {}


def test_kept_weights_are_artifacts_of_their_trials(dashboard: Dashboard) -> None:
    study = dashboard.ask("/api/studies/1").parsed
    kept = [(trial, file) for trial in study["trials"] for file in trial["artifacts"]]
    assert len(kept) == 4
    assert sorted(trial["note"]["body"][:10] for trial, _ in kept) == [f"## Rank {n} " for n in range(1, 5)]
    for trial, file in kept:
        assert file["filename"].startswith(f"twodigit-trial-{trial['number']:05d}-")
        assert file["filename"].endswith(".safetensors")
        answer = dashboard.ask(f"/artifacts/1/{trial['trial_id']}/{file['artifact_id']}")
        assert answer.status == 200
        assert hashlib.sha256(answer.body).hexdigest() == file["artifact_id"]


@pytest.mark.parametrize("harm", ["damage", "loss"])
def test_weights_that_are_not_whole_are_not_handed_out(dashboard: Dashboard, harm: str) -> None:
    trial = next(each for each in dashboard.ask("/api/studies/1").parsed["trials"] if each["artifacts"])
    [path] = dashboard.folder.rglob(f"*-twodigit-*/trial-{trial['number']:05d}-*.safetensors")
    if harm == "loss":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-1] + b"?")
    answer = dashboard.ask(f"/artifacts/1/{trial['trial_id']}/{trial['artifacts'][0]['artifact_id']}")
    assert answer.status == 500
    assert len(answer.body) < 5_000


@pytest.mark.parametrize("place", ["study", "trial"])
@pytest.mark.parametrize("body", ["mine *alone*", ""])
def test_what_a_person_writes_goes_before_ours(dashboard: Dashboard, place: str, body: str) -> None:
    def note() -> Any:
        study = dashboard.ask("/api/studies/1").parsed
        return study["note"] if place == "study" else study["trials"][0]["note"]

    study = dashboard.ask("/api/studies/1").parsed
    path = (
        "/api/studies/1/note" if place == "study" else f"/api/studies/1/{study['trials'][0]['trial_id']}/note"
    )
    assert note()["body"].startswith(("## ", "**The reference "))
    assert dashboard.ask(path, "PUT", version=note()["version"] + 1, body=body).status == 204
    assert note() == {"version": 1, "body": body}
    assert dashboard.ask(path, "PUT", version=2, body="again").status == 204
    assert note() == {"version": 2, "body": "again"}


def test_weights_stay_when_a_study_is_deleted(dashboard: Dashboard) -> None:
    dashboard.ask("/api/studies/1")
    answer = dashboard.ask("/api/studies/1", "DELETE", remove_associated_artifacts=True)
    assert answer.status == 204
    assert len(list(dashboard.folder.rglob("*-twodigit-*/*.safetensors"))) == 4
    assert [each["study_id"] for each in dashboard.ask("/api/studies").parsed["study_summaries"]] == [2, 3]


def test_a_study_of_tunes_is_not_renamed(dashboard: Dashboard) -> None:
    """The dashboard would copy Optuna's half of it, and delete both."""
    names = [each["study_name"] for each in dashboard.ask("/api/studies").parsed["study_summaries"]]
    answer = dashboard.ask("/api/studies/1/rename", "POST", study_name="another")
    assert answer.status == 403
    assert "cannot be renamed" in json.loads(answer.body)["reason"]
    listed = dashboard.ask("/api/studies").parsed["study_summaries"]
    assert [each["study_name"] for each in listed] == names
    url = f"sqlite:///{dashboard.folder / 'studies.db'}"
    optuna.create_study(storage=url, study_name="other").optimize(lambda trial: trial.number, n_trials=1)
    assert dashboard.ask("/api/studies/4/rename", "POST", study_name="another").status == 201


def test_what_a_person_adds_is_kept_apart_and_can_go(dashboard: Dashboard) -> None:
    sent = dashboard.ask(
        "/api/artifacts/1", "POST", file="data:text/plain;base64,aGVsbG8=", filename="hello.txt"
    )
    assert sent.status == 201
    uploads = list((dashboard.folder / "studies.artifacts" / "uploads").iterdir())
    assert [each.read_bytes() for each in uploads] == [b"hello"]
    assert dashboard.ask(f"/artifacts/1/{uploads[0].name}").body == b"hello"
    assert dashboard.ask(f"/api/artifacts/1/{uploads[0].name}", "DELETE").status == 204
    assert not uploads[0].exists()


def test_a_study_that_is_not_tunes_is_shown_as_it_is(dashboard: Dashboard) -> None:
    url = f"sqlite:///{dashboard.folder / 'studies.db'}"
    optuna.create_study(storage=url, study_name="other").optimize(lambda trial: trial.number, n_trials=1)
    study = dashboard.ask("/api/studies/4").parsed
    assert (study["note"]["body"], study["plotly_graph_objects"]) == ("", [])


def test_a_study_without_a_complete_trial_has_a_note_too(dashboard: Dashboard) -> None:
    shown = dashboard.showing.study(1)
    assert shown is not None
    with open_reading(f"sqlite:///{dashboard.folder / 'studies.db'}") as reading:
        record = reading.store.study(1)
        assert record is not None
        counts = reading.trials.counts(1)
    nobody = Ranking(searched=None, reference=None)
    card = study_card(record, counts, timeline([], []), nobody, None, [], {}, measurements=1)
    assert "No trial is complete yet." in card


def test_the_note_says_that_the_search_space_was_changed(dashboard: Dashboard) -> None:
    with open_storage(f"sqlite:///{dashboard.folder / 'studies.db'}") as storage:
        record = storage.store.study(1)
        assert record is not None
        moment = datetime.datetime(2026, 11, 30, 12, tzinfo=datetime.UTC)
        change = SpaceChange(space=record.spec.space, moment=moment, set_aside=(3,))
        with storage.trials.database.write() as transaction:
            spec = replace(record.spec, space_changes=(change,))
            storage.store.set_spec(1, spec, within=transaction)
    shown = dashboard.showing.study(1)
    assert shown is not None
    sentences = lines_with(shown.note.replace(". ", ".\n"), "search space", "Set aside")
    SENTENCES.check("a changed search space", sentences)


def test_survivors_of_pruning_are_named_where_importance_is_shown(plain_spec: NetworkSpec) -> None:
    record = StudyRecord(
        study_id=1,
        name="s",
        spec=plain_spec,
        target_trials=30,
        created=datetime.datetime.now(datetime.UTC),
    )
    best = TrialRecord(trial_id=1, number=1, state=State.COMPLETE, score=0.9, params={})
    scores = Scores(heads={"digit": HeadScore(loss=0.1, accuracy=0.9)}, joint=0.9)
    report = head_report(step=9, seconds=1.0, learning_rate=0.1, train=scores, validation=scores)
    card = study_card(
        record,
        Counts(complete=4, pruned=26),
        timeline([], []),
        Ranking(searched=best, reference=None),
        report,
        [],
        {},
        measurements=60,
    )
    SENTENCES.check("importance where trials were pruned", lines_with(card, "importance"))


@pytest.mark.parametrize(
    ("headers", "words"),
    [
        ({"Host": "evil.example"}, "this page is at http://127.0.0.1:8080/dashboard/, not at evil.example"),
        ({"Host": "localhost:8080", "Origin": "http://evil.example"}, "another page sent this"),
        ({"Host": "localhost:8080", "Origin": "http://localhost:9"}, "another page sent this"),
        ({"Host": "localhost:8080", "Origin": "null"}, "another page sent this"),
    ],
)
def test_requests_of_other_pages_are_refused(
    dashboard: Dashboard, headers: Mapping[str, str], words: str
) -> None:
    for method, path in (("GET", "/dashboard/"), ("GET", "/api/studies"), ("DELETE", "/api/studies/1")):
        answer = dashboard.ask(path, method, headers)
        assert answer.status == 403
        assert words in answer.body.decode()
    own = {"Host": "localhost:8080", "Origin": "http://localhost:8080"}
    assert len(dashboard.ask("/api/studies", headers=own).parsed["study_summaries"]) == 3
    assert dashboard.ask("/api/studies/1", "DELETE", own, remove_associated_artifacts=False).status == 204


@pytest.mark.parametrize(
    ("host", "alone"),
    [
        ("127.0.0.1", True),
        ("127.8.9.1", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.168.1.7", False),
        ("example.org", False),
    ],
)
def test_who_can_reach_an_address(host: str, alone: bool) -> None:
    assert only_here(host) is alone


@pytest.mark.parametrize(
    "database",
    [
        "sqlite_url",
        pytest.param("postgresql_url", marks=pytest.mark.server),
        pytest.param("mysql_url", marks=pytest.mark.server),
    ],
)
def test_many_ask_at_once(request: pytest.FixtureRequest, tmp_path: Path, database: str) -> None:
    """More requests than threads, and threads that read while one writes: each is answered, and rightly."""
    url = request.getfixturevalue(database)
    open_storage(url).close()
    plain = optuna.storages.RDBStorage(url)
    study = optuna.create_study(storage=plain, study_name="other")
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=5)
    plain.engine.dispose()
    end = threading.Event()
    with open_reading(url) as reading:
        showing = Showing(reading)
        storage = open_undisturbing(url, showing.study, reading.store.database, threads=THREADS)
        app = wsgi(storage, artifact_store=ShownFiles(showing.file, tmp_path / "uploads"))
        with Server(app, host="127.0.0.1", port=0, max_body=1000) as server:
            loop = threading.Thread(target=server.run, args=(end.is_set,))
            loop.start()

            def ask(path: str) -> Any:
                address = f"http://127.0.0.1:{server.port}{path}"
                with urllib.request.urlopen(address, timeout=60) as response:
                    return json.load(response)

            with ThreadPoolExecutor(12) as pool:
                answers = list(
                    pool.map(ask, ["/api/studies/1", "/api/studies", "/api/studies/1/plot/edf"] * 6)
                )
            end.set()
            loop.join()
        storage.engine.dispose()
    for answer in answers[0::3]:
        assert [trial["number"] for trial in answer["trials"]] == [0, 1, 2, 3, 4]
    for answer in answers[1::3]:
        assert [each["study_name"] for each in answer["study_summaries"]] == ["other"]
    assert all(answer["data"] for answer in answers[2::3])


def test_idle_connections_do_not_freeze_it_and_ctrl_c_ends_it(
    finished: Path, start: Callable[..., subprocess.Popen[str]]
) -> None:
    """SIGTERM: in tests/search/test_processes.py."""
    process = start("dashboard", "--port", "0", cwd=finished)
    assert process.stderr is not None
    found = re.search(r"http://127\.0\.0\.1:(\d+)/dashboard/", process.stderr.readline())
    assert found is not None
    with ExitStack() as idle:
        for _ in range(50):
            idle.enter_context(socket.create_connection(("127.0.0.1", int(found[1]))))
        with urllib.request.urlopen(found[0], timeout=20) as response:
            policy = response.headers["Content-Security-Policy"]
            assert "default-src 'self'" in policy
            assert "frame-ancestors 'none'" in policy
            assert response.headers["X-Frame-Options"] == "DENY"
        bundle = urllib.request.Request(found[0].replace("/dashboard/", "/static/bundle.js"))
        with urllib.request.urlopen(bundle, timeout=20) as response:
            assert len(response.read()) > 1_000_000
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=20) == ("", "")
    assert process.returncode == 130


def test_an_address_that_others_reach_is_warned_of(finished: Path, here: Callable[..., Any]) -> None:
    done = here("dashboard", "--host", "192.0.2.1", cwd=finished)  # nobody's: reserved for documentation
    assert done.returncode == 2, "it is not an address of this machine"
    SENTENCES.check("an address that others reach", lines_with(done.stderr, "anyone"))
