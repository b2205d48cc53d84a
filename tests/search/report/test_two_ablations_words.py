"""What two ablations say together, on ablations whose truth was made up."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from made_ablation import LENGTHS, ROLLING, VARIANTS, Made, made_ablation, made_valley_ablation
from snapshots import Snapshots

from search.analysis.ablation import Ablation
from search.analysis.two_ablations import TwoAblations, two_ablations
from search.report.side_by_side.two_ablations_words import effect_rows, sentences

SENTENCES = Snapshots(__file__, "two_ablations_words")

UNLIKE: dict[str, Any] = {"lr": (0.003, 0.001), "dropout": (0.2, 0.1), "kernel": (None, 5)}


def other(**effects: float) -> Ablation:
    """Of the second search, where arms of these settings have other effects."""
    arms: list[Made] = [
        replace(made, effect=effects[name]) if (name := made.name.partition("=")[0]) in effects else made
        for made in (*VARIANTS, *LENGTHS)
    ]
    return made_ablation(arms, name="second", draws=6)


def beside(second: Ablation, **more: Any) -> TwoAblations:
    return two_ablations(made_ablation(), second, more.pop("unlike", UNLIKE), **more)


def test_what_differs_and_on_what_it_depends() -> None:
    pair = beside(other(affine=-0.008))
    assert [each.first.arm.name for each in pair.shared if each.differs] == ["affine=0.0"]
    SENTENCES.check("one effect differs", sentences(pair))


def test_several_effects() -> None:
    pair = beside(other(affine=-0.008, activation=-0.01))
    told = sentences(pair)
    assert told[0].startswith("2 of 18 changes ")
    SENTENCES.check("several effects differ", told[:2])


def test_no_effect_differs() -> None:
    pair = beside(other())
    assert not any(each.differs for each in pair.shared)
    SENTENCES.check("no effect differs", sentences(pair))


def test_one_thing_differs_between_the_winners() -> None:
    told = sentences(beside(other(affine=-0.008), unlike={"dropout": (0.2, 0.1)}))
    SENTENCES.check("one setting is unlike", [told[1]])


def test_learning_rates_that_were_chosen_for_a_variant_are_among_what_an_effect_depends_on() -> None:
    rates = [{"optimizer": "sgd", "lr": rate} for rate in (0.0188, 0.353)]
    ablations = [
        made_ablation(
            [
                replace(made, changed=rate, effect=effect) if made.name == "optimizer=sgd" else made
                for made in (*VARIANTS, *LENGTHS)
            ],
            name=name,
            draws=draws,
        )
        for rate, effect, name, draws in zip(
            rates, (-0.004, 0.004), ("twodigit", "second"), (5, 6), strict=True
        )
    ]
    told = sentences(two_ablations(*ablations, {"dropout": (0.2, 0.1)}))
    assert told[0].count("optimizer adamw → sgd (") == 1
    SENTENCES.check("a variant has another learning rate", [told[1]])


def test_a_step_of_another_size_is_among_what_an_effect_depends_on() -> None:
    second = made_ablation(
        [
            replace(made, name="dropout=0.45", changed={"dropout": 0.45}, effect=-0.009)
            if made.name == "dropout=0.325"
            else made
            for made in (*VARIANTS, *LENGTHS)
        ],
        name="second",
        draws=6,
    )
    told = sentences(two_ablations(made_ablation(), second, {}))
    assert "dropout, a step up (" in told[0]
    SENTENCES.check("a step goes further", [told[1]])


def test_code_is_among_what_an_effect_depends_on() -> None:
    worse = [replace(made, effect=-4.0) if made.name == "push=left" else made for made in ROLLING]
    first, second = made_valley_ablation(), made_valley_ablation(worse)
    unlike: dict[str, Any] = {"friction": (0.0316, 0.05)}
    assert "the one thing in which" in sentences(two_ablations(first, second, unlike))[1]
    second = replace(second, code_of_runs=frozenset({"1" * 64}))
    assert sentences(two_ablations(first, second, unlike))[1].endswith(
        "friction 0.0316 and 0.05 and the code."
    )


def test_nothing_differs_between_the_winners() -> None:
    told = sentences(beside(other(affine=-0.008), unlike={}))
    SENTENCES.check("no setting is unlike", [told[1]])


def test_many_settings_are_counted() -> None:
    told = sentences(beside(other(affine=-0.008), unlike={f"s{n}": (n, n + 1) for n in range(20)}))
    assert "s11 11 and 12" in told[1]
    assert "s12" not in told[1]
    assert "8 more settings" in told[1]


def test_few_seeds_are_told() -> None:
    pair = two_ablations(made_ablation(seeds=2), other(), UNLIKE)
    SENTENCES.check("two seeds", sentences(pair))


def test_nothing_in_common_is_told() -> None:
    second = made_ablation([VARIANTS[0], VARIANTS[4]], name="second")
    first = made_ablation([VARIANTS[0], VARIANTS[9]])
    SENTENCES.check("nothing in common", sentences(two_ablations(first, second, UNLIKE)))


def test_a_metric_that_is_minimized() -> None:
    pair = two_ablations(made_valley_ablation(), made_valley_ablation(), {})
    told = sentences(pair)
    assert any(each.startswith("Worse in both: push none → left (") for each in told)
    rows = dict(effect_rows([pair]))
    assert rows["push none → left"] == ("+2.18 worse", "+2.18 worse")


def test_a_row_for_each_change_and_a_cell_for_each_study() -> None:
    first, second = beside(other(affine=-0.008), pairs=2), beside(other(), pairs=2)
    rows = dict(effect_rows([first, second]))
    assert len(rows) == 18
    assert rows["affine 1 → 0"][1].endswith("worse, differs")
    assert not rows["affine 1 → 0"][2].endswith("differs")
    assert rows["2 epochs → 4 epochs"][0].endswith("better")
    single = two_ablations(made_ablation(), made_ablation([VARIANTS[0], VARIANTS[4]], name="second"), {})
    assert dict(effect_rows([first, single]))["affine 1 → 0"][2] == "–"
