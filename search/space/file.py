"""Reads and writes a search space as TOML: narrows, widens or fixes the default one.
Every mistake in a file is reported at once.

    channels  = { low = 16, high = 64, log = true }   # a range
    optimizer = ["adamw", "nesterov"]                 # a choice
    dropout   = 0.25                                  # fixed, not searched
    momentum  = { low = 0.0, high = 0.99, when = { optimizer = ["sgd", "nesterov"] } }  # a condition
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from pathlib import Path
from reprlib import repr as short
from typing import TypeVar

from search.errors import ConfigError, did_you_mean
from search.files import read_regular
from search.records import Value
from search.space.defaults import (
    BY_NAME,
    FAMILIES,
    PARAMETERS,
    LearnedTask,
    Parameter,
    default_domains,
    with_conditions,
)
from tune.space import Choice, Domain, Fixed, Float, Int, Space, SpaceError, When, in_words, wrong_conditions

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
"""A dotted key of this many parts means nothing here, and tomllib takes gigabytes for one of 30,000: it keeps
each of its beginnings."""


def read_space(path: Path, families: tuple[str, ...] = FAMILIES, task: LearnedTask | None = None) -> Space:
    """The default space of the task with the changes that the file asks for; task: see `default_space`.

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
    return change_space(entries, families, task, where=str(path))


def change_space(
    entries: Mapping[str, object],
    families: tuple[str, ...],
    task: LearnedTask | None = None,
    *,
    where: str,
) -> Space:
    """Like `read_space`, from a mapping that is already parsed; `where` opens every complaint."""
    problems: list[str] = []
    unread: set[str] = set()
    if "model" in entries:
        families = _families(entries["model"], families, problems)
    domains = default_domains(families, task)
    for key, entry in entries.items():
        if key == "model":
            continue
        if len(problems) > MAX_PROBLEMS:
            break
        if key not in BY_NAME:
            problems.append(f"{_shown(key)}: no such setting{did_you_mean(key, BY_NAME)}")
        elif key not in domains and BY_NAME[key].family in (None, *families):
            problems.append(f"{key}: means nothing for this task")
        elif key not in domains:
            problems.append(f"{key}: belongs to the family {BY_NAME[key].family}, which is not searched here")
        else:
            try:
                domains[key] = _domain(entry, BY_NAME[key])
            except SpaceError as error:
                unread.add(key)
                problems.append(f"{key}: {error}")
    problems += _wrong_conditions(domains, unread)
    if problems:
        told = problems[:MAX_PROBLEMS] + ["and more"] * (len(problems) > MAX_PROBLEMS)
        raise ConfigError("\n".join(f"{where}: {problem}" for problem in told))
    return Space(with_conditions(domains))


def _wrong_conditions(domains: Mapping[str, Domain], unread: Collection[str]) -> list[str]:
    """What is wrong with the conditions of a file, by themselves and beside those of every space.

    unread: settings whose domains are not those of the file; conditions on them are not judged.
    """
    wrong = list(wrong_conditions(domains)) or list(wrong_conditions(with_conditions(domains)))
    return [f"{key}: {problem}" for key, problem in wrong if not {key, *domains[key].when} & {*unread}]


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
    domains = {name: _domain(entry, BY_NAME[name]) for name, entry in {**entries, **later}.items()}
    return Space(with_conditions(domains))


def space_entries(space: Space) -> dict[str, object]:
    """The space in the form of a space file's entries. Conditions that a setting has in every space are not
    written."""
    return {name: _entry(domain, BY_NAME[name].when) for name, domain in space.domains.items()}


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
        except SpaceError as error:
            problems.append(f"model: {error}")
    return tuple(dict.fromkeys(chosen)) or allowed


def _domain(entry: object, parameter: Parameter) -> Domain:
    """One entry of a space file as a domain inside what is legal, with the file's conditions only.

    Raises SpaceError naming every mistake.
    """
    if not isinstance(entry, dict):
        return _plain(entry, parameter.legal)
    problems: list[str] = []
    when, domain = None, parameter.default
    values = {key: value for key, value in entry.items() if key != "when"}
    if "when" in entry:
        when = _attempted(lambda: _when(entry["when"], parameter), problems)
    if values or "when" not in entry:
        domain = _attempted(lambda: _values(values, parameter.legal), problems) or domain
    if problems:
        raise SpaceError("; ".join(problems))
    return domain if when is None else replace(domain, when=when)


