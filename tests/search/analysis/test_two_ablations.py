"""Two ablations side by side: which changes are alike, and which effects are told to differ."""

from __future__ import annotations

import random
import statistics
from dataclasses import replace
from typing import Any

import pytest
from made_ablation import LENGTHS, VARIANTS, WINNER, Made, made_ablation, made_valley_ablation
from scipy.stats import ttest_ind  # type: ignore[import-untyped]  # SciPy ships no types

from search.analysis.paired_arms import against_baseline, spread
from search.analysis.two_ablations import (
    Alike,
    Shared,
    less_effect,
    share_of_each,
    two_ablations,
    variances_of,
)
from search.records import ACCURACY
from search.report.ablation_words import change

OTHER: dict[str, Any] = {"name": "second", "draws": 6}


def of(shared: tuple[Shared, ...], arm: str) -> Shared:
    """The one whose first arm, or first length, has this name."""
    return next(each for each in shared if each.first.arm.name == arm)


def with_effect(arm: str, effect: float) -> list[Made]:
    return [replace(made, effect=effect) if made.name == arm else made for made in (*VARIANTS, *LENGTHS)]


class TestWhatIsAlike:
    def test_every_change_and_length_of_equal_winners(self) -> None:
        found = two_ablations(made_ablation(), made_ablation(**OTHER), {}).shared
        assert [each.alike for each in found] == [Alike.SAME] * 11 + [Alike.LENGTH] * 4 + [Alike.PLAIN] * 3
        assert all(change(each.first) == change(each.other) for each in found[:11])
        budgets = [(each.first.reference.budget, each.first.arm.budget) for each in found[11:15]]
        assert budgets == sorted(budgets)

    def test_the_change_back_counts_with_the_other_sign(self) -> None:
        back = Made(name="activation=silu", effect=0.004, changed={"activation": "silu"})
        other = made_ablation(
            (VARIANTS[0], back), winner={**WINNER, "activation": "relu"}, noise=0.0001, **OTHER
        )
        [found] = two_ablations(made_ablation(), other, {}).shared
        assert (found.alike, change(found.first)) == (Alike.BACK, "activation silu → relu")
        assert found.effects[1] == -found.other.found.difference == pytest.approx(-0.004, abs=0.0005)
        assert found.difference.value == found.effects[1] - found.effects[0]

    def test_numbers_are_alike_by_their_end_or_by_the_direction_of_the_step(self) -> None:
        """Also where a step down has the smaller effect than off, and comes first."""
        arms = (
            VARIANTS[0],
            Made(name="dropout=0.0", effect=-0.01, changed={"dropout": 0.0}),
            Made(name="dropout=0.1", effect=0.0, changed={"dropout": 0.1}),
            Made(name="dropout=0.5", effect=-0.005, changed={"dropout": 0.5}),
        )
        steps = [replace(arms[2], name="dropout=0.02", changed={"dropout": 0.02}), *arms[::3], arms[1]]
        other = made_ablation(steps, winner={**WINNER, "dropout": 0.3}, **OTHER)
        found = two_ablations(made_ablation(arms), other, {}).shared
        assert {(each.alike, each.first.arm.name, each.other.arm.name) for each in found} == {
            (Alike.TO, "dropout=0.0", "dropout=0.0"),
            (Alike.DOWN, "dropout=0.1", "dropout=0.02"),
            (Alike.TO, "dropout=0.5", "dropout=0.5"),
        }
        up = [arms[0], replace(arms[3], name="dropout=0.6", changed={"dropout": 0.6})]
        other = made_ablation(up, winner={**WINNER, "dropout": 0.3}, **OTHER)
        [found_up] = two_ablations(made_ablation(arms), other, {}).shared
        assert (found_up.alike, found_up.first.arm.name) == (Alike.UP, "dropout=0.5")

    def test_other_options_of_other_values_are_not(self) -> None:
        other = made_ablation(VARIANTS, winner={**WINNER, "optimizer": "rmsprop"}, **OTHER)
        names = {each.first.arm.name for each in two_ablations(made_ablation(), other, {}).shared}
        assert not any(name.startswith("optimizer") for name in names)
        assert "dropout=0.0" in names


