"""What users say of their settings: domains, conditions and the space that they make."""

from __future__ import annotations

import pickle
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from snapshots import Snapshots

import tune
from tune.space import Choice, Domain, Fixed, Float, Int, Space, SpaceError, Value, When

SENTENCES = Snapshots(__file__, "space")
ROOT = Path(__file__).resolve().parents[2]


class TestDomain:
    @pytest.mark.parametrize(
        ("make", "complaint"),
        [
            (lambda: Int(3, 2), "low must not exceed high, but 3 > 2"),
            (lambda: Int(0, 2, log=True), "low must be above 0 on a logarithmic scale, not 0"),
            (lambda: Int(1, 9, log=True, step=2), "step must be 1 on a logarithmic scale, not 2"),
            (lambda: Int(1, 9, step=0), "step must be at least 1, not 0"),
            (lambda: Int(1.5, 2), "low must be a whole number, not 1.5"),  # type: ignore[arg-type]
            (lambda: Int(True, 2), "low must be a whole number, not True"),
            (lambda: Int(1, 2, log="yes"), "log must be true or false, not 'yes'"),  # type: ignore[arg-type]
            (lambda: Int(1, 2, off=0.5), "off must be a whole number, not 0.5"),  # type: ignore[arg-type]
            (lambda: Float(0.0, float("nan")), "high must be a finite number, not nan"),
            (lambda: Float(0, 10**400), "high must be a finite number, not 10000"),
            (lambda: Float(-1.0, 1.0, log=True), "low must be above 0"),
            (lambda: Float(0.0, 1.0, off="none"), "off must be a finite number"),  # type: ignore[arg-type]
            (lambda: Choice(()), "must name at least one"),
            (lambda: Choice(("a", "a")), "options must differ"),
            (
                lambda: Choice([False, 0, 1, 2]),
                "differ from each other: [False, 0, 1, 2] (1, 1.0 and True are equal)",
            ),
            (lambda: Choice([1, 1.0]), "differ from each other: [1, 1.0] (1, 1.0"),
            (lambda: Choice(["a", True, 1.0]), "(1, 1.0 and True are equal)"),
            (lambda: Choice("sgd"), "options must be a list of values, not 'sgd'"),
            (lambda: Choice([None]), "an option is a number, a word, true or false, not None"),  # type: ignore[list-item]
            (lambda: Choice(["a", "b"], off="c"), "off must be one of the options, not 'c'"),
            (lambda: Fixed([1]), "a fixed value is a number, a word, true or false, not [1]"),  # type: ignore[arg-type]
            (lambda: Int(1, 2, when={"a": 1}, drawn_despite=["b"]), "drawn_despite names settings of when"),
        ],
    )
    def test_a_mistake_is_refused_with_the_rule_and_the_value(
        self, make: Callable[[], object], complaint: str
    ) -> None:
        with pytest.raises(SpaceError, match=re.escape(complaint)):
            make()

    @pytest.mark.parametrize(
        ("domain", "inside", "outside"),
        [
            (Int(2, 8, step=2), [2, 4, 8], [3, 9, 0, 2.0, True, "2"]),
            (Float(0, 1), [0.0, 0.5, 1, 1.0], [-0.1, 1.1, True, "0.5", float("nan")]),
            (Choice((1, False, "a")), [1, False, "a"], [0, True, "b", 1.0]),
            (Fixed(64), [64], [64.0, 65, "64"]),
        ],
    )
    def test_knows_what_it_contains(
        self, domain: Domain, inside: list[object], outside: list[object]
    ) -> None:
        assert [value for value in inside if value not in domain] == []
        assert [value for value in outside if value in domain] == []

    def test_is_equal_by_value(self) -> None:
        one = Float(low=1e-4, high=0.1, log=True, when={"a": [1, 2], "b": {"above": 1}}, off=0)
        other = Float(1e-4, 0.1, log=True, when={"b": {"above": 1}, "a": (1, 2)}, off=0.0)
        assert one == other
        assert hash(one) == hash(other)
        assert pickle.loads(pickle.dumps(one)) == one
        assert one != Float(1e-4, 0.1, log=True)
        assert repr(one).startswith("Float(low=0.0001, high=0.1, log=True, off=0.0, when={")
        assert eval(repr(one), {"Float": Float}) == one
        with pytest.raises(AttributeError):
            one.low = 0.0  # type: ignore[misc]


