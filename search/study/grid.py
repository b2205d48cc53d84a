"""The configurations of a discrete search space: how many there are, and whether a study has tried them all.

Two trials have the same configuration if the same network is trained in the same way, but for the seed. So a
setting counts only where it is active, and layers count by their units after rounding. Imports no Optuna:
commands that only look ask too.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

from models.widths import grown, tapered
from search.records import DeclaredSpec, NetworkSpec, State, StudySpec, TrialRecord, Value
from search.space.defaults import in_effect, without_effect
from search.tasks import known_task
from tune.space import Choice, Domain, Fixed, Float, Int, Space

Settings = dict[str, Value]
Identity = tuple[tuple[str, object], ...]
"""What is the same for two trials of one configuration, and different for those of two."""

MOST = 20_000
"""Of a larger space the configurations are not listed. No search has that number of trials."""


_LAYERS: Mapping[str, tuple[Callable[..., tuple[int, ...]], tuple[str, ...]]] = {
    "units": (tapered, ("width", "taper", "depth")),
    "block_channels": (grown, ("channels", "growth", "blocks", "divisor")),
    "hidden_units": (tapered, ("hidden", "hidden_taper", "hidden_layers")),
}
"""What of a network the settings of its layers decide together: the formula, and its arguments."""


def identity(settings: Mapping[str, Value], space: Space, spec: StudySpec) -> Identity:
    """Of the settings that a trial drew or was given, none of the active ones missing."""
    return _identity(space.active(settings), spec)


def idle_settings(spec: StudySpec) -> frozenset[str]:
    """Names of the settings that do nothing for the task of a study, such as the width of a number that it
    does not have."""
    if isinstance(spec, DeclaredSpec):
        return frozenset()
    return without_effect(known_task(spec.task))


def _identity(active: Mapping[str, Value], spec: StudySpec) -> Identity:
    if isinstance(spec, DeclaredSpec):  # what its settings do is not known here
        return tuple(sorted(active.items()))
    idle = idle_settings(spec)
    found = in_effect(active)
    does: dict[str, object] = {name: value for name, value in found.items() if name not in idle}
    for layers, (formula, names) in _LAYERS.items():
        if found.keys() >= set(names):
            does[layers] = formula(*(found[name] for name in names))
            does = {name: value for name, value in does.items() if name not in names}
    if found.get("optimizer") == "nesterov" and found.get("momentum") == 0:
        does["optimizer"] = "sgd"
    if found.get("optimizer") == "adamw" and found.get("weight_decay") == 0:
        does["optimizer"] = "adam"
    return tuple(sorted(does.items()))


def is_discrete(space: Space, spec: StudySpec) -> bool:
    """Whether the space has a finite number of configurations. One of networks without a model has none to
    speak of."""
    idle = idle_settings(spec)
    if isinstance(spec, NetworkSpec) and "model" not in space.domains:
        return False
    return not any(
        isinstance(domain, Float)
        and domain.low < domain.high
        and name not in idle
        and space.can_be_active(name)
        for name, domain in space.domains.items()
    )


def configurations(space: Space, spec: StudySpec, *, at_most: int = MOST) -> dict[Identity, Settings] | None:
    """Every configuration of a discrete space, with settings that have it as they are drawn, in the order of
    the space.

    None for a continuous space, and where there are more than `at_most`, or more than MOST settings.
    """
    if not is_discrete(space, spec):
        return None
    found: dict[Identity, Settings] = {}
    for count, (drawn, active) in enumerate(_every(space, idle_settings(spec))):
        found.setdefault(_identity(active, spec), drawn)
        if count >= MOST or len(found) > at_most:
            return None
    return found


def _every(space: Space, idle: Collection[str]) -> Iterator[tuple[Settings, Settings]]:
    """All settings of a discrete space, as drawn, and the active ones of each. Settings that are `idle` or
    inactive have one value only."""

    def rest(place: int, drawn: Settings, active: Settings) -> Iterator[tuple[Settings, Settings]]:
        if place == len(space.order):
            yield drawn, active
            return
        name = space.order[place]
        if not space.is_drawn(name, active):
            yield from rest(place + 1, drawn, active)
            return
        is_active = space.is_active(name, active)
        values = _values(space.domains[name])
        for value in values if is_active and name not in idle else values[:1]:
            one = {name: value}
            yield from rest(place + 1, {**drawn, **one}, {**active, **one} if is_active else active)

    yield from rest(0, {}, {})


def _values(domain: Domain) -> Sequence[Value]:
    """All values of a domain; of a range of real numbers its lower end."""
    match domain:
        case Int(low=low, high=high, step=step):
            return range(low, high + 1, step)
        case Float(low=low):
            return (low,)
        case Choice(options=options):
            return options
        case Fixed(value=value):
            return (value,)


def untaken(
    proposed: Settings,
    taken: Collection[Identity],
    *,
    every: Mapping[Identity, Settings] | None,
    space: Space,
    spec: StudySpec,
    given: Mapping[str, Value],
    seed: int,
) -> Settings:
    """Settings whose configuration no other trial has, for a discrete space.

    The proposed ones, if theirs is not taken. Else those of the untaken configuration that differs from the
    proposed settings in the fewest values, so that a sampler that learns stays near what it found good;
    `seed` chooses among equals. Where the configurations are not listed (every: None), settings are drawn at
    random. `given` ones stay as they are where they are active; where that leaves nothing untaken, the
    proposed ones are returned.
    """
    if identity(proposed, space, spec) not in taken:
        return proposed
    draw = random.Random(seed)
    if every is None:
        while not given:
            drawn = space.complete({}, lambda _, domain: draw.choice(_values(domain)))
            if identity(drawn, space, spec) not in taken:
                return drawn
        return proposed
    free = []
    for each, settings in every.items():
        active = {} if each in taken else space.active(settings)
        if active and all(active.get(name, value) == value for name, value in given.items()):
            free.append((settings, active))
    if not free:
        return proposed
    wanted = space.active(proposed)
    distances = [_distance(wanted, active) for _, active in free]
    least = min(distances)
    return dict(draw.choice([s for (s, _), far in zip(free, distances, strict=True) if far == least]))


def _distance(one: Mapping[str, Value], other: Mapping[str, Value]) -> int:
    """In how many settings they differ."""
    return sum(one.get(name) != value for name, value in other.items())


def is_exhausted(spec: StudySpec, space: Space, trials: Collection[TrialRecord]) -> bool:
    """Whether a study has tried every configuration of its space, and none of its trials waits or runs.

    trials: all of the study. A failed trial was tried: its settings are queued again where they are not to
    blame. References are measured beside the search: their configurations are searched nevertheless.
    """
    if not spec.searches or not is_discrete(space, spec):
        return False
    if any(each.state in (State.WAITING, State.RUNNING) for each in trials):
        return False
    tried = {
        identity(each.settings, space, spec)
        for each in trials
        if each.reference is None
        and each.set_aside is None
        and each.settings.keys() >= space.shape(each.settings).searched
    }
    every = configurations(space, spec, at_most=len(tried))
    return every is not None and every.keys() <= tried
