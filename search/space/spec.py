"""The search space of a study, as its spec has it: settings of networks in the form of a space file, those of
any other objective in full.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from reprlib import repr as short

from search.records import NetworkSpec, StudySpec
from search.space.file import space_of_entries
from tune.space import (
    Choice,
    Domain,
    Fixed,
    Float,
    Int,
    Space,
    SpaceError,
    mistakes_in_conditions,
    refuse_mistakes,
)

_KINDS: Mapping[str, tuple[type[Domain], tuple[str, ...]]] = {
    "float": (Float, ("low", "high")),
    "int": (Int, ("low", "high")),
    "choice": (Choice, ("options",)),
    "fixed": (Fixed, ("value",)),
}
"""The domain that a kind of entry is, and what such an entry must have."""


def space_of_spec(spec: StudySpec) -> Space:
    """Raises KeyError, TypeError, ValueError or AttributeError for entries that tune did not write."""
    in_full = space_of_entries_in_full
    return space_of_entries(spec.space) if isinstance(spec, NetworkSpec) else in_full(spec.space)


def differences(then: Space, now: Space) -> list[str]:
    """What a space has otherwise than an earlier one: "width: Int(32, 512) → Int(64, 256)"."""
    one, other = then.domains, now.domains
    return [
        f"{name}: {one.get(name, 'none')} → {other.get(name, 'none')}"
        for name in {**one, **other}
        if one.get(name) != other.get(name)
    ]


def declared_entries(space: Space) -> dict[str, object]:
    """A space in the form in which the spec of an objective other than tune's networks has it."""
    return {name: _entry(domain) for name, domain in space.domains.items()}


def _entry(domain: Domain) -> dict[str, object]:
    entry: dict[str, object] = {}
    match domain:
        case Int(low=low, high=high, log=log, step=step, off=off):
            entry = {"kind": "int", "low": low, "high": high, "log": log, "step": step, "off": off}
        case Float(low=low, high=high, log=log, off=off):
            entry = {"kind": "float", "low": low, "high": high, "log": log, "off": off}
        case Choice(options=options, off=off):
            entry = {"kind": "choice", "options": list(options), "off": off}
        case Fixed(value=value):
            entry = {"kind": "fixed", "value": value}
    if domain.when:
        entry["when"] = domain.when.entries()
    if domain.drawn_despite:
        entry["drawn_despite"] = list(domain.drawn_despite)
    return {name: part for name, part in entry.items() if part is not None}


def space_of_entries_in_full(entries: Mapping[str, object]) -> Space:
    """The space whose domains are given as `declared_entries` gives them. Raises SpaceError with all mistakes
    for entries that are not valid."""
    domains: dict[str, Domain | None] = {}
    problems = []
    for name, entry in entries.items():
        domains[name] = None
        try:
            domains[name] = _domain(entry)
        except SpaceError as error:
            problems.append(f"{name}: {error}")
    refuse_mistakes([*problems, *mistakes_in_conditions(domains)])
    return Space({name: domain for name, domain in domains.items() if domain is not None})


def _domain(entry: object) -> Domain:
    if not isinstance(entry, Mapping):
        raise SpaceError(f"is not a domain: {short(entry)}")
    kind = entry.get("kind")
    if not isinstance(kind, str) or kind not in _KINDS:
        raise SpaceError(f"kind must be one of {', '.join(_KINDS)}, not {short(kind)}")
    domain, needed = _KINDS[kind]
    told = {key: part for key, part in entry.items() if key != "kind"}
    known = {field.name for field in fields(domain)}
    problems = [f"a domain of kind {kind} has no {short(key)}" for key in told if key not in known]
    problems += [f"a domain of kind {kind} needs {key}" for key in needed if key not in told]
    refuse_mistakes(problems)
    return domain(**told)