class TestConditions:
    @pytest.mark.parametrize(
        ("condition", "holds", "fails"),
        [
            ("sgd", ["sgd"], ["adam", 1]),
            (1, [1, 1.0], [True, "1", 2]),
            (True, [True], [1, False]),
            ([1, "a"], [1, "a"], [2, "b"]),
            ({"above": 1}, [1.5, 2], [1, 0, True, "a"]),
            ({"below": 1}, [0.5, -2], [1, 2, False]),
            ({"above": 1, "below": 3}, [2], [1, 3]),
        ],
    )
    def test_hold_for(self, condition: object, holds: list[Value], fails: list[Value]) -> None:
        when = When({"other": condition})
        assert [value for value in holds if not when.hold({"other": value})] == []
        assert [value for value in fails if when.hold({"other": value})] == []
        assert not when.hold({}), "a setting that is not there fulfills nothing"
        assert When(when.entries()) == when

    @pytest.mark.parametrize(
        ("when", "complaint"),
        [
            ("optimizer", 'when must name settings with their values, such as {"optimizer": "sgd"}'),
            ({1: 2}, "when must name settings, not 1"),
            ({"a": []}, "the list of values of a must name at least one"),
            ({"a": [1, 1.0]}, "the values of a must differ from each other: [1, 1.0]"),
            ({"a": None}, "a must be a value, a list of values or a bound, not None"),
            ({"a": {"over": 1}}, "a bound of a has above, below or both, not 'over'"),
            ({"a": {}}, "a bound of a has above, below or both, and this one is empty"),
            ({"a": {"above": "1"}}, "a: above must be a finite number, not '1'"),
            ({"a": {"above": 2, "below": 2}}, "no a is above 2 and below 2"),
        ],
    )
    def test_a_mistake_is_named(self, when: Mapping[str, object], complaint: str) -> None:
        with pytest.raises(SpaceError, match=re.escape(complaint)):
            Int(1, 2, when=when)

    @pytest.mark.parametrize(
        ("settings", "complaint"),
        [
            (
                {"optimzer": "sgd"},
                "x: when names optimzer, which is no setting of this space (did you mean opt",
            ),
            ({"optimizer": "sdg"}, "x: when: optimizer is never 'sdg' (it is one of sgd, adam)"),
            ({"optimizer": ["sgd", "sdg"]}, "x: when: optimizer is never 'sdg'"),
            ({"optimizer": {"above": 1}}, "x: when: optimizer is never above 1"),
            ({"depth": 4}, "x: when: depth is never 4 (it is a whole number from 1 to 3)"),
            ({"depth": {"above": 3}}, "x: when: depth is never above 3"),
            ({"depth": {"above": 1, "below": 2}}, "x: when: depth is never above 1 and below 2"),
            ({"depth": {"above": 1.2, "below": 1.8}}, "x: when: depth is never above 1.2 and below 1.8"),
            ({"lr": {"below": 0}}, "x: when: lr is never below 0 (it is a number from 0 to 1)"),
            ({"lr": {"above": 1}}, "x: when: lr is never above 1"),
            ({"fixed": 2}, "x: when: fixed is never 2 (it is 1)"),
            ({"x": 1}, "x: when leads back to the setting itself: x → x"),
            ({"y": 1}, "y: when leads back to the setting itself: y → z → x → y"),
        ],
    )
    def test_what_can_never_hold_is_refused(self, settings: Mapping[str, object], complaint: str) -> None:
        with pytest.raises(SpaceError, match=re.escape(complaint)):
            Space(
                optimizer=Choice(["sgd", "adam"]),
                depth=Int(1, 3),
                lr=Float(0, 1),
                fixed=Fixed(1),
                y=Int(1, 2, when={"z": 1}),
                z=Int(1, 2, when={"x": 1}),
                x=Int(1, 2, when=settings),
            )

    @pytest.mark.parametrize(
        ("other", "condition"),
        [
            (Float(0, 1), {"above": 0.2, "below": 0.3}),
            (Float(0, 1), {"above": 0}),
            (Float(0, 1), {"below": 1}),
            (Float(1, 1), {"above": 0.5, "below": 1.5}),
            (Int(1, 9, step=4), {"above": 5, "below": 10}),
            (Choice([1, 2, "a"]), {"above": 1}),
        ],
    )
    def test_what_can_hold_is_not(self, other: Domain, condition: object) -> None:
        assert Space(other=other, x=Int(1, 2, when={"other": condition})).can_be_active("x")

    def test_one_that_only_hides_may_never_hold(self) -> None:
        space = Space(
            depth=Fixed(1), taper=Float(0, 1, when={"depth": {"above": 1}}, drawn_despite=["depth"])
        )
        assert not space.can_be_active("taper")
        assert space.complete({}, lambda *_: 0.5) == {"depth": 1, "taper": 0.5}
        assert space.active({"taper": 0.5}) == {"depth": 1}


