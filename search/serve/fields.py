"""Reads untrusted JSON strictly: one value for a key, finite numbers, expected types."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from reprlib import repr as short
from typing import Any, NoReturn

MAX_TEXT = 1000
"""Characters of a text."""


def parse(content: bytes) -> object:
    """The value of a JSON document. Raises ValueError for what is none, or has a key twice or a number that
    is not finite."""
    try:
        return json.loads(content, object_pairs_hook=_mapping, parse_constant=_no_number)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def whole(value: object, what: str, *, low: int, high: int) -> int:
    """A whole number from `low` to `high`. Raises ValueError."""
    if type(value) is not int or not low <= value <= high:
        raise ValueError(f"{what} must be a whole number from {low} to {high}, not {short(value)}")
    return value


def text(value: object, what: str) -> str:
    """Some characters that can be written anywhere. Raises ValueError."""
    if not isinstance(value, str) or not 0 < len(value) <= MAX_TEXT:
        raise ValueError(f"{what} must be a text of 1 to {MAX_TEXT} characters, not {short(value)}")
    value.encode()  # UnicodeEncodeError, a ValueError: half a character
    return value


def word(value: object, what: str) -> str:
    """A text that is printed as it is: no end of a line, no control characters. Raises ValueError."""
    found = text(value, what)
    if not found.isprintable():
        raise ValueError(f"{what} must be printable, not {short(found)}")
    return found


def sequence(value: object, what: str, *, low: int, high: int) -> Sequence[Any]:
    """A list of `low` to `high` values. Raises ValueError."""
    if not isinstance(value, list) or not low <= len(value) <= high:
        raise ValueError(f"{what} must be a list of {low} to {high} values, not {short(value)}")
    return value


def mapping(value: object, what: str) -> Mapping[str, Any]:
    """A JSON object. Raises ValueError."""
    if not isinstance(value, dict):
        raise ValueError(f"{what} is not a JSON object")
    return value


def field(values: Mapping[str, Any], key: str) -> Any:
    """Raises ValueError where there is none."""
    if key not in values:
        raise ValueError(f"{key!r} is missing")
    return values[key]


def _mapping(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"it has {short(key)} twice")
        found[key] = value
    return found


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number")
