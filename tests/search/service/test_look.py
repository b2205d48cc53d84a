"""Commands that only look send each query once, however many parts of a page want its answer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Engine, event

from search.service.compare import compare
from search.service.look import all_studies, best, found_trial, trials


@contextmanager
def repeated_queries() -> Iterator[Counter[str]]:
    """The queries, with their parameters, that are sent more than once inside the block."""
    sent: Counter[str] = Counter()

    def note(_connection: object, _cursor: object, statement: str, parameters: object, *_: object) -> None:
        if statement.startswith("SELECT"):
            sent[f"{statement} {parameters}"] += 1

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield sent
    finally:
        event.remove(Engine, "before_cursor_execute", note)
        for query in [query for query, times in sent.items() if times == 1]:
            del sent[query]


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
    with repeated_queries() as repeated:
        look(f"sqlite:///{finished / 'studies.db'}")
    assert repeated == {}


def test_a_comparison_reads_the_trials_of_each_study_once(finished: Path) -> None:
    with repeated_queries() as repeated:
        compare(f"sqlite:///{finished / 'studies.db'}", ["twodigit", "again"])
    assert [query for query in repeated if "trial_id" in query] == []
