"""Optuna's view of the storage, made for many trials: few queries to read, one transaction to write.

Optuna calls one method a fact. Here the facts of a drawing, or of a report and its judgement, are gathered
and written together; what a sampler asks for is answered from a bounded history. Studies themselves,
queued trials and everything rare are left to Optuna's own storage on the same tables.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from optuna.distributions import BaseDistribution, distribution_to_json
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import BaseStorage, RDBStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from search.optuna_db.frozen import FROM_OPTUNA, frozen
from search.optuna_db.optuna_trials import OptunaTrials, TrialEnded, in_turn
from search.optuna_db.storage import in_words
from search.optuna_db.trial_facts import FIXED_PARAMS, Change, Facts, News
from search.records import State, Value

Result = TypeVar("Result")

OUTSIDE = "outside_the_space"
"""User attribute: settings that a trial was queued with and did not get."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Rules:
    """What a study of tune's asks of its trials.

    Samplers and pruners are shown usable trials alone. What another program added was measured in its own
    way: a value of 98.5 (per cent), or one that is to be minimized, would be the best that the search ever
    saw; and a parameter that this study does not have would end TPE's joint model.
    """

    usable: Callable[[Facts], bool]
    """tune's own, and without a fault"""
    fits: Callable[[Facts], bool]
    """whether a queued trial may begin"""
    fitting: Callable[[Mapping[str, object]], Mapping[str, Value]]
    """from the settings that a trial was queued with to those that are used"""
    room: Callable[[], bool]
    """whether a trial that was not queued may begin"""


class _All:
    """Every usable trial of a study, kept; finished ones are read once."""

    def __init__(self, trials: OptunaTrials, study_id: int, usable: Callable[[Facts], bool]) -> None:
        self._trials, self._study_id, self._usable, self._news = trials, study_id, usable, News()
        self._known: dict[int, FrozenTrial] = {}

    def look(self) -> list[FrozenTrial]:
        """All by number."""
        for trial in self._trials.facts(self._study_id, self._news):
            self._known.pop(trial.number, None)
            if self._usable(trial):
                self._known[trial.number] = frozen(trial)
        return [self._known[number] for number in sorted(self._known)]


