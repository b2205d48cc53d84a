"""Every setting that can be searched: what it means, what it may ever be, where the search starts."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from types import MappingProxyType
from typing import Protocol

from search.errors import UsageError, did_you_mean
from search.records import Value
from tune.space import Choice, Domain, Fixed, Float, Int, Space, When

FAMILIES = ("mlp", "conv")
"""The model families, in the words of `--model`."""


class LearnedTask(Protocol):
    """What of a task decides which settings do anything, and where to look: see data.tasks.base.Task."""

    @property
    def numbers(self) -> int:
        """Classes of the number input; 0: there is none."""

    @property
    def composes(self) -> bool:
        """Whether examples are composed; else they are images as they are."""

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height, width."""

    @property
    def epoch_examples(self) -> int:
        """Training examples in one epoch."""


class Trait(StrEnum):
    """What a task must have for a setting to do anything."""

    NUMBER_INPUT = "number input"
    COMPOSITION = "composition"
    WHOLE_IMAGES = "whole images"

    def of(self, task: LearnedTask) -> bool:
        """Whether the task has it."""
        match self:
            case Trait.NUMBER_INPUT:
                return task.numbers > 0
            case Trait.COMPOSITION:
                return task.composes
            case Trait.WHOLE_IMAGES:
                return not task.composes


def _of_family(name: str) -> When:
    """The condition of a setting that one model family has."""
    return When({"model": name})


@dataclass(frozen=True, kw_only=True, slots=True)
class Parameter:
    """One setting of a trial."""

    name: str
    meaning: str
    """a phrase for people, with the unit"""
    legal: Domain
    """the widest domain that makes sense; a space file may use any part of it"""
    default: Domain
    """where the search looks unless it is told otherwise"""
    when: When = field(default_factory=When)
    """what other settings must be for this one to do anything: most are of one model family only"""
    drawn_despite: tuple[str, ...] = ()
    """as in tune.space: settings of `when` that only hide this one, which TPE thus keeps in its group"""
    otherwise: Value | None = None
    """what holds where a condition of a space file switches it off; studies rely on it, so it never changes.
    None: a network cannot do without the setting, which takes no more conditions so. See `in_effect`"""
    off: Value | None = None
    """of a regularizer or an augmentation: the value that switches it off; None: it is neither"""
    width: bool = False
    """whether a wider network has more of it"""
    by_one: bool = False
    """whether its neighbors are one less and one more, whatever was searched: layers, pixels"""
    trait: Trait | None = None
    """what a task must have for it to do anything; None: nothing"""
    before: Value | None = None
    """what held in studies that were made before there was this setting; None: there always was"""

    @property
    def family(self) -> str | None:
        """The model family that has this setting; None: all have it."""
        return next((name for name in FAMILIES if _of_family(name) == self.when.only(("model",))), None)


_ACTIVATIONS = ("relu", "leaky_relu", "elu", "tanh", "gelu", "silu")

