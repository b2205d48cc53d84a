"""Rows that another program wrote or edited: each command leaves them out, says so, and continues."""

from __future__ import annotations

import contextlib
import datetime
import io
import json
import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import (
    Connection,
    Engine,
    Integer,
    MetaData,
    Numeric,
    Table,
    create_engine,
    select,
    text,
    update,
)
from sqlalchemy.exc import SQLAlchemyError

from data.datasets.mnist import Mnist
from search.analysis import standing
from search.cli.app import run_command
from search.cli.run import _ending
from search.errors import TuneError, exit_code
from search.heads import head_report
from search.optuna_db.storage import Storage, open_storage
from search.records import (
    CheckpointRecord,
    Failure,
    HeadScore,
    Report,
    Scores,
    State,
    TestEvaluation,
    Worker,
)
from search.report.confirmation_sentences import sentences
from search.service import confirm as confirming
from search.service.create import RunRequest, create_or_resume
from search.service.dashboard import Showing
from search.service.export_choice import choose
from search.service.look import find, found_trial, reader_of
from search.service.read_confirmation import stand
from search.service.report import gather
from search.service.watched import Watched
from search.store import tables
from search.store.engine import parse_url
from search.study.evaluation_schedule import EvaluationSchedule
from search.study.reading import open_reading
from search.study.study import Study
from search.worker.options import WorkerOptions

SOAK = int(os.environ.get("TUNE_SOAK", "0"))
EXAMPLES = max(SOAK, 2)
"""For each database."""

REQUEST = RunRequest(task="twodigit", trials=6, epochs=0.5, sampler="random", pruner="none")
HEADS = ("first_digit", "second_digit")


def report(step: int, accuracy: float) -> Report:
    heads = {name: HeadScore(loss=0.5, accuracy=accuracy) for name in HEADS}
    scores = Scores(heads=heads, joint=accuracy / 2)
    return head_report(step=step, seconds=step / 1000, learning_rate=0.01, train=scores, validation=scores)


def fill(storage: Storage, study: Study, worker_id: str, accuracy: float, *, end: str = "complete") -> int:
    """One trial as a worker would have done it, without training; its id."""
    record = storage.store.study(study.study_id)
    assert record is not None
    rungs = EvaluationSchedule.of(record.spec).rungs
    study.prepare(
        sampler="random", pruner="none", seed=record.spec.seed, evaluations=EvaluationSchedule.of(record.spec)
    )
    claim = storage.store.claim(study.study_id, worker_id, lease_s=60)
    assert claim is not None
    asked = study.ask(claim)
    claim = replace(claim, trial_id=asked.trial_id)
    asked.suggest()
    asked.note_parameters(1000 + asked.number)
    for place, step in enumerate(rungs[: 1 if end == "prune" else None], start=1):
        score = accuracy * place / len(rungs)
        asked.report(step, score, report(step, score))
        best = score, step
    if end == "fail":
        study.fail(asked.trial_id, Failure.INTERRUPTED, "stopped by a signal")
        storage.store.release(claim)
        return asked.trial_id
    checkpoint = CheckpointRecord(
        trial_id=asked.trial_id,
        path=f"folder/trial-{asked.number:05d}.safetensors",
        sha256=f"{asked.number:064d}",
        score=best[0],
        step=best[1],
        bytes=9,
    )
    storage.store.add_checkpoint(study.study_id, checkpoint, claim=claim)
    asked.prune() if end == "prune" else asked.complete(accuracy)
    storage.store.settle(claim)
    return asked.trial_id


