"""Conditions: which values other settings must have for a setting to be there (`when`)."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from reprlib import repr as short
from typing import Any, Union

Value = Union[bool, int, float, str]
"""One setting of a trial, as it is stored and as it is written in a space file."""

Condition = Union[Value, "list[Any]", "tuple[Any, ...]", Mapping[str, Any]]
"""What another setting must be: a value, one of a list of values, or beyond a bound: {"above": 1}."""


class SpaceError(ValueError):
    """A domain, a condition or a space that is invalid. States the rule and the value that broke it."""


@dataclass(frozen=True)
class OneOf:
    """The setting has one of these values. Numbers are equal by size, so 1 is 1.0; True is not 1."""

    options: tuple[Value, ...]

    def holds(self, value: Value) -> bool:
        """Whether a value meets the condition."""
        return any(same(option, value) for option in self.options)

    @property
    def entry(self) -> object:
        """As it is written: the value, or the list of values."""
        return self.options[0] if len(self.options) == 1 else list(self.options)


@dataclass(frozen=True)
class Bound:
    """The setting is a number between two limits, both excluded."""

    above: float | None = None
    """None: no lower limit"""
    below: float | None = None
    """None: no upper limit"""

    def holds(self, value: Value) -> bool:
        """Whether a value meets the condition."""
        if not is_number(value):
            return False
        assert not isinstance(value, str)
        return (self.above is None or value > self.above) and (self.below is None or value < self.below)

    @property
    def entry(self) -> object:
        """As it is written: {"above": 1}."""
        limits = {"above": self.above, "below": self.below}
        return {name: limit for name, limit in limits.items() if limit is not None}

    def __str__(self) -> str:
        limits = (("above", self.above), ("below", self.below))
        return " and ".join(f"{name} {short(limit)}" for name, limit in limits if limit is not None)


Test = Union[OneOf, Bound]


class When(Mapping[str, "tuple[Test, ...]"]):
    """All conditions of one setting: other settings, and the tests that each of them must pass."""

    __slots__ = ("_tests",)

    def __init__(self, conditions: Mapping[str, Condition] | None = None) -> None:
        """Raises SpaceError for conditions that are invalid by themselves."""
        self._tests: dict[str, tuple[Test, ...]] = {}
        if isinstance(conditions, When):
            self._tests.update(conditions)
        elif isinstance(conditions, Mapping):
            self._tests.update((_name(name), (_test(name, each),)) for name, each in conditions.items())
        elif conditions is not None:
            raise SpaceError(
                f'when must name settings with their values, such as {{"optimizer": "sgd"}}, not '
                f"{short(conditions)}"
            )

    def __getitem__(self, name: str) -> tuple[Test, ...]:
        return self._tests[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._tests)

    def __len__(self) -> int:
        return len(self._tests)

    def __hash__(self) -> int:
        return hash(frozenset(self._tests.items()))

    def __repr__(self) -> str:
        told = (
            f"{name!r}: {' and '.join(repr(test.entry) for test in tests)}" for name, tests in self.items()
        )
        return "{" + ", ".join(told) + "}"

    def both(self, other: When) -> When:
        """The conditions of both."""
        joined = When(self)
        for name, tests in other.items():
            mine = joined._tests.get(name, ())
            joined._tests[name] = mine + tuple(test for test in tests if test not in mine)
        return joined

    def without(self, other: Mapping[str, tuple[Test, ...]]) -> When:
        """The conditions that are not among the other ones."""
        rest = When()
        for name, tests in self.items():
            if left := tuple(test for test in tests if test not in other.get(name, ())):
                rest._tests[name] = left
        return rest

    def only(self, names: Collection[str]) -> When:
        """The conditions on these settings."""
        some = When()
        some._tests.update((name, tests) for name, tests in self.items() if name in names)
        return some

    def hold(self, settings: Mapping[str, Value]) -> bool:
        """Whether all conditions hold for these settings: one that is missing fulfills none."""
        return all(
            name in settings and all(test.holds(settings[name]) for test in tests)
            for name, tests in self._tests.items()
        )

    def entries(self) -> dict[str, object]:
        """In the form in which conditions are given. Raises SpaceError where that form has none for them:
        where several tests of one setting were joined."""
        if any(len(tests) > 1 for tests in self._tests.values()):
            raise SpaceError("several conditions on one setting cannot be written as one")
        return {name: tests[0].entry for name, tests in self._tests.items()}


def _name(name: object) -> str:
    if not isinstance(name, str) or not name:
        raise SpaceError(f"when must name settings, not {short(name)}")
    return name


def _test(name: str, condition: object) -> Test:
    if isinstance(condition, (OneOf, Bound)):
        return condition
    if isinstance(condition, Mapping):
        return _bound(name, condition)
    options = tuple(condition) if isinstance(condition, (list, tuple)) else (condition,)
    if not options:
        raise SpaceError(f"when: the list of values of {name} must name at least one")
    for index, option in enumerate(options):
        if not is_value(option):
            raise SpaceError(
                f"when: {name} must be a value, a list of values or a bound, not {short(option)}"
            )
        if any(same(option, other) for other in options[:index]):
            raise SpaceError(
                f"when: the values of {name} must differ from each other: {short(list(options))}"
            )
    return OneOf(options)


def _bound(name: str, limits: Mapping[Any, Any]) -> Bound:
    unknown = [key for key in limits if key not in ("above", "below")]
    if unknown or not limits:
        told = f"not {short(unknown[0])}" if unknown else "and this one is empty"
        raise SpaceError(f"when: a bound of {name} has above, below or both, {told}")
    for key, limit in limits.items():
        if not is_number(limit):
            raise SpaceError(f"when: {name}: {key} must be a finite number, not {short(limit)}")
    bound = Bound(**limits)
    if bound.above is not None and bound.below is not None and not bound.above < bound.below:
        raise SpaceError(f"when: no {name} is {bound}")
    return bound


def is_number(value: object) -> bool:
    """Whether it is a finite number; True is none."""
    whole = isinstance(value, int) and not isinstance(value, bool)
    return whole or (isinstance(value, float) and math.isfinite(value))


def is_value(value: object) -> bool:
    """Whether it can be the value of a setting."""
    return isinstance(value, (bool, str)) or is_number(value)


def same(one: object, other: object) -> bool:
    """Whether two values are equal: numbers by size, and True is not 1."""
    return isinstance(one, bool) == isinstance(other, bool) and one == other
