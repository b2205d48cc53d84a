"""The values that one setting may take, as frozen data."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from reprlib import repr as short

from search.records import Value


class DomainError(ValueError):
    """An invalid domain. States the rule and the value that broke it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Int:
    """Whole numbers from `low` to `high`, both included."""

    low: int
    high: int
    log: bool = False
    """sample on a logarithmic scale"""
    step: int = 1
    """distance of neighbouring values, counted from `low`"""

    def __post_init__(self) -> None:
        for name, number in (("low", self.low), ("high", self.high), ("step", self.step)):
            if isinstance(number, bool) or not isinstance(number, int):
                raise DomainError(f"{name} must be a whole number, not {short(number)}")
        _check_bounds(self.low, self.high, self.log)
        if self.step < 1:
            raise DomainError(f"step must be at least 1, not {short(self.step)}")
        if self.log and self.step != 1:
            raise DomainError(f"step must be 1 on a logarithmic scale, not {short(self.step)}")

    def __contains__(self, value: object) -> bool:
        if isinstance(value, bool) or not isinstance(value, int):
            return False
        return self.low <= value <= self.high and (value - self.low) % self.step == 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Float:
    """Real numbers from `low` to `high`, both included."""

    low: float
    high: float
    log: bool = False
    """sample on a logarithmic scale"""

    def __post_init__(self) -> None:
        for name, number in (("low", self.low), ("high", self.high)):
            if isinstance(number, bool) or not isinstance(number, int | float) or not math.isfinite(number):
                raise DomainError(f"{name} must be a finite number, not {short(number)}")
        _check_bounds(self.low, self.high, self.log)

    def __contains__(self, value: object) -> bool:
        return (
            isinstance(value, int | float) and not isinstance(value, bool) and self.low <= value <= self.high
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Choice:
    """One of a few values without an order."""

    options: tuple[Value, ...]

    def __post_init__(self) -> None:
        if not self.options:
            raise DomainError("a list of options must name at least one")
        seen = {(type(option), option) for option in self.options}
        if len(seen) != len(self.options):
            raise DomainError(f"options must differ from each other: {short(list(self.options))}")

    def __contains__(self, value: object) -> bool:
        return any(type(option) is type(value) and option == value for option in self.options)


@dataclass(frozen=True, kw_only=True, slots=True)
class Fixed:
    """One value that is not searched."""

    value: Value

    def __contains__(self, value: object) -> bool:
        return type(value) is type(self.value) and value == self.value


Domain = Int | Float | Choice | Fixed


@dataclass(frozen=True, kw_only=True, slots=True)
class Space:
    """A whole search space: the domain of every setting, and which settings belong to which family."""

    domains: Mapping[str, Domain]
    """setting -> domain, in the order in which the settings are drawn"""
    families: Mapping[str, frozenset[str]]
    """settings that exist in some model families only -> those families"""

    def active(self, family: str) -> Iterator[tuple[str, Domain]]:
        """The settings of one model family with their domains."""
        for name, domain in self.domains.items():
            if name not in self.families or family in self.families[name]:
                yield name, domain

    def fixed(self, family: str) -> dict[str, Value]:
        """The settings of one model family that are not searched."""
        return {name: d.value for name, d in self.active(family) if isinstance(d, Fixed)}


def _check_bounds(low: float, high: float, log: bool) -> None:
    if low > high:
        raise DomainError(f"low must not exceed high, but {low} > {high}")
    if log and low <= 0:
        raise DomainError(f"low must be above 0 on a logarithmic scale, not {low}")
