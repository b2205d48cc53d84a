"""Changes the search space of a study: one transaction, while no trial of it is at work."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass, replace

from search.optuna_db.ownership import FAILURE, FAILURE_DETAIL, PINNED, REFERENCE
from search.optuna_db.storage import Storage
from search.optuna_db.trial_facts import FIXED_PARAMS, Change, Facts, News
from search.records import Failure, SpaceChange, State, StudyRecord, StudySpec
from search.space.spec import space_of_spec
from search.store.database import Transaction
from search.study.reading import require_distinct
from search.study.revisions import Revisions, misfit, settings_in
from search.study.study import StudyDeleted
from search.study.usable import Judge
from tune.space import Space


@dataclass(frozen=True, kw_only=True, slots=True)
class Changed:
    """What a change of the space came to."""

    finished: int
    """trials that are finished, fitting or not"""
    set_aside: tuple[int, ...] = ()
    """numbers of the finished ones that do not fit"""
    ended: tuple[int, ...] = ()
    """numbers of trials that waited to be continued, do not fit and will not be"""
    leaves_none: bool = False
    """whether the search has finished trials, beside references, and none of them fits"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Busy:
    """Why nothing was changed: trials are at work."""

    workers: tuple[str, ...]
    """ids of those that hold a claim"""
    trials: tuple[int, ...]
    """numbers"""


def change_space(storage: Storage, record: StudyRecord, space: Mapping[str, object]) -> Changed | Busy | None:
    """Makes `space`, in the form of a spec's, the search space of a study; None where it is that already.

    All or nothing: until the transaction ends no trial can begin, and afterwards a worker that knows the
    earlier space gets no claim. Raises StudyDeleted, and UsageError as `require_distinct`.
    """
    require_distinct(storage.trials, space_of_spec(replace(record.spec, space=space)))

    def write() -> Changed | Busy | None:
        with storage.trials.database.write() as transaction:
            try:
                storage.trials.lock(record.study_id, within=transaction)
                storage.trials.require_signed(record.study_id, within=transaction)
            except KeyError as error:
                raise StudyDeleted(record.name) from error
            now = storage.store.study(record.study_id, within=transaction)
            if now is None or now.created != record.created:
                raise StudyDeleted(record.name)
            if dict(now.spec.space) == dict(space):
                return None
            return _change(storage, now, space, transaction)

    return storage.trials.database.retry(write)


def _change(
    storage: Storage, record: StudyRecord, space: Mapping[str, object], transaction: Transaction
) -> Changed | Busy:
    spec, revisions = record.spec, Revisions.of(record.spec)
    trials, judge = _own_trials(storage, record, transaction), Judge(revisions, spec.metric)
    claims = storage.store.open_claims(record.study_id, within=transaction)
    at_work = tuple(trial.number for trial in trials if trial.state is State.RUNNING)
    if claims or at_work:
        return Busy(workers=tuple(sorted({claim.worker_id for claim in claims})), trials=at_work)
    wanted = space_of_spec(replace(spec, space=space))
    sound = [trial for trial in trials if judge.fault(trial) is None]
    ended = []
    for trial in sound:
        if trial.state is State.WAITING and (change := _of_waiting(trial, revisions.present, wanted)):
            storage.trials.change(trial.trial_id, change, within=transaction)
            ended += [trial.number] if change.state is State.FAILED else []
    set_aside = [
        trial
        for trial in sound
        if trial.params and misfit(trial, revisions.spaces[revisions.revision_of(trial)], wanted) is not None
    ]
    changed = _changed(spec, space, tuple(trial.number for trial in set_aside))
    storage.store.set_spec(record.study_id, changed, within=transaction)
    searched = [trial for trial in sound if trial.state.is_finished and REFERENCE not in trial.user]
    aside = {trial.number for trial in set_aside}
    return Changed(
        leaves_none=bool(searched) and all(trial.number in aside for trial in searched),
        finished=sum(trial.state.is_finished for trial in trials),
        set_aside=tuple(trial.number for trial in set_aside if trial.state.is_finished),
        ended=tuple(ended),
    )


def _own_trials(storage: Storage, record: StudyRecord, transaction: Transaction) -> list[Facts]:
    return [trial for trial in storage.trials.facts(record.study_id, News(), within=transaction) if trial.own]


def _changed(spec: StudySpec, space: Mapping[str, object], set_aside: tuple[int, ...]) -> StudySpec:
    """The spec with this space; what it had before is on record."""
    change = SpaceChange(space=spec.space, moment=datetime.datetime.now(datetime.UTC), set_aside=set_aside)
    return replace(spec, space=dict(space), space_changes=(*spec.space_changes, change))


def _of_waiting(trial: Facts, then: Space, now: Space) -> Change | None:
    """What happens to a queued trial: it gets its settings in the form of the new space, or ends where they
    do not fit. None: it is left as it is, because the sampler draws what it lacks."""
    if REFERENCE not in trial.user:
        if not trial.given or trial.given.keys() < then.shape(trial.given).searched:
            return None
        if (why := misfit(trial, then, now)) is not None:
            told = {FAILURE: Failure.OUTSIDE_SPACE.value, FAILURE_DETAIL: why}
            return Change(user=told, state=State.FAILED)
    drawn, pinned = settings_in(trial, then, now)
    user = {PINNED: dict(pinned)} if PINNED in trial.user or pinned else {}
    return Change(user=user, system={FIXED_PARAMS: drawn})
