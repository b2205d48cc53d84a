"""Every setting that can be searched: what it means, what it may ever be, where the search starts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from search.errors import UsageError, did_you_mean
from search.records import Value
from search.space.domain import Choice, Domain, Fixed, Float, Int, Space

FAMILIES = ("mlp", "conv")
"""The model families, in the words of `--model`."""


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
    family: str | None = None
    """the model family that has this setting; None: all have it"""
    needs: tuple[str, int] | None = None
    """another setting, and what it must exceed for this one to do anything; None: it always does"""
    width: bool = False
    """whether a wider network has more of it"""
    tasks: tuple[str, ...] | None = None
    """the tasks for which it does anything; None: for all"""
    before: Value | None = None
    """what held in studies that were made before there was this setting; None: there always was"""


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
        meaning="optimiser",
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
    ),
    Parameter(
        name="weight_decay",
        meaning="weight decay (not on biases and normalisation)",
        legal=Float(low=0.0, high=1.0),
        default=Float(low=1e-6, high=1e-2, log=True),
    ),
    Parameter(
        name="schedule",
        meaning="learning rate over the run",
        legal=Choice(options=("constant", "cosine", "one_cycle")),
        default=Fixed(value="cosine"),  # docs/decisions/003: what it gains shows only at the end of a run
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
    ),
    Parameter(
        name="averaging",
        meaning="share of the steps so far over which the weights are averaged (0: not)",
        legal=Float(low=0.0, high=0.99),
        default=Fixed(value=0.1),  # docs/decisions/005
        before=0.0,
    ),
    # Data
    Parameter(
        name="pairing",
        meaning="the same compositions every epoch, or fresh ones",
        legal=Choice(options=("fixed", "fresh")),
        default=Fixed(value="fresh"),  # docs/decisions/020: before an epoch is over there is no difference
    ),
    Parameter(
        name="shift",
        meaning="random shift of each digit, pixels",
        legal=Int(low=0, high=8),
        default=Fixed(value=0),  # docs/decisions/016: each digit has its place, and moving only costs
    ),
    Parameter(
        name="affine",
        meaning="random turn, stretch and slant of each digit (1: up to 10°, 10 %, 0.1)",
        legal=Float(low=0.0, high=4.0),
        default=Fixed(value=1.0),  # docs/decisions/017: what it gains, validation cannot show
        before=0.0,
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
    ),
    # MLP
    Parameter(
        name="depth",
        meaning="hidden layers",
        legal=Int(low=1, high=16),
        default=Int(low=1, high=3),
        family="mlp",
    ),
    Parameter(
        name="width",
        meaning="units of the first hidden layer",
        legal=Int(low=1, high=16384),
        default=Int(low=64, high=512, log=True),
        family="mlp",
        width=True,
    ),
    Parameter(
        name="taper",
        meaning="width of each hidden layer relative to the one before",
        legal=Float(low=0.05, high=2.0),
        default=Float(low=0.5, high=1.0),
        family="mlp",
        needs=("depth", 1),
    ),
    # Convolutions
    Parameter(
        name="blocks",
        meaning="blocks of convolutions, each ended by 2×2 pooling",
        legal=Int(low=1, high=4),
        default=Int(low=2, high=3),
        family="conv",
    ),
    Parameter(
        name="stem",
        meaning="convolutions in the first block",
        legal=Int(low=1, high=4),
        default=Fixed(value=1),  # docs/decisions/017: a second one costs most and brings least there
        family="conv",
        before=1,
    ),
    Parameter(
        name="convolutions",
        meaning="convolutions in each later block",
        legal=Int(low=1, high=4),
        default=Int(low=1, high=2),
        family="conv",
        before=1,
        needs=("blocks", 1),
    ),
    Parameter(
        name="channels",
        meaning="channels of the first block",
        legal=Int(low=1, high=1024),
        default=Int(low=8, high=24, step=8),  # docs/decisions/020: 32 cost more than eight minutes allow
        family="conv",
        width=True,
    ),
    Parameter(
        name="growth",
        meaning="channels of each block relative to the one before",
        legal=Float(low=0.25, high=8.0),
        default=Float(low=1.75, high=2.25),  # docs/decisions/023
        family="conv",
        needs=("blocks", 1),
    ),
    Parameter(
        name="divisor",
        meaning="channels are rounded to multiples of this",
        legal=Int(low=1, high=64),
        default=Fixed(value=8),
        family="conv",
        before=1,
    ),
    Parameter(
        name="kernel",
        meaning="edge of the convolution kernel, pixels (odd)",
        legal=Choice(options=(1, 3, 5, 7)),
        default=Fixed(value=3),  # docs/decisions/016: 5 costs 1.7 times as much and brings nothing
        family="conv",
    ),
    Parameter(
        name="batch_norm",
        meaning="batch normalisation after each convolution",
        legal=Choice(options=(False, True)),
        default=Fixed(value=True),  # docs/decisions/023
        family="conv",
    ),
    Parameter(
        name="hidden",
        meaning="units of the first linear layer after the blocks",
        legal=Int(low=1, high=16384),
        default=Int(low=128, high=512, log=True),  # docs/decisions/023
        family="conv",
        width=True,
    ),
    Parameter(
        name="padding",
        meaning="same keeps the picture's size, valid shrinks it by kernel - 1",
        legal=Choice(options=("same", "valid")),
        default=Fixed(value="same"),
        family="conv",
    ),
    Parameter(
        name="hidden_layers",
        meaning="linear layers between the blocks and the heads",
        legal=Int(low=1, high=8),
        default=Fixed(value=1),
        family="conv",
    ),
    Parameter(
        name="hidden_taper",
        meaning="width of each linear layer relative to the one before",
        legal=Float(low=0.05, high=2.0),
        default=Fixed(value=0.5),
        family="conv",
        needs=("hidden_layers", 1),
    ),
    Parameter(
        name="hidden_activation",
        meaning="whether the activation follows the linear layers too",
        legal=Choice(options=(False, True)),
        default=Fixed(value=True),
        family="conv",
    ),
    Parameter(
        name="number_width",
        meaning="units that the number input is widened to (0: joins as one-hot)",
        legal=Int(low=0, high=1024),
        default=Fixed(value=64),
        family="conv",
        tasks=("sum",),
    ),
)

BY_NAME: Mapping[str, Parameter] = MappingProxyType({p.name: p for p in PARAMETERS})


def shown_settings(settings: Mapping[str, Value], task: str) -> dict[str, Value]:
    """The settings of a trial that do anything for this task, for people: twodigit has no number input."""
    return {name: value for name, value in settings.items() if name not in without_effect(task)}


def without_effect(task: str) -> frozenset[str]:
    """Names of the settings that do nothing for this task."""
    return frozenset(p.name for p in PARAMETERS if p.tasks is not None and task not in p.tasks)


DEFAULT_EPOCHS: Mapping[str, float] = MappingProxyType({"twodigit": 8, "sum": 4})
"""Budget of one trial, in passes over the task's training examples (docs/decisions/017)."""

