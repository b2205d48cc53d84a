"""Arms on the same seeds: against Dunnett's table, SciPy's tests, a design by hand and simulations."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from scipy.stats import dunnett, t, ttest_rel

from search.analysis import critical_values, paired_arms
from search.analysis.paired_arms import NoInterval, Verdict
from search.analysis.statistics import Estimate
from search.records import SCORES, Direction, Metric

ACCURACY = Metric(name="validation/accuracy", is_fraction=True)
ERROR = Metric(name="error", direction=Direction.MINIMIZE, is_fraction=True)
RETURN = Metric(name="return")


def scores(arms: dict[str, Sequence[float]]) -> dict[str, dict[int, float]]:
    return {name: dict(enumerate(of)) for name, of in arms.items()}


def made_up(arms: int, seeds: int, *, at: float, deviation: float, number: int = 0) -> dict[str, list[float]]:
    """Arms that are equal in truth; the first is the baseline."""
    generator = np.random.default_rng((arms, seeds, number))
    y = at + deviation * (generator.normal(size=(arms, seeds)) + generator.normal(size=seeds))
    return {f"arm {place}" if place else "baseline": row.tolist() for place, row in enumerate(y)}


def half(of: Estimate) -> float:
    assert of.low is not None
    assert of.high is not None
    assert of.high - of.value == pytest.approx(of.value - of.low)
    return (of.high - of.low) / 2


class TestCriticalValues:
    @pytest.mark.parametrize(
        ("degrees", "arms", "critical"),
        [(5, 2, 3.03), (10, 2, 2.57), (10, 4, 2.89), (10, 5, 2.99), (20, 4, 2.65), (20, 5, 2.73)],
    )
    def test_it_is_dunnetts_where_variances_are_equal(self, degrees: int, arms: int, critical: float) -> None:
        """Dunnett 1964, Biometrics 20, table II: two-sided, 95 %."""
        found = critical_values.family_critical([2.0] * arms, 2.0, own=math.inf, common=degrees, share=0.95)
        assert found == pytest.approx(critical, abs=0.006)

    @pytest.mark.parametrize("arms", [4, 15])
    def test_it_agrees_with_scipys_dunnett(self, arms: int) -> None:
        generator = np.random.default_rng(arms)
        groups = generator.normal(size=(arms, 3))
        groups[0] += 2.0
        found = dunnett(*groups, control=generator.normal(size=3), random_state=0)
        most = int(np.abs(found.statistic).argmax())
        critical = critical_values.family_critical(
            [1.0] * arms, 1.0, own=math.inf, common=2 * (arms + 1), share=1 - float(found.pvalue[most])
        )
        assert critical == pytest.approx(abs(float(found.statistic[most])), abs=0.02)

    def test_unequal_variances_are_covered_together_as_often_as_asked(self) -> None:
        own, common, reference, variances = 7, 9, 4.0, np.array([0.5, 1.0, 1.0, 6.0])
        critical = critical_values.family_critical(
            variances.tolist(), reference, own=own, common=common, share=0.95
        )
        generator, n = np.random.default_rng(0), 400_000
        typical = np.sqrt(generator.chisquare(common, n) / common)
        baseline = 2.0 * generator.standard_t(own, n)
        arms = np.sqrt(variances)[:, None] * generator.standard_t(own, (4, n))
        most = np.abs((arms - baseline) / np.sqrt(variances + reference)[:, None]).max(axis=0) / typical
        assert (most <= critical).mean() == pytest.approx(0.95, abs=0.0015)

    def test_the_points_of_the_quadrature_are_enough(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def critical() -> float:
            return critical_values.family_critical([1.0] * 15 + [6.0], 1.0, own=12, common=24.3, share=0.975)

        found = critical()
        monkeypatch.setattr(critical_values, "NODES", 48)
        assert found == pytest.approx(critical(), rel=1e-3)

    def test_one_pair_is_students(self) -> None:
        same = critical_values.pair_critical(3.0, 3.0, own=math.inf, common=2, share=0.95)
        assert same == pytest.approx(4.302653, abs=1e-6)
        # two variances of 10 degrees each: less than Student's 2.228 of one, more than 2.086 of 20 degrees
        equal = critical_values.pair_critical(1.0, 1.0, own=10, common=1e6, share=0.95)
        assert 2.086 < equal < 2.228
        one = critical_values.pair_critical(1.0, 1e-9, own=10, common=1e6, share=0.95)
        assert one == pytest.approx(2.228139, rel=5e-3)  # 1e6 counts as 300

    @pytest.mark.parametrize(("own", "critical"), [(6, 2.435), (12, 2.167)])
    def test_one_pair_is_that_of_behrens_and_fisher(self, own: int, critical: float) -> None:
        """Fisher and Yates, Statistical Tables, table VI: 5 %, equal degrees, angle of 45 degrees."""
        found = critical_values.pair_critical(1.0, 1.0, own=own, common=1e6, share=0.95)
        assert found == pytest.approx(critical, rel=5e-3)  # 1e6 common degrees count as 300


class TestSpread:
    def test_a_design_computed_by_hand(self) -> None:
        """Residuals (-2, 1, 1), (1, 1, -2) and (1, -2, 1): each arm's own variance is 6 / (2 × 2/3) = 4.5."""
        found = paired_arms.spread(scores({"a": [8, 10, 12], "b": [6, 5, 4], "c": [1, -3, 2]}), RETURN)
        assert found.means == pytest.approx({"a": 10, "b": 5, "c": 0})
        # the mean logarithm of half a chi-squared is digamma(1) for 2 degrees, digamma(1.5) for the prior's 3
        typical = 4.5 * math.exp(0.5772157 + 0.0364900 - math.log(1.5))
        expected = (3 * typical + 2 * 4.5) / 5
        assert found.variances == pytest.approx(dict.fromkeys("abc", expected), rel=1e-6)
        assert found.own_degrees == 5
        assert found.common_degrees == pytest.approx(2 * 3 / (math.pi**2 / 6))

    def test_variances_of_a_fraction_are_in_units_of_p_times_1_less_p(self) -> None:
        """The residuals are those of weighted least squares on indicators of arms and seeds."""
        generator, p = np.random.default_rng(3), np.array([0.5, 0.9, 0.99, 0.99])
        y = p[:, None] + generator.normal(size=(4, 3)) * 0.05 * np.sqrt(p * (1 - p))[:, None]
        found = paired_arms.spread(scores({str(arm): row.tolist() for arm, row in enumerate(y)}), ACCURACY)
        units = y.mean(axis=1) * (1 - y.mean(axis=1))
        indicators = np.hstack([np.kron(np.eye(4), np.ones((3, 1))), np.kron(np.ones((4, 1)), np.eye(3))])
        root = np.repeat(units, 3) ** -0.5
        solution = np.linalg.lstsq(indicators * root[:, None], y.ravel() * root, rcond=None)[0]
        residuals = ((y.ravel() - indicators @ solution) * root).reshape(4, 3)
        single = (residuals**2).sum(axis=1) / (2 * (1 - (1 / units) / (1 / units).sum()))
        # 12 × the moderated variance is 10 × the typical one, the same for all arms, and 2 × the arm's own
        typical = [(12 * found.variances[str(arm)] / units[arm] - 2 * single[arm]) / 10 for arm in range(4)]
        assert typical == pytest.approx([typical[0]] * 4)
        assert found.own_degrees == 12
        # Smyth: digamma(1) of each arm's two degrees, digamma(5) of the prior's 10
        middle = math.exp(np.log(single).mean() + 0.5772157 + 1.5061177 - math.log(5))
        assert typical[0] == pytest.approx(middle, rel=1e-6)

    def test_the_variance_is_what_was_simulated(self) -> None:
        """Mean over 400 experiments, of arms at 99.2 and 90 % whose dispersion is the same."""
        generator, low, high = np.random.default_rng(5), [], []
        for _ in range(400):
            y = {"a": 0.9 + 0.03 * generator.normal(size=3) / 10}
            y |= {f"b{i}": 0.992 + 0.0890842 / 10 * generator.normal(size=3) / 10 for i in range(7)}
            found = paired_arms.spread(scores({name: of.tolist() for name, of in y.items()}), ACCURACY)
            low.append(found.variances["a"])
            high.append(found.variances["b0"])
        # Smyth's typical variance of a prior with 10 degrees is that of equal arms × 1.11
        assert np.mean(low) == pytest.approx(0.003**2, rel=0.2)
        assert np.mean(high) == pytest.approx(0.000890842**2, rel=0.2)

    def test_only_complete_seeds_count(self) -> None:
        of = {"a": {4: 1.0, 2: 3.0, 9: 2.0}, "b": {2: 1.0, 4: 5.0, 7: 0.0}}
        assert paired_arms.complete_seeds(of) == (2, 4)
        assert paired_arms.complete_seeds({}) == ()