def _values(entry: Mapping[str, object], legal: Domain) -> Domain:
    """The values of an entry that has a condition, too."""
    if entry.keys() == {"options"} and isinstance(entry["options"], list):
        return _plain(entry["options"], legal)
    if entry.keys() == {"value"} and not isinstance(entry["value"], list):
        return _plain(entry["value"], legal)
    return _range(entry, legal)


def _plain(entry: object, legal: Domain) -> Domain:
    if isinstance(entry, list):
        if len(entry) > MAX_OPTIONS:
            raise SpaceError(f"a list may have {MAX_OPTIONS:,} options, not {len(entry):,}")
        problems: list[str] = []
        options = [_noted(option, legal, problems) for option in entry]
        if problems:
            problems[MAX_PROBLEMS:] = ["and more"] * (len(problems) > MAX_PROBLEMS)
            raise SpaceError("; ".join(problems))
        return Choice(option for option in options if option is not None)
    return Fixed(_value(entry, legal))


def _when(entry: object, parameter: Parameter) -> When:
    """The conditions that a file sets for a setting."""
    if parameter.otherwise is None:
        raise SpaceError(f"when: no network can do without {parameter.name}, so it can have no condition")
    for values in entry.values() if isinstance(entry, dict) else ():
        if isinstance(values, list) and len(values) > MAX_OPTIONS:
            raise SpaceError(f"when: a list may have {MAX_OPTIONS:,} values, not {len(values):,}")
    when = When(entry)  # type: ignore[arg-type]  # it checks
    if parameter.family is not None and not when.only(("model",)).hold({"model": parameter.family}):
        raise SpaceError(f"when: only the family {parameter.family} has {parameter.name}")
    return when


T = TypeVar("T")


def _attempted(make: Callable[[], T], problems: list[str]) -> T | None:
    """What `make` returns; None where it raises SpaceError, which is noted."""
    try:
        return make()
    except SpaceError as error:
        problems.append(str(error))
        return None


def _range(entry: Mapping[str, object], legal: Domain) -> Domain:
    if not isinstance(legal, Int | Float):
        raise SpaceError(f"must be {in_words(legal)}, not a range")
    known = {"low", "high", "log", "when", *({"step"} if isinstance(legal, Int) else ())}
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
        raise SpaceError("; ".join(problems))
    if isinstance(legal, Int):
        step = entry.get("step", 1)
        assert isinstance(low, int)
        assert isinstance(high, int)
        found = Int(low=low, high=high, log=log, step=step)  # type: ignore[arg-type]  # Int checks it
        if found.step > max(1, high - low):
            raise SpaceError(f"step must be at most {max(1, high - low)}, not {short(step)}")
        return found
    return Float(low=float(low), high=float(high), log=log)


def _noted(value: object, legal: Domain, problems: list[str], end: str = "") -> Value | None:
    """The value as `_value` has it; else None, and the complaint is noted, with the end of the range."""
    noted: list[str] = []
    found = _attempted(lambda: _value(value, legal), noted)
    problems += [f"{end} {problem}".lstrip() for problem in noted]
    return found


def _value(value: object, legal: Domain) -> Value:
    """The value in the type of its setting (1 becomes 1.0 for a real number). Raises SpaceError."""
    if isinstance(legal, Float) and isinstance(value, int) and not isinstance(value, bool):
        value = float(value) if abs(value) < _NO_FLOAT else value
    if value not in legal:
        raise SpaceError(f"must be {in_words(legal)}, not {short(value)}")
    assert isinstance(value, bool | int | float | str)
    return value


def _entry(domain: Domain, usual: When) -> object:
    """usual: the conditions that are not written."""
    when = domain.when.without(usual)
    if isinstance(domain, Choice):
        options = list(domain.options)
        return {"options": options, "when": when.entries()} if when else options
    if isinstance(domain, Fixed):
        return {"value": domain.value, "when": when.entries()} if when else domain.value
    entry: dict[str, object] = {"low": domain.low, "high": domain.high}
    if isinstance(domain, Int) and domain.step != 1:
        entry["step"] = domain.step
    if domain.log:
        entry["log"] = True
    if when:
        entry["when"] = when.entries()
    return entry


def _shown(key: str) -> str:
    """A key as it stands in the file, unless it is long or cannot be printed."""
    return key if key.isprintable() and len(key) <= 50 else short(key)


def _shortened(error: Exception) -> str:
    words = " ".join(str(error).split())
    return words if len(words) <= 200 else f"{words[:200]}…"
