"""The search space as data, and its TOML file with all its mistakes at once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_images import MadeImages
from snapshots import Snapshots

from data.tasks.classification import Classification
from data.tasks.registry import TASKS
from search.errors import ConfigError
from search.space.defaults import (
    BY_NAME,
    FAMILIES,
    PARAMETERS,
    default_domains,
    default_space,
    in_effect,
    shown_settings,
    without_effect,
)
from search.space.file import change_space, read_space, space_entries, space_of_entries, space_toml
from search.space.widen import widened
from search.tasks import known_task
from tune.space import Choice, Domain, Fixed, Float, Int, Value, When

MESSAGES = Snapshots(__file__, "mistakes")


class TestDefaults:
    @pytest.mark.parametrize("parameter", PARAMETERS, ids=lambda p: p.name)
    def test_every_default_is_legal(self, parameter) -> None:  # type: ignore[no-untyped-def]
        corners = {
            Int: lambda d: [d.low, d.high],
            Float: lambda d: [d.low, d.high],
            Choice: lambda d: list(d.options),
            Fixed: lambda d: [d.value],
        }[type(parameter.default)](parameter.default)
        assert [value for value in corners if value not in parameter.legal] == []

    def test_a_family_has_its_own_settings_only(self) -> None:
        assert "width" in default_space(("mlp",)).domains
        assert "channels" not in default_space(("mlp",)).domains
        both = default_space()
        assert "channels" in both.shape({"model": "conv"}).searched
        assert "channels" not in both.shape({"model": "mlp"}).searched

    def test_a_setting_that_does_nothing_is_drawn_and_inactive(self) -> None:
        """TPE models the settings of each family together: what a family has, each of its trials has."""
        space = default_space()
        for parameter in PARAMETERS:
            assert set(parameter.when) == {
                *parameter.drawn_despite,
                *(("model",) if parameter.family else ()),
            }
        drawn = {"model": "mlp", "depth": 1, "taper": 0.7}
        assert space.complete(drawn, lambda *_: None)["taper"] == 0.7
        assert "taper" not in space.active(drawn)
        assert space.active({**drawn, "depth": 2})["taper"] == 0.7
        assert space.is_drawn("taper", {"model": "mlp"})
        assert not space.is_drawn("taper", {"model": "conv"})

    def test_settings_are_drawn_in_the_order_in_which_they_always_were(self) -> None:
        space = default_space()
        assert space.order == tuple(space.domains) == tuple(name for name in BY_NAME if name != "flip")

    @pytest.mark.parametrize(
        ("settings", "momentum"),
        [
            ({"optimizer": "sgd"}, 0.0),
            ({"optimizer": "nesterov"}, 0.0),
            ({"optimizer": "adam"}, 0.9),
            ({"optimizer": "adam", "momentum": 0.5}, 0.5),
        ],
    )
    def test_without_a_setting_it_does_nothing(self, settings: dict[str, Value], momentum: float) -> None:
        found = in_effect({"model": "conv", **settings})
        assert found["momentum"] == momentum
        assert (found["dropout"], found["hidden_layers"], found["schedule"]) == (0.0, 1, "constant")
        assert "taper" not in found, "which only the other family has"
        assert all(value in BY_NAME[name].legal for name, value in found.items())

    def test_only_a_task_with_a_number_shows_the_setting_of_the_number(self) -> None:
        for name, task in TASKS.items():
            found = known_task(name)
            assert found is task
            assert ("number_width" in without_effect(found)) == (task.numbers == 0), name
            assert shown_settings({"lr": 0.1, "number_width": 64}, found) == (
                {"lr": 0.1, "number_width": 64} if task.numbers else {"lr": 0.1}
            )

    def test_few_enough_dimensions_for_the_sampler(self) -> None:
        """TPE learns little from 100 trials in many dimensions; a new default must replace another."""
        searched = [d for d in default_space(("conv",)).domains.values() if not isinstance(d, Fixed)]
        assert len(searched) <= 16


class TestWidened:
    def test_every_layer_and_nothing_else(self) -> None:
        conv = {
            "model": "conv",
            "channels": 24,
            "growth": 1.8,
            "divisor": 8,
            "hidden": 101,
            "blocks": 3,
            "lr": 0.1,
        }
        assert widened(conv, 1.5) == {**conv, "channels": 40, "hidden": 152}
        assert widened(conv, 4 / 3) == {**conv, "channels": 32, "hidden": 135}
        mlp = {"model": "mlp", "width": 100, "depth": 2, "taper": 0.5, "batch_size": 64}
        assert widened(mlp, 2) == {**mlp, "width": 200}

    def test_once_is_as_it_was(self) -> None:
        odd = {"model": "conv", "channels": 12, "divisor": 8, "hidden": 64}
        assert widened(odd, 1) == odd

    def test_always_at_least_a_step_and_never_more_than_is_legal(self) -> None:
        conv = {"channels": 16, "divisor": 8, "hidden": 4}
        assert widened(conv, 1.1) == {"channels": 24, "divisor": 8, "hidden": 5}
        assert widened({**conv, "hidden": 16_000}, 8)["hidden"] == 16_384

    def test_what_every_family_has_to_be_wide_in(self) -> None:
        assert {p.name for p in PARAMETERS if p.width} == {"width", "channels", "hidden"}
        assert {p.family for p in PARAMETERS if p.width} == set(FAMILIES)


class TestFile:
    def test_narrows_widens_and_fixes(self, tmp_path: Path) -> None:
        path = tmp_path / "narrow.toml"
        path.write_text(
            'channels = { low = 16, high = 128, log = true }\noptimizer = ["adamw"]\ndropout = 0.25\n'
            "weight_decay = { low = 0, high = 1 }\nkernel = 7\n"
        )
        space = read_space(path)
        assert space.domains["channels"] == Int(16, 128, log=True, when={"model": "conv"})
        assert space.domains["optimizer"] == Choice(options=("adamw",))
        assert space.domains["dropout"] == Fixed(value=0.25)
        assert space.domains["weight_decay"] == Float(low=0.0, high=1.0)
        assert space.domains["kernel"] == Fixed(7, when={"model": "conv"})
        untouched = set(space.domains) - {"channels", "optimizer", "dropout", "weight_decay", "kernel"}
        assert all(space.domains[name] == default_space().domains[name] for name in untouched)

    def test_all_mistakes_at_once_each_with_its_place(self, tmp_path: Path) -> None:
        path = tmp_path / "bad.toml"
        path.write_text('optimiser = "adam"\nchannels = { low = 64, high = 8 }\nkernel = 4\n')
        with pytest.raises(ConfigError) as caught:
            read_space(path)
        lines = str(caught.value).splitlines()
        assert all(line.startswith(f"{path}: ") for line in lines)
        MESSAGES.check("all mistakes of a file", [line.removeprefix(f"{path}: ") for line in lines])

    @pytest.mark.parametrize(
        ("entries", "complaint"),
        [
            ({"lr": {"low": 0.1}}, "a range needs both low and high"),
            ({"lr": {"low": 0.1, "high": 1, "lgo": True}}, "a range has no 'lgo' (did you mean low or log?)"),
            ({"lr": {"low": 0.1, "high": 1, "log": 1}}, "log must be true or false, not 1"),
            ({"lr": "fast"}, "must be a number from 1e-07 to 100, not 'fast'"),
            ({"lr": -1.0}, "must be a number from 1e-07 to 100, not -1.0"),
            ({"optimizer": {"low": 1, "high": 2}}, "must be one of sgd, nesterov, adam, adamw, not a range"),
            ({"optimizer": []}, "must name at least one"),
            ({"optimizer": ["adam", "adam"]}, "options must differ"),
            ({"batch_size": 64.0}, "must be a whole number from 1 to 8192, not 64.0"),
            ({"depth": {"low": 1, "high": 3, "step": "two"}}, "step must be a whole number, not 'two'"),
            ({"model": "cnn"}, "no such family 'cnn'"),
            ({"model": []}, "a list of options must name at least one"),
            ({"model": ["mlp", "mlp"]}, "options must differ from each other: ['mlp', 'mlp']"),
            ({"shift": [[1]]}, "must be a whole number from 0 to 8, not [1]"),
            (
                {"lr": {"low": "a", "hihg": 1, "log": 2}},
                "a range has no 'hihg' (did you mean high?); a range needs both low and high; log must be "
                "true or false, not 2; low must be a number from 1e-07 to 100, not 'a'",
            ),
            (
                {"dropout": [0.1, 2, "much"]},
                "must be a number from 0 to 0.95, not 2.0; must be a number from 0 to 0.95, not 'much'",
            ),
        ],
    )
    def test_a_mistake_is_named(self, entries: dict[str, object], complaint: str) -> None:
        with pytest.raises(ConfigError) as caught:
            change_space(entries, FAMILIES, where="f.toml")
        assert complaint in str(caught.value)
        assert str(caught.value).startswith(f"f.toml: {next(iter(entries))}: ")

    def test_mistakes_in_the_families_hide_no_others(self) -> None:
        entries = {"model": ["conv", "conv", "cnn"], "dropout": 2}
        with pytest.raises(ConfigError) as caught:
            change_space(entries, FAMILIES, where="f.toml")
        MESSAGES.check("mistakes in the families and elsewhere", str(caught.value).splitlines())

    @pytest.mark.parametrize(
        ("entries", "complaints"),
        [
            (
                {"momentum": {"low": 0.0, "when": {"optimizer": []}}, "dropout": {"when": {"momentum": "x"}}},
                [
                    "momentum: when: the list of values of optimizer must name at least one; a range",
                ],
            ),
            (
                {"momentum": {"when": {"optimizer": "sdg"}}, "dropout": {"when": {"optimzer": "sgd"}}},
                [
                    "momentum: when: optimizer is never 'sdg' (it is one of sgd, nesterov, adam, adamw)",
                    "dropout: when names optimzer, which is no setting of this space (did you mean opti",
                ],
            ),
            (
                {"optimizer": ["adam", "sgd"], "momentum": {"when": {"optimizer": ["sgd", "nesterov"]}}},
                ["momentum: when: optimizer is never 'nesterov' (it is one of adam, sgd)"],
            ),
            (
                {"hidden_layers": {"low": 1, "high": 2, "when": {"hidden_taper": 0.3}}, "hidden_taper": 0.3},
                ["hidden_layers: when leads back to the setting itself: hidden_layers → hidden_taper → "],
            ),
            (
                {"lr": {"when": {"model": "mlp"}}},
                ["lr: when: no network can do without lr, so it can have no"],
            ),
            ({"taper": {"when": {"model": "conv"}}}, ["taper: when: only the family mlp has taper"]),
            (
                {"taper": {"when": {"depth": 9}}},
                ["taper: when: depth is never 9 (it is a whole number from 1"],
            ),
            ({"taper": {"when": "deep"}}, ["taper: when must name settings with their values, such as"]),
            (
                {"dropout": {"when": {"lr": list(range(1001))}}},
                ["dropout: when: a list may have 1,000 values"],
            ),
            ({"dropout": {"options": 3, "when": {"model": "mlp"}}}, ["dropout: a range has no 'options'"]),
            ({"model": {"options": ["mlp"], "when": {"lr": 1}}}, ["model: no such family"]),
        ],
    )
    def test_a_wrong_condition_is_named(self, entries: dict[str, object], complaints: list[str]) -> None:
        with pytest.raises(ConfigError) as caught:
            change_space(entries, FAMILIES, where="f.toml")
        told = str(caught.value).splitlines()
        assert len(told) == len(complaints)
        assert [
            line for line, words in zip(told, complaints, strict=True) if f"f.toml: {words}" not in line
        ] == []

    def test_a_condition_is_read_and_written(self, tmp_path: Path) -> None:
        text = (
            'momentum = { low = 0.0, high = 0.99, when = { optimizer = ["sgd", "nesterov"] } }\n'
            "batch_norm = { options = [true, false], when = { channels = { above = 8 } } }\n"
            'averaging = { value = 0.2, when = { model = "mlp", dropout = { above = 0.1, below = 0.3 } } }\n'
            'label_smoothing = { when = { schedule = "cosine" } }\n'
            "taper = { low = 0.5, high = 1.0, when = { depth = { above = 1 } } }\n"
        )
        path = tmp_path / "space.toml"
        path.write_text(text)
        space = read_space(path)
        assert space.domains["momentum"] == Float(0.0, 0.99, when={"optimizer": ["sgd", "nesterov"]})
        assert space.domains["batch_norm"].when == When({"model": "conv", "channels": {"above": 8}})
        entries = space_entries(space)
        assert space_toml(
            {name: entries[name] for name in ("momentum", "batch_norm", "averaging")}
        ) == "\n".join(text.splitlines()[:3])
        assert entries["label_smoothing"] == {"low": 0.0, "high": 0.2, "when": {"schedule": "cosine"}}
        assert entries["taper"] == {"low": 0.5, "high": 1.0}, "it has this condition in every space"
        path.write_text(space_toml(entries))
        assert read_space(path) == space
        assert space_of_entries(json.loads(json.dumps(entries))) == space

    def test_a_setting_of_a_family_that_is_not_searched(self) -> None:
        with pytest.raises(ConfigError, match="channels: belongs to the family conv, which is not searched"):
            change_space({"channels": 8}, ("mlp",), where="f.toml")

    @pytest.mark.parametrize(
        ("content", "complaint"),
        [(b"lr = = 1", "is not TOML"), (b"\xff\xfe", "is not a text file"), (None, "cannot be read")],
    )
    def test_an_unreadable_file(self, tmp_path: Path, content: bytes | None, complaint: str) -> None:
        path = tmp_path / "space.toml"
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(ConfigError, match=complaint):
            read_space(path)

    @given(data=st.data())
    def test_round_trip(self, data: st.DataObject) -> None:
        """Any part of what is legal survives being written as entries and read again."""
        task = data.draw(st.sampled_from([TASKS["twodigit"], TASKS["sum"], Classification(MadeImages())]))
        possible = sorted(default_domains(FAMILIES, task).keys() - {"model"})
        names = data.draw(st.lists(st.sampled_from(possible), unique=True))
        entries = {name: data.draw(_entry(BY_NAME[name].legal), label=name) for name in names}
        conditional = [p.name for p in PARAMETERS if p.otherwise is not None and p.name in entries]
        for name in data.draw(st.lists(st.sampled_from(conditional), unique=True)) if conditional else ():
            families = [BY_NAME[name].family] if BY_NAME[name].family else list(FAMILIES)
            when = data.draw(st.sampled_from([{"model": families}, {"lr": {"above": 0}}]), label=name)
            entry = entries[name]
            if isinstance(entry, dict):
                entries[name] = {**entry, "when": when}
            else:
                entries[name] = {"options" if isinstance(entry, list) else "value": entry, "when": when}
        space = change_space(entries, FAMILIES, task, where="f.toml")
        assert change_space(space_entries(space), FAMILIES, task, where="f.toml") == space
        assert space_of_entries(space_entries(space)) == space

    @pytest.mark.parametrize("families", [("mlp",), ("conv",), ("mlp", "conv")])
    def test_an_old_study_continues_with_its_settings(self, families: tuple[str, ...]) -> None:
        """Settings that came later are fixed at what held before; other families' do not appear."""
        entries = space_entries(default_space(families))
        old = {name: entry for name, entry in entries.items() if name not in ("averaging", "divisor")}
        domains = space_of_entries(old).domains
        assert domains["averaging"] == Fixed(value=0.0)
        divisor = Fixed(1, when={"model": "conv"})
        assert domains.get("divisor") == (divisor if "conv" in families else None)
        assert set(domains) == set(entries)
        same = {name: domain for name, domain in domains.items() if name in old}
        assert same.items() <= default_space(families).domains.items(), (
            "with the conditions that they always had"
        )


def _entry(legal: Domain) -> st.SearchStrategy[object]:
    """Some legal entry of a space file."""
    match legal:
        case Int():
            numbers = st.integers(legal.low, legal.high)
            return st.one_of(
                numbers,
                st.tuples(numbers, numbers).map(lambda pair: {"low": min(pair), "high": max(pair)}),
                st.lists(numbers, min_size=1, unique=True),
            )
        case Float():
            reals = st.floats(legal.low, legal.high)
            return st.one_of(
                reals, st.tuples(reals, reals).map(lambda pair: {"low": min(pair), "high": max(pair)})
            )
        case Choice():
            return st.lists(st.sampled_from(legal.options), min_size=1, unique_by=lambda v: (type(v), v))
        case Fixed():
            raise AssertionError("nothing legal is a single value")
