"""The search space of a study, as its spec has it: settings of networks in the form of a space file, those of
any other objective in full.
"""

from __future__ import annotations

from collections.abc import Mapping

from search.records import NetworkSpec, StudySpec
from search.space.file import space_of_entries
from tune.space import Choice, Domain, Fixed, Float, Int, Space, SpaceError, When

_KINDS: Mapping[str, type[Domain]] = {"float": Float, "int": Int, "choice": Choice, "fixed": Fixed}


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
    """The space whose domains are given as `declared_entries` gives them. Raises as `space_of_spec`."""
    domains = {}
    for name, entry in entries.items():
        if not isinstance(entry, Mapping):
            raise SpaceError(f"{name}: is no domain")
        told = {key: part for key, part in entry.items() if key not in ("kind", "when")}
        if "when" in entry:
            told["when"] = When(entry["when"])
        domains[name] = _KINDS[entry["kind"]](**told)
    return Space(domains)
