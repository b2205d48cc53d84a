"""The part of Optuna's storage that writes trials.

Optuna calls one method a fact. Here the facts of a drawing, or of a report and its judgement, are gathered
and written in one transaction.
"""

from __future__ import annotations

from abc import ABC
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    check_distribution_compatibility,
    distribution_to_json,
    json_to_distribution,
)
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import RDBStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from search.optuna_db.frozen import FROM_OPTUNA, frozen
from search.optuna_db.optuna_trials import OptunaTrials, TrialEnded
from search.optuna_db.study_storage import StudyStorage
from search.optuna_db.trial_facts import FIXED_PARAMS, UNFINISHED, Change, Facts
from search.records import State, Value
from search.store.database import Transaction

OUTSIDE = "outside_the_space"
"""User attribute: settings that a trial was queued with and did not get."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Rules:
    """What a study of tune's asks of its trials.

    Samplers and pruners are shown usable trials alone, as the present search space has them. What another
    program added was measured in its own way: a value of 98.5 (per cent), or one that is to be minimized,
    would be the best that the search ever saw; and a parameter that this study does not have would end TPE's
    joint model.
    """

    shown: Callable[[Facts], Facts | None]
    """a trial as samplers and pruners are shown it: tune's own, without a fault, and of the present space"""
    fits: Callable[[Facts], bool]
    """whether a queued trial may begin"""
    fitting: Callable[[Mapping[str, object]], Mapping[str, Value]]
    """from the settings that a trial was queued with to those that are used"""
    room: Callable[[Transaction], bool]
    """whether a trial that was not queued may begin; called with the transaction in which it would"""


def _nothing(_trial_id: int, _transaction: Transaction) -> None:
    """What is written together with a new trial, unless `beginning` says otherwise."""


