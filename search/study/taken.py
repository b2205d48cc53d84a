"""Which configurations of a discrete search space the trials of one study have."""

from __future__ import annotations

from collections.abc import Callable

from search.optuna_db.optuna_trials import OptunaTrials
from search.optuna_db.ownership import REFERENCE
from search.optuna_db.trial_facts import Facts, News
from search.records import State, StudySpec
from search.seeds import derive
from search.store.database import Transaction
from search.study.grid import Identity, Settings, configurations, identity, untaken
from tune.space import Space


class Taken:
    """As one process has seen them so far. A trial whose settings are not drawn yet will take another one."""

    def __init__(
        self,
        trials: OptunaTrials,
        study_id: int,
        space: Space,
        spec: StudySpec,
        shown: Callable[[Facts], Facts | None],
    ) -> None:
        """space: in which trials are drawn now. shown: a trial as that space has it, or None where it does
        not count."""
        self._trials, self._study_id, self._show = trials, study_id, shown
        self._space, self._spec = space, spec
        self._news = News()
        self._identities: dict[int, Identity] = {}
        """by trial id"""
        self._undrawn: set[int] = set()
        """ids of trials that wait or run without settings"""
        self.every = configurations(space, spec)
        """None: too many to be listed"""

    def look(self, within: Transaction | None = None) -> None:
        """Takes in what is new: finished trials are read once.

        within: a transaction that the caller has opened, and has written nothing of the study in.
        """
        for found in self._trials.facts(self._study_id, self._news, within=within):
            self._identities.pop(found.trial_id, None)
            self._undrawn.discard(found.trial_id)
            trial = self._show(found)
            if trial is None or REFERENCE in trial.user:
                continue
            settings = {**trial.given, **trial.settings}
            if settings.keys() >= self._space.shape(settings).searched:
                self._identities[trial.trial_id] = identity(settings, self._space, self._spec)
            elif trial.state is not State.FAILED:
                self._undrawn.add(trial.trial_id)

    @property
    def room(self) -> bool:
        """Whether one more trial would find a configuration that is not taken, as of the last read."""
        if self.every is None:
            return True
        return len(self.every.keys() & set(self._identities.values())) + len(self._undrawn) < len(self.every)

    def instead_of(self, proposed: Settings, trial_id: int, number: int, *, within: Transaction) -> Settings:
        """The settings of a trial for which these are proposed: see search.study.grid.untaken.

        within: the transaction in which they are then written. Until it ends, no other process takes any.
        """
        self._trials.lock(self._study_id, within=within)
        self.look(within)
        [trial] = self._trials.facts_of([trial_id], within=within)
        if trial.params:  # an earlier try of this transaction was written, and we never heard of it
            return self._space.complete(trial.settings, lambda *_: None)
        others = {each for other, each in self._identities.items() if other != trial_id}
        return untaken(
            proposed,
            others,
            every=self.every,
            space=self._space,
            spec=self._spec,
            given=trial.given,
            seed=derive(self._spec.seed, "untaken", number),
        )
