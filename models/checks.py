"""The checks that every config makes at its construction: a rule, and the value that broke it."""

import difflib
import math
from collections.abc import Iterable


class InvalidConfig(ValueError):
    """A setting that no network or training can have; the message gives name, rule and value."""


def whole(name: str, value: object, *, low: int, high: int | None = None) -> None:
    """Raises InvalidConfig unless `value` is an int, no bool, in low..high (None: no upper bound)."""
    wanted = f"an integer >= {low}" if high is None else f"an integer in {low}..{high}"
    if isinstance(value, bool) or not isinstance(value, int) or value < low:
        raise InvalidConfig(f"{name} must be {wanted}, got {value!r}")
    if high is not None and value > high:
        raise InvalidConfig(f"{name} must be {wanted}, got {value!r}")


def real(name: str, value: object, *, low: float, below: float = math.inf, above: bool = False) -> None:
    """Raises InvalidConfig unless `value` is finite and low <= value < below; with `above`, low < value."""
    wanted = f"a number {'>' if above else '>='} {low:g}" + ("" if below == math.inf else f" and < {below:g}")
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise InvalidConfig(f"{name} must be {wanted}, got {value!r}")
    if value < low or value >= below or (above and value == low):
        raise InvalidConfig(f"{name} must be {wanted}, got {value!r}")


def flag(name: str, value: object) -> None:
    """Raises InvalidConfig unless `value` is True or False."""
    if not isinstance(value, bool):
        raise InvalidConfig(f"{name} must be true or false, got {value!r}")


def choice(name: str, value: object, options: Iterable[str]) -> None:
    """Raises InvalidConfig, naming near matches, unless `value` is one of `options`."""
    options = list(options)
    if not isinstance(value, str) or value not in options:
        raise InvalidConfig(
            f"{name} must be one of {', '.join(options)}, got {value!r}{near(value, options)}"
        )


def near(value: object, options: Iterable[str]) -> str:
    """' (did you mean …?)' where an option looks like `value`, else nothing."""
    matches = difflib.get_close_matches(str(value), list(options), n=3)
    return f" (did you mean {' or '.join(matches)}?)" if matches else ""
