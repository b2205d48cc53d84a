"""The configurations of a discrete search space: how many there are, and whether a study has tried them all.

Two trials have the same configuration if the same network is trained in the same way, but for the seed. So a
setting counts only where it does something (the taper of an MLP with one hidden layer does nothing), and
layers count by their units after rounding. Imports no Optuna: commands that only look ask too.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

from models.widths import grown, tapered
from search.records import State, StudySpec, TrialRecord, Value
from search.space.defaults import BY_NAME, without_effect
from search.space.domain import Choice, Domain, Fixed, Float, Int, Space
from search.tasks import takes_number

Settings = dict[str, Value]
Identity = tuple[tuple[str, object], ...]
"""What is the same for two trials of one configuration, and different for those of two."""

MOST = 20_000
"""Of a larger space the configurations are not listed. No search has so many trials."""


_LAYERS: Mapping[str, tuple[Callable[..., tuple[int, ...]], tuple[str, ...]]] = {
    "units": (tapered, ("width", "taper", "depth")),
    "block_channels": (grown, ("channels", "growth", "blocks", "divisor")),
    "hidden_units": (tapered, ("hidden", "hidden_taper", "hidden_layers")),
}
"""What of a network the settings of its layers decide together: the formula, and its arguments."""


def identity(settings: Mapping[str, Value], task: str) -> Identity:
    """Of complete settings; of incomplete ones something that no complete ones have."""
    idle = without_effect(number_input=takes_number(task))
    does: dict[str, object] = {
        name: value for name, value in settings.items() if name not in idle and _active(name, settings)
    }
    for layers, (formula, names) in _LAYERS.items():
        if settings.keys() >= set(names):
            does[layers] = formula(*(settings[name] for name in names))
            does = {name: value for name, value in does.items() if name not in names}
    if settings.get("optimizer") == "nesterov" and settings.get("momentum") == 0:
        does["optimizer"] = "sgd"
    if settings.get("optimizer") == "adamw" and settings.get("weight_decay") == 0:
        does["optimizer"] = "adam"
    return tuple(sorted(does.items()))


def _active(name: str, settings: Mapping[str, Value]) -> bool:
    """Whether a setting does anything beside the others."""
    needs = BY_NAME[name].needs
    if needs is None or needs[0] not in settings:
        return True
    other = settings[needs[0]]
    return isinstance(other, int | float) and other > needs[1]


def is_discrete(space: Space, task: str) -> bool:
    """Whether the space has a finite number of configurations. One without networks has none to speak of."""
    idle = without_effect(number_input=takes_number(task))
    return "model" in space.domains and not any(
        isinstance(domain, Float) and domain.low < domain.high and name not in idle and _ever(name, space)
        for name, domain in space.domains.items()
    )


def _ever(name: str, space: Space) -> bool:
    """Whether there is a configuration in which the setting does anything."""
    needs = BY_NAME[name].needs
    if needs is None or needs[0] not in space.domains:
        return True
    other = space.domains[needs[0]]
    if isinstance(other, Float):
        return other.high > needs[1]
    return any(_active(name, {needs[0]: value}) for value in _values(other))


def configurations(space: Space, task: str, *, at_most: int = MOST) -> dict[Identity, Settings] | None:
    """Every configuration of a discrete space with settings that have it, in the order of the space.

    None for a continuous space, and where there are more than `at_most`, or more than MOST settings.
    """
    if not is_discrete(space, task):
        return None
    found: dict[Identity, Settings] = {}
    for count, settings in enumerate(_every(space, task)):
        found.setdefault(identity(settings, task), settings)
        if count >= MOST or len(found) > at_most:
            return None
    return found


def _every(space: Space, task: str) -> Iterator[Settings]:
    """All settings of a discrete space; those that do nothing have one value only."""
    idle = without_effect(number_input=takes_number(task))

    def rest(names: Sequence[tuple[str, Domain]], so_far: Settings) -> Iterator[Settings]:
        if not names:
            yield so_far
            return
        (name, domain), *others = names
        values = _values(domain)
        if name in idle or not _active(name, so_far):
            values = values[:1]
        for value in values:
            yield from rest(others, {**so_far, name: value})

    for family in _values(space.domains["model"]):
        others = [(name, domain) for name, domain in space.active(str(family)) if name != "model"]
        yield from rest(others, {"model": family})


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
    task: str,
    given: Mapping[str, Value],
    seed: int,
) -> Settings:
    """Settings whose configuration no other trial has, for a discrete space.

    The proposed ones, if theirs is not taken. Else those of the untaken configuration that differs from the
    proposed settings in the fewest values, so that a sampler that learns stays near what it found good;
    `seed` chooses among equals. Where the configurations are not listed (every: None), settings are drawn at
    random. `given` ones stay as they are; where that leaves nothing untaken, the proposed ones are returned.
    """
    if identity(proposed, task) not in taken:
        return proposed
    draw = random.Random(seed)
    if every is None:
        while not given:
            drawn = _at_random(space, draw)
            if identity(drawn, task) not in taken:
                return drawn
        return proposed
    free = [
        settings
        for each, settings in every.items()
        if each not in taken and all(settings.get(name) == value for name, value in given.items())
    ]
    if not free:
        return proposed
    distances = [_distance(proposed, settings) for settings in free]
    least = min(distances)
    return dict(draw.choice([s for s, distance in zip(free, distances, strict=True) if distance == least]))


def _distance(one: Mapping[str, Value], other: Mapping[str, Value]) -> int:
    """In how many settings they differ."""
    return sum(one.get(name) != value for name, value in other.items())


def _at_random(space: Space, draw: random.Random) -> Settings:
    settings: Settings = {"model": draw.choice(_values(space.domains["model"]))}
    for name, domain in space.active(str(settings["model"])):
        if name != "model":
            settings[name] = draw.choice(_values(domain))
    return settings


def is_exhausted(spec: StudySpec, space: Space, trials: Collection[TrialRecord]) -> bool:
    """Whether a study has tried every configuration of its space, and none of its trials waits or runs.

    trials: all of the study. A failed trial was tried: its settings are queued again where they are not to
    blame. References are measured beside the search: their configurations are searched nevertheless.
    """
    if spec.confirms is not None or not is_discrete(space, spec.task):
        return False
    if any(each.state in (State.WAITING, State.RUNNING) for each in trials):
        return False
    tried = {identity(each.settings, spec.task) for each in trials if each.reference is None}
    every = configurations(space, spec.task, at_most=len(tried))
    return every is not None and every.keys() <= tried
