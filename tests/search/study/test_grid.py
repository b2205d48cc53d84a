"""Which settings mean the same network, and what is left of a discrete space."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import replace

import hypothesis
import pytest
from hypothesis import given
from hypothesis import strategies as st
from specs import network_spec
from valley import valley_spec

from data.tasks.registry import TASKS, get_task
from models.network import build
from search.objectives.network.decoding import decode, signature_of
from search.records import State, TrialRecord, Value
from search.space.defaults import BY_NAME, FAMILIES, default_space
from search.space.file import change_space, space_entries
from search.study import grid
from search.study.grid import _values, configurations, identity, is_discrete, is_exhausted, untaken
from tune.space import Choice, Domain, Fixed, Float, Int, Space

VALLEY = valley_spec()

TWODIGIT = network_spec()

FIXED: dict[str, object] = {
    "optimizer": "adamw",
    "lr": 0.003,
    "momentum": 0.9,
    "weight_decay": 0.001,
    "batch_size": 128,
    "label_smoothing": 0.0,
    "activation": "relu",
    "dropout": 0.0,
}
MLP: dict[str, object] = {**FIXED, "depth": 1, "width": 64}
CONV: dict[str, object] = {
    **FIXED,
    "blocks": 2,
    "convolutions": 1,
    "channels": 8,
    "growth": 2.0,
    "hidden": 128,
}


def mlp(**changes: object) -> Space:
    return change_space({**MLP, **changes}, ("mlp",), where="test")


def conv(**changes: object) -> Space:
    return change_space({**CONV, **changes}, ("conv",), where="test")


BOTH = change_space({**MLP, **CONV, "taper": 0.5}, FAMILIES, where="test")


@pytest.mark.parametrize(
    ("space", "task", "size"),
    [
        (mlp(), "twodigit", 1),  # with one layer the taper, a range by default, does nothing
        (mlp(width=[16, 32]), "twodigit", 2),
        (mlp(width={"low": 10, "high": 20, "step": 4}), "twodigit", 3),
        (mlp(lr={"low": 0.1, "high": 0.1}), "twodigit", 1),
        (mlp(depth=[1, 2], taper=[0.5, 1.0]), "twodigit", 3),  # 64; 64-32; 64-64
        (mlp(depth=2, taper=[0.5, 0.501]), "twodigit", 1),  # 32 units both
        (mlp(optimizer=["adam", "adamw", "sgd", "nesterov"], weight_decay=0.0), "twodigit", 3),
        (mlp(optimizer=["adam", "adamw", "sgd", "nesterov"], momentum=0.0), "twodigit", 3),
        (mlp(optimizer=["adam", "adamw", "sgd", "nesterov"]), "twodigit", 4),
        (conv(growth=[1.75, 2.0, 2.25]), "twodigit", 1),  # 8 and 16 channels all, in multiples of 8
        (conv(growth=[1.75, 2.0, 2.25], divisor=1), "twodigit", 3),
        (conv(blocks=[1, 2], convolutions=[1, 2]), "twodigit", 3),
        (conv(number_width=[0, 64]), "twodigit", 1),  # which has no number
        (conv(number_width=[0, 64]), "sum", 2),
        (BOTH, "twodigit", 2),
    ],
)
def test_the_number_of_configurations_of_a_discrete_space(space: Space, task: str, size: int) -> None:
    spec = replace(TWODIGIT, task=task)
    assert is_discrete(space, spec)
    every = configurations(space, spec)
    assert every is not None
    assert len(every) == size
    for found, settings in every.items():
        assert identity(settings, space, spec) == found
        assert settings == space.complete(settings, lambda *_: None)
        assert all(value in space.domains[name] for name, value in settings.items())


@pytest.mark.parametrize(
    "space",
    [
        default_space(),
        mlp(lr={"low": 0.1, "high": 0.2}),
        mlp(depth=[1, 2]),  # with a taper in between
        mlp(depth={"low": 1, "high": 2}),
        Space(),
    ],
)
def test_a_continuous_space_is_never_exhausted(space: Space) -> None:
    assert not is_discrete(space, TWODIGIT)
    assert configurations(space, TWODIGIT) is None


def test_of_another_objective_every_active_setting_counts() -> None:
    """Also one with the name of a setting of networks that does nothing there, and without a model."""
    domains: dict[str, Domain] = {
        "optimizer": Choice(options=("adam", "adamw")),
        "weight_decay": Fixed(value=0.0),
        "bounces": Int(low=0, high=2),
        "spring": Choice(options=(1, 2), when={"bounces": [1, 2]}),
    }
    space = Space(domains)
    assert is_discrete(space, VALLEY)
    every = configurations(space, VALLEY) or {}
    assert len(every) == 2 * (1 + 2 * 2)
    assert {identity(each, space, VALLEY) for each in every.values()} == every.keys()
    assert not is_discrete(space, TWODIGIT), "networks have a model"
    continuous = Space({**domains, "push": Float(low=0.0, high=1.0)})
    assert not is_discrete(continuous, VALLEY)
    assert configurations(continuous, VALLEY) is None


def test_a_large_space_is_not_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    space = mlp(width={"low": 1, "high": 300})
    assert len(configurations(space, TWODIGIT) or {}) == 300
    assert configurations(space, TWODIGIT, at_most=299) is None
    monkeypatch.setattr(grid, "MOST", 100)
    assert configurations(space, TWODIGIT) is None


@pytest.mark.parametrize(
    "space", [mlp(depth=[1, 2], taper=[0.5, 1.0]), conv(blocks=[1, 2], growth=[1.0, 2.0])]
)
def test_configurations_are_different_networks(space: Space) -> None:
    """As the trial runner builds them."""
    signature = signature_of(get_task("twodigit"))
    shapes = [
        [
            tuple(p.shape)
            for p in build(
                decode(each, images=9, seed=0, precision="float32").model, signature, seed=0
            ).parameters()
        ]
        for each in (configurations(space, TWODIGIT) or {}).values()
    ]
    assert len(shapes) == len({tuple(each) for each in shapes}) == 3


POOL: Mapping[str, list[Value]] = {
    "optimizer": ["sgd", "nesterov", "adam", "adamw"],
    "momentum": [0.0, 0.9],
    "weight_decay": [0.0, 0.1],
    "dropout": [0.0, 0.5],
    "label_smoothing": [0.1, 0.2],
    "depth": [1, 2],
    "taper": [0.5, 1.0],
}
"""Values of settings whose networks are different unless they are meant to be the same."""


@st.composite
def conditional_spaces(draw: st.DrawFn) -> Space:
    """Spaces of a few of these settings, where each may have a condition on one before it."""
    names = draw(st.lists(st.sampled_from(sorted(POOL)), min_size=1, max_size=5, unique=True))
    entries: dict[str, object] = {}
    for place, name in enumerate(names):
        entries[name] = POOL[name]
        if place and BY_NAME[name].otherwise is not None and draw(st.booleans()):
            other = draw(
                st.sampled_from([each for each in names[:place] if each != "taper" or name != "depth"])
            )
            some = draw(st.lists(st.sampled_from(POOL[other]), min_size=1, unique=True))
            entries[name] = {"options": POOL[name], "when": {other: some}}
    return mlp(taper=0.5, **entries) if "taper" not in entries else mlp(**entries)


@hypothesis.settings(deadline=None)
@given(space=conditional_spaces())
def test_as_many_configurations_as_there_are_different_trainings(space: Space) -> None:
    """Against all combinations, each without its inactive settings, as the trial runner would train them."""
    names = list(space.domains)
    trainings = set()
    for values in itertools.product(*(_values(space.domains[name]) for name in names)):
        left = dict(zip(names, values, strict=True))
        while wrong := [name for name in left if not space.domains[name].when.hold(left)]:
            del left[wrong[0]]
        spec = decode(left, images=9, seed=0, precision="float32")
        optimizer = spec.training.optimizer
        if optimizer.name == "nesterov" and optimizer.momentum == 0:
            optimizer = replace(optimizer, name="sgd")
        if optimizer.name == "adamw" and optimizer.weight_decay == 0:
            optimizer = replace(optimizer, name="adam")
        trainings.add(replace(spec, training=replace(spec.training, optimizer=optimizer)))
    every = configurations(space, TWODIGIT)
    assert every is not None
    assert len(every) == len(trainings)
    assert {identity(drawn, space, TWODIGIT) for drawn in every.values()} == every.keys()


class TestUntaken:
    SPACE = mlp(width={"low": 1, "high": 5}, activation=["relu", "elu", "silu"])

    def settings(self, width: int, activation: str) -> dict[str, Value]:
        every = (configurations(self.SPACE, TWODIGIT) or {}).values()
        [found] = [each for each in every if (each["width"], each["activation"]) == (width, activation)]
        return found

    def instead(
        self,
        proposed: dict[str, Value],
        *taken: dict[str, Value],
        given: Mapping[str, Value] | None = None,
        seed: int = 0,
        listed: bool = True,
    ) -> dict[str, Value]:
        return untaken(
            proposed,
            {identity(each, self.SPACE, TWODIGIT) for each in taken},
            every=configurations(self.SPACE, TWODIGIT) if listed else None,
            space=self.SPACE,
            spec=TWODIGIT,
            given=given or {},
            seed=seed,
        )

    def test_an_untaken_proposal_is_kept(self) -> None:
        proposed = {**self.settings(1, "relu"), "taper": 0.7}
        assert self.instead(proposed, self.settings(2, "relu")) == proposed

    def test_else_one_that_differs_in_one_setting_by_the_seed(self) -> None:
        mine = self.settings(1, "relu")
        found = [self.instead(mine, mine, seed=seed) for seed in range(30)]
        assert all((each["width"] != 1) + (each["activation"] != "relu") == 1 for each in found)
        assert found == [self.instead(mine, mine, seed=seed) for seed in range(30)]
        assert len({identity(each, self.SPACE, TWODIGIT) for each in found}) == 6, (
            "each of them has its chance"
        )

    def test_an_idle_setting_makes_no_other_network(self) -> None:
        mine = {**self.settings(1, "relu"), "taper": 0.7}
        found = self.instead(mine, self.settings(1, "relu"))
        assert identity(found, self.SPACE, TWODIGIT) != identity(mine, self.SPACE, TWODIGIT)

    def test_a_required_setting_that_is_inactive_does_not_count(self) -> None:
        mine = self.settings(1, "relu")
        found = self.instead(mine, mine, given={"width": 1, "taper": 0.9, "channels": 8})
        assert found["width"] == 1
        assert found["activation"] != "relu"

    def test_a_required_setting_stays(self) -> None:
        mine = self.settings(1, "relu")
        found = self.instead(mine, mine, given={"width": 1})
        assert found["width"] == 1
        assert found["activation"] != "relu"
        assert self.instead(mine, mine, given=mine) == mine, "a repetition"

    @pytest.mark.parametrize("listed", [True, False])
    @hypothesis.settings(deadline=None)
    @given(order=st.permutations(range(15)), seed=st.integers(0, 2**31))
    def test_all_are_found_once(self, listed: bool, order: list[int], seed: int) -> None:
        every = list((configurations(self.SPACE, TWODIGIT) or {}).values())
        taken: list[dict[str, Value]] = []
        for index in order:
            taken.append(self.instead(every[index], *taken, seed=seed, listed=listed))
        assert len({identity(each, self.SPACE, TWODIGIT) for each in taken}) == 15


class TestExhausted:
    SPACE = mlp(width=[16, 32])

    def study(self, *states: State, confirms: str | None = None, reference: bool = False) -> bool:
        """Whether a study is exhausted whose trials have these states: with 16 units, with 32, with 16 …"""
        spec = replace(TWODIGIT, space=space_entries(self.SPACE), confirms=confirms)
        trials = [
            TrialRecord(
                trial_id=number,
                number=number,
                state=state,
                score=None,
                params={"width": (16, 32)[number % 2]},
                fixed=self.SPACE.shape({}).fixed,
                reference="course-mlp" if reference else None,
            )
            for number, state in enumerate(states)
        ]
        return is_exhausted(spec, self.SPACE, trials)

    @pytest.mark.parametrize(
        ("states", "exhausted"),
        [
            ((), False),
            ((State.COMPLETE,), False),
            ((State.COMPLETE, State.PRUNED), True),
            ((State.COMPLETE, State.FAILED), True),  # what was not its fault is queued again
            ((State.COMPLETE, State.RUNNING), False),
            ((State.COMPLETE, State.FAILED, State.PRUNED, State.WAITING), False),
        ],
    )
    def test_when_all_were_tried_and_nothing_is_under_way(
        self, states: tuple[State, ...], exhausted: bool
    ) -> None:
        assert self.study(*states) is exhausted

    def test_a_confirmation_never_is(self) -> None:
        assert not self.study(State.COMPLETE, State.COMPLETE, confirms="s")

    def test_references_are_no_part_of_the_search(self) -> None:
        assert not self.study(State.COMPLETE, State.COMPLETE, reference=True)
        assert identity(TASKS["twodigit"].references["course-mlp"], self.SPACE, TWODIGIT)
