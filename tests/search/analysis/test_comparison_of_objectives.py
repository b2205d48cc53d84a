"""`tune compare` for other objectives than networks: no examples, a metric that may be minimized."""

from __future__ import annotations

import dataclasses
import datetime
import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from snapshots import Snapshots, lines_with
from valley import ENERGY, VALLEY, valley_spec

from search.analysis.comparison import MEAN, Comparison, Pair, Studied, compare
from search.analysis.statistics import Estimate, in_values
from search.errors import UsageError
from search.objectives.registry import OBJECTIVES
from search.optuna_db.storage import open_storage
from search.records import (
    ACCURACY,
    Counts,
    DeclaredSpec,
    Direction,
    Metric,
    NetworkSpec,
    Report,
    SpaceChange,
    State,
    StudyRecord,
    StudySpec,
    Track,
    TrialRecord,
)
from search.report.scale import place, score_axis
from search.report.side_by_side.comparison_page import comparison_page
from search.report.side_by_side.comparison_sentences import best_against_best, pairs_in_words, words
from search.report.side_by_side.comparison_table import estimated, rows
from search.service.compare import check_comparable
from search.study.study import Study
from search.worker.context import prepare
from search.worker.worker_loop import work

ZERO = datetime.datetime(2026, 11, 23, tzinfo=datetime.UTC)
RECALL = Metric(name="recall", is_fraction=True)
ERRORS = Metric(name="error_rate", direction=Direction.MINIMIZE, is_fraction=True)


def studied(spec: DeclaredSpec, name: str, trials: Sequence[Sequence[float]], **changed: Any) -> Studied:
    """One worker, no pauses: 10 s and a step for each value, one trial after the other, all complete."""
    tracks, written, now = [], [], 0.0
    for number, values in enumerate(trials):
        reports = tuple(
            Report(step=step, seconds=10.0 * step, metrics={spec.metric.name: value}, metric=spec.metric)
            for step, value in enumerate(values, start=1)
        )
        began, now = now, now + 10.0 * len(reports)
        tracks.append(
            Track(
                trial_id=number,
                number=number,
                state=State.COMPLETE,
                score=max(report.score for report in reports),
                reference=None,
                retry_of=None,
                failure=None,
                started=ZERO + datetime.timedelta(seconds=began),
                finished=ZERO + datetime.timedelta(seconds=now),
                reports=reports,
            )
        )
        written += [(number, report.step) for report in reports]
    best = max(tracks, key=lambda track: track.score if track.score is not None else -1e9)
    told: dict[str, Any] = {
        "record": StudyRecord(study_id=1, name=name, spec=spec, target_trials=len(trials), created=ZERO),
        "counts": Counts(complete=len(trials)),
        "tracks": tracks,
        "reports": written,
        "best": TrialRecord(
            trial_id=best.trial_id, number=best.number, state=State.COMPLETE, score=best.score, params={}
        ),
        "reference": None,
        "report": max(best.reports, key=lambda report: report.score),
        "machines": ("a processor",),
    }
    return Studied(**{**told, **changed})


@pytest.fixture
def two() -> Comparison:
    """The first one's energies are the lower ones."""
    low = [(3.0, 1.0), (2.0, 0.0), (4.0, -1.0), (2.0, 0.5), (2.0, 0.25), (2.0, 0.75)]
    return compare(
        [
            studied(valley_spec(), "low", low),
            studied(valley_spec(seed=1), "high", [(5.0, 3.0), (4.0, 2.0)]),
        ],
        [[]],
    )


SENTENCES = Snapshots(__file__, "comparison_of_objectives")


class TestNumbers:
    def test_a_best_has_no_interval_and_no_level_is_timed(self, two: Comparison) -> None:
        low, high = two.sides
        assert low.best == {MEAN: Estimate(value=1.0, low=None, high=None)}, "the score of energy -1"
        assert low.reached == high.reached == ()
        [against] = two.against
        assert against.differences == {MEAN: Estimate(value=3.0, low=None, high=None)}

    def test_what_needs_no_examples_is_there(self, two: Comparison) -> None:
        low = two.sides[0]
        typical = in_values(low.typical[MEAN], ENERGY)
        assert (typical.value, typical.low, typical.high) == (0.375, -1.0, 1.0)
        assert two.sides[1].typical[MEAN].low is None, "of two values"
        assert (two.budget.trials, two.budget.steps, two.budget.own) == (2, 4, 2)
        assert low.equal.after_steps == 0.0
        assert two.sides[1].equal.expected == -2.0

    def test_the_ends_of_a_minimized_interval_change_places(self) -> None:
        estimate = Estimate(value=-2.0, low=-3.0, high=-1.0)
        assert in_values(estimate, ENERGY) == Estimate(value=2.0, low=1.0, high=3.0)
        assert in_values(estimate, RECALL) == estimate
        assert str(in_values(Estimate(value=0.0, low=None, high=None), ENERGY).value) == "0.0"

    @pytest.mark.parametrize(
        ("estimate", "metric", "expected"),
        [
            (Estimate(value=-2.0, low=-3.0, high=1.0), ENERGY, "2 [−1, 3]"),
            (Estimate(value=-2.0, low=None, high=None), ENERGY, "2"),
            (Estimate(value=-2.0, low=-2.0, high=-2.0), ENERGY, "2"),
            (Estimate(value=0.5, low=0.25, high=0.75), RECALL, "50.00 % [25.00, 75.00]"),
            (Estimate(value=-0.5, low=-0.75, high=-0.25), ERRORS, "50.00 % [25.00, 75.00]"),
            (Estimate(value=0.5, low=0.25, high=0.75), ACCURACY, "50.00 % [25.00, 75.00]"),
        ],
    )
    def test_estimates_read_as_they_are_measured(
        self, estimate: Estimate, metric: Metric, expected: str
    ) -> None:
        assert estimated(estimate, metric) == expected


