"""A search space: the domain of each setting, and the conditions under which it is there."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from reprlib import repr as short
from types import MappingProxyType
from typing import Any, Callable

from tune.conditions import Bound, Condition, OneOf, SpaceError, Test, Value, When
from tune.domains import Choice, Domain, Fixed, Float, Int, in_words, takes

__all__ = [
    "Choice",
    "Condition",
    "Domain",
    "Fixed",
    "Float",
    "Int",
    "Shape",
    "Space",
    "SpaceError",
    "Value",
    "When",
    "in_words",
    "mistakes_in_conditions",
    "refuse_mistakes",
    "wrong_conditions",
]

Choose = Callable[[str, Domain], "Value | None"]
"""Chooses a value for a setting; None leaves it without one."""

_NOTHING: Mapping[str, Value] = MappingProxyType({})


@dataclass(frozen=True)
class Shape:
    """Which settings a trial has, once those are known that conditions are on."""

    fixed: Mapping[str, Value]
    """those that are not searched"""
    searched: frozenset[str]
    """the others"""


class Space:
    """A search space: the domain of every setting.

        Space(lr=Float(1e-4, 0.1, log=True), depth=Int(1, 4))
        Space({"learning rate": Float(1e-4, 0.1)})           # names that are no identifiers

    A setting whose conditions (`when`) do not hold is inactive: a trial is without it, and a condition on it
    does not hold either. Equal spaces have the same settings in the same order.
    """

    def __init__(self, settings: Mapping[str, Domain] = MappingProxyType({}), /, **more: Domain) -> None:
        """Raises SpaceError with all mistakes, each with the setting that has it."""
        if not isinstance(settings, Mapping):
            raise SpaceError(f"a space is made of settings with their domains, not of {short(settings)}")
        domains, problems = {**settings, **more}, []
        for name, domain in domains.items():
            if not isinstance(name, str) or not name:
                problems.append(f"the name of a setting is a word, not {short(name)}")
            if name in settings and name in more:
                problems.append(f"{name} is given twice")
            if not isinstance(domain, (Int, Float, Choice, Fixed)):
                problems.append(f"{name} must be Float, Int or Choice, not {short(domain)}")
        refuse_mistakes([*problems, *mistakes_in_conditions(domains)])
        self.domains: Mapping[str, Domain] = MappingProxyType(domains)
        """by setting, in the order in which they were given"""
        self.order: tuple[str, ...] = _ordered(domains)
        """every setting after those that its conditions are on, else as given: the order of drawing"""
        self._drawn = {
            name: domain.when.without(domain.when.only(domain.drawn_despite))
            for name, domain in domains.items()
        }
        self._hides = {name: domain.when.only(domain.drawn_despite) for name, domain in domains.items()}
        named = {name for domain in domains.values() for name in domain.when}
        self._controls = tuple(name for name in self.order if name in named)
        self._shapes: dict[object, Shape] = {}

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Space):
            return NotImplemented
        return tuple(self.domains.items()) == tuple(other.domains.items())

    def __hash__(self) -> int:
        return hash(tuple(self.domains.items()))

    def __repr__(self) -> str:
        return f"Space({dict(self.domains)})"

    def __reduce__(self) -> tuple[Any, ...]:
        return Space, (dict(self.domains),)

    def is_drawn(self, name: str, active: Mapping[str, Value]) -> bool:
        """Whether a setting is drawn beside these active ones: all that come before it in the order."""
        return self._drawn[name].hold(active)

    def is_active(self, name: str, active: Mapping[str, Value]) -> bool:
        """Whether a setting is active beside these: all that come before it in the order."""
        return self.domains[name].when.hold(active)

    def complete(
        self, given: Mapping[str, Value], choose: Choose, *, pinned: Mapping[str, Value] = _NOTHING
    ) -> dict[str, Value]:
        """All settings that a trial draws, those included that are drawn and inactive nevertheless.

        `choose` is asked for each that is neither given nor fixed. `pinned` ones are taken as they are,
        inside the space or not, whatever their conditions.
        """
        found = {name: value for name, value in pinned.items() if name not in self.domains}
        for name, value, _ in self._walk(given, choose, pinned):
            if value is not None:
                found[name] = value
        return found

    def active(
        self, given: Mapping[str, Value], *, pinned: Mapping[str, Value] = _NOTHING
    ) -> dict[str, Value]:
        """The settings of a trial that draws the `given` ones: with the fixed ones, without inactive ones."""
        shape = self.shape(given, pinned=pinned)
        searched = {**given, **pinned}
        return {**shape.fixed, **{name: searched[name] for name in searched if name in shape.searched}}

    def shape(self, given: Mapping[str, Value], *, pinned: Mapping[str, Value] = _NOTHING) -> Shape:
        """Which settings a trial with these has; the same object for many trials. Pinned ones that are active
        count as searched."""
        if pinned:
            return self._shape(given, pinned)
        key = tuple((type(value), value) for value in map(given.get, self._controls))
        if key not in self._shapes:
            if len(self._shapes) >= MOST_SHAPES:
                self._shapes.clear()
            self._shapes[key] = self._shape(given, pinned)
        return self._shapes[key]

    def _shape(self, given: Mapping[str, Value], pinned: Mapping[str, Value]) -> Shape:
        fixed: dict[str, Value] = {}
        searched = {name for name in pinned if name not in self.domains}
        for name, value, active in self._walk(given, _leave, pinned):
            if active and isinstance(self.domains[name], Fixed) and name not in pinned:
                assert value is not None
                fixed[name] = value
            elif active:
                searched.add(name)
        return Shape(MappingProxyType(fixed), frozenset(searched))

    def _walk(
        self, given: Mapping[str, Value], choose: Choose, pinned: Mapping[str, Value]
    ) -> Iterator[tuple[str, Value | None, bool]]:
        """(setting, value, whether it is active) for each that is drawn, in order; None: it has no value."""
        active = {name: value for name, value in pinned.items() if name not in self.domains}
        for name in self.order:
            domain = self.domains[name]
            value: Value | None
            if name in pinned:
                value = pinned[name]
            elif not self._drawn[name].hold(active):
                continue
            elif isinstance(domain, Fixed):
                value = domain.value
            else:
                value = given[name] if name in given else choose(name, domain)
            shown = self._hides[name].hold(active)
            if shown and value is not None:
                active[name] = value
            yield name, value, shown

    def can_be_active(self, name: str) -> bool:
        """Whether a setting is active in any configuration, each of its conditions seen by itself."""
        return name in self._possible

    @cached_property
    def _possible(self) -> set[str]:
        possible: set[str] = set()
        for each in self.order:
            when = self.domains[each].when
            if all(
                control in possible and all(_can_hold(test, self.domains[control]) for test in tests)
                for control, tests in when.items()
            ):
                possible.add(each)
        return possible


MOST_SHAPES = 1000
"""That a space remembers; a condition on a real number makes as many as there are trials."""


def _leave(name: str, domain: Domain) -> Value | None:
    return None


MOST_MISTAKES = 20
"""That one error has room for."""


def refuse_mistakes(problems: Sequence[str]) -> None:
    """Raises SpaceError with all of them, if there are any."""
    if problems:
        told = [*problems[:MOST_MISTAKES], *["and more"] * (len(problems) > MOST_MISTAKES)]
        raise SpaceError("; ".join(told))


def mistakes_in_conditions(settings: Mapping[str, object]) -> list[str]:
    """What `wrong_conditions` finds, with the setting that has it. Nothing is said of conditions on a setting
    whose domain is not valid."""
    domains = {name: each for name, each in settings.items() if isinstance(each, (Int, Float, Choice, Fixed))}
    unread = settings.keys() - domains.keys()
    return [f"{name}: {problem}" for name, problem in wrong_conditions(domains, unread)]


def wrong_conditions(
    domains: Mapping[str, Domain], unread: Collection[str] = ()
) -> Iterator[tuple[str, str]]:
    """(setting, problem) of each condition on a setting that is not there, on a value that it never has, or
    on itself by way of others. A condition that only hides (`drawn_despite`) may never hold.

    unread: settings that are there too, of which nothing is known.
    """
    for name, domain in domains.items():
        for control, tests in domain.when.items():
            if control in unread:
                continue
            if control not in domains:
                near = get_close_matches(control[:100], [*domains, *unread], 1)
                hint = f" (did you mean {near[0]}?)" if near else ""
                yield name, f"when names {_named(control)}, which is no setting of this space{hint}"
            elif control not in domain.drawn_despite:
                for test in tests:
                    if problem := _never(test, domains[control]):
                        yield name, f"when: {control} is never {problem} (it is {in_words(domains[control])})"
    for circle in _circles(domains):
        way = " → ".join(map(_named, [*circle, circle[0]]))
        yield circle[0], f"when leads back to the setting itself: {way}"


def _never(test: Test, domain: Domain) -> str | None:
    """What of a condition a setting can never be, in words; None: it can be all of it."""
    if isinstance(test, OneOf):
        return next((short(option) for option in test.options if not takes(domain, option)), None)
    return None if _can_hold(test, domain) else str(test)


def _can_hold(test: Test, domain: Domain) -> bool:
    """Whether any value of the domain meets a condition."""
    if isinstance(test, OneOf):
        return any(takes(domain, option) for option in test.options)
    if isinstance(domain, Choice):
        return any(map(test.holds, domain.options))
    if isinstance(domain, Fixed):
        return test.holds(domain.value)
    if isinstance(domain, Int):
        return test.holds(_first_above(domain, test))
    within = test.above is not None and domain.low <= test.above < domain.high
    return within or test.holds(domain.low) or test.holds(domain.high)


def _first_above(domain: Int, bound: Bound) -> int:
    """The first value of a range that is above the bound; where there is none, its lowest value."""
    first = domain.low
    if bound.above is not None and bound.above >= domain.low:
        first += ((math.floor(bound.above) - domain.low) // domain.step + 1) * domain.step
    return first if first <= domain.high else domain.low


def _ordered(domains: Mapping[str, Domain]) -> tuple[str, ...]:
    """Each setting after those that its conditions are on; without a circle."""
    done: dict[str, None] = {}
    for first in domains:
        waiting = [first]
        while waiting:
            name = waiting[-1]
            before = [control for control in domains[name].when if control not in done]
            if before and name not in done:
                waiting.extend(reversed(before))
            else:
                done[waiting.pop()] = None
    return tuple(done)


def _circles(domains: Mapping[str, Domain]) -> Iterator[list[str]]:
    """Settings of which each has a condition on the next one, and the last on the first. A setting is in one
    of these lists at most."""
    free: set[str] = set()
    for first in domains:
        path: dict[str, Iterator[str]] = {} if first in free else {first: iter(domains[first].when)}
        while path:
            name = next(reversed(path))
            control = next((each for each in path[name] if each in domains and each not in free), None)
            if control is None:
                free.add(name)
                del path[name]
            elif control in path:
                names = list(path)
                circle = names[names.index(control) :]
                yield circle
                free.update(circle)
                for each in circle:
                    del path[each]
            else:
                path[control] = iter(domains[control].when)


def _named(name: str) -> str:
    return name if name.isprintable() and len(name) <= 50 else short(name)
