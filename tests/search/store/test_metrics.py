"""Reports as rows: a report comes back as it was, and what cannot be used is found, one by one or at once."""

from __future__ import annotations

import math
from collections.abc import Mapping

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.heads import accuracies_of, head_report, validation_of
from search.records import ACCURACY, SCORES, CurveCheck, Direction, HeadScore, Metric, Report, Scores
from search.store import metrics as metrics_module
from search.store.metrics import check_reports, is_sound, read_metrics, report_of, report_to_row

HEADS = ("second/digit", "first_digit")


def report(loss: float = 0.5, *, heads: tuple[str, ...] = HEADS) -> Report:
    train = Scores(heads={head: HeadScore(loss=loss, accuracy=0.25) for head in heads}, joint=0.125)
    validation = Scores(heads={head: HeadScore(loss=loss, accuracy=0.75) for head in heads}, joint=0.5)
    return head_report(step=640, seconds=1.5, learning_rate=0.01, train=train, validation=validation)


def sound(each: Report) -> bool:
    return is_sound(each.step, each.seconds, each.metrics, each.metric)


class TestNetworks:
    def test_a_report_comes_back_as_it_was(self) -> None:
        row = report_to_row(7, report())
        metrics = read_metrics(row["metrics"])
        assert (row["trial_id"], row["step"], row["seconds"]) == (7, 640, 1.5)
        found = report_of(row["step"], row["seconds"], metrics, ACCURACY)
        assert found == report()
        assert list(found.parts) == ["second/digit", "first_digit"], "in their order, whatever their names"
        assert found.parts == {"second/digit": 0.75, "first_digit": 0.75}
        assert (found.score, found.worst, validation_of(found).joint) == (0.75, 0.75, 0.5)

    def test_a_loss_without_end_is_null_and_its_heads_cannot_be_used(self) -> None:
        row = report_to_row(1, report(math.inf))
        metrics = read_metrics(row["metrics"])
        assert metrics["validation/loss/first_digit"] is None
        assert not is_sound(640, 1.5, metrics, ACCURACY)
        assert report_of(640, 1.5, metrics, ACCURACY) is None
        assert not sound(report(math.inf))
        assert sound(report())

    def test_of_a_head_all_metrics_can_be_used_or_none(self) -> None:
        metrics = {**report().metrics, "train/loss/first_digit": None}
        assert not is_sound(640, 1.5, metrics, ACCURACY)
        assert report_of(640, 1.5, metrics, ACCURACY) == report(heads=("second/digit",))
        assert report_of(640, 1.5, {**metrics, "train/joint": None}, ACCURACY) is None, "all heads need that"

    def test_a_metric_that_is_not_known_does_no_harm(self) -> None:
        for more in ("top", None, 0.5):
            assert is_sound(640, 1.5, {**report().metrics, "validation/top_5": more}, ACCURACY)
        found = report_of(640, 1.5, {**report().metrics, "validation/top_5": None}, ACCURACY)
        assert found == report()

    @pytest.mark.parametrize(
        ("score", "value"), [("balanced_accuracy", 0.6), ("macro_f1", 0.4), ("log_loss", 0.5)]
    )
    def test_another_score_is_what_counts_and_the_accuracies_stay(self, score: str, value: float) -> None:
        head = HeadScore(loss=0.5, accuracy=0.75, balanced_accuracy=0.6, macro_f1=0.4)
        scores = Scores(heads={"kind": head}, joint=0.75)
        metric = SCORES[score]
        written = head_report(
            step=640, seconds=1.5, learning_rate=0.01, train=scores, validation=scores, metric=metric
        )
        found = report_of(640, 1.5, read_metrics(report_to_row(1, written)["metrics"]), metric)
        assert found == written
        assert metric.value_of(found.score) == value
        assert validation_of(found) == scores
        assert accuracies_of(found) == {"kind": 0.75, "joint": 0.75}

    def test_a_score_that_is_missing_or_out_of_its_range_cannot_be_used(self) -> None:
        metric = SCORES["macro_f1"]
        for broken in (
            {},
            {"validation/macro_f1/first_digit": 1.5},
            {"validation/macro_f1/first_digit": None},
        ):
            metrics = {**report(heads=("first_digit",)).metrics, **broken}
            assert not is_sound(640, 1.5, metrics, metric)
            assert report_of(640, 1.5, metrics, metric) is None