class TestSpace:
    def test_what_a_user_writes(self) -> None:
        space = tune.Space(
            lr=tune.Float(1e-4, 1e-1, log=True),
            depth=tune.Int(1, 4),
            optimizer=tune.Choice(["sgd", "adam"]),
            momentum=tune.Float(0.0, 0.99, when={"optimizer": "sgd"}),
        )
        assert list(space.domains) == ["lr", "depth", "optimizer", "momentum"]
        assert space.active({"lr": 0.1, "depth": 1, "optimizer": "adam", "momentum": 0.5}) == {
            "lr": 0.1,
            "depth": 1,
            "optimizer": "adam",
        }
        assert pickle.loads(pickle.dumps(space)) == space
        assert tune.Space({"learning rate": tune.Float(0, 1)}, depth=tune.Int(1, 2)).order == (
            "learning rate",
            "depth",
        )

    @pytest.mark.parametrize(
        ("make", "complaint"),
        [
            (lambda: Space(lr=0.1), "lr must be Float, Int or Choice, not 0.1"),  # type: ignore[arg-type]
            (lambda: Space({"": Int(1, 2)}), "the name of a setting is a word, not ''"),
            (lambda: Space({"a": Int(1, 2)}, a=Int(1, 2)), "a is given twice"),
            (lambda: Space([Int(1, 2)]), "a space is made of settings with their domains"),  # type: ignore[arg-type]
        ],
    )
    def test_a_mistake_is_named(self, make: Callable[[], object], complaint: str) -> None:
        with pytest.raises(SpaceError, match=re.escape(complaint)):
            make()

    def test_all_mistakes_are_told_at_once(self) -> None:
        """A domain alone raises where it is written; a space knows the names of its settings."""
        with pytest.raises(SpaceError) as caught:
            Space(
                {"": Int(1, 2), "a": Int(1, 2, when={"widht": 3})},
                a=Int(1, 2, when={"widht": 3}),
                b=0.1,  # type: ignore[arg-type]
                c=Int(1, 2, when={"b": 5, "a": 7}),
                d=Int(1, 2, when={"d": 1, "e": 3}),
                e=Int(1, 2, when={"f": 1, "width": 1, "nothing": 2}),
                f=Int(1, 2, when={"e": 1}),
                width=Int(1, 2),
            )
        SENTENCES.check("all mistakes of a space", str(caught.value).split("; "))
        domains = {str(n): Int(1, 2, when={"x": 1}) for n in range(50)}
        with pytest.raises(SpaceError) as caught:
            Space(domains)
        assert str(caught.value).count("when names x") == 20
        assert str(caught.value).endswith("; and more")

    def test_a_setting_is_drawn_after_those_that_its_conditions_are_on(self) -> None:
        space = Space(
            c=Int(1, 2, when={"b": 1}), lr=Float(0, 1), b=Int(1, 2, when={"a": 1}), a=Int(1, 2), d=Int(1, 2)
        )
        assert space.order == ("a", "b", "c", "lr", "d")

    def test_a_chain_of_any_length(self) -> None:
        chain = {str(n): Int(0, 1, when={str(n - 1): 1} if n else None) for n in reversed(range(3_000))}
        space = Space(chain)
        assert len(space.active(dict.fromkeys(chain, 1))) == 3_000
        assert len(space.active({**dict.fromkeys(chain, 1), "1000": 0})) == 1_001
        with pytest.raises(SpaceError, match="leads back"):
            Space({**chain, "0": Int(0, 1, when={"2999": 1})})

    def test_pinned_settings_are_there_whatever_their_conditions(self) -> None:
        space = Space(
            optimizer=Choice(["sgd", "adam"]),
            momentum=Float(0, 1, when={"optimizer": "sgd"}),
            nesterov=Choice([False, True], when={"momentum": {"above": 0.5}}),
        )
        pinned = {"optimizer": "lion", "momentum": 2.0, "extra": 7}
        assert space.complete({}, lambda *_: True, pinned=pinned) == {**pinned, "nesterov": True}
        assert space.active({"nesterov": True}, pinned=pinned) == {**pinned, "nesterov": True}
        assert space.shape({}, pinned=pinned).searched == {*pinned, "nesterov"}

    @given(data=st.data())
    def test_drawn_are_exactly_the_active_settings(self, data: st.DataObject) -> None:
        """Against the meaning of a condition, read without order: repeat until nothing changes."""
        space = data.draw(spaces())
        drawn = space.complete(
            {}, lambda name, domain: data.draw(st.sampled_from(values_of(domain)), label=name)
        )
        assert space.active(drawn) == drawn == expected(space, drawn)
        everything = {name: drawn.get(name, values_of(domain)[0]) for name, domain in space.domains.items()}
        assert space.active(everything) == drawn
        shape = space.shape(drawn)
        assert shape.searched | shape.fixed.keys() == drawn.keys()
        assert shape == Space(dict(space.domains)).shape(drawn), "as computed anew"