class TestAgainstBaseline:
    def test_one_arm_is_the_paired_t_test(self) -> None:
        one, other = [3.0, 4.5, 5.1, 7.0], [2.0, 4.0, 4.8, 5.0]
        found = paired_arms.against_baseline(scores({"a": one, "b": other}), "b", RETURN)[0]
        expected = ttest_rel(one, other).confidence_interval(0.95)
        assert (found.pointwise.low, found.pointwise.high) == pytest.approx((expected.low, expected.high))
        wider = ttest_rel(one, other).confidence_interval(0.9875)
        assert (found.family.low, found.family.high) == pytest.approx((wider.low, wider.high))
        assert (found.arm, found.reference, found.seeds) == ("a", "b", (0, 1, 2, 3))

    def test_three_arms_computed_by_hand(self) -> None:
        arms = scores({"a": [8, 10, 12], "b": [6, 5, 4], "c": [1, -3, 2]})
        found = paired_arms.against_baseline(arms, "b", RETURN)
        error = math.sqrt(2 * 5.125073 / 3)  # the variance of TestSpread
        assert [each.difference for each in found] == pytest.approx([5, -5])
        pair = critical_values.pair_critical(1.0, 1.0, own=5, common=3.647563, share=0.95)
        assert half(found[0].pointwise) == pytest.approx(pair * error, rel=1e-4)
        critical = critical_values.family_critical([1.0, 1.0], 1.0, own=5, common=3.647563, share=0.975)
        assert half(found[0].family) == pytest.approx(critical * error, rel=1e-4)
        assert [each.verdict for each in found] == [Verdict.NOT_TOLD_APART] * 2

    @pytest.mark.parametrize("metric", [ACCURACY, ERROR, RETURN])
    def test_verdicts_follow_the_scores(self, metric: Metric) -> None:
        values = made_up(10, 5, at=0.1, deviation=0.0005)
        higher = [value + 0.02 for value in values["arm 1"]]
        lower = [value - 0.02 for value in values["arm 2"]]
        arms = values | {"arm 1": higher, "arm 2": lower}
        of_scores = {name: [metric.score_of(value) for value in of] for name, of in arms.items()}
        found = paired_arms.against_baseline(scores(of_scores), "baseline", metric)
        told = {each.arm: each.verdict for each in found}
        first, second = Verdict.BETTER, Verdict.WORSE
        if metric.direction is Direction.MINIMIZE:
            first, second = second, first
        assert (told.pop("arm 1"), told.pop("arm 2")) == (first, second)
        assert set(told.values()) == {Verdict.NOT_TOLD_APART}
        assert all(half(each.family) > half(each.pointwise) for each in found)

    def test_an_arm_that_is_far_worse_widens_the_others_little_and_has_a_wide_interval(self) -> None:
        values = made_up(10, 3, at=0.992, deviation=0.001)
        plain = paired_arms.against_baseline(scores(values), "baseline", ACCURACY)
        broken = scores(values | {"broken": [0.7, 0.5, 0.65]})
        found = {each.arm: each for each in paired_arms.against_baseline(broken, "baseline", ACCURACY)}
        for each in plain:
            assert half(found[each.arm].family) < 1.5 * half(each.family)
        assert half(found["broken"].pointwise) > 10 * half(found["arm 1"].pointwise)
        assert found["broken"].verdict is Verdict.WORSE

    def test_one_diverged_seed_is_no_verdict(self) -> None:
        values = made_up(10, 3, at=0.992, deviation=0.001) | {"diverged": [0.992, 0.1, 0.993]}
        found = paired_arms.against_baseline(scores(values), "baseline", ACCURACY)
        assert found[-1].difference < -0.2
        assert found[-1].verdict is Verdict.NOT_TOLD_APART

    def test_settings_that_change_nothing_have_no_interval_and_change_no_other(self) -> None:
        values = made_up(8, 3, at=0.99, deviation=0.001)
        same = {f"same {i}": [*values["baseline"]] for i in range(8)}
        plain = paired_arms.against_baseline(scores(values), "baseline", ACCURACY)
        found = paired_arms.against_baseline(scores(values | same), "baseline", ACCURACY)
        assert found[: len(plain)] == plain
        assert {each.no_interval for each in found[len(plain) :]} == {NoInterval.NO_SPREAD}
        assert {(each.difference, each.verdict, each.family.low) for each in found[len(plain) :]} == {
            (0.0, None, None)
        }

    def test_code_that_ignores_the_seed_has_no_interval(self) -> None:
        values = made_up(5, 3, at=0.99, deviation=0.001) | {"fixed": [0.5, 0.5, 0.5 + 1e-15]}
        found = {
            each.arm: each for each in paired_arms.against_baseline(scores(values), "baseline", ACCURACY)
        }
        assert (found["fixed"].no_interval, found["fixed"].verdict) == (NoInterval.IGNORES_SEED, None)
        assert found["fixed"].difference == pytest.approx(0.5 - np.mean(values["baseline"]))
        assert found["arm 1"].no_interval is None
        found_of_it = paired_arms.against_baseline(scores(values), "fixed", ACCURACY)
        assert {each.no_interval for each in found_of_it} == {NoInterval.IGNORES_SEED}
        assert {each.verdict for each in found_of_it} == {None}

    def test_one_seed_is_a_difference_and_two_are_no_verdict(self) -> None:
        values = made_up(6, 3, at=0.99, deviation=1e-6) | {"better": [0.995, 0.9951, 0.9949]}
        told = {
            n: paired_arms.against_baseline(
                scores({k: v[:n] for k, v in values.items()}), "baseline", ACCURACY
            )
            for n in (1, 2, 3)
        }
        assert {each.no_interval for each in told[1]} == {NoInterval.ONE_SEED}
        assert told[1][-1].pointwise == Estimate(value=0.995 - values["baseline"][0], low=None, high=None)
        assert told[2][-1].verdict is None
        assert half(told[2][-1].family) > 0
        assert told[3][-1].verdict is Verdict.BETTER

    def test_other_arms_only_help_to_estimate_variances(self) -> None:
        values = scores(made_up(12, 3, at=0.0, deviation=1.0))
        some = ["arm 3", "arm 1"]
        found = paired_arms.against_baseline(values, "baseline", RETURN, arms=some)
        everything = {each.arm: each for each in paired_arms.against_baseline(values, "baseline", RETURN)}
        assert [each.arm for each in found] == some
        assert found[0].pointwise == everything["arm 3"].pointwise
        assert half(found[0].family) < half(everything["arm 3"].family)

    def test_units_do_not_matter(self) -> None:
        values = made_up(5, 4, at=3.0, deviation=1.0)
        thousand = {name: [1000 * value for value in of] for name, of in values.items()}
        for one, other in zip(
            paired_arms.against_baseline(scores(values), "baseline", RETURN),
            paired_arms.against_baseline(scores(thousand), "baseline", RETURN),
            strict=True,
        ):
            assert half(other.family) == pytest.approx(1000 * half(one.family))

    def test_before_the_first_complete_seed_there_is_nothing(self) -> None:
        assert paired_arms.against_baseline({"a": {0: 1.0}, "b": {}}, "a", RETURN) == []
        assert paired_arms.steps({"a": {0: 1.0}, "b": {}}, ["a", "b"], RETURN) == []
        assert paired_arms.gaps({"a": {0: 1.0}}, {"a": {1: 1.0}, "b": {}}, "b", ACCURACY) == []

    def test_what_is_invalid_is_refused(self) -> None:
        with pytest.raises(ValueError, match="unknown arms nothing; there are a, b"):
            paired_arms.against_baseline(scores({"a": [1.0], "b": [2.0]}), "nothing", RETURN)
        with pytest.raises(ValueError, match="not -inf; leave out diverged arms"):
            paired_arms.against_baseline(scores({"a": [1.0], "b": [-math.inf]}), "a", RETURN)

    @pytest.mark.parametrize("noisy", [1.0, 1.5])
    def test_equal_arms_get_a_verdict_in_one_of_twenty_experiments_at_most(self, noisy: float) -> None:
        """noisy: standard deviation of the baseline. 5 % and three standard errors."""
        wrong, n = 0, 200
        for number in range(n):
            values = made_up(12, 3, at=0.0, deviation=1.0, number=number)
            extra = math.sqrt(noisy**2 - 1) * np.random.default_rng(number).normal(size=3)
            values["baseline"] = (np.array(values["baseline"]) + extra).tolist()
            found = paired_arms.against_baseline(scores(values), "baseline", RETURN)
            wrong += any(each.verdict is not Verdict.NOT_TOLD_APART for each in found)
        assert wrong <= n * 0.05 + 3 * math.sqrt(n * 0.05 * 0.95)


