"""Commands that only look send each query once, however many parts of a page want its answer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Engine, event

from search.optuna_db.storage import open_storage
from search.records import NetworkSpec
from search.service.compare import compare
from search.service.look import all_studies, best, find, found_trial, record_of, trials
from search.service.watched import Watched
from search.study.study import Study


@contextmanager
def queries() -> Iterator[Counter[str]]:
    """How often each query, with its parameters, is sent inside the block."""
    sent: Counter[str] = Counter()

    def note(_connection: object, _cursor: object, statement: str, parameters: object, *_: object) -> None:
        if statement.startswith("SELECT"):
            sent[f"{statement} {parameters}"] += 1

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield sent
    finally:
        event.remove(Engine, "before_cursor_execute", note)


@pytest.mark.parametrize(
    "look",
    [
        all_studies,
        lambda url: best(url, "twodigit"),
        lambda url: trials(url, "twodigit"),
        lambda url: found_trial(url, "twodigit", 1),
    ],
    ids=["studies", "best", "trials", "found_trial"],
)
def test_no_query_is_sent_twice(finished: Path, look: Callable[[str], object]) -> None:
    with queries() as sent:
        look(f"sqlite:///{finished / 'studies.db'}")
    assert [query for query, times in sent.items() if times > 1] == []


def test_a_comparison_reads_the_trials_of_each_study_once(finished: Path) -> None:
    with queries() as sent:
        compare(f"sqlite:///{finished / 'studies.db'}", ["twodigit", "again"])
    assert [query for query, times in sent.items() if times > 1 and "trial_id" in query] == []


def test_a_study_that_is_worked_on_is_read_once_to_open_it_and_once_for_each_snapshot(finished: Path) -> None:
    with open_storage(f"sqlite:///{finished / 'studies.db'}") as storage:
        with queries() as opening:
            study, record = find(storage, "twodigit")
        watched = Watched(storage, study, record)
        with queries() as looking:
            watched.snapshot(0.0)
    for sent in (opening, looking):
        assert sum(times for query, times in sent.items() if "FROM tune_studies" in query) == 1


def test_a_study_that_was_deleted_while_it_was_opened_is_not_taken_for_the_next_of_its_name(
    sqlite_url: str, plain_spec: NetworkSpec
) -> None:
    with open_storage(sqlite_url) as storage:
        Study.create(storage, "s", plain_spec, 1)
        record = record_of(storage, "s")
        Study.create(storage, "other", plain_spec, 1)  # SQLite gives the highest id again
        storage.optuna.delete_study(record.study_id)
        Study.create(storage, "s", plain_spec, 1)
        assert Study.of(storage, record) is None
