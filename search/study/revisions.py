"""Which trials of a study fit its search space after that was changed: the one place that says so.

Samplers, pruners, promotion and pages ask here. A trial keeps the settings and the space with which it was
drawn; the others of an earlier space are shown to samplers as if they had been drawn in the present one.
Imports no Optuna: commands that only look ask too.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace

from search.optuna_db.ownership import PINNED, REFERENCE, SPACE_REVISION
from search.optuna_db.trial_facts import Facts
from search.records import State, StudySpec, Value
from search.space.spec import space_of_spec
from tune.conditions import same
from tune.space import Choice, Domain, Fixed, Float, Int, Space

Params = dict[str, tuple[float, str]]


class Revisions:
    """The search spaces that a study has had, and what its trials are in the present one."""

    def __init__(self, spaces: tuple[Space, ...], set_aside: Iterable[int] = ()) -> None:
        """spaces: the oldest first. set_aside: numbers of trials that do not fit the last one."""
        self.spaces = spaces
        self.set_aside = frozenset(set_aside)

    @classmethod
    def of(cls, spec: StudySpec) -> Revisions:
        """Raises as `space_of_spec`."""
        earlier = tuple(space_of_spec(replace(spec, space=each.space)) for each in spec.space_changes)
        return cls((*earlier, space_of_spec(spec)), spec.set_aside)

    @property
    def present(self) -> Space:
        """The space in which trials are drawn now."""
        return self.spaces[-1]

    @property
    def count(self) -> int:
        """How often the space has changed."""
        return len(self.spaces) - 1

    def revision_of(self, trial: Facts) -> int:
        """How often the space had changed before the trial began; one that waits will have the present
        space."""
        return self.count if trial.state is State.WAITING else int(trial.user.get(SPACE_REVISION, 0))

    def is_known(self, revision: object) -> bool:
        """Whether tune can have written this as the revision of a trial."""
        return isinstance(revision, int) and not isinstance(revision, bool) and 0 <= revision <= self.count

    def why_set_aside(self, trial: Facts) -> str | None:
        """Why a trial does not fit the present space, in words; None: it fits, or is not drawn yet."""
        if trial.number not in self.set_aside:
            return None
        return misfit(trial, self.spaces[self.revision_of(trial)], self.present) or "it did not fit before"

    def shown(self, trial: Facts) -> Facts | None:
        """The trial as a sampler of the present space is shown it; None: it is set aside."""
        revision = self.revision_of(trial)
        if revision == self.count:
            return trial
        if trial.number in self.set_aside:
            return None
        if not trial.params:
            return trial
        return redrawn(trial, self.spaces[revision], self.present)


def misfit(trial: Facts, then: Space, now: Space) -> str | None:
    """What keeps a trial that was drawn in one space out of another, in words; None: nothing does.

    A reference is measured beside the search, inside its space or not, and is never kept out.
    """
    if REFERENCE in trial.user:
        return None
    drawn = {**trial.given, **trial.settings}
    return misfit_of(drawn, then, now)


def misfit_of(drawn: Mapping[str, Value], then: Space, now: Space) -> str | None:
    """As `misfit`, of the settings that a trial drew."""
    had = then.active(drawn)
    shape = now.shape({**drawn, **had})
    for name, value in had.items():
        domain = now.domains.get(name)
        if domain is None:
            return f"the space no longer has {name}"
        if name not in shape.searched and name not in shape.fixed:
            return f"{name} is no longer active beside its other settings"
        if domain != then.domains[name] and not _takes(domain, value):
            shown = f"{value:.6g}" if isinstance(value, float) else value
            return f"{name} = {shown} is outside the space"
    lacking = [name for name in (*shape.fixed, *sorted(shape.searched)) if name not in had]
    return f"it has no {lacking[0]}" if lacking else None


def redrawn(trial: Facts, then: Space, now: Space) -> Facts:
    """A trial that fits another space than the one in which it was drawn, as if drawn in this one."""
    drawn, pinned = settings_in(trial, then, now)
    params: Params = {}
    for name, value in drawn.items():
        kept = trial.params.get(name)
        same_domain = kept is not None and then.domains.get(name) == now.domains[name]
        params[name] = kept if kept is not None and same_domain else _stored(value, now.domains[name])
    user = dict(trial.user) if PINNED not in trial.user else {**trial.user, PINNED: pinned}
    return replace(trial, params=params, user=user)


def settings_in(trial: Facts, then: Space, now: Space) -> tuple[dict[str, Value], Mapping[str, Value]]:
    """(drawn, pinned) of a trial that fits, as the present space parts its settings."""
    pinned: Mapping[str, Value] = trial.user.get(PINNED, {})
    told = {**trial.given, **trial.settings}
    told = {**told, **then.active(told, pinned=pinned)}
    if REFERENCE in trial.user:
        from search.study.suggest import split_reference  # it imports Optuna

        return split_reference(told, now)
    drawn = now.complete(told, lambda *_: None)
    free = {name for name, domain in now.domains.items() if not isinstance(domain, Fixed)}
    kept = {
        name: value
        for name, value in drawn.items()
        if name in free and (now.domains[name] == then.domains.get(name) or value in now.domains[name])
    }
    return kept, pinned


def _takes(domain: Domain, value: Value) -> bool:
    return same(domain.value, value) if isinstance(domain, Fixed) else value in domain


def distribution_of(domain: Domain) -> dict[str, object] | None:
    """What Optuna writes for a parameter with this domain; None for a fixed one, which it is not told."""
    attributes: dict[str, object]
    match domain:
        case Int(low=low, high=high, step=step, log=log):
            attributes = {"low": low, "high": high - (high - low) % step, "step": step, "log": log}
            return {"name": "IntDistribution", "attributes": attributes}
        case Float(low=low, high=high, log=log):
            attributes = {"low": low, "high": high, "step": None, "log": log}
            return {"name": "FloatDistribution", "attributes": attributes}
        case Choice(options=options):
            return {"name": "CategoricalDistribution", "attributes": {"choices": list(options)}}
        case Fixed():
            return None


def _stored(value: Value, domain: Domain) -> tuple[float, str]:
    """A value of a domain that is not fixed, as Optuna stores it."""
    kind = json.dumps(distribution_of(domain))
    if isinstance(domain, Choice):
        place = next(
            n for n, each in enumerate(domain.options) if type(each) is type(value) and each == value
        )
        return float(place), kind
    return float(value), kind