class TestSteps:
    def test_longer_training_helps_until_it_does_not(self) -> None:
        values = made_up(10, 3, at=0.992, deviation=0.0004)
        names = ["1 epoch", "2 epochs", "4 epochs", "8 epochs"]
        values |= {
            name: [value - less for value in values[f"arm {place + 1}"]]
            for place, (name, less) in enumerate(zip(names, (0.02, 0.0, 0.0, 0.03), strict=True))
        }
        found = paired_arms.steps(scores(values), names, ACCURACY)
        assert [(each.arm, each.reference) for each in found] == [
            ("2 epochs", "1 epoch"),
            ("4 epochs", "2 epochs"),
            ("8 epochs", "4 epochs"),
        ]
        assert [each.verdict for each in found] == [Verdict.BETTER, Verdict.NOT_TOLD_APART, Verdict.WORSE]

    def test_all_pairs_share_the_error(self) -> None:
        values = scores(made_up(6, 4, at=0.0, deviation=1.0))
        lengths, also = ["arm 1", "arm 2", "arm 3"], [("arm 5", "baseline")]
        found = paired_arms.steps(values, lengths, RETURN, also=also, share=0.94)
        assert (found[2].arm, found[2].reference) == also[0]
        spread = paired_arms.spread(values, RETURN)
        one, other = spread.variances["arm 5"], spread.variances["baseline"]
        critical = critical_values.pair_critical(one, other, own=6, common=spread.common_degrees, share=0.98)
        assert half(found[2].family) == pytest.approx(critical * math.sqrt((one + other) / 4))
        alone = paired_arms.against_baseline(values, "baseline", RETURN)[4]
        assert found[2].pointwise == alone.pointwise

    def test_turned_round_it_is_its_negative(self) -> None:
        values = scores(made_up(4, 3, at=0.5, deviation=0.01))
        there = paired_arms.steps(values, ["arm 1", "arm 2"], ACCURACY)[0].family
        back = paired_arms.steps(values, ["arm 2", "arm 1"], ACCURACY)[0].family
        assert (there.value, there.low) == pytest.approx((-back.value, -(back.high or 0)))