def expected(space: Space, values: Mapping[str, Value]) -> dict[str, Value]:
    """The settings that are left when one after the other is taken out whose conditions do not hold."""
    left = dict(values)
    while wrong := [name for name in left if not space.domains[name].when.hold(left)]:
        del left[wrong[0]]
    return left


def values_of(domain: Domain) -> list[Value]:
    if isinstance(domain, Fixed):
        return [domain.value]
    if isinstance(domain, Choice):
        return list(domain.options)
    assert isinstance(domain, Int)
    return list(range(domain.low, domain.high + 1))


@st.composite
def spaces(draw: st.DrawFn) -> Space:
    """Discrete spaces of up to six settings, in any order, with conditions on those before them."""
    domains: dict[str, Domain] = {}
    for name in "abcdef"[: draw(st.integers(1, 6))]:
        when: dict[str, object] = {}
        for other in draw(st.lists(st.sampled_from(sorted(domains)), unique=True)) if domains else ():
            options = values_of(domains[other])
            some = st.lists(st.sampled_from(options), min_size=1, unique=True)
            bounds = [{"above": each} for each in options[:-1] if isinstance(each, int)]
            when[other] = draw(st.one_of(some, *map(st.just, bounds)))
        domain: Domain = draw(
            st.sampled_from([Int(1, 3), Choice(["x", "y"]), Fixed(7), Int(0, 1), Choice(["z"])])
        )
        domains[name] = type(domain)(**{**plain(domain), "when": when})
    order = draw(st.permutations(sorted(domains)))
    return Space({name: domains[name] for name in order})


def plain(domain: Domain) -> dict[str, object]:
    if isinstance(domain, Int):
        return {"low": domain.low, "high": domain.high}
    return {"options": domain.options} if isinstance(domain, Choice) else {"value": domain.value}  # type: ignore[union-attr]


def test_importing_it_imports_nothing_of_ours() -> None:
    """Repositories of users have packages called search, data and models."""
    code = (
        "import sys, tune; print(sorted({'search', 'data', 'models', 'torch', 'optuna'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == "[]\n"