def make(url: str, mnist: Mnist) -> None:
    """Two searches of six trials, one of them cut short and repeated, and a confirmation of the first."""
    with open_storage(url) as storage:
        for seed, name in enumerate(("first", "second")):
            study, record = create_or_resume(storage, replace(REQUEST, study=name, seed=seed), mnist)
            add_worker(storage, study, "w")
            ends = ("complete", "complete", "fail", "complete", "prune", "complete", "complete")
            for place, end in enumerate(ends):
                fill(storage, study, "w", 0.9 + place / 100, end=end)
        study, record = find(storage, "first")
        request = confirming.ConfirmRequest(study="first", top=2, seeds=2, options=WorkerOptions())
        trials = reader_of(storage, record).all()
        candidates = confirming._candidates(trials, record, 2)
        confirmation, own = confirming._begin(storage, record, request)
        own = confirming._queue(storage, confirmation, own, trials, candidates, 2)
        add_worker(storage, confirmation, "w")
        ids = [fill(storage, confirmation, "w", 0.9 + place / 200) for place in range(own.target_trials)]
        evaluation = TestEvaluation(
            study_id=confirmation.study_id,
            trial_id=ids[0],
            moment=datetime.datetime.now(datetime.UTC),
            reason="chosen",
            pictures=4000,
            heads=dict.fromkeys(HEADS, 0.9),
            joint=0.8,
        )
        storage.store.add_test_evaluation_once(evaluation)


def add_worker(storage: Storage, study: Study, worker_id: str) -> None:
    environment = {
        "torch": "2",
        "cpu": "a processor",
        "precision_mlp": "float32",
        "precision_conv": "float32",
    }
    worker = Worker(worker_id=worker_id, host="host", pid=1, device="cpu", threads=1, environment=environment)
    storage.store.add_worker(study.study_id, worker)


@dataclass(frozen=True)
class Base:
    """A database that is as it was at the beginning of each example."""

    url: str
    folder: Path
    engine: Engine
    tables: dict[str, Table] = field(repr=False)
    rows: dict[str, list[dict[str, Any]]] = field(repr=False)  # Hypothesis warns of a large one

    @contextlib.contextmanager
    def edited(self) -> Iterator[Connection]:
        """To edit; afterwards everything is as before."""
        try:
            with self.engine.connect() as connection:
                yield connection
        finally:
            with self.engine.begin() as connection:
                self._unchecked(connection)
                for table in reversed(self.tables.values()):
                    connection.execute(table.delete())
                for name, table in self.tables.items():
                    if self.rows[name]:
                        connection.execute(table.insert(), self.rows[name])

    def _unchecked(self, connection: Connection) -> None:
        """Tables refer to each other; they are emptied and filled one by one."""
        match self.engine.dialect.name:
            case "postgresql":
                connection.execute(text("SET session_replication_role = replica"))
            case "mysql":
                connection.execute(text("SET FOREIGN_KEY_CHECKS = 0"))


@pytest.fixture(params=["sqlite", "postgresql", "mysql"])
def base(request: pytest.FixtureRequest, mnist: Mnist, tmp_path: Path) -> Iterator[Base]:
    url = request.getfixturevalue(f"{request.param}_url")
    make(url, mnist)
    engine = create_engine(parse_url(url))
    metadata = MetaData()
    metadata.reflect(engine)
    tables = {table.name: table for table in metadata.sorted_tables}
    with engine.connect() as connection:
        if engine.dialect.name == "postgresql":  # so that NULL can be written everywhere
            for table in tables.values():
                for column in table.columns:
                    if not column.nullable and not column.primary_key:
                        connection.execute(
                            text(f'ALTER TABLE "{table.name}" ALTER COLUMN "{column.name}" DROP NOT NULL')
                        )
            connection.commit()
        rows = {
            name: [dict(row) for row in connection.execute(table.select()).mappings()]
            for name, table in tables.items()
        }
    yield Base(url=url, folder=tmp_path, engine=engine, tables=tables, rows=rows)
    engine.dispose()


ODD = (None, "", "abc", "-1", "{", "null", "[]", "{}", '"x"', "[1, 2]")
NUMBERS = (float("nan"), float("inf"), float("-inf"), -1, 0, 0.5, 2, 98.5, 1e300, 10**12, True)
UNTOUCHED = {"alembic_version", "version_info", "tune_schema", "trial_heartbeats", "study_user_attributes"}
WORDS = ("COMPLETE", "PRUNED", "FAIL", "RUNNING", "WAITING", "MINIMIZE", "FINITE", "reference")
NOT_FINITE_WORDS = ("INF_POS", "NAN", "NaN", '{"a": NaN}', "Infinity", "[1e999]")
"""Not for names of studies and machines, which are shown as they are."""


Edit = tuple[int, int, int, int, int]
"""Which table, row, column and value, and whether the row is deleted; each counts on from the last one."""