class TestGaps:
    def test_the_gap_is_train_less_validation(self) -> None:
        validation = scores(made_up(8, 3, at=0.99, deviation=0.001))
        train = scores(made_up(8, 3, at=0.997, deviation=0.0003, number=1))
        del train["arm 4"]
        found = paired_arms.gaps(train, validation, "baseline", ACCURACY)
        assert [each.arm for each in found] == [f"arm {n}" for n in (1, 2, 3, 5, 6, 7)]
        for each in found:
            assert each.seeds == (0, 1, 2)
            assert half(each.train) < half(each.gap)
        both = {arm: of for arm, of in validation.items() if arm != "arm 4"}
        for each, expected in zip(
            found, paired_arms.against_baseline(both, "baseline", ACCURACY), strict=True
        ):
            assert each.gap.value == pytest.approx(each.train.value - expected.difference)

    def test_a_training_set_without_errors_has_no_interval(self) -> None:
        validation = scores(made_up(4, 3, at=0.99, deviation=0.001))
        train = {arm: dict.fromkeys(of, 1.0) for arm, of in validation.items()}
        found = paired_arms.gaps(train, validation, "baseline", ACCURACY)[0]
        assert (found.train.value, found.train.low) == (0.0, None)
        assert half(found.gap) > 0


class TestShareOfErrors:
    def test_a_quarter_fewer_errors(self) -> None:
        """0.2 (-0.1 to 0.4) points more of 99.2 %: of 0.8 points of errors."""
        found = paired_arms.share_of_errors(Estimate(value=0.002, low=-0.001, high=0.004), 0.992, ACCURACY)
        assert found is not None
        assert (found.value, found.low, found.high) == pytest.approx((-0.25, -0.5, 0.125))

    def test_of_a_minimized_fraction_the_value_is_the_errors(self) -> None:
        found = paired_arms.share_of_errors(Estimate(value=-0.01, low=None, high=None), -0.04, ERROR)
        assert found == Estimate(value=0.25, low=None, high=None)

    def test_there_is_none_without_errors_or_bounds(self) -> None:
        one = Estimate(value=0.1, low=0.0, high=0.2)
        assert paired_arms.share_of_errors(one, 1.0, ACCURACY) is None
        assert paired_arms.share_of_errors(one, 0.5, RETURN) is None

    @pytest.mark.parametrize(("name", "known"), [
        ("accuracy", True), ("balanced_accuracy", False), ("macro_f1", False), ("log_loss", False),
    ])  # fmt: skip
    def test_only_an_accuracy_counts_errors(self, name: str, known: bool) -> None:
        found = paired_arms.share_of_errors(Estimate(value=0.1, low=0.0, high=0.2), 0.5, SCORES[name])
        assert (found is not None) is known