def test_what_another_program_wrote_is_no_metrics() -> None:
    for text in (None, 7, "", "[1]", "{", "NaN", b"\xff", "[" * 5000):
        assert read_metrics(text) == {}
    for metric in (ACCURACY, ENERGY, RECALL):
        assert report_of(640, 1.5, {}, metric) is None
        assert not is_sound(640, 1.5, {}, metric)


ENERGY = Metric(name="energy", direction=Direction.MINIMIZE)
RECALL = Metric(name="test/recall", is_fraction=True)
ERROR = Metric(name="error", direction=Direction.MINIMIZE, is_fraction=True)
PLAIN_ACCURACY = Metric(name="validation/accuracy", is_fraction=True)
"""As of a network, of an objective that has no heads."""


class TestOtherObjectives:
    @pytest.mark.parametrize(
        ("metric", "metrics", "score"),
        [
            (ENERGY, {"energy": -3.5, "height": 1e250}, 3.5),
            (ENERGY, {"energy": 7, "learning_rate": -1}, -7),
            (RECALL, {"test/recall": 0.25, "loss": 9.0, "test/loss": 8.0}, 0.25),
            (ERROR, {"error": 0.25}, -0.25),
            (PLAIN_ACCURACY, {"validation/accuracy": 0.9, "validation/loss": 2.0}, 0.9),
        ],
    )
    def test_a_report_comes_back_as_it_was(
        self, metric: Metric, metrics: dict[str, float], score: float
    ) -> None:
        mine = Report(step=12, seconds=0.25, metrics=metrics, metric=metric)
        assert (mine.score, sound(mine)) == (score, True)
        row = report_to_row(7, mine)
        assert report_of(row["step"], row["seconds"], read_metrics(row["metrics"]), metric) == mine

    @pytest.mark.parametrize(
        ("metric", "metrics", "possible"),
        [
            (ENERGY, {"height": 1.0}, False),
            (ENERGY, {"energies": 1.0}, False),
            (ENERGY, {"energy": None}, False),
            (ENERGY, {"energy": "1"}, False),
            (ENERGY, {"energy": True}, False),
            (ENERGY, {"energy": 1e301}, False),
            (ENERGY, {"energy": -1e299}, True),
            (ENERGY, {"energy/x": 1.0, "energy/y": 2.0}, False),
            (RECALL, {"test/recall": 1.0000001}, False),
            (RECALL, {"test/recall": -0.1}, False),
            (RECALL, {"test/recall": 1}, True),
            (ERROR, {"error": 1.5}, False),
            (ERROR, {"error": 0}, True),
        ],
    )
    def test_what_the_score_is_made_of_must_be_possible(
        self, metric: Metric, metrics: dict[str, object], possible: bool
    ) -> None:
        assert is_sound(12, 0.25, metrics, metric) is possible
        assert (report_of(12, 0.25, metrics, metric) is not None) is possible

    @pytest.mark.parametrize(
        ("step", "seconds"),
        [(0, 1.0), (-1, 1.0), (10**16, 1.0), (1.5, 1.0), ("3", 1.0), (3, 0), (3, math.inf)],
    )
    def test_a_step_and_its_seconds_must_be_possible(self, step: object, seconds: object) -> None:
        assert not is_sound(step, seconds, {"energy": 1.0}, ENERGY)
        assert report_of(step, seconds, {"energy": 1.0}, ENERGY) is None

    def test_other_metrics_may_be_anything_and_are_left_out_where_they_are_no_numbers(self) -> None:
        """The share of nothing is not a number, and says nothing against the trial."""
        mine = Report(
            step=1, seconds=0.5, metrics={"energy": 1.0, "norm": math.inf, "lr": 2.0}, metric=ENERGY
        )
        metrics = read_metrics(report_to_row(1, mine)["metrics"])
        found = report_of(1, 0.5, {**metrics, "words": "odd"}, ENERGY)
        assert found is not None
        assert (found.metrics, found.score) == ({"energy": 1.0, "lr": 2.0}, -1.0)

    def test_a_metric_that_is_not_in_every_report_is_missed_in_none(self) -> None:
        """Only what the score is made of is counted: other metrics may come every tenth step."""
        rows = [(1, 1, 0.5, {"energy": 1.0, "lr": 0.1}), (1, 2, 0.6, {"energy": 0.9})]
        assert check_reports(rows, ENERGY) == {1: CurveCheck(reports=2, unsound=0, names={"energy": 2})}
        assert check_reports([*rows, (1, 3, 0.7, {"lr": 0.1})], ENERGY) == {
            1: CurveCheck(reports=3, unsound=1, names={"energy": 2})
        }


