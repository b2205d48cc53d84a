"""The simulation of what pages claim, in small: it counts false verdicts, finds effects, and can fail."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from search.analysis.effects import Effect

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def claims() -> ModuleType:
    """The benchmark, as a module."""
    spec = importlib.util.spec_from_file_location("claims_hold", BENCHMARKS / "claims_hold.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["claims_hold"] = module  # dataclasses look it up there
    spec.loader.exec_module(module)
    return module


def rates(rows: Sequence[Any]) -> dict[str, tuple[float, float]]:
    """(false, found) by claim, as shares."""
    return {row.claim: ((row.false or 0) / row.n, (row.found or 0) / row.n) for row in rows}


def test_pages_without_effects_say_little_that_is_false(claims: ModuleType) -> None:
    conditions = [
        claims.Condition(trials=30, pruner=pruner, sampler=sampler, broken=broken)
        for pruner, sampler, broken in (
            ("none", "random", "collapsed"),
            ("asha", "learns", "nothing"),
            ("median", "random", "diverged"),
        )
    ]
    rows = list(claims.of_reports(conditions, 20, 0, map))
    assert len(rows) == len(conditions) + 5
    assert max(false for false, _ in rates(rows).values()) <= 0.15


def test_strong_effects_are_found(claims: ModuleType) -> None:
    found = rates(list(claims.of_reports([claims.Condition(trials=100, strong=True)], 8, 0, map)))
    assert found[claims.TYPICAL][1] == 1
    assert found[claims.SINGLE][1] == 1
    assert found[claims.SETS][1] >= 0.5


def test_rates_that_diverge_are_never_the_better_ones(claims: ModuleType) -> None:
    """Accuracy rises with the rate, until four in five of the highest quarter diverge."""
    condition, told_apart = claims.Condition(trials=100, broken="fast"), 0
    for seed in range(6):
        made = claims.make(np.random.default_rng(seed), condition)
        basis = claims.common(made.trials, made.curves, budget=claims.RUNGS[-1])
        told = claims.effects(claims.SETTINGS, basis.trials, basis.scores, made.exploration_trials)
        [rate] = [each for each in told if each.setting.name == "lr"]
        highest = len(rate.groups) - 1
        assert {pair.lower for pair in rate.apart} <= {highest}
        told_apart += bool(rate.apart)
    assert told_apart >= 3


def test_it_fails_where_p_values_are_not_corrected(
    claims: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    real: Callable[..., list[Effect]] = claims.effects

    def uncorrected(*given: Any) -> list[Effect]:
        return [replace(each, p=each.rank_test.p) if each.rank_test else each for each in real(*given)]

    monkeypatch.setattr(claims, "effects", uncorrected)
    [row, *_] = claims.of_reports([claims.Condition(trials=30)], 40, 0, map)
    assert row.false / row.n > 0.2
    assert not replace(row, false=round(1000 * row.false / row.n), n=1000).passes


@pytest.mark.parametrize(
    ("false", "n", "passes"), [(50, 1000, True), (62, 1000, True), (66, 1000, False), (10, 10, True)]
)
def test_a_row_fails_where_the_lower_bound_is_above_what_is_allowed(
    claims: ModuleType, false: int, n: int, passes: bool
) -> None:
    row = claims.Row(claim="c", condition="d", n=n, false=false)
    assert row.passes is passes
    assert ("not judged" in row.line()) is (n < 1000)


def test_comparisons(claims: ModuleType) -> None:
    rows = list(claims.of_comparisons(40, 0))
    assert {row.claim for row in rows} == {
        "compare: the network of A is the better one",
        "compare: interval of paired runs",
        "compare: interval of typical",
    }
    assert all(row.false / row.n <= 0.15 for row in rows)
    assert any((row.found or 0) > 0 for row in rows)


def test_null_rows_meet_every_pruner_with_every_number_of_trials(claims: ModuleType) -> None:
    rows = claims.null_conditions()
    assert {(row.trials, row.pruner) for row in rows} == {
        (n, pruner) for n in claims.TRIALS for pruner in claims.PRUNERS
    }
    assert {(row.sampler, row.broken) for row in rows} == {
        (sampler, broken) for sampler in claims.SAMPLERS for broken in claims.BROKEN
    }


def test_rows_of_other_modules_are_taken_in(claims: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("claims_of_confirm")
    held = SimpleNamespace(claim="held", condition="all", n=1000, wrong=80, found=None)
    module.rows = lambda null, strong: [held] * (null + strong)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "claims_of_confirm", module)
    found = list(claims.of_others(1, 1))
    assert [(row.claim, row.false, row.passes) for row in found] == [("held", 80, False)] * 2