EARLY_LOOKS: Mapping[str, int] = MappingProxyType({"twodigit": 3, "sum": 2})
"""Looks within the first epoch, the first after 1/8 (docs/decisions/020) or 1/4 of it. A sum is harder to
begin with: after 1/8 narrow networks stand higher than the wide ones that will beat them (024)."""

NORM_IMAGES = 512
"""`StudySpec.norm_images` of a new study (docs/decisions/028)."""

CONFIRM_FACTOR = 2
"""`tune confirm` trains for so many times the epochs of the search's trials (docs/decisions/017)."""

REFERENCES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"twodigit": ("course-mlp", "course-conv"), "sum": ("assignment-conv",)}
)
"""The reference configurations that open a study of each task (docs/design.md, section 2)."""


def families_of(model: str) -> tuple[str, ...]:
    """The families meant by `--model`: mlp, conv or all. Raises UsageError for another word."""
    if model == "all":
        return FAMILIES
    if model in FAMILIES:
        return (model,)
    raise UsageError(f"--model {model}: no such family of networks{did_you_mean(model, [*FAMILIES, 'all'])}.")


def default_space(families: tuple[str, ...] = FAMILIES) -> Space:
    """The space that is searched when nobody says otherwise.

    `families` restricts it; settings that only other families have are left out.
    """
    domains: dict[str, Domain] = {}
    for parameter in PARAMETERS:
        if parameter.name == "model":
            domains["model"] = Choice(options=families) if len(families) > 1 else Fixed(value=families[0])
        elif parameter.family is None or parameter.family in families:
            domains[parameter.name] = parameter.default
    return Space(
        domains=domains,
        families={p.name: frozenset({p.family}) for p in PARAMETERS if p.family and p.name in domains},
    )