class TestTableAndPage:
    def test_rows(self, two: Comparison) -> None:
        found = rows(two)
        assert list(found) == ["the studies", "energy (lower is better)", "at equal budgets"]
        studies, values, equal = (dict(some) for some in found.values())
        assert studies["steps of all trials"] == ("12", "4")
        assert studies["budget of a trial"] == ("9 steps", "9 steps")
        assert not {"epochs", "precision", "images seen"} & studies.keys()
        assert values["best"] == ("−1", "2")
        assert values["typical"] == ("0.375 [−1, 1]", "2.5")
        assert not {"model", "parameters", "best mean"} & values.keys()
        assert equal["after 4 steps"] == ("0", "2")

    def test_a_page_draws_values_and_says_what_is_better(self, two: Comparison) -> None:
        written = comparison_page(two, footer="")
        assert "<h1>valley: low and high</h1>" in written
        assert "Best energy (lower is better): low −1 and high 2." in written
        [charts] = re.findall(
            r'<script type="application/json" id="charts">(.*?)</script>', written, re.DOTALL
        )
        by_time, by_steps, typical = json.loads(charts)
        assert by_time["layout"]["yaxis"]["title"]["text"] == "best energy (lower is better)"
        assert by_steps["layout"]["xaxis"]["title"]["text"] == "steps of all trials together"
        assert by_steps["data"][0]["y"] == [3, 1, 0, -1, -1]
        assert by_steps["data"][0]["text"][0] == "trial 0: 3"
        assert "shapes" not in by_steps["layout"], "no accuracies are marked"
        assert typical["data"][1]["y"] == [3, 2]

    @pytest.mark.parametrize(
        ("scores", "metric", "places", "told"),
        [
            ([-1.0, -2.0], ENERGY, [1.0, 2.0], {"type": None, "ticksuffix": None}),
            ([-1.0, -1000.0], ENERGY, [1.0, 1000.0], {"type": "log"}),
            ([-1.0, 1000.0], ENERGY, [1.0, -1000.0], {"type": None}),
            ([-0.25, -0.5], ERRORS, [25.0, 50.0], {"type": None, "ticksuffix": " %"}),
            (
                [0.25, 0.5],
                RECALL,
                [0.75, 0.5],
                {"type": "log", "title": {"text": "recall (higher is better)"}},
            ),
            ([0.25, 0.5], ACCURACY, [0.75, 0.5], {"type": "log", "title": {"text": "validation accuracy"}}),
        ],
    )
    def test_scales(
        self, scores: list[float], metric: Metric, places: list[float], told: dict[str, object]
    ) -> None:
        axis = score_axis(scores, metric)
        assert [place(score, metric) for score in scores] == places
        assert {name: axis.get(name) for name in told} == told