class TestSeedsNeeded:
    def test_two_arms_follow_students_t(self) -> None:
        def width(n: int) -> float:
            return float(t.ppf(0.975, n - 1)) / math.sqrt(n)

        found = paired_arms.seeds_needed(1.0, 3, 2, 0.25, RETURN)
        goal = 0.25 * width(3)
        assert width(found) <= goal < width(found - 1)

    def test_more_arms_and_comparisons(self) -> None:
        together = paired_arms.seeds_needed(0.37, 3, 20, 0.1, ACCURACY, compared=15)
        alone = paired_arms.seeds_needed(0.37, 3, 20, 0.1, ACCURACY)
        assert 3 < alone <= together <= math.ceil(3 * (0.37 / 0.1) ** 2), "the level is stricter then"

    def test_every_seed_makes_a_family_wise_interval_narrower_though_the_level_is_stricter(self) -> None:
        found = [paired_arms.share_of(seeds) for seeds in (2, 3, 4, 6, 7, 100)]
        assert found == pytest.approx([0.975, 0.975, 0.9875, 0.9875, 1 - 0.025 / 3, 1 - 0.025 / 3])
        halves = [
            critical_values.family_critical(
                [1.0] * 15, 1.0, own=9 + n, common=10.0 * n, share=paired_arms.share_of(n)
            )
            / math.sqrt(n)
            for n in range(3, 12)
        ]
        assert halves == sorted(halves, reverse=True)

    def test_what_is_reached_needs_no_more(self) -> None:
        assert paired_arms.seeds_needed(0.1, 5, 20, 0.2, ACCURACY) == 5

    def test_what_cannot_be_is_refused(self) -> None:
        with pytest.raises(ValueError, match="no half-width of 0"):
            paired_arms.seeds_needed(0.1, 5, 20, 0.0, ACCURACY)
        with pytest.raises(ValueError, match="1,000,000 seeds do not reach"):
            paired_arms.seeds_needed(1.0, 5, 20, 1e-6, ACCURACY)
