"""The neighbors of a configuration."""

from __future__ import annotations

import pytest

from search.errors import UsageError
from search.records import DeclaredSpec, Metric, Value
from search.space.defaults import default_domains, default_space, with_conditions
from search.space.file import space_entries
from search.space.spec import declared_entries, space_of_spec
from search.study.variants import changeable, changes, unregularized, variants
from tests.support.specs import network_spec
from tune.space import Choice, Fixed, Float, Int, Space

SPEC = network_spec(space=space_entries(default_space()))

CONV: dict[str, Value] = {
    "model": "conv",
    "optimizer": "adamw",
    "lr": 0.004,
    "momentum": 0.9,
    "weight_decay": 1e-3,
    "schedule": "cosine",
    "batch_size": 64,
    "label_smoothing": 0.05,
    "averaging": 0.1,
    "pairing": "fresh",
    "shift": 0,
    "affine": 1.0,
    "activation": "silu",
    "dropout": 0.2,
    "blocks": 3,
    "stem": 1,
    "convolutions": 2,
    "channels": 24,
    "growth": 2.0,
    "divisor": 8,
    "kernel": 3,
    "batch_norm": True,
    "hidden": 256,
    "padding": "same",
    "hidden_layers": 1,
    "hidden_activation": True,
    "number_width": 64,
}


def declared(**domains: Int | Float | Choice | Fixed) -> DeclaredSpec:
    return DeclaredSpec(
        objective="valley",
        metric=Metric(name="height"),
        unit="step",
        budget=8,
        space=declared_entries(Space(domains)),
        seed=0,
        sampler="random",
        pruner="none",
    )


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("optimizer", ["sgd", "nesterov", "adam"]),
        ("batch_size", [128]),
        ("activation", ["relu", "leaky_relu", "elu"]),
        ("dropout", [0.0, 0.075, 0.325]),  # off, and a quarter of 0 to 0.5 down and up
        ("lr", [0.0015, 0.0106]),  # a quarter of a range of a factor of 50 is a factor of 2.66
        ("weight_decay", [0.0, 0.0001, 0.01]),
        ("blocks", [2, 4]),
        ("convolutions", [1, 3]),
        ("channels", [16, 48]),  # half of 24 is 12, rounded to the step of 8 that was searched
        ("hidden", [128, 512]),
        ("averaging", [0.0]),  # nobody searched it: it can only be switched off
        ("affine", [0.0]),
        ("pairing", ["fixed"]),
        ("batch_norm", [False]),
    ],
)
def test_a_setting_moves_by_one_step(name: str, near: list[Value]) -> None:
    assert changeable(SPEC, CONV)[name] == near


@pytest.mark.parametrize("searched", [Fixed(2), Int(1, 10), Int(1, 3)])
def test_a_depth_moves_by_one_whatever_was_searched(searched: Fixed | Int) -> None:
    space = Space(with_conditions({**default_domains(("mlp",)), "depth": searched}))
    spec = network_spec(space=space_entries(space))
    assert changeable(spec, {"model": "mlp", "depth": 2})["depth"] == [1, 3]


@pytest.mark.parametrize("name", ["model", "number_width", "divisor"])
def test_what_no_single_change_can_vary_is_left_out(name: str) -> None:
    assert name not in changeable(SPEC, CONV)


def test_the_main_settings_are_changed_one_at_a_time() -> None:
    found = variants(SPEC, CONV)
    assert [variant.name for variant in found if variant.changed == ("dropout",)] == [
        "dropout=0.0",
        "dropout=0.075",
        "dropout=0.325",
    ]
    for variant in found:
        assert list(changes(SPEC, CONV, variant.settings)) == list(variant.changed)
    assert {variant.changed[0] for variant in found} == {
        "optimizer",
        "batch_size",
        "blocks",
        "channels",
        "activation",
        "dropout",
        "pairing",
        "affine",
    }


