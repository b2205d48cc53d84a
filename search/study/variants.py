"""The neighbors of a configuration: those that differ from it in one setting."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import overload

from search.analysis.ablation import UNREGULARIZED
from search.errors import UsageError, did_you_mean
from search.records import NetworkSpec, StudySpec, Value
from search.space.defaults import BY_NAME, in_effect
from search.space.spec import space_of_spec
from search.study.grid import idle_settings
from tune.space import Choice, Domain, Fixed, Float, Int, Space

MAIN = (
    "optimizer",
    "batch_size",
    "blocks",
    "depth",
    "channels",
    "width",
    "activation",
    "dropout",
    "pairing",
    "affine",
)
"""Settings of a network that an ablation changes unless it is told otherwise; of another objective all."""

FEW = 8
"""A whole number with at most this many steps in its range moves by one; others by a quarter of the range."""

STEPS = 4
"""Steps in the range of a number, on its scale."""

DIGITS = 3
"""Significant digits of a number that was computed."""

MODEL = "model"


@dataclass(frozen=True, kw_only=True, slots=True)
class Variant:
    """A configuration that differs from another one in one setting, or in all that regularize."""

    name: str
    """what is changed: "dropout=0.0" """
    settings: Mapping[str, Value]
    """all of them; of a network those too that a changed setting leaves without effect"""
    changed: tuple[str, ...]
    """the settings that are changed"""


def label(name: str, value: Value) -> str:
    """dropout=0.25"""
    return f"{name}={str(value).lower() if isinstance(value, bool) else value}"


def variants(
    spec: StudySpec, settings: Mapping[str, Value], names: tuple[str, ...] | None = None
) -> list[Variant]:
    """The neighbors of these settings of a trial: for each setting in turn every other option of a choice,
    a number one step down and up, a regularizer off.

    names: the settings to be changed, "all" for every one; None: the main ones. Raises UsageError for one
    that is unknown, that the configuration does not have, or that has no other value.
    """
    space = space_of_spec(spec)
    available = changeable(spec, settings)
    return [
        Variant(
            name=label(name, value),
            settings=_completed(space, spec, {**settings, name: value}),
            changed=(name,),
        )
        for name in _chosen(spec, settings, available, names)
        for value in available[name]
    ]


def unregularized(spec: StudySpec, settings: Mapping[str, Value]) -> Variant | None:
    """The configuration with every regularizer and augmentation off; None where none is on."""
    off = {
        name: value
        for name, value in _offs(spec).items()
        if name in settings and settings[name] != value and value is not None
    }
    if not off:
        return None
    return Variant(
        name=UNREGULARIZED,
        settings=_completed(space_of_spec(spec), spec, {**settings, **off}),
        changed=tuple(off),
    )


def changeable(spec: StudySpec, settings: Mapping[str, Value]) -> dict[str, list[Value]]:
    """The settings of a configuration that can be changed, each with the values that are one step away."""
    space, offs = space_of_spec(spec), _offs(spec)
    idle = idle_settings(spec) | ({MODEL} if isinstance(spec, NetworkSpec) else set())
    found = {}
    for name, value in settings.items():
        if name in idle or (name not in space.domains and name not in BY_NAME):
            continue
        near = list(_near(spec, name, space.domains.get(name), value))
        off = offs.get(name)
        if off is not None and off != value and off not in near:
            near = [off, *near]
        if near:
            found[name] = near
    return found


def _chosen(
    spec: StudySpec,
    settings: Mapping[str, Value],
    available: Mapping[str, list[Value]],
    names: tuple[str, ...] | None,
) -> list[str]:
    if names == ("all",) or (names is None and not isinstance(spec, NetworkSpec)):
        return list(available)
    if names is None:
        return [name for name in MAIN if name in available]
    for name in names:
        if name in available:
            continue
        if name == MODEL and isinstance(spec, NetworkSpec):
            raise UsageError(
                "--settings model: networks of another family have other settings, so that no single change "
                "leads to one; a search with `--model` finds the best of it."
            )
        if name in settings:
            raise UsageError(f"--settings {name}: it has no other value to be compared with.")
        of_networks = isinstance(spec, NetworkSpec) and name in BY_NAME
        if of_networks or name in space_of_spec(spec).domains:
            raise UsageError(f"--settings {name}: the configuration that is changed has no {name}.")
        hint = did_you_mean(name, [*available, "all"])
        raise UsageError(f"--settings {name}: no such setting{hint}.")
    return list(dict.fromkeys(names))


def _offs(spec: StudySpec) -> dict[str, Value | None]:
    """By setting, the value that switches it off: None where it has none."""
    if isinstance(spec, NetworkSpec):
        return {name: parameter.off for name, parameter in BY_NAME.items()}
    return {name: getattr(domain, "off", None) for name, domain in space_of_spec(spec).domains.items()}


def _near(spec: StudySpec, name: str, domain: Domain | None, value: Value) -> Iterator[Value]:
    """The values next to this one. domain: what the study searched; None, or fixed: it did not."""
    networks = isinstance(spec, NetworkSpec)
    if networks and (domain is None or isinstance(domain, Fixed)):
        domain = BY_NAME[name].legal
        if not isinstance(domain, Choice) and not BY_NAME[name].width and not BY_NAME[name].by_one:
            return  # a range that was not searched has no step
    legal = BY_NAME[name].legal if networks else domain
    match domain:
        case Choice(options=options):
            yield from (option for option in options if option != value)
        case Int() if isinstance(value, int) and isinstance(legal, Int):
            width, by_one = (networks and BY_NAME[name].width, networks and BY_NAME[name].by_one)
            yield from _whole_numbers(domain, legal, value, width=width, by_one=by_one)
        case Float() if isinstance(value, int | float) and isinstance(legal, Float):
            yield from _numbers(domain, legal, float(value))


def _whole_numbers(domain: Int, legal: Int, value: int, *, width: bool, by_one: bool) -> Iterator[int]:
    if width or (domain.log and not by_one):
        near = [value / 2, value * 2.0]
    elif by_one or domain.high - domain.low <= FEW * domain.step:
        near = [value - domain.step, value + domain.step]
    else:
        step = (domain.high - domain.low) / STEPS
        near = [value - step, value + step]
    for number in near:
        rounded = domain.low + domain.step * math.floor((number - domain.low) / domain.step + 0.5)
        within = nearest(legal, rounded)
        if within != value:
            yield within


def _numbers(domain: Float, legal: Float, value: float) -> Iterator[float]:
    if domain.low == domain.high:
        return
    log = domain.log and value > 0
    if log:
        factor = (domain.high / domain.low) ** (1 / STEPS)
        near, half = [value / factor, value * factor], math.sqrt(factor)
    else:
        step = (domain.high - domain.low) / STEPS
        near, half = [value - step, value + step], step / 2
    for number in near:
        rounded = nearest(legal, number)
        apart = max(rounded / value, value / rounded) >= half if log else abs(rounded - value) >= half
        if apart:
            yield rounded


@overload
def nearest(domain: Int, number: float) -> int: ...


@overload
def nearest(domain: Float, number: float) -> float: ...


def nearest(domain: Int | Float, number: float) -> float:
    """The value of a domain next to a number that was computed, of few digits unless it is an end."""
    if isinstance(domain, Int):
        last = (domain.high - domain.low) // domain.step
        step = math.floor((number - domain.low) / domain.step + 0.5)
        return domain.low + domain.step * max(0, min(step, last))
    return max(domain.low, min(float(f"{number:.{DIGITS}g}"), domain.high))


def _completed(space: Space, spec: StudySpec, settings: Mapping[str, Value]) -> dict[str, Value]:
    """With a value for each setting that a change has made active: of a network what holds without it, else
    the middle of its range. Without those that it has made inactive, which training code must not see."""
    if isinstance(spec, NetworkSpec):
        return dict(settings)  # Study.queue_ablation adds what holds without them
    found = dict(settings)
    while missing := (shape := space.shape(found)).searched - found.keys():
        found |= {name: _middle(space.domains[name]) for name in missing}
    active = shape.searched | shape.fixed.keys()
    return {name: value for name, value in found.items() if name in active or name not in space.domains}


def _middle(domain: Domain) -> Value:
    match domain:
        case Choice(options=options):
            return options[0]
        case Fixed(value=value):
            return value
        case Int(low=low, high=high, log=log, step=step):
            middle = math.sqrt(low * high) if log else (low + high) / 2
            return low + step * round((middle - low) / step)
        case Float(low=low, high=high, log=log):
            return math.sqrt(low * high) if log else (low + high) / 2


def changes(
    spec: StudySpec, one: Mapping[str, Value], other: Mapping[str, Value]
) -> dict[str, tuple[Value | None, Value | None]]:
    """The settings in which two trials differ, each with its value in both; None: it does not have it.

    Those of a network are taken as they work: one that does nothing in either is no difference, and one that
    is inactive in one of them has the value there that holds without it.
    """
    names = dict.fromkeys([*one, *other])
    if isinstance(spec, NetworkSpec):
        idle = idle_settings(spec)
        if one.get(MODEL) == other.get(MODEL):
            one, other = in_effect(one), in_effect(other)
        names = {
            name: None
            for name in names
            if name not in idle and (BY_NAME[name].when.hold(one) or BY_NAME[name].when.hold(other))
        }
    return {name: (one.get(name), other.get(name)) for name in names if one.get(name) != other.get(name)}