def edit(base: Base, connection: Connection, numbers: Edit) -> str:
    """Changes or deletes one row; says which. What the database refuses is not done."""

    def chosen(options: Sequence[Any], number: int) -> Any:
        return options[number % len(options)]

    names = sorted(name for name, rows in base.rows.items() if rows and name not in UNTOUCHED)
    table = base.tables[chosen(names, numbers[0])]
    row = chosen(base.rows[table.name], numbers[1])
    here = " AND ".join(f"{column.name} = :key_{column.name}" for column in table.primary_key)
    keys = {f"key_{column.name}": row[column.name] for column in table.primary_key}
    if numbers[4] % 8 == 0:
        statement, values = f"DELETE FROM {table.name} WHERE {here}", keys
    else:
        column = chosen([column for column in table.columns if not column.primary_key], numbers[2])
        name, numeric = column.name, isinstance(column.type, Numeric | Integer)
        options = ODD + WORDS + (NUMBERS if numeric else ())
        options += () if name in ("study_name", "host", "key") else NOT_FINITE_WORDS
        quoted = f"`{name}`" if base.engine.dialect.name == "mysql" else f'"{name}"'
        statement = f"UPDATE {table.name} SET {quoted} = :value WHERE {here}"
        values = {**keys, "value": chosen(options, numbers[3])}
    try:
        connection.execute(text(statement), values)
        connection.commit()
    except (SQLAlchemyError, OverflowError, ValueError):
        connection.rollback()
    return f"{statement} {values}"


NOT_FINITE = re.compile(r"(?<![\w.-])[+-]?(inf|infinity|nan)(?![\w-])", re.IGNORECASE)

COMMANDS: tuple[tuple[str, ...], ...] = (
    ("studies",),
    ("studies", "--json"),
    ("trials", "first"),
    ("trials", "first.confirm", "--json"),
    ("best", "first"),
    ("best", "second", "--json"),
    ("compare", "first", "second"),
    ("compare", "second", "first", "--json"),
    ("delete", "second"),
    ("export", "first", "--out", "exported"),
)