def test_settings_can_be_named() -> None:
    found = variants(SPEC, CONV, ("dropout", "optimizer"))
    assert [variant.changed[0] for variant in found] == ["dropout"] * 3 + ["optimizer"] * 3


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("dropuot", "dropout"),
        ("width", "has no width"),
        ("model", "family"),
        ("divisor", "no other value"),
    ],
)
def test_a_setting_that_cannot_be_changed_is_refused(name: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        variants(SPEC, CONV, (name,))


def test_without_regularization_every_regularizer_is_off() -> None:
    found = unregularized(SPEC, CONV)
    assert found is not None
    assert changes(SPEC, CONV, found.settings) == {
        "weight_decay": (1e-3, 0.0),
        "label_smoothing": (0.05, 0.0),
        "averaging": (0.1, 0.0),
        "pairing": ("fresh", "fixed"),
        "affine": (1.0, 0.0),
        "dropout": (0.2, 0.0),
    }
    assert unregularized(SPEC, found.settings) is None


def test_a_setting_that_a_change_makes_active_has_the_middle_of_its_range() -> None:
    spec = declared(
        optimizer=Choice(["adam", "sgd"]),
        momentum=Float(0.5, 0.9, when={"optimizer": "sgd"}),
        depth=Int(1, 3),
    )
    [sgd] = variants(spec, {"optimizer": "adam", "depth": 1}, ("optimizer",))
    assert sgd.settings == {"optimizer": "sgd", "depth": 1, "momentum": pytest.approx(0.7)}


def test_a_setting_that_a_change_makes_inactive_is_left_out() -> None:
    spec = declared(
        optimizer=Choice(["adam", "sgd"]),
        momentum=Float(0.5, 0.9, when={"optimizer": "sgd"}),
        nesterov=Choice([False, True], when={"momentum": {"above": 0.0}}),
        damping=Fixed(0.1, when={"optimizer": "sgd"}),
        depth=Int(1, 3),
        taper=Float(0.5, 1.0, when={"depth": {"above": 1}}),
    )
    settings: dict[str, Value] = {
        "optimizer": "sgd",
        "momentum": 0.9,
        "nesterov": True,
        "damping": 0.1,
        "depth": 2,
        "taper": 0.7,
    }
    found = {variant.name: variant.settings for variant in variants(spec, settings, ("optimizer", "depth"))}
    assert found == {
        "optimizer=adam": {"optimizer": "adam", "depth": 2, "taper": 0.7},
        "depth=1": {**{name: settings[name] for name in settings if name != "taper"}, "depth": 1},
        "depth=3": {**settings, "depth": 3},
    }


def test_regularizers_that_others_switch_off_are_left_out() -> None:
    spec = declared(
        mix=Float(0.0, 1.0, off=0.0),
        mix_share=Float(0.1, 1.0, when={"mix": {"above": 0.0}}),
        depth=Int(1, 3),
    )
    found = unregularized(spec, {"mix": 0.5, "mix_share": 0.2, "depth": 1})
    assert found is not None
    assert found.settings == {"mix": 0.0, "depth": 1}


def test_another_objective_says_itself_what_off_is() -> None:
    spec = declared(drop=Float(0.0, 0.5, off=0.0), noise=Float(0.1, 1.0))
    found = unregularized(spec, {"drop": 0.3, "noise": 0.2})
    assert found is not None
    assert found.settings == {"drop": 0.0, "noise": 0.2}
    assert changeable(spec, {"drop": 0.3, "noise": 0.2})["drop"] == [0.0, 0.175, 0.425]


def test_a_step_ends_at_what_the_range_allows() -> None:
    spec = declared(x=Float(0.0, 1.0), n=Int(1, 100), k=Int(1, 4))
    found = changeable(spec, {"x": 0.9, "n": 100, "k": 1})
    assert found == {"x": [0.65], "n": [75], "k": [2]}  # 0.1 to the end is less than half a step


def test_a_step_leads_to_a_value_of_the_range() -> None:
    spec = declared(x=Float(0.12345, 0.98765), n=Int(16, 100, step=16), m=Int(0, 100, step=7))
    found = changeable(spec, {"x": 0.3, "n": 96, "m": 91})
    assert found == {"x": [0.12345, 0.516], "n": [80], "m": [63, 98]}
    domains = space_of_spec(spec).domains
    assert all(value in domains[name] for name, values in found.items() for value in values)


def test_a_step_of_a_network_leads_to_what_is_legal() -> None:
    assert changeable(SPEC, {**CONV, "momentum": 0.96})["momentum"] == [0.915, 0.9999]


def test_settings_that_do_nothing_in_either_network_are_no_difference() -> None:
    assert changes(SPEC, CONV, {**CONV, "hidden_taper": 0.9, "number_width": 0}) == {}
