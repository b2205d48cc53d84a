"""What an ablation trains, and in which order."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise

import pytest

from data.tasks.registry import TASKS
from search.records import AblationRun, DeclaredSpec, Metric, Value
from search.space.spec import declared_entries
from search.study.ablation_plan import (
    AblationRequest,
    MeasuredArm,
    Plan,
    PlannedRun,
    path_changes,
    plan,
    rates,
    variant_budget,
)
from tests.search.study.test_variants import CONV, SPEC
from tune.space import Choice, Domain, Fixed, Float, Int, Space

ABLATION = replace(SPEC, epochs=4.0)
EPOCH = 36_000


def planned(request: AblationRequest) -> Plan:
    return plan(ABLATION, CONV, request, searched_for=8 * EPOCH, scores={})


def measured(found: Plan) -> list[AblationRun]:
    return [each.run for each in found.runs if not each.run.chooses]


def choosing(found: Plan) -> list[PlannedRun]:
    return [each for each in found.runs if each.run.chooses]


def test_variants_have_half_the_budget_of_the_search() -> None:
    assert variant_budget(replace(SPEC, epochs=8)) == (4 * EPOCH, 4.0)


def test_every_arm_is_trained_on_every_seed_seed_by_seed() -> None:
    found = measured(planned(AblationRequest(settings=("dropout",), seeds=2, lengths=False)))
    assert [run.seed for run in found] == [0] * 4 + [1] * 4
    assert {run.arm for run in found} == {"baseline", "dropout=0.0", "dropout=0.075", "dropout=0.325"}
    assert {run.budget for run in found} == {4 * EPOCH}


def test_extra_training_is_asked_at_doubling_budgets_and_without_regularization() -> None:
    found = measured(planned(AblationRequest(settings=("dropout",), seeds=1)))
    baseline = sorted(run.budget // EPOCH for run in found if run.arm == "baseline")
    plain = sorted(run.budget // EPOCH for run in found if run.arm == "unregularized")
    assert (baseline, plain) == ([1, 2, 4, 8, 16], [4, 16])


def test_an_optimizer_waits_for_its_learning_rate() -> None:
    request = AblationRequest(settings=("optimizer", "dropout"), seeds=3, lengths=False)
    found = planned(request)
    assert not any("optimizer" in run.arm for run in measured(found))
    assert {(run.arm, run.budget) for run in found.follow} == {
        (f"optimizer={name}", 4 * EPOCH) for name in ("sgd", "nesterov", "adam")
    }
    assert [run.seed for run in found.follow] == [0] * 3 + [1] * 3 + [2] * 3
    assert len(choosing(found)) == 3 * 5
    assert {each.run.budget for each in choosing(found)} == {2 * EPOCH}


RATES = AblationRequest(settings=("optimizer",), seeds=1, lengths=False)


def chosen(best: float, *, tried: int) -> dict[str, Value]:
    """The learning rates of the arms where this one is best and others are the worse the farther away, after
    as many as `tried` for each optimizer."""
    scores: dict[AblationRun, float | None] = {}
    found = planned(RATES)
    for _ in range(tried):
        for each in choosing(found):
            worse = abs(math.log(float(each.settings["lr"]) / best))
            scores[each.run] = None if "nesterov" in each.run.arm else -worse
        found = plan(ABLATION, CONV, RATES, searched_for=8 * EPOCH, scores=scores)
        if not found.follow:
            break
    assert not found.follow
    assert {sum(name in each.run.arm for each in choosing(found)) for name in ("=sgd", "=adam")} == {tried}
    assert len(choosing(found)) == 2 * tried + 5  # all of Nesterov's failed: there is no end to go beyond
    return {each.run.arm: each.settings["lr"] for each in found.runs if not each.run.chooses}


def test_the_best_rate_of_the_choosing_runs_is_measured() -> None:
    assert chosen(0.007, tried=5) == {
        "baseline": 0.004,
        "optimizer=sgd": 0.00707,
        "optimizer=nesterov": 0.004,  # all of its rates failed: the baseline's
        "optimizer=adam": 0.00707,
    }


def test_where_the_rate_at_an_end_is_the_best_one_beyond_is_tried() -> None:
    assert chosen(0.05, tried=6)["optimizer=sgd"] == 0.05
    assert chosen(0.13, tried=7)["optimizer=sgd"] == 0.133
    assert chosen(0.001, tried=6)["optimizer=sgd"] == 0.001
    assert chosen(0.0004, tried=7)["optimizer=sgd"] == 0.000376
    assert chosen(50.0, tried=8)["optimizer=sgd"] == pytest.approx(0.05 * 50 ** (3 / 4), rel=0.01)


def declared(**domains: Domain) -> DeclaredSpec:
    """Of training code with these settings."""
    return DeclaredSpec(
        seed=0,
        sampler="random",
        pruner="none",
        objective="train.py:train",
        metric=Metric(name="accuracy"),
        budget=4,
        unit="epoch",
        space=declared_entries(Space(domains)),
    )


def test_rates_of_training_code_stay_in_its_range() -> None:
    spec = declared(lr=Float(1e-3, 0.05, log=True), optimizer=Choice(["sgd", "adam"]))
    settings = {"lr": 0.05, "optimizer": "adam"}
    first = plan(spec, settings, RATES, searched_for=8, scores={})
    scores = {each.run: float(each.settings["lr"]) for each in choosing(first)}
    found = plan(spec, settings, RATES, searched_for=8, scores=scores)
    assert len(choosing(found)) == 5
    assert {each.run.arm: each.settings["lr"] for each in found.runs if not each.run.chooses} == {
        "baseline": 0.05,
        "optimizer=sgd": 0.05,
    }


def there_is(
    name: str, settings: Mapping[str, Value], *, budget: int = 4 * EPOCH, failed: bool = False
) -> MeasuredArm:
    """An arm that an earlier call trained on the first two seeds."""
    return MeasuredArm(name=name, budget=budget, settings=settings, seeds=frozenset({0, 1}), failed=failed)


def test_an_arm_keeps_the_settings_that_it_was_measured_with() -> None:
    scores = {each.run: float(each.settings["lr"]) for each in choosing(planned(RATES))}
    settings: dict[str, Value] = {**CONV, "optimizer": "sgd", "lr": 0.05, "momentum": 0.5}
    there = [there_is("optimizer=sgd", settings)]
    found = plan(ABLATION, CONV, replace(RATES, seeds=5), searched_for=8 * EPOCH, scores=scores, there=there)
    sgd = [each for each in found.runs if each.run.arm == "optimizer=sgd"]
    assert [each.settings for each in sgd] == [settings] * 5
    beyond = [each for each in choosing(found) if each.run not in scores]
    assert {each.run.arm for each in beyond} == {"optimizer=nesterov, lr=0.133", "optimizer=adam, lr=0.133"}


def test_arms_that_are_there_get_the_seeds_too_unless_they_failed() -> None:
    there = [
        there_is("baseline", CONV, budget=8 * EPOCH),
        there_is("blocks=2", {**CONV, "blocks": 2}),
        there_is("blocks=4", {**CONV, "blocks": 4}, failed=True),
    ]
    request = AblationRequest(settings=("dropout",), seeds=2, lengths=False)
    found = plan(ABLATION, CONV, request, searched_for=8 * EPOCH, scores={}, there=there)
    asked = measured(planned(request))
    added = [each for each in found.runs if each.run not in asked]
    assert {(each.run.arm, each.run.budget, each.run.seed) for each in added} == {
        (arm, budget, seed)
        for arm, budget in (("baseline", 8 * EPOCH), ("blocks=2", 4 * EPOCH))
        for seed in (0, 1)
    }
    assert all(each.settings["blocks"] == 2 for each in added if each.run.arm == "blocks=2")


def test_an_arm_that_failed_gets_no_further_seeds_when_it_is_asked_for_again() -> None:
    there = [there_is("baseline", CONV), there_is("dropout=0.0", {**CONV, "dropout": 0.0}, failed=True)]
    request = AblationRequest(settings=("dropout",), seeds=4, lengths=False)
    found = measured(plan(ABLATION, CONV, request, searched_for=8 * EPOCH, scores={}, there=there))
    assert [run.seed for run in found if run.arm == "dropout=0.0"] == [0, 1]
    assert [run.seed for run in found if run.arm == "baseline"] == [0, 1, 2, 3]


def test_a_run_that_chooses_is_asked_once() -> None:
    request = AblationRequest(settings=("optimizer",), seeds=1, lengths=False)
    runs = [each.run for each in planned(request).runs]
    assert len(set(runs)) == len(runs)


def test_rates_span_what_was_searched() -> None:
    found = rates(ABLATION, "lr", 0.004)
    assert (found[0], found[-1], len(found)) == (0.001, 0.05, 5)
    ratios = [after / before for before, after in pairwise(found)]
    assert ratios == pytest.approx([50 ** (1 / 4)] * 4, rel=0.01)


def test_rates_lie_around_the_baselines_where_none_was_searched() -> None:
    spec = replace(ABLATION, space={})
    assert rates(spec, "lr", 0.01) == [0.00111, 0.00333, 0.01, 0.03, 0.09]


@pytest.mark.parametrize(
    ("domain", "now", "found"),
    [
        (Float(0.0, 0.1), 0.05, [0.0, 0.025, 0.05, 0.075, 0.1]),  # a linear range
        (Float(1.2345e-4, 0.98765, log=True), 0.01, [1.2345e-4, 0.00117, 0.011, 0.104, 0.98765]),
        (Float(0.1, 0.1001, log=True), 0.1, [0.1]),
        (Int(1, 100, log=True), 10, [1, 3, 10, 32, 100]),
        (Choice([0.1, "adaptive", 0.01, True]), 0.1, [0.01, 0.1]),
        (Choice([each / 100 for each in range(1, 10)]), 0.01, [0.01, 0.03, 0.05, 0.07, 0.09]),
        (Choice(["constant", "adaptive"]), "constant", []),
        (Choice(["constant", 0.1]), 0.1, [0.1]),
        (Fixed(0.1), 0.1, []),
    ],
)
def test_rates_of_training_code_are_of_its_domain(domain: Domain, now: Value, found: list[float]) -> None:
    assert rates(declared(lr=domain), "lr", now) == found
    assert all(rate in domain for rate in found)


@pytest.mark.parametrize("options", [["constant", "adaptive"], ["constant", 0.1]])
def test_a_learning_rate_without_two_numbers_is_like_any_other_setting(options: list[Value]) -> None:
    spec = declared(learning_rate=Choice(options), batch_size=Choice([32, 64]))
    settings: dict[str, Value] = {"learning_rate": "constant", "batch_size": 32}
    found = plan(
        spec,
        settings,
        AblationRequest(settings=("batch_size",), seeds=1, lengths=False),
        searched_for=8,
        scores={},
    )
    assert (choosing(found), found.follow) == ([], ())
    assert [each.settings for each in found.runs] == [settings, {**settings, "batch_size": 64}]


def test_rates_of_networks_stay_legal() -> None:
    spec = replace(ABLATION, space={})
    assert rates(spec, "lr", 50.0) == [5.56, 16.7, 50.0, 100.0]
    settings: dict[str, Value] = {**CONV, "lr": 50.0}
    scores: dict[AblationRun, float | None] = {}
    found = plan(spec, settings, RATES, searched_for=8 * EPOCH, scores=scores)
    while any(each.run not in scores for each in choosing(found)):
        scores |= {each.run: float(each.settings["lr"]) for each in choosing(found)}
        found = plan(spec, settings, RATES, searched_for=8 * EPOCH, scores=scores)
    assert not found.follow
    assert max(float(each.settings["lr"]) for each in choosing(found)) == 100.0


def test_rates_of_networks_are_those_that_were_searched() -> None:
    spec = replace(ABLATION, space={"lr": [0.01, 0.1]})
    assert rates(spec, "lr", 0.01) == [0.01, 0.1]


def test_a_path_needs_the_order_first() -> None:
    reference = TASKS["twodigit"].references["course-conv"]
    request = AblationRequest(settings=("dropout",), seeds=1, lengths=False, path="course-conv")
    found = plan(ABLATION, CONV, request, searched_for=8 * EPOCH, reference=reference, scores={})
    alone = choosing(found)
    assert all(each.run.arm.startswith("course-conv + ") for each in alone)
    assert "course-conv + optimizer" in {each.run.arm for each in alone}
    assert "course-conv + lr" not in {each.run.arm for each in alone}  # it comes with the optimizer
    scores = {each.run: 0.9 + (0.05 if each.run.arm.endswith("dropout") else 0.0) for each in alone}
    found = plan(ABLATION, CONV, request, searched_for=8 * EPOCH, reference=reference, scores=scores)
    path = {each.run.arm: each.settings for each in found.runs if each.run.arm.startswith("course-conv")}
    walk = sorted((arm for arm in path if not any(each.run.arm == arm for each in alone)), key=len)
    assert walk[0] == "course-conv"
    first = "course-conv + dropout"
    assert path[first]["dropout"] == CONV["dropout"]
    assert len(measured(found)) == 4 + len(alone)  # the variants, the reference, all steps but the last


@pytest.mark.parametrize(
    ("one", "other"), [("course-mlp", "course-conv"), ("course-conv", "course-mlp"), ("course-mlp", "CONV")]
)
def test_a_path_to_another_family_takes_its_settings_in_one_step(one: str, other: str) -> None:
    known = {**TASKS["twodigit"].references, "CONV": CONV}
    reference, settings = known[one], known[other]
    steps = path_changes(ABLATION, reference, settings)
    names = [name for step in steps.values() for name in step]
    assert sorted(names) == sorted(set(names)), "each setting changes in one step"
    own = {name for name in names if (name in reference) != (name in settings)}
    assert set(steps["model"]) == {"model", *own}
    assert {"channels", "growth"} <= set(steps["model"])
    assert steps.keys().isdisjoint({"channels", "growth", "divisor"})


def valley(budget: int, **domains: Domain) -> DeclaredSpec:
    """Of an ablation whose variants have this budget."""
    return DeclaredSpec(
        objective="valley",
        metric=Metric(name="height"),
        unit="step",
        budget=budget,
        space=declared_entries(Space(domains)),
        seed=0,
        sampler="random",
        pruner="none",
    )


@pytest.mark.parametrize(
    ("searched_for", "lengths"),
    [
        (1, []),  # there is nothing to run for longer
        (2, [1, 2, 4]),
        (3, [1, 2, 3, 6]),
        (5, [1, 2, 5, 10]),
        (7, [1, 2, 4, 7, 14]),
        (20, [2, 5, 10, 20, 40]),
    ],
)
def test_another_objective_has_all_its_settings_and_shares_of_its_budget(
    searched_for: int, lengths: list[int]
) -> None:
    spec = valley(1, x=Float(0.0, 1.0), kind=Choice(["a", "b"]))
    spec = replace(spec, budget=variant_budget(replace(spec, budget=searched_for))[0])
    request = AblationRequest(seeds=1)
    found = plan(spec, {"x": 0.5, "kind": "a"}, request, searched_for=searched_for, scores={})
    baseline = {each.run.budget for each in found.runs if each.run.arm == "baseline"}
    assert baseline == {spec.budget, *lengths}
    others = {(each.run.arm, each.run.budget) for each in found.runs if each.run.arm != "baseline"}
    assert others == {(arm, spec.budget) for arm in ("x=0.25", "x=0.75", "kind=b")}


def test_what_a_variant_trains_already_is_not_trained_once_more() -> None:
    spec = valley(3, decay=Float(0.0, 1.0, off=0.0), dropout=Float(0.0, 1.0, off=0.0))

    def arms(
        *there: MeasuredArm, names: tuple[str, ...] | None = None, **settings: float
    ) -> list[tuple[str, int]]:
        request = AblationRequest(seeds=1, settings=names)
        found = plan(spec, settings, request, searched_for=6, scores={}, there=there)
        return sorted((each.run.arm, each.run.budget) for each in found.runs if each.run.arm != "baseline")

    both = arms(decay=0.5, dropout=0.5)
    assert [budget for arm, budget in both if arm == "unregularized"] == [3, 12]
    one = arms(decay=0.5, dropout=0.0)
    assert ("decay=0.0", 3) in one
    assert [budget for arm, budget in one if arm == "unregularized"] == [12]
    earlier = there_is("decay=0.0", {"decay": 0.0, "dropout": 0.0}, budget=3)
    later = arms(earlier, names=("dropout",), decay=0.5, dropout=0.0)
    assert ("decay=0.0", 3) in later
    assert [budget for arm, budget in later if arm == "unregularized"] == [12]
