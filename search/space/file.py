"""Reads and writes a search space as TOML: narrows, widens or fixes the default one.
Every mistake in a file is reported at once.

    channels  = { low = 16, high = 64, log = true }   # a range
    optimizer = ["adamw", "nesterov"]                 # a choice
    dropout   = 0.25                                  # fixed, not searched
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from reprlib import repr as short

from search.errors import ConfigError, did_you_mean
from search.files import read_regular
from search.records import Value
from search.space.defaults import BY_NAME, FAMILIES, PARAMETERS, Parameter, default_space
from search.space.domain import Choice, Domain, DomainError, Fixed, Float, Int, Space

MAX_BYTES = 64_000
"""Of a space file; one that names every setting takes some thousand."""

MAX_OPTIONS = 1000
"""Of one choice."""

MAX_PROBLEMS = 20
"""Mistakes that are told at once."""

_NO_FLOAT = 10**300
"""Whole numbers from here on, positive or negative, are no setting's, and too large for a float."""

_KEY = r"""(?:"(?:[^"\\\n]|\\.)*+"|'[^'\n]*+'|(?<![\w-])[\w-]++)"""
_LONG_KEY = re.compile(rf"(?:{_KEY}[ \t]*+\.[ \t]*+){{20}}")
"""A dotted key of so many parts means nothing here, and tomllib takes gigabytes for one of 30,000: it keeps
each of its beginnings."""


def read_space(path: Path, families: tuple[str, ...] = FAMILIES) -> Space:
    """The default space with the changes that the file asks for.

    Raises ConfigError naming every mistake as `file: key: problem`.
    """
    try:
        content = read_regular(path, limit=MAX_BYTES)
        text = content.decode("utf-8-sig")  # editors on Windows begin a file with the mark that this skips
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror or error}).") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: is not a text file (UTF-8 is expected).") from error
    try:
        if _LONG_KEY.search(text):
            raise ConfigError(f"{path}: is not a space file: a key has more than 20 parts.")
        entries = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: is not TOML: {_shortened(error)}.") from error
    except ValueError as error:  # of int(), which reads 4,300 digits
        raise ConfigError(f"{path}: is not a space file: a number has thousands of digits.") from error
    except RecursionError as error:
        raise ConfigError(f"{path}: is not a space file: it is nested too deeply.") from error
    return change_space(entries, families, where=str(path))


def change_space(entries: Mapping[str, object], families: tuple[str, ...], *, where: str) -> Space:
    """Like `read_space`, from a mapping that is already parsed; `where` opens every complaint."""
    problems: list[str] = []
    if "model" in entries:
        families = _families(entries["model"], families, problems)
    space = default_space(families)
    domains = dict(space.domains)
    for key, entry in entries.items():
        if key == "model":
            continue
        if len(problems) > MAX_PROBLEMS:
            break
        if key not in BY_NAME:
            problems.append(f"{_shown(key)}: no such setting{did_you_mean(key, BY_NAME)}")
        elif key not in domains:
            problems.append(f"{key}: belongs to the family {BY_NAME[key].family}, which is not searched here")
        else:
            try:
                domains[key] = _domain(entry, BY_NAME[key])
            except DomainError as error:
                problems.append(f"{key}: {error}")
    if problems:
        told = problems[:MAX_PROBLEMS] + ["and more"] * (len(problems) > MAX_PROBLEMS)
        raise ConfigError("\n".join(f"{where}: {problem}" for problem in told))
    return Space(domains=domains, families=space.families)


def space_of_entries(entries: Mapping[str, object]) -> Space:
    """The space that `space_entries` wrote, exactly: a default that came later is no part of it.

    A setting that came later is fixed at what held before.
    """
    known = {BY_NAME[name].family for name in entries}
    later = {
        parameter.name: parameter.before
        for parameter in PARAMETERS
        if parameter.before is not None and parameter.name not in entries and parameter.family in known
    }
    entries = {**entries, **later}
    return Space(
        domains={name: _domain(entry, BY_NAME[name]) for name, entry in entries.items()},
        families={name: frozenset({f}) for name in entries if (f := BY_NAME[name].family)},
    )


def space_entries(space: Space) -> dict[str, object]:
    """The space in the form of a space file's entries."""
    return {name: _entry(domain) for name, domain in space.domains.items()}


def space_toml(entries: Mapping[str, object]) -> str:
    """Entries as a space file, a line each; `read_space` reads them back."""
    return "\n".join(f"{name} = {_toml(entry)}" for name, entry in entries.items())


def _toml(entry: object) -> str:
    if isinstance(entry, Mapping):
        return "{ " + ", ".join(f"{key} = {_toml(value)}" for key, value in entry.items()) + " }"
    if isinstance(entry, list):
        return "[" + ", ".join(map(_toml, entry)) + "]"
    return json.dumps(entry)  # bool, number and string are written alike in JSON and TOML


