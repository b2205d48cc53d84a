"""How figures and names read."""

from __future__ import annotations

from search.records import Direction, Metric, Report
from search.report.words import hardware, metric_values


def test_a_gpu_is_named_before_the_cpu_beside_it() -> None:
    assert hardware({"cpu": "Xeon", "gpu": "H200", "cores": 16}) == "H200"
    assert hardware({"cpu": "Xeon"}) == "Xeon"
    assert hardware({}) == "an unknown processor"


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
