"""How figures and names read."""

from __future__ import annotations

import pytest

from search.records import ACCURACY, Direction, Metric, Report, State, TrialRecord
from search.report.words import (
    code_changed,
    code_changed_since,
    hardware,
    metric_values,
    plural,
    signed_difference,
)


@pytest.mark.parametrize(
    ("unit", "several"),
    [("epoch", "epochs"), ("pass", "passes"), ("batch", "batches"), ("query", "queries"), ("day", "days")],
)
def test_a_unit_has_its_plural(unit: str, several: str) -> None:
    assert plural(unit) == several


@pytest.mark.parametrize(
    ("versions", "before"),
    [("aaa", ""), ("", ""), ("aab", "trial 2"), ("abac", "trials 1 and 3"), ("-a-b", "trial 3")],
)
def test_where_the_code_changed_is_said_once(versions: str, before: str) -> None:
    trials = [
        TrialRecord(
            trial_id=n,
            number=n,
            state=State.COMPLETE,
            score=0.0,
            params={},
            code=None if code == "-" else code,
        )
        for n, code in enumerate(versions)
    ]
    told = code_changed(trials)
    assert told.startswith(f"The code changed before {before}:") if before else told == ""


def test_a_confirmation_with_other_code_than_its_search_is_told() -> None:
    def told(search: set[str], runs: set[str]) -> str:
        return code_changed_since(search, runs, what="confirmation")

    assert told({"a"}, {"a"}) == told(set(), {"a"}) == told({"a"}, set()) == ""
    assert "has changed since the search" in told({"a"}, {"b"})
    assert "has changed since the search" in told({"a", "b"}, {"b"})
    assert "changed during the confirmation" in told({"a"}, {"a", "b"})


def test_a_gpu_is_named_before_the_cpu_beside_it() -> None:
    assert hardware({"cpu": "Xeon", "gpu": "H200", "cores": 16}) == "H200"
    assert hardware({"cpu": "Xeon"}) == "Xeon"
    assert hardware({}) == "an unknown processor"


@pytest.mark.parametrize(
    ("scores", "told"),
    [
        (0.0031, "+0.31 points"),
        (0.00004, "+0.004 points"),
        (-0.0000003, "−0.00003 points"),
        (0.0, "±0.00 points"),
        (1e-17, "±0.00 points"),
    ],
)
def test_a_difference_shows_its_sign_in_as_many_digits_as_it_takes(scores: float, told: str) -> None:
    assert signed_difference(scores, ACCURACY) == told


def test_a_difference_of_what_is_no_fraction_is_signed_as_measured() -> None:
    loss = Metric(name="loss", direction=Direction.MINIMIZE)
    assert signed_difference(0.000213, loss) == "−0.000213"
    assert signed_difference(0.0, loss) == "±0"


class TestTheMetricsOfAReport:
    def test_the_optimized_one_comes_first_and_as_it_is_measured(self) -> None:
        recall = Metric(name="recall", is_fraction=True)
        report = Report(step=1, seconds=1.0, metrics={"loss": 0.25, "recall": 0.5}, metric=recall)
        assert list(metric_values(report).items()) == [("recall", "50.00 %"), ("loss", "0.25")]

    def test_a_value_is_shown_where_less_of_it_is_better(self) -> None:
        energy = Metric(name="energy", direction=Direction.MINIMIZE)
        assert metric_values(Report(step=1, seconds=1.0, metrics={"energy": -2.5}, metric=energy)) == {
            "energy": "−2.5"
        }

    def test_its_heads_are_measured_like_it_and_nothing_is_known_of_other_metrics(self) -> None:
        of_heads = Metric(name="recall", is_fraction=True, of_heads=True)
        metrics = {"recall/left": 0.5, "recall/right": 1.0, "precision/left": 0.5}
        assert metric_values(Report(step=1, seconds=1.0, metrics=metrics, metric=of_heads)) == {
            "recall": "75.00 %",
            "recall/left": "50.00 %",
            "recall/right": "100.00 %",
            "precision/left": "0.5",
        }
        plain = Metric(name="recall", is_fraction=True)
        metrics = {"recall": 0.5, "recall/images": 12.0}
        assert metric_values(Report(step=1, seconds=1.0, metrics=metrics, metric=plain)) == {
            "recall": "50.00 %",
            "recall/images": "12",
        }