def run_one(arguments: tuple[str, ...], url: str) -> tuple[int, str, str]:
    """(exit code, stdout, stderr) of a command inside this process."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run_command([*arguments, "--storage", url], debug=True)
    return code, out.getvalue(), err.getvalue()


def check_command(arguments: tuple[str, ...], url: str, done: Sequence[str]) -> None:
    """A command ends with a documented exit code, in words, and with finite numbers only."""
    code, out, err = run_one(arguments, url)
    assert code in (0, 1, 2, 75, 78), (arguments, err, done)
    assert "unexpected error" not in err, (arguments, err, done)
    assert not NOT_FINITE.search(out), (arguments, out)
    lines = err.split("Traceback")[0].splitlines()
    assert not any(NOT_FINITE.search(line) for line in lines), (arguments, err)
    assert len(set(lines)) == len(lines), f"said twice: {err}"
    if "--json" in arguments and code == 0:
        json.loads(out, parse_constant=lambda word: pytest.fail(f"{arguments}: {word} in JSON"))


def refused(call: Callable[[], object]) -> TuneError | None:
    """The refusal in words with which a call ends, if it does."""
    try:
        call()
    except TuneError as error:
        return error
    return None


def services(
    url: str, folder: Path, mnist: Mnist, *, page: bool
) -> Iterator[tuple[str, Callable[[], object]]]:
    """What is too slow as a command, or would train: the same calls without that."""

    def report() -> None:
        from search.report.one_study.study_page import study_page

        assert not NOT_FINITE.search(
            re.sub(r"<script.*?</script>", "", study_page(gather(url, "first")), flags=re.S)
        )

    def confirmation() -> None:
        with open_storage(url, create=False) as storage:
            _, record = find(storage, "first")
            trials = reader_of(storage, record).all()
            candidates = confirming._candidates(trials, record, 2)
            request = confirming.ConfirmRequest(study="first", top=2, seeds=2, options=WorkerOptions())
            study, own = confirming._begin(storage, record, request)
            confirming._queue(storage, study, own, trials, candidates, 3)
            found = standing.confirmation(stand(storage, own.name))
            assert not NOT_FINITE.search(" ".join(sentences(found)))

    def note() -> None:
        with open_reading(url) as reading:
            for study_id in (1, 2, 3):
                shown = Showing(reading).study(study_id)
                assert shown is None or not NOT_FINITE.search(shown.note)

    def export() -> None:
        with open_reading(url) as reading:
            choose(reading, "first", None, lambda _: None)

    def resume() -> None:
        with open_storage(url, create=False) as storage:
            study, record = create_or_resume(storage, replace(REQUEST, study="first", trials=8), mnist)
            watched = Watched(storage, study, record)
            result = watched.result("finished", watched.snapshot(1.0))
            assert not NOT_FINITE.search(_ending(result))
            study.prepare(
                sampler="random", pruner="median", seed=0, evaluations=EvaluationSchedule.of(record.spec)
            )
            study.scores_at(EvaluationSchedule.of(record.spec).rungs[0])
            study.running()
            claim = storage.store.claim(study.study_id, "w2", lease_s=60)
            if claim is not None:
                asked = study.ask(claim)
                asked.suggest()
                with study._adapter.drawing(asked.trial_id):
                    study._adapter.get_all_trials(study.study_id)
                asked.report(EvaluationSchedule.of(record.spec).rungs[0], 0.5)
                study.fail(asked.trial_id, Failure.INTERRUPTED, "")

    yield "report", report if page else lambda: gather(url, "first")
    yield "confirm", confirmation
    yield "dashboard", note
    yield "export", export
    for number in range(7):
        yield f"repeat {number}", lambda number=number: found_trial(url, "first", number)
    yield "run", resume


NUMBER = st.integers(0, 9_999)


@pytest.mark.timeout(max(300, 10 * SOAK))
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=not SOAK,
    phases=[Phase.generate],  # an example is few edits, which a failure names
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(edits=st.lists(st.tuples(*[NUMBER] * 5), min_size=1, max_size=3), page=NUMBER)
def test_no_edit_ends_a_command(base: Base, mnist: Mnist, edits: list[Edit], page: int) -> None:
    look_at_everything(base, mnist, edits, page=page % 4 == 0)  # it takes as long as all others together


def look_at_everything(base: Base, mnist: Mnist, edits: Sequence[Edit], *, page: bool) -> None:
    """Every command and service after these edits."""
    with base.edited() as connection:
        done = [edit(base, connection, each) for each in edits]
        for arguments in COMMANDS:
            check_command(arguments, base.url, done)
        for name, call in services(base.url, base.folder, mnist, page=page):
            try:
                refusal = refused(call)
            except Exception as error:
                raise AssertionError(f"{name} after {done}") from error
            if refusal is not None:
                assert exit_code(refusal) in (1, 2, 75, 78)
                assert not NOT_FINITE.search(str(refusal)), (name, refusal, done)


def test_a_reader_that_polls_judges_as_one_that_reads_for_the_first_time(
    sqlite_url: str, mnist: Mnist
) -> None:
    """The first trial alone decides which metrics are usual; those that follow decide otherwise."""
    with open_storage(sqlite_url) as storage:
        study, record = create_or_resume(storage, replace(REQUEST, study="polled"), mnist)
        add_worker(storage, study, "w")
        polling = reader_of(storage, record)
        odd = fill(storage, study, "w", 0.5)
        with storage.store.database.write() as connection:
            reports = tables.reports
            of_odd = select(reports.c.step, reports.c.metrics).where(reports.c.trial_id == odd)
            for step, text_of_metrics in connection.execute(of_odd).all():
                metrics = json.loads(text_of_metrics)
                del metrics[f"validation/accuracy/{HEADS[1]}"]
                this = (reports.c.trial_id == odd) & (reports.c.step == step)
                connection.execute(update(reports).where(this).values(metrics=json.dumps(metrics)))
        assert odd in [trial.trial_id for trial in polling.all()]
        others = [fill(storage, study, "w", 0.6) for _ in range(2)]
        ended = [trial.trial_id for trial in polling.all() if trial.state is State.COMPLETE]
        assert ended == others
        assert polling.all() == reader_of(storage, record).all()
        assert polling.faults == {odd: "its learning curve lacks metrics"}
