"""Trials as Optuna's objects, made from what its tables say."""

from __future__ import annotations

import datetime
from functools import lru_cache

from optuna.distributions import BaseDistribution, json_to_distribution
from optuna.trial import FrozenTrial, TrialState

from search.optuna_db.trial_facts import Facts
from search.records import State

TO_OPTUNA = {
    State.WAITING: TrialState.WAITING,
    State.RUNNING: TrialState.RUNNING,
    State.COMPLETE: TrialState.COMPLETE,
    State.PRUNED: TrialState.PRUNED,
    State.FAILED: TrialState.FAIL,
}
FROM_OPTUNA = {theirs: ours for ours, theirs in TO_OPTUNA.items()}


def frozen(trial: Facts, *, several: bool = False) -> FrozenTrial:
    """The trial as Optuna's own storage would give it, but for this: equal distributions are one object.

    A study has a dozen distributions and a trial holds each of them; ten thousand trials share them here.
    several: with the values of all objectives; else only with that of the first, which tune's studies have.
    """
    values = None
    if several and trial.further and trial.value is not None:
        values = [trial.value, *trial.further]
    kinds = {name: _distribution(kind) for name, (_, kind) in trial.params.items()}
    return FrozenTrial(
        trial_id=trial.trial_id,
        number=trial.number,
        state=TO_OPTUNA[trial.state],
        value=None if values else trial.value,
        values=values,
        datetime_start=_local(trial.started),
        datetime_complete=_local(trial.finished),
        params={name: kinds[name].to_external_repr(number) for name, (number, _) in trial.params.items()},
        distributions=kinds,
        user_attrs=dict(trial.user),
        system_attrs=dict(trial.system),
        intermediate_values=dict(trial.steps),
    )


@lru_cache(maxsize=10_000)
def _distribution(kind: str) -> BaseDistribution:
    return json_to_distribution(kind)


def _local(moment: datetime.datetime | None) -> datetime.datetime | None:
    """Optuna's objects have local times without a zone."""
    return None if moment is None else moment.astimezone().replace(tzinfo=None)