PARAMETERS: tuple[Parameter, ...] = (
    Parameter(
        name="model",
        meaning="family of network",
        legal=Choice(options=FAMILIES),
        default=Choice(options=FAMILIES),
    ),
    # Training
    Parameter(
        name="optimizer",
        meaning="optimizer",
        legal=Choice(options=("sgd", "nesterov", "adam", "adamw")),
        default=Choice(options=("sgd", "nesterov", "adam", "adamw")),
    ),
    Parameter(
        name="lr",
        meaning="peak learning rate",
        legal=Float(low=1e-7, high=100.0, log=True),
        default=Float(low=1e-3, high=0.05, log=True),  # with momentum to 0.98, SGD goes as far as it can
    ),
    Parameter(
        name="momentum",
        meaning="momentum of SGD, first beta of Adam",
        legal=Float(low=0.0, high=0.9999),
        default=Float(low=0.8, high=0.98),
        otherwise=0.9,
    ),
    Parameter(
        name="weight_decay",
        meaning="weight decay (not on biases and normalization)",
        legal=Float(low=0.0, high=1.0),
        default=Float(low=1e-6, high=1e-2, log=True),
        otherwise=0.0,
        off=0.0,
    ),
    Parameter(
        name="schedule",
        meaning="learning rate over the run",
        legal=Choice(options=("constant", "cosine", "one_cycle")),
        default=Fixed(value="cosine"),  # docs/decisions/003: what it gains shows only at the end of a run
        otherwise="constant",
    ),
    Parameter(
        name="batch_size",
        meaning="examples per step",
        legal=Int(low=1, high=8192),
        default=Choice(options=(64, 128)),  # docs/decisions/017 and 023: neither 256 nor 32
    ),
    Parameter(
        name="label_smoothing",
        meaning="share of the target spread over all classes",
        legal=Float(low=0.0, high=0.9),
        default=Float(low=0.0, high=0.2),  # docs/decisions/017
        otherwise=0.0,
        off=0.0,
    ),
    Parameter(
        name="averaging",
        meaning="share of the steps so far over which the weights are averaged (0: not)",
        legal=Float(low=0.0, high=0.99),
        default=Fixed(value=0.1),  # docs/decisions/005
        before=0.0,
        otherwise=0.0,
        off=0.0,
    ),
    # Data
    Parameter(
        name="pairing",
        meaning="the same compositions every epoch, or fresh ones",
        legal=Choice(options=("fixed", "fresh")),
        default=Fixed(value="fresh"),  # docs/decisions/020: before an epoch is over there is no difference
        trait=Trait.COMPOSITION,
        otherwise="fixed",
        off="fixed",
    ),
    Parameter(
        name="shift",
        meaning="random shift of each digit or image, pixels",
        legal=Int(low=0, high=8),
        default=Fixed(value=0),  # docs/decisions/016: each digit has its place, and moving only costs
        otherwise=0,
        off=0,
        by_one=True,
    ),
    Parameter(
        name="affine",
        meaning="random turn, stretch and slant of each digit or image (1: up to 10°, 10 %, 0.1)",
        legal=Float(low=0.0, high=4.0),
        default=Fixed(value=1.0),  # docs/decisions/017: what it gains, validation cannot show
        before=0.0,
        otherwise=0.0,
        off=0.0,
    ),
    Parameter(
        name="flip",
        meaning="whether half of the images are mirrored left to right, drawn anew every epoch",
        legal=Choice(options=(False, True)),
        default=Fixed(value=False),
        trait=Trait.WHOLE_IMAGES,  # so studies of composed digits have no such setting, old or new
        otherwise=False,
        off=False,
    ),
    # Every network
    Parameter(
        name="activation",
        meaning="activation",
        legal=Choice(options=_ACTIVATIONS),
        default=Choice(options=("relu", "leaky_relu", "elu", "silu")),
    ),
    Parameter(
        name="dropout",
        meaning="dropout probability of the hidden layers",
        legal=Float(low=0.0, high=0.95),
        default=Float(low=0.0, high=0.5),
        otherwise=0.0,
        off=0.0,
    ),
    # MLP
    Parameter(
        name="depth",
        meaning="hidden layers (0: logistic regression on pixels, whatever the width)",
        legal=Int(low=0, high=16),
        default=Int(low=1, high=3),
        when=_of_family("mlp"),
        by_one=True,
    ),
    Parameter(
        name="width",
        meaning="units of the first hidden layer",
        legal=Int(low=1, high=16384),
        default=Int(low=64, high=512, log=True),
        when=_of_family("mlp"),
        width=True,
    ),
    Parameter(
        name="taper",
        meaning="width of each hidden layer relative to the one before",
        legal=Float(low=0.05, high=2.0),
        default=Float(low=0.5, high=1.0),
        when=When({"model": "mlp", "depth": {"above": 1}}),
        drawn_despite=("depth",),
        otherwise=1.0,
    ),
    # Convolutions
    Parameter(
        name="blocks",
        meaning="blocks of convolutions, each ended by 2×2 pooling",
        legal=Int(low=1, high=4),
        default=Int(low=2, high=3),
        when=_of_family("conv"),
        by_one=True,
    ),
    Parameter(
        name="stem",
        meaning="convolutions in the first block",
        legal=Int(low=1, high=4),
        default=Fixed(value=1),  # docs/decisions/017: a second one costs most and brings least there
        when=_of_family("conv"),
        before=1,
        otherwise=1,
        by_one=True,
    ),
    Parameter(
        name="convolutions",
        meaning="convolutions in each later block",
        legal=Int(low=1, high=4),
        default=Int(low=1, high=2),
        when=When({"model": "conv", "blocks": {"above": 1}}),
        drawn_despite=("blocks",),
        before=1,
        otherwise=1,
        by_one=True,
    ),
    Parameter(
        name="channels",
        meaning="channels of the first block",
        legal=Int(low=1, high=1024),
        default=Int(low=8, high=24, step=8),  # docs/decisions/020: 32 cost more than eight minutes allow
        when=_of_family("conv"),
        width=True,
    ),
    Parameter(
        name="growth",
        meaning="channels of each block relative to the one before",
        legal=Float(low=0.25, high=8.0),
        default=Float(low=1.75, high=2.25),  # docs/decisions/023
        when=When({"model": "conv", "blocks": {"above": 1}}),
        drawn_despite=("blocks",),
        otherwise=1.0,
    ),
    Parameter(
        name="divisor",
        meaning="channels are rounded to multiples of this",
        legal=Int(low=1, high=64),
        default=Fixed(value=8),
        when=_of_family("conv"),
        before=1,
        otherwise=1,
    ),
    Parameter(
        name="kernel",
        meaning="edge of the convolution kernel, pixels (odd)",
        legal=Choice(options=(1, 3, 5, 7)),
        default=Fixed(value=3),  # docs/decisions/016: 5 costs 1.7 times as much and brings nothing
        when=_of_family("conv"),
    ),
    Parameter(
        name="batch_norm",
        meaning="batch normalization after each convolution",
        legal=Choice(options=(False, True)),
        default=Fixed(value=True),  # docs/decisions/023
        when=_of_family("conv"),
        otherwise=False,
    ),
    Parameter(
        name="hidden",
        meaning="units of the first linear layer after the blocks",
        legal=Int(low=1, high=16384),
        default=Int(low=128, high=512, log=True),  # docs/decisions/023
        when=_of_family("conv"),
        width=True,
    ),
    Parameter(
        name="padding",
        meaning="same keeps the image's size, valid shrinks it by kernel - 1",
        legal=Choice(options=("same", "valid")),
        default=Fixed(value="same"),
        when=_of_family("conv"),
        otherwise="same",
    ),
    Parameter(
        name="hidden_layers",
        meaning="linear layers between the blocks and the heads",
        legal=Int(low=1, high=8),
        default=Fixed(value=1),
        when=_of_family("conv"),
        otherwise=1,
        by_one=True,
    ),
    Parameter(
        name="hidden_taper",
        meaning="width of each linear layer relative to the one before",
        legal=Float(low=0.05, high=2.0),
        default=Fixed(value=0.5),
        when=When({"model": "conv", "hidden_layers": {"above": 1}}),
        drawn_despite=("hidden_layers",),
        otherwise=0.5,
    ),
    Parameter(
        name="hidden_activation",
        meaning="whether the activation follows the linear layers too",
        legal=Choice(options=(False, True)),
        default=Fixed(value=True),
        when=_of_family("conv"),
        otherwise=True,
    ),
    Parameter(
        name="number_width",
        meaning="units that the number input is widened to (0: joins as one-hot)",
        legal=Int(low=0, high=1024),
        default=Fixed(value=64),
        when=_of_family("conv"),
        trait=Trait.NUMBER_INPUT,
        otherwise=0,
    ),
)

