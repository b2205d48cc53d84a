"""Reports as rows: a point comes back as it was, and what cannot be used is found, one by one or at once."""

from __future__ import annotations

import math

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.records import HeadScore, Point, Scores
from search.store import metrics as metrics_module
from search.store.metrics import (
    check_reports,
    heads_of,
    is_sound,
    measured_of,
    metrics_of,
    point_of,
    read_metrics,
    report_to_row,
    unsound_in,
)


def point(loss: float = 0.5, *, heads: tuple[str, ...] = ("second/digit", "first_digit")) -> Point:
    train = Scores(heads={head: HeadScore(loss=loss, accuracy=0.25) for head in heads}, joint=0.125)
    validation = Scores(heads={head: HeadScore(loss=loss, accuracy=0.75) for head in heads}, joint=0.5)
    return Point(images=640, seconds=1.5, learning_rate=0.01, train=train, validation=validation)


def test_a_point_comes_back_as_it_was() -> None:
    row = report_to_row(7, point())
    metrics = read_metrics(row["metrics"])
    assert (row["trial_id"], row["step"], row["seconds"]) == (7, 640, 1.5)
    assert point_of(row["step"], row["seconds"], metrics) == point()
    assert heads_of(metrics) == ("second/digit", "first_digit"), "in their order, whatever their names"
    measured = measured_of(640, 1.5, metrics)
    assert measured is not None
    assert (measured.heads, measured.joint) == ({"second/digit": 0.75, "first_digit": 0.75}, 0.5)


def test_a_loss_without_end_is_null_and_its_heads_cannot_be_used() -> None:
    row = report_to_row(1, point(math.inf))
    metrics = read_metrics(row["metrics"])
    assert metrics["validation/loss/first_digit"] is None
    assert unsound_in(640, 1.5, metrics) == 2, "each head"
    assert point_of(640, 1.5, metrics) is None
    assert not is_sound(point(math.inf))
    assert is_sound(point())


def test_what_another_program_wrote_is_no_metrics() -> None:
    for text in (None, 7, "", "[1]", "{", "NaN", b"\xff", "[" * 5000):
        assert read_metrics(text) == {}
    assert point_of(640, 1.5, {}) is None
    assert measured_of(640, 1.5, {}) is None


ODD = st.sampled_from([None, "0.5", True, -1, 2, 1e301, -1e301, [], {}, 0.5, 1, 0])


@given(
    st.lists(
        st.tuples(
            st.integers(1, 3),
            st.one_of(st.integers(-1, 10**16), st.just("12"), st.just(True)),
            st.sampled_from([0, 0.5, -1.0, 2e9, "long", None]),
            st.dictionaries(st.sampled_from(sorted(metrics_of(point()))), ODD, max_size=2),
            st.sets(st.sampled_from(sorted(metrics_of(point()))), max_size=1),
        ),
        max_size=12,
    )
)
def test_checked_all_at_once_is_checked_one_by_one(
    rows: list[tuple[int, object, object, dict[str, object], set[str]]],
) -> None:
    reports = []
    for trial_id, step, seconds, changed, missing in rows:
        metrics = {**metrics_of(point()), **changed}
        metrics = read_metrics(orjson.dumps({k: v for k, v in metrics.items() if k not in missing}))
        reports.append((trial_id, step, seconds, metrics))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(metrics_module, "FEW", 0)
        found = check_reports(reports)  # type: ignore[arg-type]  # other programs write anything
    assert check_reports(reports) == found  # type: ignore[arg-type]
    assert {trial_id: check.unsound for trial_id, check in found.items()} == {
        trial_id: sum(unsound_in(*rest) for each, *rest in reports if each == trial_id)
        for trial_id in {each for each, *_ in reports}
    }
    for trial_id, check in found.items():
        mine = [metrics for each, *_, metrics in reports if each == trial_id]
        assert check.points == len(mine)
        assert check.heads == {
            head: sum(head in heads_of(metrics) for metrics in mine)
            for head in ("first_digit", "second/digit")
            if any(head in heads_of(metrics) for metrics in mine)
        }