class TrialWriting(StudyStorage, ABC):
    """For one thread of one process. It caches the trials that it made or took from the queue; the database
    checks at each write whether they still belong to this worker."""

    def __init__(
        self, backend: RDBStorage, trials: OptunaTrials, *, direction: StudyDirection | None = None
    ) -> None:
        super().__init__(backend, trials, direction=direction)
        self.rules: Rules | None = None
        """of a study of tune's; None: every trial is taken as it is"""
        self._own: dict[int, FrozenTrial] = {}
        self._drafts: dict[int, Change] = {}
        """what has been said of a trial and is not written yet"""
        self._together = False
        """Optuna's API passes no transaction on: between its calls, what belongs together is kept here"""
        self._begun: Callable[[int, Transaction], object] = _nothing
        self._guards: dict[int, Callable[[Transaction], object]] = {}

    # What tune adds

    @contextmanager
    def beginning(self, also: Callable[[int, Transaction], object]) -> Iterator[None]:
        """Inside the block, a trial that is made or taken from the queue is so together with what `also`
        writes, which is given its id and the transaction: both reach the database, or neither."""
        self._begun = also
        try:
            yield
        finally:
            self._begun = _nothing

    @contextmanager
    def together(
        self,
        trial_id: int,
        also: Callable[[Transaction], object] | None = None,
        *,
        first: Callable[[Transaction], object] | None = None,
    ) -> Iterator[None]:
        """What is written of the trial inside the block reaches the database at its end, all or nothing;
        what `also` writes, which is given the transaction, is part of it. first: called with the transaction
        before anything is written; more than once where the transaction has to be repeated."""
        self._together = True
        try:
            yield
        except BaseException:
            self._drafts.pop(trial_id, None)
            raise
        finally:
            self._together = False
        if also is None and first is None:
            self._flush(trial_id)
            return
        draft = self._drafts.get(trial_id)

        def write() -> None:
            if draft is not None:
                self._drafts[trial_id] = draft
            with self._trials.database.write() as transaction:
                if draft is None:
                    self._check_guard(trial_id, transaction)
                if first is not None:
                    first(transaction)
                self._flush(trial_id, within=transaction)
                if also is not None:
                    also(transaction)

        self._trials.database.retry(write)

    def redraw(self, trial_id: int, params: Mapping[str, tuple[BaseDistribution, Value]]) -> None:
        """Instead of the parameters that were drawn of this trial, and are not written yet, it has these."""
        mine, draft = self._own[trial_id], self._draft(trial_id)
        for drawn in (mine.params, mine.distributions, draft.params):
            drawn.clear()
        for name, (distribution, value) in params.items():
            mine.params[name], mine.distributions[name] = value, distribution
            number = float(distribution.to_internal_repr(value))
            draft.params[name] = (number, distribution_to_json(distribution))

    def rejoin(self, trial: Facts) -> FrozenTrial:
        """From now on this trial, which another process made, is one of the cached ones."""
        self._own[trial.trial_id] = self._frozen(trial)
        return self._own[trial.trial_id]

    def guard(self, trial_id: int, check: Callable[[Transaction], object]) -> None:
        """From now on `check` is called with every transaction that writes to this trial, until it ends; what
        it raises undoes the transaction."""
        self._guards[trial_id] = check

    def unguard(self, trial_id: int) -> None:
        """Forgets the guard of this trial."""
        self._guards.pop(trial_id, None)

    def let_go(self, trial_id: int) -> dict[str, Any]:
        """Forgets all of this trial; returns the user attributes that were noted and are not written."""
        self.unguard(trial_id)
        self._own.pop(trial_id, None)
        draft = self._drafts.pop(trial_id, None)
        return {} if draft is None else draft.user

    def _check_guard(self, trial_id: int, transaction: Transaction) -> None:
        if (check := self._guards.get(trial_id)) is not None:
            check(transaction)

    def note(self, trial_id: int, key: str, value: object) -> None:
        """Writes a user attribute together with whatever is written of this trial next."""
        self._draft(trial_id).user[key] = value

    # What Optuna calls

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        if template_trial is not None:
            return self._backend.create_new_trial(study_id, template_trial)

        def write() -> FrozenTrial:
            with self._trials.database.write() as transaction:
                added = self._trials.add(study_id, fits=self._fits, room=self._room, within=transaction)
                trial = self._begin(added, transaction)
                self._begun(trial._trial_id, transaction)
                return trial

        trial = self._trials.database.retry(write)
        self._own[trial._trial_id] = trial
        return trial._trial_id

    def set_trial_param(
        self, trial_id: int, param_name: str, param_value_internal: float, distribution: BaseDistribution
    ) -> None:
        """Raises ValueError where another trial of the study has another kind of parameter under this name.
        Inside of `together` that is not looked up: tune draws from the present space of the study."""

        def require_same_kind(transaction: Transaction) -> None:
            kind = self._trials.kind_beside(trial_id, param_name, within=transaction)
            if kind is not None:
                check_distribution_compatibility(json_to_distribution(kind), distribution)

        drawn = float(param_value_internal), distribution_to_json(distribution)
        self._draft(trial_id).params[param_name] = drawn
        self._written(trial_id, require_same_kind)
        if trial_id in self._own:
            self._own[trial_id].distributions[param_name] = distribution
            self._own[trial_id].params[param_name] = distribution.to_external_repr(param_value_internal)

    def set_trial_intermediate_value(self, trial_id: int, step: int, intermediate_value: float) -> None:
        self._draft(trial_id).steps[step] = intermediate_value
        self._written(trial_id)
        if trial_id in self._own:
            self._own[trial_id].intermediate_values[step] = intermediate_value

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        self._draft(trial_id).user[key] = value
        self._written(trial_id)
        if trial_id in self._own:
            self._own[trial_id].user_attrs[key] = value

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        self._draft(trial_id).system[key] = value
        self._written(trial_id)
        if trial_id in self._own:
            self._own[trial_id].system_attrs[key] = value

    def set_trial_state_values(
        self, trial_id: int, state: TrialState, values: Sequence[float] | None = None
    ) -> bool:
        if state is TrialState.RUNNING:
            return self._start(trial_id)
        self._flush(trial_id, state=FROM_OPTUNA[state], values=() if values is None else values)
        return True

    def _start(self, trial_id: int) -> bool:
        """Takes a waiting trial from the queue; False where it runs already."""
        queued = self._trials.facts_of([trial_id])
        if not queued:
            raise KeyError(f"there is no trial {trial_id}")

        def write() -> bool:
            with self._trials.database.write() as transaction:
                started = self._trials.start(trial_id, within=transaction)
                if started:
                    self._begin(queued[0], transaction)
                    self._begun(trial_id, transaction)
                return started

        started = self._trials.database.retry(write)
        if started:
            self._own[trial_id] = self.get_trial(trial_id)
        elif self._trials.state(trial_id) not in UNFINISHED:
            raise UpdateFinishedTrialError(f"The trial with id {trial_id} has ended.")
        return started

    def _frozen(self, trial: Facts) -> FrozenTrial:
        """With the values of all objectives, unless the study is tune's: those have one objective."""
        return frozen(trial, several=self.rules is None)

    def _fits(self, trial: Facts) -> bool:
        return self.rules is None or self.rules.fits(trial)

    def _room(self, transaction: Transaction) -> bool:
        return self.rules is None or self.rules.room(transaction)

    def _begin(self, trial: Facts, transaction: Transaction) -> FrozenTrial:
        """A trial that has just begun. Settings that it was queued with and that the search space does not
        have are noted in an attribute, and not used."""
        if self.rules is None or not trial.given:
            return self._frozen(trial)
        given = dict(self.rules.fitting(trial.given))
        if given == trial.given:
            return self._frozen(trial)
        outside = {name: value for name, value in trial.given.items() if name not in given}
        change = Change(system={FIXED_PARAMS: given}, user={OUTSIDE: outside} if outside else {})
        self._trials.change(trial.trial_id, change, within=transaction)
        user, system = {**trial.user, **change.user}, {**trial.system, **change.system}
        return self._frozen(replace(trial, user=user, system=system))

    def _draft(self, trial_id: int) -> Change:
        return self._drafts.setdefault(trial_id, Change())

    def _written(self, trial_id: int, check: Callable[[Transaction], object] = lambda _: None) -> None:
        """Writes what was said of the trial, unless it is gathered. check: called with the transaction, once
        the trial is known to be unfinished."""
        if not self._together:
            self._flush(trial_id, check=check)

    def _flush(
        self,
        trial_id: int,
        *,
        state: State | None = None,
        values: Sequence[float] = (),
        check: Callable[[Transaction], object] = lambda _: None,
        within: Transaction | None = None,
    ) -> None:
        draft = self._drafts.pop(trial_id, None)
        if draft is None and state is None:
            return
        if state is not None:
            self._own.pop(trial_id, None)

        def guard(transaction: Transaction) -> None:
            self._check_guard(trial_id, transaction)
            check(transaction)

        value, further = (values[0], tuple(values[1:])) if values else (None, ())
        change = replace(draft or Change(), state=state, value=value, further=further)
        try:
            self._trials.change(trial_id, change, guard=guard, within=within)
        except TrialEnded as error:
            self._own.pop(trial_id, None)
            raise UpdateFinishedTrialError(str(error)) from error