BY_NAME: Mapping[str, Parameter] = MappingProxyType({p.name: p for p in PARAMETERS})


def shown_settings(settings: Mapping[str, Value], task: LearnedTask | None) -> dict[str, Value]:
    """The settings of a trial that do anything for the task, for people. None: see `without_effect`."""
    idle = without_effect(task)
    return {name: value for name, value in settings.items() if name not in idle}


def without_effect(task: LearnedTask | None) -> frozenset[str]:
    """Names of the settings that do nothing for the task. None: it is not known here; nothing is hidden."""
    if task is None:
        return frozenset()
    return frozenset(p.name for p in PARAMETERS if p.trait is not None and not p.trait.of(task))


NORM_IMAGES = 512
"""`StudySpec.norm_images` of a new study (docs/decisions/028)."""

CONFIRM_FACTOR = 2
"""`tune confirm` trains for this multiple of the epochs of the search's trials (docs/decisions/017)."""


def families_of(model: str) -> tuple[str, ...]:
    """The families meant by `--model`: mlp, conv or all. Raises UsageError for another word."""
    if model == "all":
        return FAMILIES
    if model in FAMILIES:
        return (model,)
    raise UsageError(f"--model {model}: no such family of networks{did_you_mean(model, [*FAMILIES, 'all'])}.")