class TestWhatDiffers:
    def test_equal_effects_do_not(self) -> None:
        found = two_ablations(made_ablation(), made_ablation(**OTHER), {}).shared
        assert {each.differs for each in found} == {False}
        assert of(found, "blocks=1").effects == pytest.approx((-0.012, -0.012), abs=0.001)

    def test_an_effect_that_is_another_one_does(self) -> None:
        other = made_ablation(with_effect("dropout=0.0", 0.004), **OTHER)
        found = two_ablations(made_ablation(), other, {}).shared
        dropout = of(found, "dropout=0.0")
        assert dropout.difference.value == pytest.approx(0.0072, abs=0.001)
        assert dropout.difference.low is not None
        assert dropout.difference.low > 0
        assert [each for each in found if each.differs] == [dropout]
        assert found[0] is dropout, "the largest difference comes first"

    def test_the_interval_is_welchs_where_there_are_two_arms(self) -> None:
        """Each variance is then that of the paired differences alone."""
        draw = random.Random(2)
        scores: list[dict[str, dict[int, float]]] = [
            {arm: {seed: draw.gauss(level, 0.01 * (1 + place)) for seed in range(4)} for arm, level in levels}
            for place, levels in enumerate(([("a", 0.9), ("b", 0.92)], [("a", 0.9), ("b", 0.97)]))
        ]
        this, other = (against_baseline(each, "a", ACCURACY)[0] for each in reversed(scores))
        of_this, of_other = (variances_of(each, ACCURACY, "a") for each in reversed(scores))
        found = less_effect(this, of_this, other, of_other, share=0.9)
        gaps = [[each["b"][seed] - each["a"][seed] for seed in range(4)] for each in scores]
        expected = ttest_ind(gaps[1], gaps[0], equal_var=False).confidence_interval(0.9)
        assert (found.low, found.high) == pytest.approx((expected.low, expected.high))

    def test_an_arm_that_is_far_worse_has_its_own_variance(self) -> None:
        """It is often unstable: the typical variance of the others tells nothing of it."""
        draw = random.Random(3)
        levels = {"baseline": 0.99, **{f"near {n}": 0.99 for n in range(9)}, "far": 0.7, "also far": 0.975}
        noise = {"far": 0.05, "also far": 0.02}
        scores = {
            arm: {seed: draw.gauss(level, noise.get(arm, 0.001)) for seed in range(3)}
            for arm, level in levels.items()
        }
        found = variances_of(scores, ACCURACY, "baseline")
        medians = [statistics.median(of[seed] for of in scores.values()) for seed in range(3)]
        for arm in noise:
            alone = statistics.variance([scores[arm][seed] - medians[seed] for seed in range(3)])
            assert found.of_arm[arm] == (pytest.approx(alone / 3), 2)
        assert {degrees for arm, (_, degrees) in found.of_arm.items() if arm not in noise} == {12}
        assert found.of_arm["near 0"][0] < found.of_arm["also far"][0] / 10
        # Without a baseline it is not known what is far.
        assert {degrees for _, degrees in variances_of(scores, ACCURACY, None).of_arm.values()} == {12}

    def test_more_comparisons_and_more_seeds_are_stricter(self) -> None:
        assert share_of_each(1, seeds=3) == pytest.approx(0.95)
        assert share_of_each(10, seeds=3) == pytest.approx(0.995)
        assert share_of_each(10, seeds=5) == pytest.approx(0.99875)
        assert share_of_each(10, seeds=9) == pytest.approx(0.999375)
        one = two_ablations(made_ablation(), made_ablation(**OTHER), {})
        two = two_ablations(made_ablation(), made_ablation(**OTHER), {}, pairs=2)
        for narrow, wide in zip(one.shared, two.shared, strict=True):
            assert narrow.difference.high is not None
            assert wide.difference.high is not None
            assert wide.difference.high > narrow.difference.high

    def test_the_level_is_that_of_the_one_with_more_seeds(self) -> None:
        """Seeds are added to either of the two, and each addition is another look."""
        few, many = made_ablation(), made_ablation(seeds=5, **OTHER)
        baseline = few.settings[0].reference.key
        for first, other in ((few, many), (many, few)):
            pair = two_ablations(first, other, {})
            share = share_of_each(len(pair.shared), seeds=5)
            variances = [
                variances_of({arm.key: arm.scores for arm in each.measured}, each.metric, baseline)
                for each in (first, other)
            ]
            for each in pair.shared:
                expected = less_effect(
                    each.other.found, variances[1], each.first.found, variances[0], share=share
                )
                assert each.difference == expected

    def test_a_baseline_that_is_noisy_has_its_own_variance(self) -> None:
        draw = random.Random(4)
        scores = {
            arm: {seed: draw.gauss(0.99, 0.004 if arm == "baseline" else 0.0005) for seed in range(4)}
            for arm in ("baseline", *(f"near {n}" for n in range(9)))
        }
        found = variances_of(scores, ACCURACY, "baseline")
        medians = [statistics.median(of[seed] for of in scores.values()) for seed in range(4)]
        alone = statistics.variance([scores["baseline"][seed] - medians[seed] for seed in range(4)])
        moderated = spread(scores, ACCURACY).variances["baseline"]
        assert alone > moderated
        assert found.of_arm["baseline"][0] == pytest.approx(alone / 4)
        assert variances_of(scores, ACCURACY, "near 0").of_arm["baseline"][0] == pytest.approx(moderated / 4)

    @pytest.mark.parametrize(("seeds", "interval"), [(1, False), (2, True)])
    def test_few_seeds_have_no_verdict(self, seeds: int, interval: bool) -> None:
        other = made_ablation(with_effect("dropout=0.0", 0.006), seeds=seeds, **OTHER)
        pair = two_ablations(made_ablation(), other, {})
        assert {each.differs for each in pair.shared} == {None}
        assert {each.difference.low is not None for each in pair.shared} == {interval}

    def test_a_metric_without_bounds(self) -> None:
        found = two_ablations(made_valley_ablation(), made_valley_ablation(), {}).shared
        assert {each.difference.value for each in found} == {0.0}
        assert {each.differs for each in found} == {False}
