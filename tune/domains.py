"""The domain of one setting: which values it may take, as frozen data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from itertools import islice
from reprlib import repr as short
from typing import Union

from tune.conditions import Condition, SpaceError, Value, When, is_number, is_value, same


@dataclass(frozen=True, init=False, repr=False)
class _Conditional:
    """What every domain has besides its values."""

    when: When
    """the setting is there only where these conditions on other settings hold"""
    drawn_despite: tuple[str, ...]
    """settings named in `when` that the drawing does not wait for: where their conditions do not hold, a
    value is drawn nevertheless and left out of the trial's settings, so that a sampler which models the
    settings of each group of trials together keeps this one in its group"""

    def __repr__(self) -> str:
        both, own = fields(self)[:2], fields(self)[2:]
        values = [(field.name, getattr(self, field.name)) for field in (*own, *both)]
        told = (f"{name}={value!r}" for name, value in values if value != _USUAL.get(name))
        return f"{type(self).__name__}({', '.join(told)})"

    def _set(self, **values: object) -> None:
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def _set_conditions(self, when: Mapping[str, Condition] | None, drawn_despite: Iterable[str]) -> None:
        self._set(when=When(when), drawn_despite=tuple(drawn_despite))
        for name in self.drawn_despite:
            if name not in self.when:
                raise SpaceError(f"drawn_despite names settings of when, and {short(name)} is none")


_USUAL: Mapping[str, object] = {"when": When(), "drawn_despite": (), "off": None, "log": False, "step": 1}
"""What a domain's representation leaves out."""


@dataclass(frozen=True, init=False, repr=False)
class Int(_Conditional):
    """Whole numbers from `low` to `high`, both included."""

    low: int
    high: int
    log: bool
    """sample on a logarithmic scale"""
    step: int
    """distance of neighboring values, counted from `low`"""
    off: int | None
    """the value that switches off what the setting does, inside the range or not; None: there is none"""

    def __init__(
        self,
        low: int,
        high: int,
        *,
        log: bool = False,
        step: int = 1,
        when: Mapping[str, Condition] | None = None,
        off: int | None = None,
        drawn_despite: Iterable[str] = (),
    ) -> None:
        """Raises SpaceError."""
        for name, number in (
            ("low", low),
            ("high", high),
            ("step", step),
            ("off", 0 if off is None else off),
        ):
            if isinstance(number, bool) or not isinstance(number, int):
                raise SpaceError(f"{name} must be a whole number, not {short(number)}")
        _check_bounds(low, high, log)
        if step < 1:
            raise SpaceError(f"step must be at least 1, not {short(step)}")
        if log and step != 1:
            raise SpaceError(f"step must be 1 on a logarithmic scale, not {short(step)}")
        self._set(low=low, high=high, log=log, step=step, off=off)
        self._set_conditions(when, drawn_despite)

    def __contains__(self, value: object) -> bool:
        if isinstance(value, bool) or not isinstance(value, int):
            return False
        return self.low <= value <= self.high and (value - self.low) % self.step == 0


@dataclass(frozen=True, init=False, repr=False)
class Float(_Conditional):
    """Real numbers from `low` to `high`, both included."""

    low: float
    high: float
    log: bool
    """sample on a logarithmic scale"""
    off: float | None
    """the value that switches off what the setting does, inside the range or not; None: there is none"""

    def __init__(
        self,
        low: float,
        high: float,
        *,
        log: bool = False,
        when: Mapping[str, Condition] | None = None,
        off: float | None = None,
        drawn_despite: Iterable[str] = (),
    ) -> None:
        """Raises SpaceError."""
        low, high = _real("low", low), _real("high", high)
        _check_bounds(low, high, log)
        self._set(low=low, high=high, log=log, off=None if off is None else _real("off", off))
        self._set_conditions(when, drawn_despite)

    def __contains__(self, value: object) -> bool:
        return (
            isinstance(value, (int, float)) and not isinstance(value, bool) and self.low <= value <= self.high
        )


@dataclass(frozen=True, init=False, repr=False)
class Choice(_Conditional):
    """One of a few values without an order."""

    options: tuple[Value, ...]
    off: Value | None
    """the option that switches off what the setting does; None: there is none"""

    def __init__(
        self,
        options: Iterable[Value],
        *,
        when: Mapping[str, Condition] | None = None,
        off: Value | None = None,
        drawn_despite: Iterable[str] = (),
    ) -> None:
        """Raises SpaceError."""
        if isinstance(options, (str, Mapping)) or not isinstance(options, Iterable):
            raise SpaceError(f"options must be a list of values, not {short(options)}")
        listed = tuple(options)
        if not listed:
            raise SpaceError("a list of options must name at least one")
        for option in listed:
            if not is_value(option):
                raise SpaceError(f"an option is a number, a word, true or false, not {short(option)}")
        if len(set(listed)) != len(listed):  # Optuna finds an option by equality
            of_types = len({(type(option), option) for option in listed}) == len(listed)
            why = " (1, 1.0 and True are equal)" if of_types else ""
            raise SpaceError(f"options must differ from each other: {short(list(listed))}{why}")
        self._set(options=listed, off=off)
        if off is not None and off not in self:
            raise SpaceError(f"off must be one of the options, not {short(off)}")
        self._set_conditions(when, drawn_despite)

    def __contains__(self, value: object) -> bool:
        return any(type(option) is type(value) and option == value for option in self.options)


@dataclass(frozen=True, init=False, repr=False)
class Fixed(_Conditional):
    """One value that is not searched."""

    value: Value

    def __init__(
        self,
        value: Value,
        *,
        when: Mapping[str, Condition] | None = None,
        drawn_despite: Iterable[str] = (),
    ) -> None:
        """Raises SpaceError."""
        if not is_value(value):
            raise SpaceError(f"a fixed value is a number, a word, true or false, not {short(value)}")
        self._set(value=value)
        self._set_conditions(when, drawn_despite)

    def __contains__(self, value: object) -> bool:
        return type(value) is type(self.value) and value == self.value


Domain = Union[Int, Float, Choice, Fixed]


def _real(name: str, number: object) -> float:
    try:
        if is_number(number):
            return float(number)  # type: ignore[arg-type]
    except OverflowError:
        pass
    raise SpaceError(f"{name} must be a finite number, not {short(number)}")


def _check_bounds(low: float, high: float, log: object) -> None:
    if not isinstance(log, bool):
        raise SpaceError(f"log must be true or false, not {short(log)}")
    if low > high:
        raise SpaceError(f"low must not exceed high, but {short(low)} > {short(high)}")
    if log and low <= 0:
        raise SpaceError(f"low must be above 0 on a logarithmic scale, not {short(low)}")


def in_words(domain: Domain) -> str:
    """What values a domain has, to follow "must be"."""
    if isinstance(domain, Int):
        return f"a whole number from {short(domain.low)} to {short(domain.high)}"
    if isinstance(domain, Float):
        return f"a number from {domain.low:g} to {domain.high:g}"
    if isinstance(domain, Fixed):
        return _option(domain.value)
    told = ", ".join(map(_option, islice(domain.options, MOST_TOLD)))
    return f"one of {told}{', …' if len(domain.options) > MOST_TOLD else ''}"


def takes(domain: Domain, value: object) -> bool:
    """Whether a value is one of a domain's, as `same` compares values."""
    if isinstance(domain, Choice):
        return any(same(option, value) for option in domain.options)
    return same(domain.value, value) if isinstance(domain, Fixed) else value in domain


MOST_TOLD = 20
"""Options of a choice that a sentence names."""


def _option(value: Value) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
