"""Judges whether what the database says of a trial can be used: the one place that does.

Rows can be written by another program or edited by a person. Every reader leaves out a trial with a fault:
commands, which say so, the sampler and the pruner. The trial stays in the database, and in its slot.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TypeGuard

from search.optuna_db.ownership import (
    ABLATION,
    CODE_SHA256,
    CONFIRMING,
    FAILURE,
    FAILURE_DETAIL,
    ORIGIN,
    PARAMETERS,
    PINNED,
    REFERENCE,
    RETRY_OF,
    SPACE_REVISION,
)
from search.optuna_db.trial_facts import FIXED_PARAMS, FOREIGN_VALUE, Facts
from search.records import CurveCheck, Failure, Metric, State, TrialRecord
from search.study.revisions import Revisions, distribution_of
from tune.space import Choice, Domain, Fixed, Float, Int

ROUNDING = 1e-9
"""How far a sampler may exceed the limits of a range, relative to their size."""

YEARS = range(1971, 3000)
"""Of moments that every platform can convert."""


class Judge:
    """Judges the trials of one study."""

    def __init__(self, revisions: Revisions, metric: Metric) -> None:
        self._revisions = revisions
        self._metric = metric
        self._fits: dict[tuple[str, object, int], Callable[[object], bool] | None] = {}
        """by parameter, distribution in JSON and revision of the space; None: not the distribution that the
        space has for it"""

    def fault(self, trial: Facts) -> str | None:
        """What is wrong with a trial, to follow "Trial 7 of x is left out: "; None: nothing is.

        What another program added is judged alike: before a worker begins what it queued.
        """
        return next(self._faults(trial), None)

    def _faults(self, trial: Facts) -> Iterator[str]:
        yield from trial.faults
        if not _whole(trial.number):
            yield "its number is not a whole number"
            return
        yield from _wrong_attributes(trial)
        if not self._revisions.is_known(trial.user.get(SPACE_REVISION, 0)):
            yield f"its attribute {SPACE_REVISION} is not what tune writes there"
            return
        possible = "an accuracy between 0 and 1" if self._metric.is_fraction else "a finite number"
        if trial.value is not None and not self._metric.allows(trial.value):
            yield f"its value is not {possible}"
        elif trial.value is None and trial.state is State.COMPLETE:
            yield "it is complete and has no value"
        if not all(_whole(step) and self._metric.allows(value) for step, value in trial.steps.items()):
            yield f"it reported a value that is not {possible}"
        revision = self._revisions.revision_of(trial)
        for name, (number, kind) in trial.params.items():
            fits = self._fitting(name, kind, revision)
            if fits is None:
                yield f"{FOREIGN_VALUE} (the distribution of its parameter {name})"
            elif not fits(number):
                yield f"its parameter {name} lies outside the search space"
        if any(moment is not None and moment.year not in YEARS for moment in (trial.started, trial.finished)):
            yield "its start or end is not a timestamp"

    def _fitting(self, name: str, kind: object, revision: int) -> Callable[[object], bool] | None:
        key = name, kind if isinstance(kind, str) else None, revision
        if key not in self._fits:
            domain = self._revisions.spaces[revision].domains.get(name)
            known = domain is not None and _is_distribution_of(domain, key[1])
            self._fits[key] = _values_of(domain) if domain is not None and known else None
        return self._fits[key]

    def fault_of_settings(self, trial: TrialRecord) -> str | None:
        """What is wrong with a trial's settings as a whole; None: nothing is."""
        settings, space = trial.settings, self._revisions.spaces[trial.space_revision]
        if trial.score is not None and "model" in space.domains and "model" not in settings:
            return "it lacks the setting model"
        searched = space.shape(settings, pinned=trial.pinned).searched
        if trial.params and (missing := searched - settings.keys()):
            return f"it lacks the setting {', '.join(sorted(missing))}"
        return None


def _is_distribution_of(domain: Domain, kind: str | None) -> bool:
    """Whether Optuna writes `kind` for a parameter with this domain."""
    try:
        written = json.loads(kind or "")
    except (ValueError, RecursionError):
        return False
    return written is not None and bool(written == distribution_of(domain))


def _values_of(domain: Domain) -> Callable[[object], bool]:
    """Whether a number that Optuna stores stands for a value in the domain: of a choice it is the place.

    A large study asks a hundred thousand times. A comparison with NaN, or of a word, is never in a range.
    """
    match domain:
        case Int(low=low, high=high, step=step):
            return lambda stored: _real(stored) and low <= stored <= high and (stored - low) % step == 0
        case Float(low=low, high=high):
            margin = ROUNDING * max(abs(low), abs(high))
            least, most = low - margin, high + margin
            return lambda stored: _real(stored) and least <= stored <= most
        case Choice(options=options):
            places = frozenset(range(len(options)))
            return lambda stored: _real(stored) and stored in places
        case Fixed():
            return lambda _: False


def _real(value: object) -> TypeGuard[float]:
    return isinstance(value, float | int)


def _wrong_attributes(trial: Facts) -> Iterator[str]:
    """What is wrong with the attributes that tune writes."""
    number = trial.number
    rules: Mapping[str, Callable[[object], bool]] = {
        REFERENCE: lambda value: isinstance(value, str) and value != "",
        PINNED: lambda value: isinstance(value, dict) and all(map(_setting, value.values())),
        RETRY_OF: lambda value: _whole(value) and value in range(number),
        ORIGIN: lambda value: _whole(value) and value in range(number),
        CONFIRMING: lambda value: isinstance(value, list) and len(value) == 2 and all(map(_whole, value)),
        ABLATION: _is_ablation_run,
        PARAMETERS: _whole,
        CODE_SHA256: lambda value: isinstance(value, str) and value != "",
        FAILURE: lambda value: isinstance(value, str) and value in _FAILURES,
        FAILURE_DETAIL: lambda value: isinstance(value, str),
    }
    for name, value in trial.user.items():
        if name in rules and not rules[name](value):
            yield f"its attribute {name} is not what tune writes there"
    if not isinstance(trial.system.get(FIXED_PARAMS, {}), dict):
        yield f"its attribute {FIXED_PARAMS} is not what Optuna writes there"


_FAILURES = frozenset(failure.value for failure in Failure)


def _is_ablation_run(value: object) -> bool:
    if not isinstance(value, list) or len(value) != 4:
        return False
    arm, seed, budget, chooses = value
    return (
        isinstance(arm, str)
        and arm != ""
        and _whole(seed)
        and _whole(budget)
        and budget > 0
        and isinstance(chooses, bool)
    )


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _setting(value: object) -> bool:
    return isinstance(value, bool | int | str) or (isinstance(value, float) and math.isfinite(value))


def usual_names(checks: Iterable[CurveCheck]) -> frozenset[str]:
    """The metrics that most of these curves have."""
    counted = Counter(frozenset(check.names) for check in checks)
    return max(counted, key=lambda names: (counted[names], len(names)), default=frozenset())


def fault_of_curve(state: State, check: CurveCheck | None, names: frozenset[str]) -> str | None:
    """What is wrong with a trial's learning curve; None: nothing is.

    check: None where it has no curve. names: of the metrics in the study's curves.
    """
    if check is None:
        return "it is complete and has no learning curve" if state is State.COMPLETE else None
    if check.unsound:
        return "its learning curve has a number that is missing or out of its range"
    if frozenset(check.names) != names or any(n != check.reports for n in check.names.values()):
        return "its learning curve lacks metrics"
    return None
