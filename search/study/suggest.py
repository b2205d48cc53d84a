"""Turns a search space into Optuna's suggest calls: the only place that makes them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial

import optuna

from search.records import Value
from search.space.defaults import in_effect
from tune.space import Choice, Domain, Fixed, Float, Int, Space


def suggest(trial: optuna.Trial, space: Space, pinned: Mapping[str, Value]) -> dict[str, Value]:
    """Draws every setting that the space leaves open and returns all of them, those too that are drawn and
    inactive nevertheless (`Space.active` leaves them out).

    `pinned` settings are taken as they are and not shown to the sampler: reference configurations may
    lie outside the space.
    """
    return space.complete({}, partial(_draw, trial), pinned=pinned)


def _draw(trial: optuna.Trial, name: str, domain: Domain) -> Value:
    match domain:
        case Int():
            return trial.suggest_int(name, domain.low, domain.high, log=domain.log, step=domain.step)
        case Float():
            return trial.suggest_float(name, domain.low, domain.high, log=domain.log)
        case Choice():
            value = trial.suggest_categorical(name, domain.options)
            assert isinstance(value, bool | int | float | str)
            return value
        case Fixed():
            return domain.value


def as_drawn(
    settings: Mapping[str, Value], space: Space
) -> dict[str, tuple[optuna.distributions.BaseDistribution, Value]]:
    """The settings that the space leaves open, with the distributions with which `suggest` draws them."""
    found: dict[str, tuple[optuna.distributions.BaseDistribution, Value]] = {}
    for name, value in settings.items():
        match space.domains[name]:
            case Int(low=low, high=high, log=log, step=step):
                found[name] = optuna.distributions.IntDistribution(low, high, log=log, step=step), value
            case Float(low=low, high=high, log=log):
                found[name] = optuna.distributions.FloatDistribution(low, high, log=log), value
            case Choice(options=options):
                found[name] = optuna.distributions.CategoricalDistribution(options), value
    return found


def fitting(given: Mapping[str, object], space: Space) -> dict[str, Value]:
    """What of these settings the space can express, in the types that it has for them.

    Another program may queue a trial with settings that the space does not have, or not with these values:
    they are drawn like those that it did not name, for a trial outside the space could not be compared.
    """
    found = {name: _typed(value, space.domains.get(name)) for name, value in given.items()}
    return {name: value for name, value in found.items() if value is not None}


def _typed(value: object, domain: Domain | None) -> Value | None:
    """The value in the type that the domain has for it; None where the sampler has to draw one."""
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        if isinstance(domain, Int) and value == int(value):
            value = int(value)
        elif isinstance(domain, Float):
            value = float(value)
    if domain is None or isinstance(domain, Fixed) or value not in domain:
        return None
    assert isinstance(value, bool | int | float | str)
    return value


def split_reference(
    reference: Mapping[str, Value], space: Space
) -> tuple[dict[str, Value], dict[str, Value]]:
    """Parts a reference's settings into those that the space can express and those it cannot: values outside
    of it, and settings that it does not draw beside the others.

    Returns (searched, pinned). Settings that the space fixes at the reference's own value are in neither.
    """
    searched: dict[str, Value] = {}
    pinned: dict[str, Value] = {}
    for name, value in reference.items():
        domain = space.domains.get(name)
        if domain is None or value not in domain:
            pinned[name] = value
        elif not isinstance(domain, Fixed):
            searched[name] = value
    drawn = space.complete(searched, lambda *_: None, pinned=pinned)
    pinned |= {name: value for name, value in searched.items() if name not in drawn}
    return {name: value for name, value in searched.items() if name in drawn}, pinned


def split_leader(settings: Mapping[str, Value], space: Space) -> tuple[dict[str, Value], dict[str, Value]]:
    """Like `split_reference`, for a trial of this space whose network may have been widened: settings that it
    is without, and that the wider network would have, are pinned at what holds without them."""
    searched, pinned = split_reference(settings, space)
    usual = in_effect(settings)
    while True:
        shape = space.shape(searched, pinned=pinned)
        new = (shape.searched | shape.fixed.keys()) & usual.keys() - settings.keys() - pinned.keys()
        if not new:
            return searched, pinned
        pinned |= {name: usual[name] for name in new}