def default_space(families: tuple[str, ...] = FAMILIES, task: LearnedTask | None = None) -> Space:
    """The default search space.

    `families` restricts it; settings that only other families have are left out. task: the one that is
    searched for; None: one that composes digits, for which the defaults of PARAMETERS were measured.
    """
    return Space(with_conditions(default_domains(families, task)))


def default_domains(families: tuple[str, ...], task: LearnedTask | None = None) -> dict[str, Domain]:
    """Where the search of these families looks, setting by setting, conditions apart."""
    whole = task is not None and not task.composes
    derived = domains_for(task) if task is not None and whole else {}
    domains: dict[str, Domain] = {}
    for parameter in PARAMETERS:
        # Studies of composed digits have always had the setting of the number, with or without a number.
        means_nothing = parameter.trait is not None and (parameter.trait is Trait.WHOLE_IMAGES) != whole
        if parameter.name == "model":
            domains["model"] = Choice(families) if len(families) > 1 else Fixed(families[0])
        elif parameter.family in (None, *families) and not means_nothing:
            domains[parameter.name] = derived.get(parameter.name, parameter.default)
    return domains


def with_conditions(domains: Mapping[str, Domain]) -> dict[str, Domain]:
    """These domains with the conditions, too, that the settings have in every space. A setting that is not
    among them imposes none. Raises KeyError for a setting that is unknown."""
    return {name: _conditional(domain, BY_NAME[name], domains) for name, domain in domains.items()}


def _conditional(domain: Domain, parameter: Parameter, names: Collection[str]) -> Domain:
    when = parameter.when.only(names)
    if not when:
        return domain
    despite = {*domain.drawn_despite, *(name for name in parameter.drawn_despite if name in when)}
    return replace(domain, when=when.both(domain.when), drawn_despite=tuple(sorted(despite)))


FEW_IMAGES = 5_000
"""Fewer for training: networks learn them before they have learned anything else."""


def domains_for(task: LearnedTask) -> dict[str, Domain]:
    """Where a search looks for a task of whole images, as far as that is decided by their size, their colors
    and their number (docs/decisions/034)."""
    channels, height, width = task.image_shape
    few, side, pixels = task.epoch_examples < FEW_IMAGES, min(height, width), height * width
    # Of the shorter side the last block leaves 2 pixels at least.
    most_blocks = max(1, min(side.bit_length() - 2, 4))
    inputs = channels * pixels
    widest = 512 if inputs <= 2_048 else 256 if inputs <= 8_192 else 128
    found: dict[str, Domain] = {
        "blocks": Int(max(1, most_blocks - 1), most_blocks),
        "channels": Int(8, 24, step=8) if pixels <= 40 * 40 else Int(8, 16, step=8),
        "width": Int(widest // 8, widest, log=True),
        "shift": Int(0, max(1, side // 14)),
    }
    if few:
        found |= {
            "batch_size": Choice((32, 64)),
            "hidden": Int(32, 256, log=True),
            "dropout": Float(0.0, 0.7),
        }
    if channels == 3:
        found["flip"] = Choice((False, True))
    return found


_OTHERWISE: Mapping[str, Mapping[str, Value]] = MappingProxyType(
    {
        family: {
            p.name: p.otherwise for p in PARAMETERS if p.otherwise is not None and p.family in (None, family)
        }
        for family in FAMILIES
    }
)


def in_effect(settings: Mapping[str, Value]) -> dict[str, Value]:
    """The settings of a trial, and for its inactive ones the values that hold without them.

    Without a momentum SGD has none, and Adam its usual one.
    """
    found = {**_OTHERWISE.get(str(settings.get("model")), {}), **settings}
    if "momentum" not in settings and settings.get("optimizer") in ("sgd", "nesterov"):
        found["momentum"] = 0.0
    return found