def _families(entry: object, allowed: tuple[str, ...], problems: list[str]) -> tuple[str, ...]:
    names = entry[: MAX_PROBLEMS + 1] if isinstance(entry, list) else [entry]
    chosen = tuple(str(name) for name in names if name in allowed)
    for name in names:
        if name not in allowed:
            problems.append(f"model: no such family {short(name)}{did_you_mean(str(name)[:100], allowed)}")
    if chosen or not names:
        try:
            Choice(options=chosen)
        except DomainError as error:
            problems.append(f"model: {error}")
    return tuple(dict.fromkeys(chosen)) or allowed


def _domain(entry: object, parameter: Parameter) -> Domain:
    """One entry of a space file as a domain inside what is legal. Raises DomainError naming every mistake."""
    legal = parameter.legal
    if isinstance(entry, dict):
        return _range(entry, legal)
    if isinstance(entry, list):
        if len(entry) > MAX_OPTIONS:
            raise DomainError(f"a list may have {MAX_OPTIONS:,} options, not {len(entry):,}")
        problems: list[str] = []
        options = [_noted(option, legal, problems) for option in entry]
        if problems:
            problems[MAX_PROBLEMS:] = ["and more"] * (len(problems) > MAX_PROBLEMS)
            raise DomainError("; ".join(problems))
        return Choice(options=tuple(option for option in options if option is not None))
    return Fixed(value=_value(entry, legal))


def _range(entry: Mapping[str, object], legal: Domain) -> Domain:
    if not isinstance(legal, Int | Float):
        raise DomainError(f"must be {_words(legal)}, not a range")
    known = {"low", "high", "log", "step"} if isinstance(legal, Int) else {"low", "high", "log"}
    unknown = [key for key in entry if key not in known][:MAX_PROBLEMS]
    problems = [f"a range has no {short(key)}{did_you_mean(key[:100], known)}" for key in unknown]
    if "low" not in entry or "high" not in entry:
        problems.append("a range needs both low and high")
    log = entry.get("log", False)
    if not isinstance(log, bool):
        problems.append(f"log must be true or false, not {short(log)}")
    low, high = (
        _noted(entry[end], legal, problems, end) if end in entry else None for end in ("low", "high")
    )
    if problems or low is None or high is None or not isinstance(log, bool):
        raise DomainError("; ".join(problems))
    if isinstance(legal, Int):
        step = entry.get("step", 1)
        assert isinstance(low, int)
        assert isinstance(high, int)
        found = Int(low=low, high=high, log=log, step=step)  # type: ignore[arg-type]  # Int checks it
        if found.step > max(1, high - low):
            raise DomainError(f"step must be at most {max(1, high - low)}, not {short(step)}")
        return found
    return Float(low=float(low), high=float(high), log=log)


def _noted(value: object, legal: Domain, problems: list[str], end: str = "") -> Value | None:
    """The value as `_value` has it; else None, and the complaint is noted, with the end of the range."""
    try:
        return _value(value, legal)
    except DomainError as error:
        problems.append(f"{end} {error}".lstrip())
        return None


def _value(value: object, legal: Domain) -> Value:
    """The value in the type of its setting (1 becomes 1.0 for a real number). Raises DomainError."""
    if isinstance(legal, Float) and isinstance(value, int) and not isinstance(value, bool):
        value = float(value) if abs(value) < _NO_FLOAT else value
    if value not in legal:
        raise DomainError(f"must be {_words(legal)}, not {short(value)}")
    assert isinstance(value, bool | int | float | str)
    return value


def _words(domain: Domain) -> str:
    match domain:
        case Int():
            return f"a whole number from {domain.low} to {domain.high}"
        case Float():
            return f"a number from {domain.low:g} to {domain.high:g}"
        case Choice():
            return "one of " + ", ".join(str(option).lower() for option in domain.options)
        case Fixed():
            return str(domain.value)


def _entry(domain: Domain) -> object:
    match domain:
        case Int():
            entry: dict[str, object] = {"low": domain.low, "high": domain.high}
            if domain.step != 1:
                entry["step"] = domain.step
            if domain.log:
                entry["log"] = True
            return entry
        case Float():
            entry = {"low": domain.low, "high": domain.high}
            if domain.log:
                entry["log"] = True
            return entry
        case Choice():
            return list(domain.options)
        case Fixed():
            return domain.value


def _shown(key: str) -> str:
    """A key as it stands in the file, unless it is long or cannot be printed."""
    return key if key.isprintable() and len(key) <= 50 else short(key)


def _shortened(error: Exception) -> str:
    words = " ".join(str(error).split())
    return words if len(words) <= 200 else f"{words[:200]}…"
