"""Turns a search space into Optuna's suggest calls: the only place that makes them.
Knows nothing of what a setting does.
"""

from __future__ import annotations

from collections.abc import Mapping

import optuna

from search.records import Value
from search.space.domain import Choice, Domain, Fixed, Float, Int, Space


def suggest(trial: optuna.Trial, space: Space, pinned: Mapping[str, Value]) -> dict[str, Value]:
    """Draws every setting that the space leaves open and returns the complete settings.

    `pinned` settings are taken as they are and not shown to the sampler: reference configurations may
    lie outside the space. Settings of other model families are left out.
    """
    settings = {"model": pinned.get("model") or _draw(trial, "model", space.domains["model"])}
    for name, domain in space.active(str(settings["model"])):
        if name not in settings and name not in pinned:
            settings[name] = _draw(trial, name, domain)
    return {**settings, **pinned}


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


def split_reference(
    reference: Mapping[str, Value], space: Space
) -> tuple[dict[str, Value], dict[str, Value]]:
    """Parts a reference's settings into those that the space can express and those it cannot.

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
    return searched, pinned