class TrialStorage(BaseStorage):
    """For one thread of one process. Trials that it made or took from the queue it knows by heart; whether
    they are still its own is settled by the database at each write."""

    def __init__(self, backend: RDBStorage, trials: OptunaTrials, *, maximizing: bool = False) -> None:
        """maximizing: whether every study is to be maximized, whatever somebody wrote over its direction."""
        self._backend = backend
        self._maximizing = maximizing
        self._trials = trials
        self.rules: Rules | None = None
        """of a study of tune's; None: every trial is taken as it is"""
        self.history: Callable[[], list[FrozenTrial]] | None = None
        """the trials that a sampler is shown while it draws; None: all of the study"""
        self._own: dict[int, FrozenTrial] = {}
        self._drafts: dict[int, Change] = {}
        """what has been said of a trial and is not written yet"""
        self._together = False
        self._shown: list[FrozenTrial] | None = None
        self._drawing = False
        self._all: dict[int, _All] = {}
        self._begun: Callable[[int], object] = lambda _: None
        self._guards: dict[int, Callable[[], object]] = {}

    # What tune adds

    @contextmanager
    def beginning(self, also: Callable[[int], object]) -> Iterator[None]:
        """Inside the block, a trial that is made or taken from the queue is so together with what `also`
        writes, which is told its id: both reach the database, or neither."""
        self._begun = also
        try:
            yield
        finally:
            self._begun = lambda _: None

    @contextmanager
    def together(
        self,
        trial_id: int,
        also: Callable[[], object] | None = None,
        *,
        first: Callable[[], object] | None = None,
    ) -> Iterator[None]:
        """What is written of the trial inside the block reaches the database at its end, all or nothing;
        what `also` writes is part of it. first: called in the transaction before anything is written; more
        than once where the transaction has to be repeated."""
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
            with self._trials.transaction():
                if draft is None:
                    self._guards.get(trial_id, lambda: None)()
                if first is not None:
                    first()
                self._flush(trial_id)
                if also is not None:
                    also()

        self._trials.database.patiently(write)

    @contextmanager
    def drawing(self, trial_id: int, first: Callable[[], object] | None = None) -> Iterator[None]:
        """`together`, and `get_all_trials` gives the history that a sampler is to see, as of one moment."""
        self._drawing = True
        try:
            with self.together(trial_id, first=first):
                yield
        finally:
            self._drawing, self._shown = False, None

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
        """From now on this trial, which another process made, is one of those known by heart."""
        self._own[trial.trial_id] = frozen(trial)
        return self._own[trial.trial_id]

    def guard(self, trial_id: int, check: Callable[[], object]) -> None:
        """From now on `check` is called in every transaction that writes to this trial, until it ends; what
        it raises undoes the transaction."""
        self._guards[trial_id] = check

    def unguard(self, trial_id: int) -> None:
        """Forgets the guard of this trial."""
        self._guards.pop(trial_id, None)

    def note(self, trial_id: int, key: str, value: object) -> None:
        """Writes a user attribute together with whatever is written of this trial next."""
        self._draft(trial_id).user[key] = value

    # Trials: writing

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        if template_trial is not None:
            return self._backend.create_new_trial(study_id, template_trial)

        def write() -> FrozenTrial:
            with self._trials.transaction():
                trial = self._begin(self._trials.add(study_id, fits=self._fits, room=self._room))
                self._begun(trial._trial_id)
                return trial

        trial = self._trials.database.patiently(write)
        self._own[trial._trial_id] = trial
        return trial._trial_id

    def set_trial_param(
        self, trial_id: int, param_name: str, param_value_internal: float, distribution: BaseDistribution
    ) -> None:
        # That a name means the same in every trial need not be checked: a study's space never changes.
        kind = distribution_to_json(distribution)
        self._draft(trial_id).params[param_name] = (float(param_value_internal), kind)
        if trial_id in self._own:
            self._own[trial_id].distributions[param_name] = distribution
            self._own[trial_id].params[param_name] = distribution.to_external_repr(param_value_internal)
        self._written(trial_id)

    def set_trial_intermediate_value(self, trial_id: int, step: int, intermediate_value: float) -> None:
        self._draft(trial_id).steps[step] = intermediate_value
        if trial_id in self._own:
            self._own[trial_id].intermediate_values[step] = intermediate_value
        self._written(trial_id)

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        self._draft(trial_id).user[key] = value
        if trial_id in self._own:
            self._own[trial_id].user_attrs[key] = value
        self._written(trial_id)

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        self._draft(trial_id).system[key] = value
        if trial_id in self._own:
            self._own[trial_id].system_attrs[key] = value
        self._written(trial_id)

    def set_trial_state_values(
        self, trial_id: int, state: TrialState, values: Sequence[float] | None = None
    ) -> bool:
        if state is TrialState.RUNNING:
            queued = self._trials.facts_of([trial_id])

            def write() -> bool:
                with self._trials.transaction():
                    started = self._trials.start(trial_id)
                    if started:
                        self._begin(queued[0])
                        self._begun(trial_id)
                    return started

            started = self._trials.database.patiently(write)
            if started:
                self._own[trial_id] = self.get_trial(trial_id)
            return started
        self._flush(trial_id, state=FROM_OPTUNA[state], value=None if values is None else values[0])
        return True

    def _fits(self, trial: Facts) -> bool:
        return self.rules is None or self.rules.fits(trial)

    def _room(self) -> bool:
        return self.rules is None or self.rules.room()

    def _begin(self, trial: Facts) -> FrozenTrial:
        """A trial that has just begun. Settings that it was queued with and that the search space does not
        have are noted in an attribute, and not used."""
        if self.rules is None or not trial.given:
            return frozen(trial)
        given = dict(self.rules.fitting(trial.given))
        if given == trial.given:
            return frozen(trial)
        outside = {name: value for name, value in trial.given.items() if name not in given}
        change = Change(system={FIXED_PARAMS: given}, user={OUTSIDE: outside} if outside else {})
        self._trials.change(trial.trial_id, change)
        user, system = {**trial.user, **change.user}, {**trial.system, **change.system}
        return frozen(replace(trial, user=user, system=system))

    def _draft(self, trial_id: int) -> Change:
        return self._drafts.setdefault(trial_id, Change())

    def _written(self, trial_id: int) -> None:
        if not self._together:
            self._flush(trial_id)

    def _flush(self, trial_id: int, *, state: State | None = None, value: float | None = None) -> None:
        draft = self._drafts.pop(trial_id, None)
        if draft is None and state is None:
            return
        guard = self._guards.get(trial_id, lambda: None)
        if state is not None:
            self._own.pop(trial_id, None)
        try:
            self._trials.change(trial_id, replace(draft or Change(), state=state, value=value), guard=guard)
        except TrialEnded as error:
            self._own.pop(trial_id, None)
            raise UpdateFinishedTrialError(str(error)) from error

    # Trials: reading

    def get_trial(self, trial_id: int) -> FrozenTrial:
        if trial_id in self._own:
            return self._own[trial_id]
        found = self._trials.facts_of([trial_id])
        if not found:
            raise KeyError(f"there is no trial {trial_id}")
        return frozen(found[0])

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        if states == (TrialState.WAITING,):
            waiting = self._trials.facts_of(self._trials.in_state(study_id, State.WAITING))
            return [frozen(trial) for trial in in_turn(waiting) if self._fits(trial)]
        if self._drawing and self.history is not None:
            if self._shown is None:
                self._shown = self.history()
            trials = self._shown
        else:
            trials = self._everything(study_id)
        chosen = [trial for trial in trials if trial.state in states] if states is not None else trials
        return copy.deepcopy(chosen) if deepcopy else list(chosen)

    def _everything(self, study_id: int) -> list[FrozenTrial]:
        usable = self.rules.usable if self.rules is not None else lambda _: True
        return self._all.setdefault(study_id, _All(self._trials, study_id, usable)).look()

    def get_trial_id_from_study_id_trial_number(self, study_id: int, trial_number: int) -> int:
        return self._backend.get_trial_id_from_study_id_trial_number(study_id, trial_number)

    # Studies, which are Optuna's

    def create_new_study(self, directions: Sequence[StudyDirection], study_name: str | None = None) -> int:
        return self._backend.create_new_study(directions, study_name)

    def delete_study(self, study_id: int) -> None:
        self._backend.delete_study(study_id)

    def set_study_user_attr(self, study_id: int, key: str, value: Any) -> None:
        self._optuna(lambda: self._backend.set_study_user_attr(study_id, key, value))

    def set_study_system_attr(self, study_id: int, key: str, value: Any) -> None:
        self._optuna(lambda: self._backend.set_study_system_attr(study_id, key, value))

    def get_study_id_from_name(self, study_name: str) -> int:
        return self._optuna(lambda: self._backend.get_study_id_from_name(study_name))

    def get_study_name_from_id(self, study_id: int) -> str:
        return self._optuna(lambda: self._backend.get_study_name_from_id(study_id))

    def get_study_directions(self, study_id: int) -> list[StudyDirection]:
        if self._maximizing:
            return [StudyDirection.MAXIMIZE]
        return self._optuna(lambda: self._backend.get_study_directions(study_id))

    def get_study_user_attrs(self, study_id: int) -> dict[str, Any]:
        return self._optuna(lambda: self._backend.get_study_user_attrs(study_id))

    def get_study_system_attrs(self, study_id: int) -> dict[str, Any]:
        return self._optuna(lambda: self._backend.get_study_system_attrs(study_id))

    def get_all_studies(self) -> list[Any]:
        return self._optuna(lambda: self._backend.get_all_studies())

    def _optuna(self, call: Callable[[], Result]) -> Result:
        """What Optuna's storage answers, with the patience and the errors of tune's."""

        def work() -> Result:
            with in_words(self._backend.url):
                return call()

        return self._trials.database.patiently(work)