def expected(step: object, seconds: object, metrics: Mapping[str, object], metric: Metric) -> bool:
    """`is_sound`, said plainly for the metrics of this page."""

    def within(number: object, low: float, high: float) -> bool:
        return type(number) in (int, float) and low <= number <= high  # type: ignore[operator]

    if not (within(step, 1, 10**15) and type(step) is int and within(seconds, 1e-9, 1e9)):
        return False
    if metric is not ACCURACY:
        return within(
            metrics.get(metric.name), 0 if metric.is_fraction else -1e300, 1 if metric.is_fraction else 1e300
        )
    heads = [head for head in HEADS if f"validation/accuracy/{head}" in metrics]
    shares = [f"{split}/accuracy/{head}" for split in ("train", "validation") for head in heads]
    losses = [f"{split}/loss/{head}" for split in ("train", "validation") for head in heads]
    return bool(
        heads
        and within(metrics.get("learning_rate"), 0, 1e300)
        and all(within(metrics.get(name), 0, 1) for name in [*shares, "train/joint", "validation/joint"])
        and all(within(metrics.get(name), -1e300, 1e300) for name in losses)
    )


ODD = st.sampled_from([None, "0.5", True, -1, 2, 1e301, -1e301, [], {}, 0.5, 1, 0])
GOOD: Mapping[Metric, Mapping[str, float]] = {
    ACCURACY: report().metrics,
    ENERGY: {"energy": -2.5, "height": 0.5},
    RECALL: {"loss": 0.5, "test/recall": 0.5},
}


@st.composite
def rows(draw: st.DrawFn, metric: Metric) -> tuple[int, object, object, Mapping[str, object]]:
    good = GOOD[metric]
    changed = draw(st.dictionaries(st.sampled_from(sorted(good)), ODD, max_size=2))
    missing = draw(st.sets(st.sampled_from(sorted(good)), max_size=1))
    metrics = {name: value for name, value in {**good, **changed}.items() if name not in missing}
    return (
        draw(st.integers(1, 3)),
        draw(st.one_of(st.integers(-1, 10**16), st.just("12"), st.just(True))),
        draw(st.sampled_from([0, 0.5, -1.0, 2e9, "long", None])),
        read_metrics(orjson.dumps(metrics)),
    )


@given(st.sampled_from(list(GOOD)).flatmap(lambda m: st.tuples(st.just(m), st.lists(rows(m), max_size=12))))
def test_checked_all_at_once_is_checked_one_by_one(
    drawn: tuple[Metric, list[tuple[int, int, float, Mapping[str, object]]]],
) -> None:
    metric, reports = drawn
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(metrics_module, "FEW", 0)
        found = check_reports(reports, metric)
    assert check_reports(reports, metric) == found
    assert {trial_id: check.unsound for trial_id, check in found.items()} == {
        trial_id: sum(not expected(*rest, metric) for each, *rest in reports if each == trial_id)
        for trial_id in {each for each, *_ in reports}
    }
    for trial_id, check in found.items():
        mine = [metrics for each, *_, metrics in reports if each == trial_id]
        assert check.reports == len(mine)
        counted = {name: sum(name in metrics for metrics in mine) for name in needed(metric)}
        if metric is ACCURACY:  # of a head that has no accuracy nothing is counted
            for head in HEADS:
                those = [metrics for metrics in mine if f"validation/accuracy/{head}" in metrics]
                of_head = [name for name in counted if name.endswith(head)]
                counted.update({name: sum(name in metrics for metrics in those) for name in of_head})
        assert check.names == {name: n for name, n in counted.items() if n}


def needed(metric: Metric) -> list[str]:
    return list(GOOD[metric]) if metric is ACCURACY else [metric.name]