class TestWords:
    def test_no_best_is_called_the_better_one(self, two: Comparison) -> None:
        [against] = two.against
        assert against.differences == {MEAN: Estimate(value=3.0, low=None, high=None)}
        assert against.pairs == ()
        assert not any("better one" in each for each in words(two))
        SENTENCES.check("no best is called the better one", words(two))

    @pytest.mark.parametrize(
        ("changed", "scores"),
        [
            ({}, [(1.0, 1.0)]),
            ({}, [(1.0, 1.5)]),
            ({"budget": 3}, [(1.0, 1.5)]),
            ({"budget": 3}, [(1.0, 1.5), (2.0, 2.5)]),
            ({"budget": 3}, [(0.1, 0.2), (0.2, 0.3)]),
            ({"budget": 3, "options": {"wind": 3}}, [(1.0, 1.5), (1.0, 3.0)]),
            ({}, []),
        ],
        ids=[
            "equal",
            "apart",
            "another budget",
            "the same difference",
            "the same but for rounding",
            "other budgets and options",
            "none",
        ],
    )
    def test_pairs(
        self,
        changed: dict[str, Any],
        scores: list[tuple[float, float]],
        request: pytest.FixtureRequest,
    ) -> None:
        both = [studied(valley_spec(), "a", [(1.0,)]), studied(valley_spec(**changed), "b", [(1.0,)])]
        pairs = [Pair(trials=(n, n), reference=None, scores=score) for n, score in enumerate(scores)]
        [against] = compare(both, [pairs]).against
        assert against.differences[MEAN].value == 0
        told = [best_against_best(against), pairs_in_words(against)]
        SENTENCES.check(f"pairs: {request.node.callspec.id}", told)

    def test_a_verdict_on_answers_shows_on_which_side_of_zero_its_interval_ends(self) -> None:
        recall = valley_spec(metric=RECALL)
        [against] = compare([studied(recall, name, [(0.5,)]) for name in ("a", "b")], [[]]).against
        close = Estimate(value=0.00004, low=0.00001, high=0.00007)
        told = best_against_best(dataclasses.replace(against, differences={MEAN: close}))
        assert "+0.004 points" in told
        assert "interval +0.001 to +0.01" in told
        SENTENCES.check("a verdict on answers close to zero", [told])

    def test_what_else_differs(self) -> None:
        one = studied(valley_spec(), "a", [(1.0,)])
        spec = valley_spec(budget=1200, options={"wind": 3})
        other = studied(spec, "b", [(1.0,)], machines=("another",))
        SENTENCES.check("what else differs", words(compare([one, other], [[]])))

    def test_trials_outside_a_changed_space_are_told(self) -> None:
        change = SpaceChange(space={}, moment=ZERO, set_aside=(0, 1))
        one = studied(valley_spec(space_changes=(change,)), "a", [(1.0,), (0.5,), (2.0,)])
        told = words(compare([one, studied(valley_spec(), "b", [(1.0,)])], [[]]))
        SENTENCES.check("a changed space", [each for each in told if "space" in each])


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        (
            {"objective": "hill"},
            "Only studies of one objective can be compared: a is of valley, b is of hill.",
        ),
        (
            {"metric": Metric(name="energy")},
            "Only studies of one metric can be compared: a minimizes energy, b maximizes energy.",
        ),
        (
            {"metric": dataclasses.replace(ENERGY, is_fraction=True)},
            "Only studies of one metric can be compared: a minimizes energy, b minimizes energy, a fraction.",
        ),
        (
            {"unit": "ball"},
            "Only studies that count the same steps can be compared: a counts steps, b counts balls.",
        ),
    ],
)
def test_what_cannot_be_compared(other: dict[str, Any], expected: str) -> None:
    with pytest.raises(UsageError) as refused:
        check_comparable({"a": valley_spec(), "b": valley_spec(**other)})
    assert str(refused.value) == expected


def test_networks_and_others_are_not_compared(plain_spec: NetworkSpec) -> None:
    specs: dict[str, StudySpec] = {"a": plain_spec, "b": valley_spec()}
    with pytest.raises(UsageError, match="of one objective can be compared: a is of network, b is of valley"):
        check_comparable(specs)


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, here: Callable[..., Any]) -> None:
    monkeypatch.setitem(OBJECTIVES, "valley", VALLEY)
    with open_storage(f"sqlite:///{tmp_path}/studies.db") as storage:
        for name, changed in (("short", {}), ("long", {"options": {"wind": 3}})):
            Study.create(storage, name, valley_spec(**changed), 3 if name == "short" else 6)
            work(prepare(storage, name, None, tmp_path, threads=1), stop=lambda: False)
    done = here("compare", "short", "long", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "ENERGY (LOWER IS BETTER)" in done.stdout
    SENTENCES.check("the command: without intervals", lines_with(done.stderr, "trial.examples"))
    short, long = here("compare", "short", "long", "--json", cwd=tmp_path).parsed
    assert (short["metric"], short["unit"]) == ({"name": "energy", "direction": "minimize"}, "step")
    assert (short["intervals"], short["reached"], short["images_seen"], short["steps_seen"]) == (
        {},
        [],
        None,
        27,
    )
    equal = short["equal_budget"]
    assert (equal["images"], equal["best_after_images"], equal["budget_steps"]) == (None, None, 27)
    assert equal["best_after_steps"] == short["value"] == short["best_so_far"][-1]["value"]
    against = long["first_minus_this"]
    assert against["best"]["mean"] == {
        "value": pytest.approx(short["value"] - long["value"]),
        "low": None,
        "high": None,
    }
    assert len(against["pairs"]) == 3, "the seeds and the settings of the first three trials are the same"
    SENTENCES.check("the command: pairs", against["words"][1:2])
    refused = here("compare", "short", "short", cwd=tmp_path)
    assert refused.returncode == 2
